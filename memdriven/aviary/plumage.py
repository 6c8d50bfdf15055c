"""What colour a point of a bird has: regions in the bird's own frame, feathers and markings on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memdriven.aviary.body_plans import PLANS
from memdriven.aviary.primitives import SLOTS, SOFT, WING, Batch, Rig, stacked
from memdriven.aviary.raymarch import fraction, noise, smoothstep
from memdriven.aviary.species import COLOUR_SLOTS, BirdSpec

PARTS = (
    *("background", "crown", "head", "throat", "breast", "belly", "back", "wing", "wing_bars", "tail"),
    *("eye", "eye_ring", "eye_stripe", "beak", "legs", "perch"),
)
"""Names of the values in a part map."""
PART = {name: i for i, name in enumerate(PARTS)}
TONES = {name: i for i, name in enumerate(COLOUR_SLOTS)}
_PATTERNS, _MARKINGS = ("streaked", "spotted", "barred"), ("wing_bars", "eye_ring", "eye_stripe")
_FLAGS = (*_PATTERNS, *_MARKINGS, "flying", "face", "snow", "rock", "pale_eye")
FLAGS = {name: i for i, name in enumerate(_FLAGS)}


@dataclass(frozen=True)
class Skin(Batch):
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

    @property
    def flag(self) -> dict[str, Tensor]:
        """What holds of each bird, by name: (b, 1), 0 or 1."""
        return {name: self.flags[:, i : i + 1] for name, i in FLAGS.items()}

    @property
    def tone(self) -> dict[str, Tensor]:
        """The birds' colours by part: (b, 3, 1)."""
        return {name: self.colours[:, i, :, None] for name, i in TONES.items()}


