"""Colours of parts by the renderer's own part maps: a judge of Aviary without weights [ours].

The renderer knows where each part of a remembered bird lies; a picture painted from that memory has it in the
same place, cut and mirrored as its noise says. So the mean CIELAB colour in a part is compared with the mean
colours that renders of the training species have there, and the nearest of the fourteen names is what the
picture shows. No network is asked, so its errors are not those of the attribute judge or of the model's own
readers. What it cannot see is whether the part still looks like one.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache

import torch
from torch import Tensor

from memdriven.aviary.plumage import PART
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import COLOURS, PLUMAGE, all_species, sample_bird
from memdriven.encoders.image import resized
from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Context
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import REAL, Row
from memdriven.models.noise import apply_view, draw_noise

SIDE = 64
"""Side in px at which pictures and part maps are looked at."""
LEAST = 12
"""A part of fewer pixels than this is not judged."""
RENDERS = 400
"""Sightings of training species whose parts give the mean colours; their seed is no data set's."""
SEED = 97
SHRINK = 3.0
"""A part's mean of a colour is drawn towards that colour's mean over all parts by so many sightings."""
_ID = re.compile(r"aviary-(\d+)-(\d+)")


def lab(images: Tensor) -> Tensor:
    """Return CIELAB (D65) of sRGB images (..., 3, h, w) in [0, 1], as float64 (..., h, w, 3)."""
    rgb = images.double().movedim(-3, -1)
    light = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = rgb.new_tensor(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = light @ (to_xyz / to_xyz.sum(dim=1, keepdim=True)).T
    cube = torch.where(xyz > 216 / 24389, xyz.clamp_min(1e-9) ** (1 / 3), (24389 / 27 * xyz + 16) / 116)
    x, y, z = cube.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def part_means(images: Tensor, masks: Tensor) -> Tensor:
    """Return the mean colour of each part, (n, 8, 3); NaN where it has too few pixels.

    Args:
        images: (n, 3, h, w) in [0, 1].
        masks: bool (n, 8, h, w), in the order of `PLUMAGE`.
    """
    count = masks.sum(dim=(2, 3))  # (n, 8)
    total = torch.einsum("nphw,nhwc->npc", masks.double(), lab(images))
    return torch.where((count >= LEAST)[..., None], total / count.clamp_min(1)[..., None], torch.nan)


def _masks(parts: Tensor) -> Tensor:
    """Return part maps (n, h, w) as bool masks (n, 8, h, w)."""
    return torch.stack([parts == PART[name] for name in PLUMAGE], dim=1)


@cache
def mean_colours() -> Tensor:
    """Return the mean colour of each named colour in each part, (8, 14, 3), over training species."""
    rng = random.Random(SEED)
    known = [species.id for species in all_species() if species.split == "train"]
    specs = [sample_bird(rng.choice(known), rng.randrange(1000), SEED) for _ in range(RENDERS)]
    pictures, parts = render_birds(specs, SIDE)
    means = part_means(pictures.float() / 255, _masks(parts))  # (n, 8, 3)
    named = torch.tensor([[COLOURS.index(spec.attributes[part]) for part in PLUMAGE] for spec in specs])
    table = torch.zeros(len(PLUMAGE), len(COLOURS), 3, dtype=torch.float64)
    for colour in range(len(COLOURS)):
        chosen = (named == colour) & ~means.isnan().any(dim=2)  # (n, 8)
        overall = means[chosen].mean(dim=0)
        for part in range(len(PLUMAGE)):
            own = means[chosen[:, part], part]
            table[part, colour] = (own.sum(dim=0) + SHRINK * overall) / (len(own) + SHRINK)
    return table


@lru_cache(maxsize=8192)
def _part_map(species: int, index: int, seed: int) -> Tensor:
    """Return where a sighting's parts lie, bool (8, h, w)."""
    return _masks(render_birds([sample_bird(species, index, seed)], SIDE)[1])[0]


def shown_colours(images: Tensor, masks: Tensor) -> list[dict[str, str]]:
    """Return for each uint8 image (n, 3, h, w) its parts' colours by name, of the parts that can be seen."""
    means = part_means(resized(images.float() / 255, SIDE), masks)
    names = (means[:, :, None] - mean_colours()).norm(dim=3).argmin(dim=2)  # (n, 8)
    return [
        {part: COLOURS[int(name)] for part, name, mean in zip(PLUMAGE, row, seen) if not mean.isnan().any()}
        for row, seen in zip(names, means)
    ]


def measure_part_colours(context: Context, row: Row) -> list[Measurement]:
    """Share of the caption's named colours that the remembered bird's parts have in the picture.

    Nothing is returned for a row without references.

    Raises:
        EvaluationError: the memory is not of Aviary.
    """
    own = [prompt.item.id for prompt in context.prompts]
    references: Sequence[str | None] = own if row.name in (REAL, "oracle") else row.drew_on or []
    right, count = Counter[str](), Counter[str]()
    for i, reference in enumerate(references):
        found = _ID.fullmatch(reference or "")
        if found is None or context.dataset.name != "aviary":
            raise EvaluationError(
                "references from Aviary, whose parts the renderer knows",
                f"{reference!r} of data set {context.dataset.name!r}",
                "leave the measure out",
            )
        named = context.prompts[i].named
        wanted = named.keys() & set(PLUMAGE)
        if not wanted:
            continue
        masks = _part_map(int(found[1]), int(found[2]), int(context.dataset.header.get("seed") or 0))[None]
        if row.seeds is not None:
            masks = apply_view(draw_noise(row.seeds[i], context.checkpoint.generator), masks.float()) > 0.5
        (colours,) = shown_colours(row.images[i : i + 1], masks)
        for part in wanted & colours.keys():
            right[part] += colours[part] == named[part]
            count[part] += 1
    if not count:
        return []
    protocol = (
        f"mean CIELAB colour of the part, by the reference's part map at {SIDE} px; nearest of "
        f"{len(COLOURS)} names; no weights"
    )
    details = {part: {"right": right[part], "count": count[part]} for part in PLUMAGE if count[part]}
    value = right.total() / count.total()
    return [Measurement("part_colours", value, len(row.images), protocol, details)]
