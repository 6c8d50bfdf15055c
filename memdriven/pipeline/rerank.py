"""Of several memories, those whose pictures say the words best: retrieval re-ranked by painting.

Retrieval compares words with memories, not with what G makes of them. Painting with each of the
nearest few is cheap, and two measures of the pictures tell which memory lets the words through:
DAMSM's word score and, where the encoders were taught attributes, how far the picture shows what
the caption names. They are added: the word score, a twentieth as wide, decides where nothing is
named [ours].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from memdriven.checkpoint import Checkpoint
from memdriven.encoders.caption_reader import agreement
from memdriven.encoders.damsm import matching_scores
from memdriven.encoders.text import TextFeatures
from memdriven.errors import ConfigError
from memdriven.memory.matches import shares
from memdriven.pipeline.lookup import Lookup
from memdriven.pipeline.output import Clock, Retrieval
from memdriven.pipeline.recipe import Variation
from memdriven.pipeline.recipe_fields import is_whole
from memdriven.pipeline.stages import Noise, draw_noise, mean_words, repeatable, seen_by

MAX_TRIED = 16
"""More are not tried for one picture."""


@torch.inference_mode()
def fits(
    checkpoint: Checkpoint, text: TextFeatures, noise: Noise, v: Tensor, read: Sequence[TextFeatures]
) -> Tensor:
    """Paint a caption with each of n memories; return how well each picture fits the words (n,).

    Args:
        checkpoint: the model.
        text: the caption's embeddings.
        noise: of the picture.
        v: the memories' features (n, 512, 16, 16), on the model's device.
        read: the caption as G reads it beside each of them, n times one (see `guidance`).

    Raises:
        ConfigError: the encoders have no network of their own that reads pictures.
    """
    damsm, generator, n = checkpoint.damsm, checkpoint.generator, len(v)
    config, attributes = checkpoint.config.damsm, checkpoint.attributes
    if damsm.pixels is None:
        raise ConfigError(
            wanted="encoders that read pictures (damsm.pixel_backbone compact), to try memories",
            found=config.pixel_backbone,
            fix="leave best_of at 1",
        )
    seen = sum(side < config.pixel_size for side in generator.resolutions) + 1
    sentences = torch.cat([each.sentence for each in read])
    words = torch.cat([mean_words(each) for each in read])
    with repeatable():
        painted = generator(
            noise.z.expand(n, -1),
            sentences,
            words,
            seen_by(noise, v),
            noise.epsilon.expand(n, -1),
            min(seen, len(generator.resolutions)),
        ).images[-1]
        (regions, _), maps = damsm.look((painted + 1) / 2)
        scores = matching_scores(text.words, text.mask, regions)[:, 0]
        if maps is not None and attributes is not None and attributes.reader is not None:
            named = attributes.reader.named(text)[0]
            scores = scores + agreement(named, attributes.head(maps))
    return scores.cpu()


def best(scores: Tensor, k: int) -> list[int]:
    """Return the places of the k highest scores, best first; of equal ones the first."""
    return torch.sort(scores, descending=True, stable=True).indices[:k].tolist()


def keep(retrieval: Retrieval, places: Sequence[int]) -> Retrieval:
    """Return a retrieval with the neighbours at these places alone, their shares scaled."""
    found = [retrieval[place] for place in places]
    weights = scaled([each.weight for each in found])
    return replace(
        retrieval,
        k=len(found),
        tried=len(retrieval),
        neighbours=tuple(replace(n, weight=w) for n, w in zip(found, weights, strict=True)),
    )


def scaled(weights: Sequence[float]) -> list[float]:
    """Return the shares of those that were kept; equal ones where the far ones' came to nothing."""
    return shares(weights if any(weights) else [1.0] * len(weights), len(weights))


def choose(
    checkpoint: Checkpoint,
    lookup: Lookup,
    caption: str,
    strategy: str | None,
    k: int | None,
    seed: int,
    best_of: int,
    exclude: Sequence[str] = (),
    oracle_id: str | None = None,
    variations: Sequence[Variation] = (),
    memory: float = 1.0,
    guidance: float | None = None,
) -> tuple[Retrieval, TextFeatures]:
    """Return the k neighbours whose pictures fit best, of the `best_of` nearest; and embeddings.

    The arguments are those of `MemoryDrivenPipeline.choose`, which says what is raised.
    """
    if not _counts(best_of) or best_of > MAX_TRIED:
        raise ConfigError(
            wanted=f"best_of: a whole number in 1..{MAX_TRIED}",
            found=repr(best_of)[:80],
            fix="try another number",
        )
    k = checkpoint.config.retrieval.k if k is None else k
    most = max(k, min(best_of, lookup.bank.n - len(set(exclude)))) if _counts(k) else k
    found, text = lookup.find(caption, strategy, most, seed, None, None, exclude, oracle_id)
    if len(found) <= k:
        return replace(found, k=k), text
    clock = Clock(found.timings)
    alone = [keep(found, [i]) for i in range(len(found))]
    v = torch.cat([lookup.features(each, (), memory) for each in alone])
    read = [lookup.guided(text, each, guidance, memory) for each in alone]
    noise = draw_noise(seed, checkpoint.generator, variations)
    scores = fits(checkpoint, text, noise, v.to(checkpoint.damsm.device), read)
    clock.lap("choose")
    return replace(keep(found, best(scores, k)), timings=clock.timings), text


def _counts(number: object) -> bool:
    return is_whole(number) and number >= 1
