"""What colour a point of a bird has: regions in the bird's own frame, feathers and markings on them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memdriven.aviary.raymarch import SLOTS, SOFT, WING, Rig, column, fraction, noise, smoothstep, tensor
from memdriven.aviary.species import COLOUR_SLOTS, BirdSpec
from memdriven.aviary.world import PLANS, TABLES

PARTS: tuple[str, ...] = TABLES["parts"]
"""Names of the values in a part map."""
PART = {name: i for i, name in enumerate(PARTS)}


class Skin:
    """A bird's frames and colours, beside its `Primitives`."""

    def __init__(self, spec: BirdSpec, rig: Rig) -> None:
        self.attributes = spec.attributes
        self.body, self.axes = tensor(rig.body), column(rig.body_axes)
        """World -> body (3, 3); half-axes (3, 1)."""
        self.head, self.head_at = tensor(rig.head), column(rig.head_at)
        self.head_radius, self.eye_radius = tensor(rig.head_radius), tensor(rig.eye_radius)
        self.eye_at = tensor(rig.eye_at)
        """In head radii, z mirrored (3)."""
        self.wings, self.wing_size = tensor(rig.wings), tensor(rig.wing_size)
        self.tone = {slot: column(spec.colours[slot]) for slot in COLOUR_SLOTS}
        """Colours by part (3, 1)."""
        self.place = tensor(spec.noise)
        """Where noise is read (8)."""
        self.flying = spec.attributes["pose"] == "flying"
        self.face = PLANS[spec.attributes["body_plan"]].face > 0
        """Whether it has the flat face of an owl."""


@dataclass
class Paint:
    """Colour (3, n) and part (n) being laid on in layers; later layers cover earlier ones."""

    colour: Tensor
    part: Tensor

    def lay(self, mask: Tensor, colour: Tensor | float, part: str = "") -> None:
        """Cover by mask (n) in [0, 1] with colour (3, 1 or n)."""
        self.colour = self.colour + mask * (colour - self.colour)
        if part:
            self.part = torch.where(mask > 0.5, PART[part], self.part)


def lay_head(layers: Paint, skin: Skin, p: Tensor, d: Tensor, wide: Tensor) -> None:
    """Face, crown, throat, the stripe through the eye and the ring round it."""
    tone = skin.tone
    x, y, z = skin.head @ (p - skin.head_at) / skin.head_radius
    rough = wide[1] - 0.5
    near_body = d[:3].amin(0)
    near_head = d[5:7].amin(0)
    # Down a long neck the head's colour ends half way; a short one has its border at the collar.
    on_head = smoothstep(-0.10, 0.06, near_body - near_head + 0.10 * rough - 0.02)
    layers.lay(on_head, tone["head"], "head")
    low = y + 0.22 * rough
    throat = smoothstep(-0.20, -0.36, low - 0.30 * x.clamp(0.0, 0.6)) * smoothstep(-0.35, 0.0, x)
    collar = smoothstep(-0.16, 0.04, near_body - near_head)
    layers.lay(torch.minimum(throat, collar), tone["throat"], "throat")
    slope = 0.0 if skin.face else 0.16 * x.clamp(-1.0, 0.6)
    top = smoothstep(0.34, 0.46, y + 0.10 * rough - slope)
    layers.lay(on_head * top, tone["crown"], "crown")

    ex, ey, ez = skin.eye_at
    if skin.attributes["eye_stripe"] != "none":
        band = smoothstep(0.15, 0.10, (y - ey + 0.06 * (x - ex)).abs()) * smoothstep(-0.75, -0.5, x)
        layers.lay(band * on_head, tone["eye_stripe"], "eye_stripe")
    to_eye = ((x - ex).square() + (y - ey).square() + (z.abs() - ez).square()).sqrt() / skin.eye_radius
    if skin.face:
        disc = smoothstep(0.12, 0.30, x) * on_head
        rim = smoothstep(0.70, 0.80, (y.square() + z.square()).sqrt()) * disc
        layers.lay(disc * 0.75, layers.colour * (0.80 + 0.25 * (to_eye * 3.5 + 6 * wide[2]).sin()))
        layers.lay(rim * 0.6, layers.colour * 0.25)
    if skin.attributes["eye_ring"] != "none":
        layers.lay(smoothstep(1.95, 1.75, to_eye), tone["eye_ring"], "eye_ring")
    layers.lay(0.85 * smoothstep(1.30, 1.16, to_eye), 0.012, "eye")


