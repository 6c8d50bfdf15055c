"""How often a caption finds its own image: the measure DAMSM's training reports."""

from __future__ import annotations

import torch
from torch import Tensor

from memdriven.data.images import to_unit
from memdriven.encoders.damsm import Damsm, cosine
from memdriven.training.damsm_data import DamsmData

RECALL_AT = (1, 5, 10)


@torch.no_grad()
def recall(model: Damsm, data: DamsmData, chunk: int = 50) -> dict[str, float]:
    """Return Recall@1/5/10 of each item's first caption among the items' images.

    The score is cos(sentence, global). Keys are `<side>_recall@<k>` with the sides `heads` and,
    where the model has one, `pixels`; values are parts of 1. Chance is k / n.
    """
    was_training = model.training
    model.eval()
    sentences: list[Tensor] = []
    globals_: dict[str, list[Tensor]] = {"heads": []}
    for rows in torch.split(torch.arange(len(data)), chunk):
        first = [data.captions[row][0] for row in rows.tolist()]
        sentences.append(model.encode_captions(first).sentence)
        globals_["heads"].append(model.heads(data.v(rows).to(model.device)).global_)
        if model.pixels is not None and data.images is not None:
            images = to_unit(data.images[rows]).to(model.device)
            globals_.setdefault("pixels", []).append(model.pixels(images).global_)
    model.train(was_training)
    result: dict[str, float] = {}
    for side, parts in globals_.items():
        scores = cosine(torch.cat(sentences), torch.cat(parts))  # (n captions, n images)
        own = scores.diagonal()[:, None]
        ranks = len(scores) - 1 - (scores < own).sum(1)  # a tie, or NaN, counts as a miss
        for k in RECALL_AT:
            result[f"{side}_recall@{k}"] = float((ranks < k).float().mean())
    return result
