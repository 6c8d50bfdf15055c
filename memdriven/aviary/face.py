"""Head and eyes: face, crown, throat, the stripe through the eye and the ring round it."""

from __future__ import annotations

import torch
from torch import Tensor

from memdriven.aviary.noise import smoothstep
from memdriven.aviary.skin import PART, Paint, Skin


def lay_head(
    layers: Paint,
    skin: Skin,
    flag: dict[str, Tensor],
    tone: dict[str, Tensor],
    p: Tensor,
    d: Tensor,
    wide: Tensor,
) -> None:
    """Face, crown, throat, the stripe through the eye and the ring round it."""
    h = torch.bmm(skin.head, p - skin.head_at) / skin.head_radius.unsqueeze(-1)
    rough = wide[:, 1] - 0.5
    near_body = d[:, :3].amin(1)
    near_head = d[:, 5:7].amin(1)
    # Down a long neck the head's colour ends half way; a short one has its border at the collar.
    on_head = smoothstep(-0.10, 0.06, near_body - near_head + 0.10 * rough - 0.02)
    layers.lay(on_head, tone["head"], PART["head"])
    low = h[:, 1] + 0.22 * rough
    throat = smoothstep(-0.20, -0.36, low - 0.30 * h[:, 0].clamp(0.0, 0.6)) * smoothstep(-0.35, 0.0, h[:, 0])
    collar = smoothstep(-0.16, 0.04, near_body - near_head)
    layers.lay(torch.minimum(throat, collar), tone["throat"], PART["throat"])
    top = smoothstep(
        0.34, 0.46, h[:, 1] + 0.10 * rough - 0.16 * h[:, 0].clamp(-1.0, 0.6) * (1 - flag["face"])
    )
    layers.lay(on_head * top, tone["crown"], PART["crown"])

    ex, ey, ez, er = (skin.eye[:, i] for i in range(4))
    band = (
        smoothstep(0.15, 0.10, (h[:, 1] - ey + 0.06 * (h[:, 0] - ex)).abs())
        * smoothstep(-0.75, -0.5, h[:, 0])
        * on_head
    )
    layers.lay(flag["eye_stripe"] * band, tone["eye_stripe"], PART["eye_stripe"])
    to_eye = ((h[:, 0] - ex).square() + (h[:, 1] - ey).square() + (h[:, 2].abs() - ez).square()).sqrt() / er
    disc = flag["face"] * smoothstep(0.12, 0.30, h[:, 0]) * on_head
    rim = smoothstep(0.70, 0.80, (h[:, 1].square() + h[:, 2].square()).sqrt()) * disc
    rays = 0.80 + 0.25 * (to_eye * 3.5 + 6 * wide[:, 2]).sin()
    layers.lay(disc * 0.75, layers.colour * rays.unsqueeze(1))
    layers.lay(rim * 0.6, layers.colour * 0.25)
    layers.lay(flag["eye_ring"] * smoothstep(1.95, 1.75, to_eye), tone["eye_ring"], PART["eye_ring"])
    lid = smoothstep(1.30, 1.16, to_eye)
    layers.lay(0.85 * lid, torch.full_like(layers.colour[:, :, :1], 0.012), PART["eye"])


def eye_colour(skin: Skin, flag: dict[str, Tensor], n: Tensor) -> Tensor:
    """A dark eye, or a golden one with a pupil for the hunters."""
    face = torch.bmm(skin.head, n)
    axis = skin.eye[:, :3] / skin.eye[:, :3].norm(dim=1, keepdim=True)
    out = torch.stack((face[:, 0], face[:, 1], face[:, 2].abs()), 1)
    centre = (out * (axis + torch.tensor([0.25, 0.0, 0.0], device=n.device).view(1, 3, 1))).sum(1)
    pupil = smoothstep(0.86, 0.92, centre)
    gold = torch.tensor([0.85, 0.46, 0.03], device=n.device).view(1, 3, 1)
    iris = flag["pale_eye"].unsqueeze(-1) * gold + (1 - flag["pale_eye"].unsqueeze(-1)) * 0.02
    return iris * (1 - pupil).unsqueeze(1) + 0.008
