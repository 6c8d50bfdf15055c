"""Birds of a data set in colours that captions ask for: what G is to make of a memory and words.

At inference G is given the words for one bird and the memory of another. No collection of
photographs shows what should come of it. A renderer can: the remembered bird in its place and pose,
what the caption names as the caption says, and everything else as it was [ours].
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memdriven.aviary.captions import describe, visible_attributes
from memdriven.aviary.prepare import NAME, Job, Picture, Rendering, check_counts, render_set
from memdriven.aviary.species import (
    ATTRIBUTES,
    COLOUR_SLOTS,
    PLUMAGE,
    BirdSpec,
    all_species,
    individual,
    morph,
    sample_bird,
    stream,
)
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.errors import DataError, require

RECOLOURED = "aviary-recoloured"
SOURCE = "Aviary: birds of a data set in colours that other captions ask for"
PATTERNS = 0.3
"""Share of wishes that may ask for another pattern of the plumage."""
HOSTS = {"wing_bars": "wing", "eye_ring": "head", "eye_stripe": "head", "pattern": "breast"}
"""Where a marking would be that the bird does not have."""


@dataclass(frozen=True)
class Wish:
    """A caption, and the bird that it makes of another."""

    caption: str
    names: dict[str, str]
    """The attributes that the caption names."""
    specimen: BirdSpec
    noise: tuple[float | None, ...] = ()
    """`Item.noise`: the numbers that ask for the rest of the picture."""


def wish(spec: BirdSpec, visible: Sequence[str], rng: random.Random) -> Wish:
    """Draw a caption about a bird of other colours, and recolour what it names.

    Args:
        spec: the remembered bird.
        visible: attributes of it that its picture shows.
        rng: the only source of chance.
    """
    caption, names = captions_for(other_plumage(spec, rng), spec, visible, rng)[0]
    return Wish(caption, names, wear(spec, names, rng))


def other_plumage(spec: BirdSpec, rng: random.Random) -> dict[str, str]:
    """The attributes of a bird in the same pose and place, of the same shape, in other colours."""
    other = {**spec.attributes, **morph(all_species()[spec.species_id], rng)}
    other |= {key: spec.attributes[key] for key in ("pose", "background")}
    if rng.random() < PATTERNS:
        other["pattern"] = rng.choice(ATTRIBUTES["pattern"])
    return other


def captions_for(
    wanted: dict[str, str], spec: BirdSpec, visible: Sequence[str], rng: random.Random
) -> list[tuple[str, dict[str, str]]]:
    """Captions about a bird with the attributes `wanted`, of what `spec`'s picture can show."""
    sayable = [
        name
        for name, value in wanted.items()
        if value not in ("none", "plain") and (name in visible or HOSTS.get(name) in visible)
    ]
    return describe(wanted, sayable, rng)


def wear(spec: BirdSpec, names: dict[str, str], rng: random.Random) -> BirdSpec:
    """The same sighting of a bird that has the attributes `names`; parts of one colour match."""
    attributes = {**spec.attributes, **names}
    colours = dict(spec.colours)
    worn = {
        attributes[slot]: spec.colours[slot] for slot in PLUMAGE if attributes[slot] == spec.attributes[slot]
    }
    for slot in COLOUR_SLOTS:
        name = attributes[slot]
        if name == spec.attributes[slot]:
            continue
        colours[slot] = worn[name] if name in worn else individual(name, rng)
        if slot in PLUMAGE:
            worn[name] = colours[slot]
    return replace(spec, attributes=attributes, colours=colours, placed_as=spec.placed_as or spec.colours)


@dataclass(frozen=True, kw_only=True)
class Recolouring(Rendering):
    """How the birds of a data set are rendered again."""

    per_image: int = 4
    """Captions tried on each training image; pictures that hide what theirs names are dropped."""
    image_size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(per_image=self.per_image)


def prepare_recoloured(
    dataset: Path, out: Path, how: Recolouring | None = None, *, progress: bool = True
) -> Path:
    """Render Aviary's birds in colours that captions ask for, for `train --extra`.

    G is shown what should come of a memory and words that disagree, which only a renderer knows. Each
    item names in `memory` the image of `dataset` whose features it is painted from. A stopped run is
    completed.

    Args:
        dataset: a prepared Aviary.
        out: a new folder, or an earlier one of these; it is returned.
        how: pictures are rendered.
        progress: show a bar.

    Raises:
        DataError: `dataset` is no Aviary, `out` holds something else, or the disk is full.
    """
    how = how or Recolouring()
    return render_again(dataset, out, how, wish, "wish", name=RECOLOURED, source=SOURCE, progress=progress)


def render_again(
    dataset: Path,
    out: Path,
    how: Recolouring,
    remake: Callable[[BirdSpec, Sequence[str], random.Random], Wish],
    kind: str,
    *,
    name: str,
    source: str,
    progress: bool,
    **facts: Any,
) -> Path:
    """Render what `remake` makes of each training image of an Aviary; see `prepare_recoloured`.

    Args:
        remake: a sighting, what its picture shows and a stream of chance to what is asked of it.
        kind: what the pictures' ids call them.
        name: of the data set, which names the stream of chance.
        facts: further header entries, on which the pictures depend.
    """
    prepared = PreparedDataset.open(dataset)
    wanted, found = f"a data set of `prepare aviary` in {dataset}", f"the data set {prepared.name!r}"
    require(prepared.name == NAME, DataError, wanted, found, "only rendered birds can be recoloured")
    base_seed = prepared.header["seed"]
    memories = {item.id: item for item in prepared.split("train")}
    wishes: dict[str, list[Wish]] = {}
    jobs = []
    for memory in memories.values():
        spec = sample_bird(int(memory.class_id or 0), int(memory.id.rsplit("-", 1)[1]), base_seed)
        rng = stream(name.removeprefix("aviary-"), base_seed, how.seed, memory.id)
        mine = wishes[memory.id] = [remake(spec, memory.visible, rng) for _ in range(how.per_image)]
        ids = [f"{memory.id}-{kind}-{k}" for k in range(how.per_image)]
        jobs.append(Job(out, memory.id, "train", ids, [one.specimen for one in mine], how))

    def item(job: Job, index: int, picture: Picture) -> Item | None:
        """Return the item, or none where its picture does not show what its caption names."""
        memory, asked = memories[job.name], wishes[job.name][index]
        visible = visible_attributes(asked.specimen.attributes, picture.shares)
        if not asked.names.keys() <= set(visible):
            return None
        return Item(
            id=job.ids[index],
            split="train",
            class_id=memory.class_id,
            class_name=memory.class_name,
            captions=[asked.caption],
            attributes=dict(asked.specimen.attributes),
            caption_attributes=[asked.names],
            visible=visible,
            memory=memory.id,
            noise=asked.noise,
        )

    facts = {"base_seed": base_seed, "per_image": how.per_image, **facts}
    return render_set(
        out, jobs, item, how, name=name, source=source, classes=prepared.classes, progress=progress, **facts
    )
