"""Does a picture show what its caption names: attributes, colours of parts, objects?

`attributes`: the share of what is named that the judge finds.

`part_colours` [ours] asks no network, so its errors are not those of the judge or of the model's own readers.
The renderer knows where each part of a remembered bird lies; a picture painted from that memory has it in the
same place, cut and mirrored as its noise says. The mean CIELAB colour in a part is compared with the mean
colours that renders of the training species have there, and the nearest of the fourteen names is what the
picture shows. What it cannot see is whether the part still looks like one.

`soa`, semantic object accuracy (Hinz et al. 2020): for captions that name one of the detector's classes,
three images each are generated; an image counts when the detector finds the class at all. SOA-C is the mean
over classes, SOA-I over images. The published numbers used YOLOv3 at 0.5; here torchvision's detectors stand
in, so the detector is part of the protocol's name.
"""

import functools
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from memdriven.aviary.plumage import PART
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import COLOURS, PLUMAGE, all_species, sample_bird
from memdriven.data.vocabulary import IGNORED
from memdriven.encoders.image import resized
from memdriven.encoders.weights import read_weights
from memdriven.errors import EvaluationError, explained, require
from memdriven.evaluation.context import Context
from memdriven.evaluation.judge import attribute_accuracy
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import IMAGES, REAL, Row, make_row
from memdriven.models.noise import apply_view, draw_noise

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
IMAGES_PER_CAPTION = 3
THRESHOLD = 0.5

Detector = Callable[[Tensor], list[set[str]]]
"""Float images (b, 3, h, w) in [0, 1] to the class names found in each."""

_WORDS = json.loads(Path(__file__).with_name("soa.json").read_bytes())
COCO_WORDS: dict[str, list[str]] = _WORDS["words"]
"""Words of captions that stand for a class, beside its own name and plural [ours]."""
FALSE_FRIENDS: list[str] = _WORDS["false_friends"]
"""Phrases that hold a class's word and mean something else [ours]."""
THINGS, NO_NOUNS = _WORDS["things"], _WORDS["no_nouns"]
"""Colours' words that are also things, and what may follow them where they are the thing [ours]."""


def measure_attributes(context: Context, row: Row) -> list[Measurement]:
    """Share of the caption's named attributes that the judge finds."""
    naming(context)
    rates, counts = attribute_accuracy(context.judge, row.images, [p.named for p in context.prompts])
    protocol = f"attribute judge trained on renders, at {context.judge.size} px; top value named"
    found = [Measurement(metric, rate, len(row.images), protocol) for metric, rate in rates.items()]
    return [*found[:-1], replace(found[-1], details=counts)]


def naming(context: Context) -> list[int]:
    """Return which captions name what the judge knows: of the others it can say nothing."""
    asked = context.judge.labels([prompt.named for prompt in context.prompts]) != IGNORED
    found: list[int] = asked.any(dim=1).nonzero().flatten().tolist()
    wanted = f"captions that name attributes which the judge knows: {', '.join(context.judge.attributes)}"
    fix = "leave the measure out, or train a judge on this data set"
    require(found, EvaluationError, wanted, f"none among {len(context.prompts)}", fix)
    return found


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


@functools.cache
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


@functools.lru_cache(maxsize=8192)
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

    Nothing is returned for a row without references; an EvaluationError says that the memory is not Aviary's.
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
            view = draw_noise(row.seeds[i], context.checkpoint.generator).view
            masks = apply_view(masks.float(), view) > 0.5
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


def named_classes(caption: str, classes: Sequence[str]) -> set[str]:
    """Return the classes that a caption names, singular or plural, by name or by `COCO_WORDS`.

    Longer names come first and use their words up: a hot dog is no dog. A colour that is also a
    thing (`THINGS`) counts where no noun follows it.
    """
    text = " " + " ".join(re.findall(r"\w+", caption.lower())) + " "
    words = dict.fromkeys(FALSE_FRIENDS, "")
    words |= {word: name for name in classes for word in (name.lower(), *COCO_WORDS.get(name, ()))}
    forms = [(form, name) for word, name in words.items() for form in (word, _plural(word))]
    found = set()
    for form, name in sorted(forms, key=lambda pair: -len(pair[0])):
        behind = rf" (?=$|(?:{'|'.join(NO_NOUNS)}) )" if form in THINGS else " "
        text, count = re.subn(rf" {re.escape(form)}{behind}", " , ", text)
        if count and name:
            found.add(name)
    return found


