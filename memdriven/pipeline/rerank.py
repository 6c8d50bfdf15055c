"""The best of several references by the pictures they give: retrieval re-ranked by painting [ours].

Retrieval compares words with references, not with what G makes of them. Painting with each of the
nearest few is cheap, and two measures of the pictures tell which reference lets the words through:
DAMSM's word score and, where the encoders were taught attributes, how far the picture shows what the
caption names. They are added: the word score, a twentieth as wide, decides where nothing is named.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from memdriven.checkpoint import Checkpoint
from memdriven.devices import repeatable
from memdriven.encoders.damsm import matching_scores
from memdriven.encoders.readers import agreement
from memdriven.encoders.text import TextFeatures
from memdriven.errors import ConfigError
from memdriven.models.noise import Noise, apply_view
from memdriven.pipeline.guidance import TextCondition


@torch.inference_mode()
def score_pictures(
    checkpoint: Checkpoint,
    asked: TextFeatures,
    texts: Sequence[TextCondition],
    v: Tensor,
    noise: Noise,
    wanted: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Paint a caption with each of n references; return how well each picture fits the words.

    Args:
        checkpoint: the model.
        asked: the caption's embeddings, not guided.
        texts: the caption as G reads it beside each of the references, n times one.
        v: the references' features (n, 512, 16, 16), on the model's device.
        noise: of the picture.
        wanted: what the caption's own words name (attributes, values), by `claims.wishes`; None for
            nothing, and DAMSM's word score decides alone.

    Returns:
        Scores (n,), and the pictures (n, 3, s, s) in [-1, 1] of the smallest stage that the encoders
        can read, both on the CPU.
    """
    generator, config, n = checkpoint.generator, checkpoint.config.damsm, len(v)
    if checkpoint.damsm.pixels is None:
        raise ConfigError(
            "encoders that read pictures (damsm.pixel_backbone compact), to try references",
            config.pixel_backbone,
            "leave best_of at 1",
        )
    stages = sum(side < config.pixel_size for side in generator.resolutions) + 1
    with repeatable():
        painted = generator(
            noise.z.expand(n, -1),
            torch.cat([each.sentence for each in texts]),
            torch.cat([each.words for each in texts]),
            apply_view(noise, v),
            noise.epsilon.expand(n, -1),
            min(stages, len(generator.resolutions)),
        ).images[-1]
        scores = score_words(checkpoint, asked, painted, wanted)
    return scores, painted.cpu()


@torch.inference_mode()
def score_words(
    checkpoint: Checkpoint, asked: TextFeatures, images: Tensor, wanted: Tensor | None = None
) -> Tensor:
    """Return how well each of n images (n, 3, s, s) in [-1, 1] fits a caption, (n,) on the CPU.

    As `score_pictures` scores what it painted, whose encoders must read pictures.
    """
    attributes = checkpoint.attributes
    (regions, _), maps = checkpoint.damsm.look((images + 1) / 2)
    scores = matching_scores(asked.words, asked.mask, regions)[:, 0]
    if maps is not None and attributes is not None and wanted is not None:
        scores = scores + agreement(wanted.to(scores.device), attributes.head(maps))
    return scores.cpu()


def best(scores: Tensor, k: int) -> list[int]:
    """Return the places of the k highest scores, best first; of equal ones the first."""
    return torch.sort(scores, descending=True, stable=True).indices[:k].tolist()
