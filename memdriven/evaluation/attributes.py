"""Does a picture show what its caption names, and does it rank that caption above 99 others?

`attributes`: the share of what is named that the judge finds. R-precision (Xu et al. 2018): one true caption
and 99 mismatched ones, of other classes where classes are known, else of other pictures; top-1. With DAMSM as
the judge (the paper's protocol) the judge was also the generator's training loss, so a second judge that the
generator never saw stands beside it: on Aviary the attribute judge.

`part_colours` [ours] asks no network, so its errors are not those of the judge or of the model's own readers.
The renderer knows where each part of a remembered bird lies; a picture painted from that memory has it in the
same place, cut and mirrored as its noise says. The mean CIELAB colour in a part is compared with the mean
colours that renders of the training species have there, and the nearest of the fourteen names is what the
picture shows. What it cannot see is whether the part still looks like one.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.aviary.plumage import PART
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import COLOURS, PLUMAGE, all_species, sample_bird
from memdriven.data.attributes import IGNORED
from memdriven.encoders.image import resized
from memdriven.errors import EvaluationError, require
from memdriven.evaluation.context import Context, Prompt
from memdriven.evaluation.judge import attribute_accuracy, caption_log_odds
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import REAL, Row
from memdriven.models.noise import apply_view, draw_noise
from memdriven.numbers import counted

MISMATCHED = 99
FOLDS = 10
TIE = 1e-6
"""Scores nearer than this are equal."""
PART_SIDE = 64
"""Side in px at which pictures and part maps are looked at."""
LEAST_PIXELS = 12
"""A part of fewer pixels than this is not judged."""
RENDERS = 400
"""Sightings of training species whose parts give the mean colours; their seed is no data set's."""
RENDERS_SEED = 97
SHRINK = 3.0
"""A part's mean of a colour is drawn towards that colour's mean over all parts by so many sightings."""
AVIARY_ID = re.compile(r"aviary-(\d+)-(\d+)")


def mismatched_captions(
    groups: Sequence[Hashable], captions: Sequence[str], *, count: int = MISMATCHED, seed: int = 0
) -> Tensor:
    """Draw, for each caption, others that do not belong to its picture: ids (n, count).

    Captions of the same group (their picture's class, or where classes are unknown the picture itself), or
    of the same words, are never drawn. Drawn without replacement where enough are left.

    Raises:
        EvaluationError: a caption has no mismatched one, or no group.
    """
    found, fix = "neither is known of some", "give the picture's id where it has no class"
    require(None not in groups, EvaluationError, "each caption's class or picture", found, fix)
    rng = np.random.default_rng(seed)
    _, group = np.unique(np.array([str(each) for each in groups]), return_inverse=True)
    _, text = np.unique(np.array(captions), return_inverse=True)
    chosen = np.empty((len(captions), count), dtype=np.int64)
    for i in range(len(captions)):
        allowed = np.flatnonzero((group != group[i]) & (text != text[i]))
        wanted = "captions of at least two pictures, with different words"
        found = f"{counted(len(captions), 'caption')}, none of which can stand against {captions[i]!r}"
        require(len(allowed), EvaluationError, wanted, found, "evaluate over more captions")
        chosen[i] = rng.choice(allowed, count, replace=len(allowed) < count)
    return torch.from_numpy(chosen)


def r_precision(images: Tensor, captions: Tensor, mismatched: Tensor, *, progress: bool = False) -> Tensor:
    """Return which images have a larger product with their own caption than with all others, as 1 or 0 (n,).

    Images and captions are features (n, d), mismatched are the others' ids (n, c). A tie at the top counts
    as what breaking it at random would give on average.
    """
    right = torch.zeros(len(mismatched))
    rows = torch.split(torch.arange(len(mismatched)), 256)
    for ids in tqdm(rows, desc="R-precision", disable=not progress):
        candidates = torch.cat([ids[:, None], mismatched[ids]], dim=1)  # (b, 1 + c)
        scores = torch.einsum("bd,bcd->bc", images[ids], captions[candidates])
        true, others = scores[:, :1], scores[:, 1:]
        beaten = (others > true + TIE).any(dim=1)
        ties = ((others - true).abs() <= TIE).sum(dim=1)
        right[ids] = torch.where(beaten, 0.0, 1.0 / (1 + ties.float()))
    return right


def fold_means(right: Tensor, folds: int = FOLDS) -> Tensor:
    """Return the means of so many folds, or of as many as there are images."""
    return torch.stack([fold.mean() for fold in right.tensor_split(min(folds, len(right)))])


def measure_attributes(context: Context, row: Row) -> list[Measurement]:
    """Share of the caption's named attributes that the judge finds."""
    _naming(context)
    rates, counts = attribute_accuracy(context.judge, row.images, [p.named for p in context.prompts])
    protocol = f"attribute judge trained on renders, at {context.judge.size} px; top value named"
    found = [Measurement(metric, rate, len(row.images), protocol) for metric, rate in rates.items()]
    return [*found[:-1], found[-1]._replace(details=counts)]


@torch.no_grad()
def measure_r_precision(context: Context, row: Row) -> list[Measurement]:
    """R-precision with DAMSM, which the generator trained against: by cos(global image feature, sentence)."""
    damsm = context.checkpoint.damsm
    vgg = None if damsm.pixels is not None else context.vgg
    images = [
        damsm.look(chunk.to(context.device).float() / 255, vgg)[0].global_.float().cpu()
        for chunk in torch.split(row.images, 64)
    ]
    sentences = [
        context.encode([prompt.caption for prompt in context.prompts[start : start + 256]]).sentence
        for start in range(0, len(context.prompts), 256)
    ]
    features = (F.normalize(torch.cat(parts).float().cpu(), dim=1) for parts in (images, sentences))
    return [_measured(context, context.prompts, "r_precision", "DAMSM (also the training loss)", *features)]