def _plural(word: str) -> str:
    if word.endswith(("s", "sh", "ch", "x")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word[:-2] + "ves" if word.endswith("fe") else word + "s"


def soa(
    images: Tensor, named: Sequence[set[str]], detector: Detector, *, batch: int = 16
) -> dict[str, tuple[int, int]]:
    """Return in how many images, uint8 (n, 3, h, w), each class is found, and how many captions name it.

    An EvaluationError says that no caption names a class.
    """
    keep = [i for i, classes in enumerate(named) if classes]
    fix = "use captions of everyday objects, e.g. COCO's"
    require(keep, EvaluationError, "captions that name a class of the detector", "none", fix)
    found, count = Counter[str](), Counter[str]()
    for start in range(0, len(keep), batch):
        chosen = keep[start : start + batch]
        for i, present in zip(chosen, detector(images[chosen].float() / 255), strict=True):
            found.update(named[i] & present)
            count.update(named[i])
    return {name: (found[name], count[name]) for name in sorted(count)}


@functools.lru_cache(maxsize=1)  # once for all rows
def torchvision_detector(weights: Path | None = None, device: str = "cpu") -> tuple[Detector, list[str]]:
    """Return Faster R-CNN (ResNet-50 FPN v2) as a detector, and the names of its 80 classes.

    `weights` is a local state dict in torchvision's layout; None downloads torchvision's. A CheckpointError
    or an EvaluationError says that they are neither here nor to be had.
    """
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_V2_Weights, fasterrcnn_resnet50_fpn_v2

    source = FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1
    categories: list[str] = list(source.meta["categories"])
    wanted = f"a detector's weights ({weights or 'torchvision download'})"
    fix = "give torchvision's fasterrcnn_resnet50_fpn_v2 file by --detector"
    with explained(EvaluationError, wanted, fix, Exception):
        state = read_weights(weights) if weights else source.get_state_dict(progress=True, check_hash=True)
        network = fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
        network.load_state_dict(state)
    network = network.to(device).eval()

    @torch.no_grad()
    def detect(images: Tensor) -> list[set[str]]:
        return [
            {categories[int(label)] for label in one["labels"][one["scores"] >= THRESHOLD]}
            for one in network(list(images.to(device)))
        ]

    return detect, [name for name in categories if name not in ("__background__", "N/A")]


def measure_soa(context: Context, row: Row) -> list[Measurement]:
    """SOA-C and SOA-I (in %): three images a caption where they are generated, else one."""
    detector, classes = torchvision_detector(context.protocol.detector, context.device)
    named = [named_classes(prompt.caption, classes) for prompt in context.prompts]
    images, times = row.images, 1
    if row.name not in IMAGES:
        times = IMAGES_PER_CAPTION
        naming = [prompt for prompt, found in zip(context.prompts, named, strict=True) if found]
        named = [found for found in named if found for _ in range(times)]
        repeated = [prompt for prompt in naming for _ in range(times)]
        images = make_row(context, row.name, repeated, f"{row.name}-soa").images
    counts = soa(images, named, detector)
    right, count = map(sum, zip(*counts.values(), strict=True))
    by_class = sum(hit / total for hit, total in counts.values())
    protocol = f"torchvision Faster R-CNN R50-FPN-v2 at {THRESHOLD}, {times} image(s) a caption"
    details = {name: list(tally) for name, tally in counts.items()}
    return [
        Measurement("soa_c", 100 * by_class / len(counts), len(images), protocol, details),
        Measurement("soa_i", 100 * (right / count), len(images), protocol),
    ]
