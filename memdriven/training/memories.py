"""Whose features v a training image is given: its own or neighbours', in full or weakened [ours].

The paper gives each image its own (p_swap = p_fade = 0), and at inference a stranger's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.config import Config


class Memories:
    """The training captions as a memory, and draws from it.

    Neighbours are those of `sentence-sentence`, the image itself (and by default its whole class)
    left out: what an unseen caption would meet.

    Args:
        config: its `train` and `retrieval` sections count.
        sentences: embeddings of all captions (m, d).
        owner: (m,) the image of each, 0..n-1, on the same device.
        class_ids: (n,) on the CPU, or None.
        pool: the first so many images are what others may be given; those behind were made for one
            memory, or have none.
        given: (n,) bool, whether an image has features to begin with.
    """

    def __init__(
        self,
        config: Config,
        sentences: Tensor,
        owner: Tensor,
        class_ids: Tensor | None,
        pool: int,
        given: Tensor,
    ) -> None:
        self.config, self.class_ids, self.count, self.given = config, class_ids, pool, given
        known = owner < pool
        self.owner, self.keys = owner[known], F.normalize(sentences[known], dim=1)

    def draw(self, index: Tensor, sentence: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return whose features each image gets (b, m), and their shares (b, m), which sum to 1.

        It is the image's own (or its memory's), or with p_swap neighbours': 1 to m = swap_mix of
        them, weighted as retrieval weights them.

        Args:
            index: the images (b,).
            sentence: embeddings of the captions that they are shown with (b, d).
            generator: a CPU generator.
        """
        train, count = self.config.train, len(index)
        width = min(train.swap_neighbours, self.count - 1)
        mix = min(train.swap_mix, width)
        swapped = torch.rand(count, generator=generator) < train.p_swap
        # An image made for a memory keeps it; one without any is always a stranger.
        swapped = swapped & (index < self.count) | ~self.given[index]
        places = torch.rand(count, width, generator=generator).argsort(1)[:, :mix]
        used = torch.randint(1, mix + 1, (count, 1), generator=generator)
        sources = index[:, None].repeat(1, mix)
        shares = F.one_hot(torch.zeros(count, dtype=torch.long), mix).float()
        if not swapped.any():
            return sources, shares
        scores, nearest = self._neighbours(index[swapped], sentence, swapped, width)
        places = places[swapped]
        sources[swapped] = nearest.gather(1, places)
        logits = scores.gather(1, places) / self.config.retrieval.temperature
        unused = torch.arange(mix) >= used[swapped]
        shares[swapped] = logits.masked_fill(unused, -float("inf")).softmax(1)
        return sources, shares

    def _neighbours(
        self, own: Tensor, sentence: Tensor, swapped: Tensor, width: int
    ) -> tuple[Tensor, Tensor]:
        """Return scores and images (b', width) nearest to the swapped images' captions."""
        scores = F.normalize(sentence[swapped.to(sentence.device)], dim=1) @ self.keys.T
        best = scores.new_full((len(scores), self.count), -2.0)
        best.scatter_reduce_(1, self.owner.expand(len(scores), -1), scores, "amax")
        mine = own < self.count
        best[torch.arange(len(own))[mine], own[mine]] = -torch.inf
        if self.config.train.swap_other_class and self.class_ids is not None:
            same = self.class_ids[own][:, None] == self.class_ids[None, : self.count]  # (b', n)
            # Behind every stranger, not out of reach: there may be too few strangers.
            best -= 4.0 * same.to(best.device)
        found = best.topk(width, dim=1)
        return found.values.cpu(), found.indices.cpu()

    def strength(self, count: int, generator: torch.Generator) -> Tensor:
        """Return each item's factor on v (b,): 1, or uniform in 0..1 with p_fade."""
        p = self.config.train.p_fade
        if not p:
            return torch.ones(count)
        faded = torch.rand(count, generator=generator) < p
        return torch.where(faded, torch.rand(count, generator=generator), 1.0)