def stack_skins(specs: list[BirdSpec], rigs: list[Rig]) -> Skin:
    """Skins of a batch, float32 on the CPU."""
    flags = []
    for spec in specs:
        a = spec.attributes
        flags.append(
            [
                *(float(a["pattern"] == name) for name in _PATTERNS),
                *(float(a[name] != "none") for name in _MARKINGS),
                float(a["pose"] == "flying"),
                float(PLANS[a["body_plan"]].face > 0),
                float(a["background"] == "snow"),
                float(a["background"] == "rock"),
                float(a["body_plan"] in ("owl", "hawk", "gull", "heron")),
            ]
        )
    return Skin(
        body=stacked([r.body for r in rigs]),
        axes=stacked([r.body_axes[:, None] for r in rigs]),
        head=stacked([r.head for r in rigs]),
        head_at=stacked([r.head_at[:, None] for r in rigs]),
        head_radius=stacked([[r.head_radius] for r in rigs]),
        eye=stacked([[[v] for v in (*r.eye_at, r.eye_radius)] for r in rigs]),
        wings=stacked([r.wings for r in rigs]),
        wing_size=stacked([r.wing_size for r in rigs]),
        colours=stacked([[s.colours[slot] for slot in COLOUR_SLOTS] for s in specs]),
        flags=stacked(flags),
        place=stacked([s.noise for s in specs]),
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


def lay_head(layers: Paint, skin: Skin, p: Tensor, d: Tensor, wide: Tensor) -> None:
    """Face, crown, throat, the stripe through the eye and the ring round it."""
    flag, tone = skin.flag, skin.tone
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


def eye_colour(skin: Skin, n: Tensor) -> Tensor:
    """A dark eye, or a golden one with a pupil for the hunters."""
    face = torch.bmm(skin.head, n)
    axis = skin.eye[:, :3] / skin.eye[:, :3].norm(dim=1, keepdim=True)
    out = torch.stack((face[:, 0], face[:, 1], face[:, 2].abs()), 1)
    centre = (out * (axis + torch.tensor([0.25, 0.0, 0.0], device=n.device).view(1, 3, 1))).sum(1)
    pupil = smoothstep(0.86, 0.92, centre)
    gold = torch.tensor([0.85, 0.46, 0.03], device=n.device).view(1, 3, 1)
    pale = skin.flag["pale_eye"].unsqueeze(-1)
    iris = pale * gold + (1 - pale) * 0.02
    return iris * (1 - pupil).unsqueeze(1) + 0.008


_KINDS = {"beak": "beak", "mandible": "beak", "eye": "eye", "leg": "legs", "toe": "legs"}
_KINDS |= {"crest": "crown", "tail": "tail", "perch": "perch"}
"""How the names of a part's slots begin, and the part; all others are of the wing."""
_CRISP = tuple(
    PART[next((kind for start, kind in _KINDS.items() if slot.startswith(start)), "wing")]
    for slot in SLOTS[SOFT:]
)


def _cells(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Brick-laid cells of a coat: place u, v in the cell, in [-0.5, 0.5], and its random number."""
    row = u.floor()
    shifted = v + 0.5 * row.remainder(2.0)
    column = shifted.floor()
    return u - row - 0.5, shifted - column - 0.5, fraction(row * 12.9898 + column * 78.233)


def paint(skin: Skin, p: Tensor, n: Tensor, d: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colour points of the bird's surface.

    p, n: points and normals (b, 3, n); d, t: primitive distances and axis positions (b, slots, n).
    Returns albedo (b, 3, n), part (b, n) int64, gloss (b, n) in [0, 1].
    """
    tone = skin.tone
    soft = d[:, :SOFT].amin(1)
    hard, which = d[:, SOFT:].min(1)
    kind = torch.tensor(_CRISP, device=p.device)[which]
    on_body = soft < hard + 0.006

    q = torch.bmm(skin.body, p) / skin.axes
    nb = torch.bmm(skin.body, n)
    place = skin.place
    wide = noise(q[:, 0] * 5 + 90 * place[:, :1], q[:, 1] * 5 + q[:, 2] * 4 + 50 * place[:, 1:2])
    fine = noise(q[:, 0] * 9 + q[:, 1] * 3, q[:, 2] * 34 + q[:, 1] * 30)  # stretched along the body: barbs
    rough = wide[:, 0] - 0.5

    angle = torch.atan2(q[:, 2], q[:, 1])
    cu, cv, chance = _cells(q[:, 0] * 8.0, angle * 3.6)
    coat = smoothstep(0.75, 0.30, (cu * cu + cv * cv * 0.9).sqrt()) * 0.5 + smoothstep(-0.5, 0.4, cu) * 0.5
    layers = Paint(tone["back"].expand_as(p).clone(), torch.full_like(kind, PART["back"]))

    qy = q[:, 1].clamp(-0.8, 0.8)
    upper = 0.60 * qy + 0.42 * nb[:, 1] - 0.62 * nb[:, 0].clamp_min(0.0) + 0.10 * rough
    under = smoothstep(0.10, -0.06, upper)
    layers.lay(under, tone["belly"], PART["belly"])
    front = smoothstep(-0.14, 0.10, q[:, 0] + 0.18 * rough - 0.10 * q[:, 1])
    layers.lay(under * front, tone["breast"], PART["breast"])
    _pattern(layers, skin, q, angle, under * smoothstep(-0.85, -0.5, q[:, 0]), rough)
    lay_head(layers, skin, p, d, wide)

    shade = 0.83 + 0.14 * coat + 0.09 * (chance - 0.5) + 0.36 * (fine[:, 1] - 0.5)
    layers.colour = layers.colour * shade.unsqueeze(1)

    # What is crisp lies over the coat.
    crisp = ("wing", "tail", "crown", "beak", "legs", "perch", "eye")
    mask = {name: (~on_body & (kind == PART[name])).to(p.dtype) for name in crisp}
    wing_colour, wing_part = _wing(skin, p, which, t)
    first, tip = SLOTS.index("tail0"), t[:, SLOTS.index("beak")]
    along_tail = t[:, first : first + 3].amax(1)
    barbs = smoothstep(-0.6, 0.6, (q[:, 2] * 42.0).sin())
    lines = 0.80 + 0.20 * barbs - 0.18 * along_tail + 0.2 * (fine[:, 2] - 0.5)
    rings = 0.85 + 0.15 * (p[:, 1] * 60).sin()
    colours = {
        "wing": wing_colour,
        "tail": tone["tail"] * lines.unsqueeze(1),
        "crown": tone["crown"] * (0.82 + 0.3 * fine[:, 3]).unsqueeze(1),
        "beak": tone["beak_color"] * (1.05 - 0.30 * tip * tip).unsqueeze(1),
        "legs": tone["legs"] * rings.unsqueeze(1),
        "perch": _perch(skin, p, n),
        "eye": eye_colour(skin, n),
    }
    for name, colour in colours.items():
        layers.lay(mask[name], colour, PART[name])
    part = torch.where(mask["wing"] > 0.5, wing_part, layers.part)
    gloss = mask["eye"] + 0.35 * mask["beak"] + 0.12 * mask["legs"]
    return layers.colour.clamp(0.0, 1.0), part, gloss


def _pattern(layers: Paint, skin: Skin, q: Tensor, angle: Tensor, where: Tensor, rough: Tensor) -> None:
    """Streaks, spots or bars on the under side, dark on pale plumage and pale on dark."""
    flag = skin.flag
    value = skin.tone["breast"].mean(1, keepdim=True)
    dark = torch.tensor([0.045, 0.026, 0.016], device=q.device).view(1, 3, 1)
    pale = torch.tensor([0.80, 0.72, 0.56], device=q.device).view(1, 3, 1)
    ink = torch.where(value > 0.14, dark, pale)
    u, v, chance = _cells(q[:, 0] * 3.4, angle * 2.7 + 0.3 * rough)
    streak = smoothstep(0.20, 0.12, v.abs() + 0.34 * (u - 0.05).abs().pow(2) + 0.05 * rough) * (chance > 0.12)
    us, vs, chance_s = _cells(q[:, 0] * 4.4, angle * 3.0)
    spot = smoothstep(0.32, 0.22, (us * us + vs * vs * 1.1).sqrt() + 0.06 * rough) * (chance_s > 0.10)
    bar = smoothstep(0.15, 0.45, (q[:, 0] * 15.0 + 2.2 * rough + 0.6 * (angle * 5).sin()).sin())
    mask = where * (flag["streaked"] * streak + flag["spotted"] * spot + flag["barred"] * bar)
    layers.lay(0.92 * mask, ink)


def _wing(skin: Skin, p: Tensor, which: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Wing colour and part: rows of coverts, long flight feathers, bars, darker tips."""
    per = len(WING)
    first = SLOTS.index("coverts-") - SOFT
    side = ((which - first) >= per).long()  # (b, n)
    number = (which - first).remainder(per)
    frames = skin.wings  # (b, 2, 3, 3)
    offset = p.unsqueeze(1) - frames[:, :, 2, :, None]  # (b, 2, 3, n)
    s2 = (offset * frames[:, :, 0, :, None]).sum(2) / skin.wing_size[:, :, :1]
    c2 = (offset * frames[:, :, 1, :, None]).sum(2) / skin.wing_size[:, :, 1:]
    s = torch.where(side == 1, s2[:, 1], s2[:, 0])
    c = torch.where(side == 1, c2[:, 1], c2[:, 0])
    flag, tone = skin.flag, skin.tone
    fly = flag["flying"]

    u, v, chance = _cells(fly * c * 7.0 + (1 - fly) * s * 11.0, fly * s * 15.0 + (1 - fly) * c * 5.5)
    coat = 0.68 + 0.34 * smoothstep(0.62, 0.25, (u * u + v * v).sqrt()) + 0.14 * (chance - 0.5)
    vane = fly * s * 22.0 + (1 - fly) * (c * 9.0 + s * 2.0)
    edge = vane.remainder(1.0)
    flight = (
        0.66
        + 0.36 * smoothstep(0.0, 0.30, edge) * smoothstep(1.0, 0.85, edge)
        + 0.10 * (fraction(vane.floor()) - 0.5)
    )
    cover = torch.maximum((number == 0).to(p.dtype), smoothstep(0.48, 0.36, c) * fly)
    shade = cover * coat + (1 - cover) * flight
    far = t[:, SOFT:].gather(1, which.unsqueeze(1)).squeeze(1)
    tip = (number >= 2).to(p.dtype) * smoothstep(0.55, 1.0, far)
    shade = shade * (1.0 - 0.38 * tip)
    colour = tone["wing"] * shade.unsqueeze(1)

    wobble = 0.012 * (c * 26).sin()
    upper = smoothstep(0.040, 0.026, (s - 0.33 - 0.10 * (c - 0.5) + wobble).abs())
    lower = smoothstep(0.036, 0.024, (s - 0.49 - 0.08 * (c - 0.5) + wobble).abs())
    folded = torch.maximum(upper, lower) * (number <= 1)
    spread = (
        smoothstep(0.075, 0.055, (c - 0.46 + wobble).abs())
        * smoothstep(0.62, 0.55, s)
        * smoothstep(-0.02, 0.05, s)
    )
    bars = flag["wing_bars"] * (fly * spread + (1 - fly) * folded)
    colour = colour + bars.unsqueeze(1) * (tone["wing_bars"] * 0.95 - colour)
    return colour, torch.where(bars > 0.5, PART["wing_bars"], torch.full_like(which, PART["wing"]))


def _perch(skin: Skin, p: Tensor, n: Tensor) -> Tensor:
    """Bark, stone, and snow on top of either in winter."""
    flag = skin.flag
    far = noise(p[:, 0] * 7 + p[:, 2] * 5 + 40 * skin.place[:, 2:3], p[:, 1] * 5)
    near = noise(p[:, 0] * 21 + p[:, 2] * 17, p[:, 1] * (9.0 + 8 * math.sqrt(2)) + 4 * far[:, 1])
    grain = 0.45 * far[:, 0] + 0.55 * near[:, 0]
    device = p.device
    bark = torch.tensor([0.20, 0.135, 0.085], device=device).view(1, 3, 1) * (0.4 + 1.3 * grain).unsqueeze(1)
    stone = torch.tensor([0.27, 0.26, 0.25], device=device).view(1, 3, 1) * (0.5 + 1.0 * grain).unsqueeze(1)
    moss = smoothstep(0.62, 0.78, far[:, 2] + 0.25 * n[:, 1] - 0.1).unsqueeze(1) * 0.6
    green = torch.tensor([0.12, 0.17, 0.03], device=device).view(1, 3, 1)
    base = flag["rock"].unsqueeze(-1) * stone + (1 - flag["rock"].unsqueeze(-1)) * bark
    base = base + moss * (green - base)
    snow = (flag["snow"] * smoothstep(0.25, 0.5, n[:, 1] + 0.5 * (far[:, 3] - 0.5))).unsqueeze(1)
    return base + snow * (0.85 - base)
