"""Birds of a data set in colours that captions ask for: what G is to make of a memory and words.

At inference G is given the words for one bird and the memory of another. No collection of
photographs shows what should come of it. A renderer can: the remembered bird in its place and pose,
what the caption names as the caption says, and everything else as it was [ours].
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memdriven.aviary.captions import describe
from memdriven.aviary.palette import individual
from memdriven.aviary.prepare import NAME, make_room
from memdriven.aviary.species import ATTRIBUTES, all_species, morph, stream
from memdriven.aviary.specimen import COLOUR_SLOTS, PLUMAGE, BirdSpec, sample_bird
from memdriven.aviary.studio import Job, Picture, render_jobs
from memdriven.aviary.visibility import visible_attributes
from memdriven.data.prepared import Item, PreparedDataset, image_file, write_prepared
from memdriven.errors import DataError

RECOLOURED = "aviary-recoloured"
SOURCE = "Aviary: birds of a data set in colours that other captions ask for"
PATTERNS = 0.3
"""Share of wishes that may ask for another pattern of the plumage."""
_HOSTS = {"wing_bars": "wing", "eye_ring": "head", "eye_stripe": "head", "pattern": "breast"}
"""Where a marking would be that the bird does not have."""


@dataclass(frozen=True)
class Wish:
    """A caption, and the bird that it makes of another."""

    caption: str
    names: dict[str, str]
    """The attributes that the caption names."""
    specimen: BirdSpec


def wish(spec: BirdSpec, visible: Sequence[str], rng: random.Random) -> Wish:
    """Draw a caption about a bird of other colours, and recolour what it names.

    Args:
        spec: the remembered bird.
        visible: attributes of it that its picture shows.
        rng: the only source of chance.
    """
    other = {**spec.attributes, **morph(all_species()[spec.species_id], rng)}
    other |= {key: spec.attributes[key] for key in ("pose", "background")}
    if rng.random() < PATTERNS:
        other["pattern"] = rng.choice(ATTRIBUTES["pattern"])
    sayable = [
        name
        for name, value in other.items()
        if value not in ("none", "plain") and (name in visible or _HOSTS.get(name) in visible)
    ]
    caption, names = describe(other, sayable, rng)[0]
    attributes = {**spec.attributes, **names}
    colours = dict(spec.colours)
    worn = {
        attributes[slot]: spec.colours[slot] for slot in PLUMAGE if attributes[slot] == spec.attributes[slot]
    }
    for slot in COLOUR_SLOTS:
        name = attributes[slot]
        if name == spec.attributes[slot]:
            continue
        # Parts of one colour match on one bird.
        colours[slot] = worn[name] if name in worn else individual(name, rng)
        if slot in PLUMAGE:
            worn[name] = colours[slot]
    made = replace(spec, attributes=attributes, colours=colours, placed_as=spec.colours)
    return Wish(caption, names, made)


def prepare_recoloured(
    base: Path,
    out: Path,
    *,
    per_image: int = 4,
    image_size: int = 128,
    seed: int = 0,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Path:
    """Render recoloured birds of an Aviary's training images into the folder `out` and return it.

    Each item names in `memory` the image of `base` whose features it is painted from. Wishes for
    what cannot be seen in the picture are dropped, so that there are somewhat fewer than
    `per_image` an image. A stopped run is completed.

    Args:
        base: a prepared Aviary.
        out: a new folder, or an earlier one of these.
        per_image: wishes an image of `base`.
        image_size: side in px.
        seed: another gives other wishes.
        workers: processes on the CPU (all cores when None; 0 or 1 renders in this process).
        device: another than the CPU renders in this process, in batches.
        progress: show a bar.

    Raises:
        DataError: `base` is no Aviary, `out` holds something else, or the disk is full.
    """
    prepared = PreparedDataset.open(base)
    if prepared.name != NAME:
        raise DataError(
            wanted=f"a data set of `prepare aviary` in {base}",
            found=f"the data set {prepared.name!r}",
            fix="only rendered birds can be recoloured",
        )
    out = Path(out)
    items = prepared.split("train")
    facts = {"base_seed": prepared.header["seed"], "per_image": per_image}
    make_room(out, RECOLOURED, {"seed": seed, "image_size": image_size, **facts})
    wishes = [_wishes(item, prepared.header["seed"], seed, per_image) for item in items]
    jobs = [
        Job(
            out,
            item.id,
            [out / _file(item, k) for k in range(per_image)],
            [one.specimen for one in mine],
            image_size,
            seed,
            device,
        )
        for item, mine in zip(items, wishes, strict=True)
    ]
    pictures = render_jobs(jobs, workers=workers, progress=progress)
    made = [
        _item(item, k, one, picture)
        for item, mine, found in zip(items, wishes, pictures, strict=True)
        for k, (one, picture) in enumerate(zip(mine, found, strict=True))
    ]
    write_prepared(
        out,
        name=RECOLOURED,
        items=[item for item in made if item is not None],
        classes=prepared.classes,
        image_size=image_size,
        seed=seed,
        source=SOURCE,
        licence="Apache-2.0",
        extra=facts,
    )
    return out


def _wishes(item: Item, base_seed: int, seed: int, count: int) -> list[Wish]:
    spec = sample_bird(int(item.class_id or 0), int(item.id.rsplit("-", 1)[1]), base_seed)
    rng = stream("recoloured", base_seed, seed, item.id)
    return [wish(spec, item.visible, rng) for _ in range(count)]


def _name(item: Item, number: int) -> str:
    return f"{item.id}-wish-{number}"


def _file(item: Item, number: int) -> str:
    return image_file("train", _name(item, number))


def _item(memory: Item, number: int, asked: Wish, picture: Picture) -> Item | None:
    """Return the item, or none where its picture does not show what its caption names."""
    visible = visible_attributes(asked.specimen.attributes, picture.shares)
    if not asked.names.keys() <= set(visible):
        return None
    return Item(
        id=_name(memory, number),
        file=_file(memory, number),
        split="train",
        class_id=memory.class_id,
        class_name=memory.class_name,
        captions=[asked.caption],
        attributes=dict(asked.specimen.attributes),
        caption_attributes=[asked.names],
        visible=visible,
        memory=memory.id,
    )