def measure_r_precision_judge(context: Context, row: Row) -> list[Measurement]:
    """R-precision with the attribute judge, which the generator never saw."""
    naming = _naming(context)
    prompts = [context.prompts[i] for i in naming]
    odds = caption_log_odds(context.judge, row.images[naming], [prompt.named for prompt in prompts])
    judge = "attribute judge (never trained against)"
    return [_measured(context, prompts, "r_precision_judge", judge, *odds)]


def _naming(context: Context) -> list[int]:
    """Return which captions name what the judge knows: of the others it can say nothing."""
    asked = context.judge.labels([prompt.named for prompt in context.prompts]) != IGNORED
    naming: list[int] = asked.any(dim=1).nonzero().flatten().tolist()
    wanted = f"captions that name attributes which the judge knows: {', '.join(context.judge.names)}"
    fix = "leave the measure out, or train a judge on this data set"
    require(naming, EvaluationError, wanted, f"none among {len(context.prompts)}", fix)
    return naming


def _measured(
    context: Context, prompts: Sequence[Prompt], metric: str, judge: str, images: Tensor, captions: Tensor
) -> Measurement:
    classes = [prompt.item.class_id for prompt in prompts]
    by_class = None not in classes and len(set(classes)) > 1
    groups = classes if by_class else [prompt.item.id for prompt in prompts]
    mismatched = mismatched_captions(groups, [prompt.caption for prompt in prompts], seed=context.seed)
    right = r_precision(images, captions, mismatched, progress=context.progress)
    folds = fold_means(right)
    distinct = min(len(set(chosen)) for chosen in mismatched.tolist())
    others = f"{MISMATCHED} captions of other {'classes' if by_class else 'pictures'}"
    if distinct < MISMATCHED:
        others += f" (only {distinct} different ones, which makes it easier)"
    details = {"std": round(100 * float(folds.std()), 3), "folds": len(folds)} if len(folds) > 1 else {}
    protocol = f"{judge}; 1 true + {others}, top-1, %"
    return Measurement(metric, 100 * float(right.mean()), len(prompts), protocol, details)


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
    """Return the mean colour of each part, (n, 8, 3), NaN where it has too few pixels.

    Images are (n, 3, h, w) in [0, 1], masks bool (n, 8, h, w) in the order of `PLUMAGE`.
    """
    count = masks.sum(dim=(2, 3))  # (n, 8)
    total = torch.einsum("nphw,nhwc->npc", masks.double(), lab(images))
    return torch.where((count >= LEAST_PIXELS)[..., None], total / count.clamp_min(1)[..., None], torch.nan)


def _masks(parts: Tensor) -> Tensor:
    """Return part maps (n, h, w) as bool masks (n, 8, h, w)."""
    return torch.stack([parts == PART[name] for name in PLUMAGE], dim=1)


@cache
def mean_colours() -> Tensor:
    """Return the mean colour of each named colour in each part, (8, 14, 3), over training species."""
    rng = random.Random(RENDERS_SEED)
    known = [species.id for species in all_species() if species.split == "train"]
    specs = [sample_bird(rng.choice(known), rng.randrange(1000), RENDERS_SEED) for _ in range(RENDERS)]
    pictures, parts = render_birds(specs, PART_SIDE)
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
    return _masks(render_birds([sample_bird(species, index, seed)], PART_SIDE)[1])[0]


def shown_colours(images: Tensor, masks: Tensor) -> list[dict[str, str]]:
    """Return for each uint8 image (n, 3, h, w) its parts' colours by name, of the parts that can be seen."""
    means = part_means(resized(images.float() / 255, PART_SIDE), masks)
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
    seed = int(context.dataset.header.get("seed") or 0)
    right, count = Counter[str](), Counter[str]()
    for i, (prompt, reference) in enumerate(zip(context.prompts, references)):
        sighting = AVIARY_ID.fullmatch(reference or "") if context.dataset.name == "aviary" else None
        if sighting is None:
            wanted = "references from Aviary, whose parts the renderer knows"
            found = f"{reference!r} of data set {context.dataset.name!r}"
            raise EvaluationError(wanted, found, "leave the measure out")
        parts = prompt.named.keys() & set(PLUMAGE)
        if not parts:
            continue
        masks = _part_map(int(sighting[1]), int(sighting[2]), seed)[None]
        if row.seeds is not None:
            masks = apply_view(draw_noise(row.seeds[i], context.checkpoint.generator), masks.float()) > 0.5
        (colours,) = shown_colours(row.images[i : i + 1], masks)
        for part in parts & colours.keys():
            right[part] += colours[part] == prompt.named[part]
            count[part] += 1
    if not count:
        return []
    protocol = (
        f"mean CIELAB colour of the part, by the reference's part map at {PART_SIDE} px; nearest of "
        f"{len(COLOURS)} names; no weights"
    )
    details = {part: {"right": right[part], "count": count[part]} for part in PLUMAGE if count[part]}
    value = right.total() / count.total()
    return [Measurement("part_colours", value, len(row.images), protocol, details)]
