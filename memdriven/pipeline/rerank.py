"""The best of several references by the pictures they give: retrieval re-ranked by painting [ours].

Retrieval compares words with references, not with what G makes of them. Painting with each of the
nearest few is cheap, and two measures of the pictures tell which reference lets the words through:
DAMSM's word score and, where the encoders were taught attributes, how far the picture shows what the
caption names. They are added: the word score, a twentieth as wide, decides where nothing is named.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from memdriven.checkpoint import Checkpoint
from memdriven.devices import repeatable
from memdriven.encoders.damsm import matching_scores
from memdriven.encoders.readers import agreement
from memdriven.encoders.text import TextFeatures
from memdriven.errors import ConfigError, require
from memdriven.memory.scores import scaled, top
from memdriven.pipeline.claims import wishes
from memdriven.pipeline.output import Prepared, Tried, to_picture


def stages_to_read(checkpoint: Checkpoint) -> int:
    """Return how many of G's stages it takes to a picture that the encoders can read."""
    config, resolutions = checkpoint.config.damsm, checkpoint.generator.resolutions
    wanted = "encoders that read pictures (damsm.pixel_backbone compact), to try references"
    reads = checkpoint.damsm.pixels is not None
    require(reads, ConfigError, wanted, config.pixel_backbone, "leave best_of at 1")
    return min(sum(side < config.pixel_size for side in resolutions) + 1, len(resolutions))


def rerank(checkpoint: Checkpoint, prepared: Prepared, pictures: Tensor) -> Prepared:
    """Keep the k references whose pictures (n, 3, s, s) in [-1, 1] fit the words best."""
    found, wanted = prepared.retrieval, wishes(checkpoint, prepared.named)
    scores = score_words(checkpoint, prepared.asked, pictures, wanted)
    places = top(scores, found.k).tolist()
    shares = scaled([found[place].weight for place in places])
    kept = tuple(replace(found[place], weight=share) for place, share in zip(places, shares, strict=True))
    tried = tuple(
        Tried(neighbour=each, score=score, picture=to_picture(picture[None]), kept=place in places)
        for place, (each, score, picture) in enumerate(zip(found, scores.tolist(), pictures, strict=True))
    )
    return replace(prepared, retrieval=replace(found, neighbours=kept, tried=len(tried)), tried=tried)


@torch.inference_mode()
def score_words(
    checkpoint: Checkpoint, asked: TextFeatures, images: Tensor, wanted: Tensor | None = None
) -> Tensor:
    """Return how well each of n images fits a caption (n,), on the CPU; the encoders must read pictures.

    Args:
        checkpoint: the model.
        asked: the caption's embeddings, not guided.
        images: (n, 3, s, s) in [-1, 1], on the model's device.
        wanted: what the caption's own words name (attributes, values), by `claims.wishes`; None for
            nothing, and DAMSM's word score decides alone.
    """
    attributes = checkpoint.attributes
    with repeatable():
        (regions, _), maps = checkpoint.damsm.look((images + 1) / 2)
        scores = matching_scores(asked.words, asked.mask, regions)[:, 0]
        if maps is not None and attributes is not None and wanted is not None:
            scores = scores + agreement(wanted.to(scores.device), attributes.head(maps))
    return scores.cpu()
