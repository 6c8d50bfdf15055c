"""What a bird wears: its colours, flags and frames as tensors, and layers of paint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memdriven.aviary.plans import PLANS
from memdriven.aviary.rig import Rig
from memdriven.aviary.specimen import COLOUR_SLOTS, BirdSpec

PARTS = (
    "background",
    "crown",
    "head",
    "throat",
    "breast",
    "belly",
    "back",
    "wing",
    "wing_bars",
    "tail",
    "eye",
    "eye_ring",
    "eye_stripe",
    "beak",
    "legs",
    "perch",
)
"""Names of the values in a part map."""
PART = {name: i for i, name in enumerate(PARTS)}

TONES = {name: i for i, name in enumerate(COLOUR_SLOTS)}

_FLAGS = (
    "streaked",
    "spotted",
    "barred",
    "wing_bars",
    "eye_ring",
    "eye_stripe",
    "flying",
    "face",
    "snow",
    "rock",
    "pale_eye",
)

FLAGS = {name: i for i, name in enumerate(_FLAGS)}


@dataclass(frozen=True)
class Skin:
    """A batch of birds' frames and colours, beside their `Primitives`."""

    body: Tensor  # (b, 3, 3) world -> body
    axes: Tensor  # (b, 3, 1)
    head: Tensor  # (b, 3, 3) world -> head
    head_at: Tensor  # (b, 3, 1)
    head_radius: Tensor  # (b, 1)
    eye: Tensor  # (b, 4, 1) position in head radii (z mirrored), radius
    wings: Tensor  # (b, 2, 3, 3)
    wing_size: Tensor  # (b, 2, 2)
    colours: Tensor  # (b, slots, 3)
    flags: Tensor  # (b, flags)
    place: Tensor  # (b, 8) where noise is read

    def to(self, device: torch.device) -> Skin:
        """The same skins on another device."""
        return Skin(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def stack_skins(specs: list[BirdSpec], rigs: list[Rig]) -> Skin:
    """Skins of a batch, float32 on the CPU."""

    def tensor(values: list[object]) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(v, dtype=np.float32) for v in values]))

    flags = []
    for spec in specs:
        a = spec.attributes
        flags.append(
            [
                *(float(a["pattern"] == name) for name in ("streaked", "spotted", "barred")),
                *(float(a[name] != "none") for name in ("wing_bars", "eye_ring", "eye_stripe")),
                float(a["pose"] == "flying"),
                float(PLANS[a["body_plan"]].face > 0),
                float(a["background"] == "snow"),
                float(a["background"] == "rock"),
                float(a["body_plan"] in ("owl", "hawk", "gull", "heron")),
            ]
        )
    return Skin(
        body=tensor([r.body for r in rigs]),
        axes=tensor([r.body_axes[:, None] for r in rigs]),
        head=tensor([r.head for r in rigs]),
        head_at=tensor([r.head_at[:, None] for r in rigs]),
        head_radius=tensor([[r.head_radius] for r in rigs]),
        eye=tensor([[[v] for v in (*r.eye_at, r.eye_radius)] for r in rigs]),
        wings=tensor([r.wings for r in rigs]),
        wing_size=tensor([r.wing_size for r in rigs]),
        colours=tensor([[s.colours[slot] for slot in COLOUR_SLOTS] for s in specs]),
        flags=tensor(list(flags)),
        place=tensor([s.noise for s in specs]),
    )


@dataclass
class Paint:
    """Colour (b, 3, n) and part (b, n) being laid on in layers; later layers cover earlier ones."""

    colour: Tensor
    part: Tensor

    def lay(self, mask: Tensor, colour: Tensor, part: int | None = None) -> None:
        """Cover by mask (b, n) in [0, 1] with colour (b, 3, 1 or n)."""
        self.colour = self.colour + mask.unsqueeze(1) * (colour - self.colour)
        if part is not None:
            self.part = torch.where(mask > 0.5, part, self.part)
