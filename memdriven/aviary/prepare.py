"""Render the whole Aviary to a prepared data set, on several cores; a stopped run goes on."""

from __future__ import annotations

from pathlib import Path

from memdriven.aviary.captions import describe
from memdriven.aviary.species import TEST_SPECIES, TRAIN_SPECIES, Species, all_species, stream
from memdriven.aviary.specimen import sample_bird
from memdriven.aviary.studio import Job, Picture, fingerprint, render_jobs
from memdriven.aviary.visibility import visible_attributes
from memdriven.data.prepared import HEADER, Item, image_file, refuse_other_content, write_prepared
from memdriven.errors import DataError
from memdriven.files import explain_disk_errors, read_json

NAME = "aviary"
SOURCE = "Aviary: birds rendered by memdriven.aviary from signed-distance fields"


def prepare_aviary(
    out: Path,
    *,
    train_per_species: int = 27,
    test_per_species: int = 10,
    image_size: int = 256,
    seed: int = 0,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    species_limit: int | None = None,
) -> Path:
    """Render the data set into the folder `out` and return it.

    workers: processes on the CPU (all cores when None; 0 or 1 renders in this process); another
    device renders in this process, in batches. species_limit keeps only the first so many species
    of each split. Raises `DataError` when the disk is full or the folder holds something else. A
    run that was stopped, or a folder with damaged pictures, is completed.
    """
    out = Path(out)
    counts = {"train": train_per_species, "test": test_per_species}
    chosen = _choose(species_limit)
    make_room(
        out,
        NAME,
        {
            "seed": seed,
            "image_size": image_size,
            "counts": {split: counts[split] * sum(s.split == split for s in chosen) for split in counts},
        },
    )
    jobs = [_job(out, s, counts[s.split], image_size, seed, device) for s in chosen]
    pictures = render_jobs(jobs, workers=workers, progress=progress)
    items = [
        _item(species, index, seed, picture)
        for species, found in zip(chosen, pictures, strict=True)
        for index, picture in enumerate(found)
    ]
    write_prepared(
        out,
        name=NAME,
        items=items,
        classes=[s.name for s in all_species()],
        image_size=image_size,
        seed=seed,
        source=SOURCE,
        licence="Apache-2.0",
    )
    return out


def _job(out: Path, species: Species, count: int, size: int, seed: int, device: str) -> Job:
    files = [out / image_file(species.split, item_id(species.id, i)) for i in range(count)]
    specimens = [sample_bird(species.id, i, seed) for i in range(count)]
    return Job(out, f"species-{species.id:04d}", files, specimens, size, seed, device)


def make_room(out: Path, name: str, wanted: dict[str, object]) -> None:
    """Make the folder; take the header away from a data set that is about to become another.

    Without its header a half-rendered folder is no data set, so that nobody reads captions of one
    bird under the picture of another.

    Raises:
        DataError: `out` holds something else than a (begun) rendering of that name, or the disk is
            full.
    """
    header = out / HEADER
    if header.exists():
        found = read_json(header, DataError)
        if found.get("name") != name:
            raise DataError(
                wanted=f"a new folder, or an earlier {name}, at {out}",
                found=f"the data set {found.get('name')!r}",
                fix="choose another folder",
            )
        if any(found.get(key) != value for key, value in wanted.items()):
            header.unlink()
    elif not (out / "progress").is_dir():
        refuse_other_content(out)
    with explain_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)


def _choose(limit: int | None) -> list[Species]:
    species = all_species()
    n_train = TRAIN_SPECIES if limit is None else min(limit, TRAIN_SPECIES)
    n_test = TEST_SPECIES if limit is None else min(limit, TEST_SPECIES)
    return [*species[:n_train], *species[TRAIN_SPECIES : TRAIN_SPECIES + n_test]]


def item_id(species_id: int, index: int) -> str:
    """The id of a picture."""
    return f"aviary-{species_id:04d}-{index:04d}"


def _item(species: Species, index: int, seed: int, picture: Picture) -> Item:
    spec = sample_bird(species.id, index, seed)
    if fingerprint(spec) != picture.specimen:  # captions of one bird under the picture of another
        raise DataError(
            wanted=f"the same {species.name} in every process",
            found=f"a picture of another bird for {item_id(species.id, index)}",
            fix="render with one version of memdriven at a time",
        )
    visible = visible_attributes(spec.attributes, picture.shares)
    described = describe(spec.attributes, visible, stream("captions", seed, species.id, index))
    name = item_id(species.id, index)
    return Item(
        id=name,
        file=image_file(species.split, name),
        split=species.split,
        class_id=species.id,
        class_name=species.name,
        captions=[text for text, _ in described],
        attributes=dict(spec.attributes),
        caption_attributes=[names for _, names in described],
        visible=visible,
    )
