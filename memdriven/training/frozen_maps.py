"""What a frozen pixel network sees in pictures, computed once."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.data.images import to_unit
from memdriven.encoders.image import CompactBackbone
from memdriven.training.augment import disturb
from memdriven.training.damsm_data import mixed_seed
from memdriven.training.distributed import Chance


class Maps:
    """The maps of a frozen pixel network for every picture, each disturbed a few times.

    Args:
        pixels: the network, in evaluation mode.
        pictures: uint8 (n, 3, s, s).
        views: how many disturbed views of each picture are kept.
    """

    def __init__(
        self, pixels: CompactBackbone, pictures: Tensor, views: int, seed: int, progress: bool
    ) -> None:
        device = next(pixels.parameters()).device
        chance = torch.Generator().manual_seed(mixed_seed(seed, 4))
        found = []
        with torch.no_grad():
            for rows in tqdm(
                torch.split(torch.arange(len(pictures)).repeat(views), 64),
                "maps",
                disable=not progress,
                leave=False,
            ):
                images = disturb(to_unit(pictures[rows]), Chance(chance)).to(device)
                found.append(pixels.maps(images).half().cpu())
        self.views, self.count = views, len(pictures)
        self.maps = torch.cat(found)  # (views * n, 112, h, w)

    def draw(self, rows: Tensor, chance: torch.Generator) -> Tensor:
        """Return one of the kept views of pictures (b,)."""
        view = torch.randint(self.views, (len(rows),), generator=chance)
        return self.maps[view * self.count + rows].float()