def eye_colour(skin: Skin, n: Tensor) -> Tensor:
    """A dark eye, or a golden one with a pupil for the hunters."""
    x, y, z = skin.head @ n
    axis = skin.eye_at / skin.eye_at.norm() + tensor((0.25, 0.0, 0.0))
    centre = (torch.stack((x, y, z.abs())) * axis[:, None]).sum(0)
    pupil = smoothstep(0.86, 0.92, centre)
    hunter = skin.attributes["body_plan"] in ("owl", "hawk", "gull", "heron")
    iris = column((0.85, 0.46, 0.03) if hunter else (0.02, 0.02, 0.02))
    return iris * (1 - pupil) + 0.008


_CRISP = tuple(PART[part] for part in TABLES["slots"].values() if part)
"""The parts of the crisp slots."""


def _cells(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Brick-laid cells of a coat: place u, v in the cell, in [-0.5, 0.5], and its random number."""
    row = u.floor()
    v = v + 0.5 * row.remainder(2.0)
    place = v.floor()
    return u - row - 0.5, v - place - 0.5, fraction(row * 12.9898 + place * 78.233)


def paint(skin: Skin, p: Tensor, n: Tensor, d: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colour points of the bird's surface.

    p, n: points and normals (3, n); d, t: primitive distances and axis positions (slots, n). Returns
    albedo (3, n), part (n) int64, gloss (n) in [0, 1].
    """
    tone = skin.tone
    soft = d[:SOFT].amin(0)
    hard, which = d[SOFT:].min(0)
    kind = torch.tensor(_CRISP)[which]
    on_body = soft < hard + 0.006

    q = skin.body @ p / skin.axes
    nb = skin.body @ n
    place = skin.place
    wide = noise(q[0] * 5 + 90 * place[0], q[1] * 5 + q[2] * 4 + 50 * place[1])
    fine = noise(q[0] * 9 + q[1] * 3, q[2] * 34 + q[1] * 30)  # stretched along the body: barbs
    rough = wide[0] - 0.5

    angle = torch.atan2(q[2], q[1])
    cu, cv, chance = _cells(q[0] * 8.0, angle * 3.6)
    coat = smoothstep(0.75, 0.30, (cu * cu + cv * cv * 0.9).sqrt()) * 0.5 + smoothstep(-0.5, 0.4, cu) * 0.5
    layers = Paint(tone["back"].expand_as(p).clone(), torch.full_like(kind, PART["back"]))

    upper = 0.60 * q[1].clamp(-0.8, 0.8) + 0.42 * nb[1] - 0.62 * nb[0].clamp_min(0.0) + 0.10 * rough
    under = smoothstep(0.10, -0.06, upper)
    layers.lay(under, tone["belly"], "belly")
    front = smoothstep(-0.14, 0.10, q[0] + 0.18 * rough - 0.10 * q[1])
    layers.lay(under * front, tone["breast"], "breast")
    if skin.attributes["pattern"] != "plain":
        _lay_pattern(layers, skin, q, angle, under * smoothstep(-0.85, -0.5, q[0]), rough)
    lay_head(layers, skin, p, d, wide)

    layers.colour = layers.colour * (0.83 + 0.14 * coat + 0.09 * (chance - 0.5) + 0.36 * (fine[1] - 0.5))

    # What is crisp lies over the coat.
    crisp = ("wing", "tail", "crown", "beak", "legs", "perch", "eye")
    mask = {name: (~on_body & (kind == PART[name])).to(p.dtype) for name in crisp}
    wing_colour, wing_part = _wing(skin, p, which, t)
    first, tip = SLOTS.index("tail0"), t[SLOTS.index("beak")]
    barbs = smoothstep(-0.6, 0.6, (q[2] * 42.0).sin())
    lines = 0.80 + 0.20 * barbs - 0.18 * t[first : first + 3].amax(0) + 0.2 * (fine[2] - 0.5)
    colours = {
        "wing": wing_colour,
        "tail": tone["tail"] * lines,
        "crown": tone["crown"] * (0.82 + 0.3 * fine[3]),
        "beak": tone["beak_color"] * (1.05 - 0.30 * tip * tip),
        "legs": tone["legs"] * (0.85 + 0.15 * (p[1] * 60).sin()),
        "perch": _perch(skin, p, n),
        "eye": eye_colour(skin, n),
    }
    for name, colour in colours.items():
        layers.lay(mask[name], colour, name)
    part = torch.where(mask["wing"] > 0.5, wing_part, layers.part)
    gloss = mask["eye"] + 0.35 * mask["beak"] + 0.12 * mask["legs"]
    return layers.colour.clamp(0.0, 1.0), part, gloss


def _lay_pattern(layers: Paint, skin: Skin, q: Tensor, angle: Tensor, where: Tensor, rough: Tensor) -> None:
    """Streaks, spots or bars on the under side, dark on pale plumage and pale on dark."""
    pale_bird = skin.tone["breast"].mean() > 0.14
    ink = column((0.045, 0.026, 0.016) if pale_bird else (0.80, 0.72, 0.56))
    if skin.attributes["pattern"] == "streaked":
        u, v, chance = _cells(q[0] * 3.4, angle * 2.7 + 0.3 * rough)
        width = v.abs() + 0.34 * (u - 0.05).abs().pow(2) + 0.05 * rough
        mask = smoothstep(0.20, 0.12, width) * (chance > 0.12)
    elif skin.attributes["pattern"] == "spotted":
        u, v, chance = _cells(q[0] * 4.4, angle * 3.0)
        mask = smoothstep(0.32, 0.22, (u * u + v * v * 1.1).sqrt() + 0.06 * rough) * (chance > 0.10)
    else:
        wave = (q[0] * 15.0 + 2.2 * rough + 0.6 * (angle * 5).sin()).sin()
        mask = smoothstep(0.15, 0.45, wave)
    layers.lay(0.92 * (where * mask), ink)


def _wing(skin: Skin, p: Tensor, which: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Wing colour and part: rows of coverts, long flight feathers, bars, darker tips."""
    first = SLOTS.index("coverts-") - SOFT
    side = ((which - first) >= len(WING)).long()  # (n)
    number = (which - first).remainder(len(WING))
    along, across, origin = skin.wings.transpose(0, 1)[..., None]  # each (2, 3, 1)
    offset = p - origin  # (2, 3, n)
    s = (offset * along).sum(1) / skin.wing_size[:, :1]
    c = (offset * across).sum(1) / skin.wing_size[:, 1:]
    s, c = torch.where(side == 1, s[1], s[0]), torch.where(side == 1, c[1], c[0])

    tone = skin.tone
    u, v, chance = _cells(c * 7.0, s * 15.0) if skin.flying else _cells(s * 11.0, c * 5.5)
    coat = 0.68 + 0.34 * smoothstep(0.62, 0.25, (u * u + v * v).sqrt()) + 0.14 * (chance - 0.5)
    vane = s * 22.0 if skin.flying else c * 9.0 + s * 2.0
    edge = vane.remainder(1.0)
    ribs = smoothstep(0.0, 0.30, edge) * smoothstep(1.0, 0.85, edge)
    flight = 0.66 + 0.36 * ribs + 0.10 * (fraction(vane.floor()) - 0.5)
    cover = (number == 0).to(p.dtype)
    if skin.flying:
        cover = torch.maximum(cover, smoothstep(0.48, 0.36, c))
    shade = cover * coat + (1 - cover) * flight
    far = t[SOFT:].gather(0, which[None])[0]
    tip = (number >= 2).to(p.dtype) * smoothstep(0.55, 1.0, far)
    colour = tone["wing"] * (shade * (1.0 - 0.38 * tip))
    part = torch.full_like(which, PART["wing"])
    if skin.attributes["wing_bars"] == "none":
        return colour, part

    wobble = 0.012 * (c * 26).sin()
    if skin.flying:
        bars = smoothstep(0.075, 0.055, (c - 0.46 + wobble).abs())
        bars = bars * smoothstep(0.62, 0.55, s) * smoothstep(-0.02, 0.05, s)
    else:
        upper = smoothstep(0.040, 0.026, (s - 0.33 - 0.10 * (c - 0.5) + wobble).abs())
        lower = smoothstep(0.036, 0.024, (s - 0.49 - 0.08 * (c - 0.5) + wobble).abs())
        bars = torch.maximum(upper, lower) * (number <= 1)
    colour = colour + bars * (tone["wing_bars"] * 0.95 - colour)
    return colour, torch.where(bars > 0.5, PART["wing_bars"], part)


def _perch(skin: Skin, p: Tensor, n: Tensor) -> Tensor:
    """Bark, stone, and snow on top of either in winter."""
    far = noise(p[0] * 7 + p[2] * 5 + 40 * skin.place[2], p[1] * 5)
    near = noise(p[0] * 21 + p[2] * 17, p[1] * (9.0 + 8 * math.sqrt(2)) + 4 * far[1])
    grain = 0.45 * far[0] + 0.55 * near[0]
    if skin.attributes["background"] == "rock":
        base = column((0.27, 0.26, 0.25)) * (0.5 + 1.0 * grain)
    else:
        base = column((0.20, 0.135, 0.085)) * (0.4 + 1.3 * grain)
    moss = smoothstep(0.62, 0.78, far[2] + 0.25 * n[1] - 0.1) * 0.6
    base = base + moss * (column((0.12, 0.17, 0.03)) - base)
    if skin.attributes["background"] == "snow":
        base = base + smoothstep(0.25, 0.5, n[1] + 0.5 * (far[3] - 0.5)) * (0.85 - base)
    return base
