"""Render the whole Aviary to a prepared data set, on several cores.

A run goes on where a stopped one left off. Every species is one task; beside the images a small log
of each species keeps the part shares of every finished picture and a checksum of its file, and a
picture whose log line and file agree is never rendered again.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from memdriven.data.assemble import refuse_other_content
from memdriven.data.prepared import HEADER, Item, image_file, write_prepared
from memdriven.errors import DataError
from memdriven.files import atomic_write_bytes, explain_disk_errors, read_json

from .captions import describe
from .render import render_birds
from .skin import PART, PARTS
from .species import TEST_SPECIES, TRAIN_SPECIES, Species, all_species, stream
from .specimen import BirdSpec, sample_bird
from .visibility import visible_attributes

NAME = "aviary"
QUALITY = 92
RENDERER = 2
"""Raised whenever the same specimen would give other pixels, so that no run keeps outdated
pictures."""
SOURCE = "Aviary: birds rendered by memdriven.data.aviary from signed-distance fields"


@dataclass(frozen=True)
class _Picture:
    """What is known of a finished picture besides its pixels."""

    shares: dict[str, float]
    """Share of the bird's pixels by part."""
    specimen: int
    """`fingerprint` of the bird that was rendered."""


@dataclass(frozen=True)
class _Task:
    """The pictures of one species."""

    out: Path
    species_id: int
    count: int
    size: int
    seed: int
    device: str

    @property
    def log(self) -> Path:
        return (
            self.out
            / "progress"
            / f"{RENDERER}-{self.size}-{self.seed}"
            / f"species-{self.species_id:04d}.jsonl"
        )


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
    _make_room(out, {"seed": seed, "image_size": image_size, "counts": {
        split: counts[split] * sum(s.split == split for s in chosen) for split in counts
    }})  # fmt: skip
    tasks = [_Task(out, s.id, counts[s.split], image_size, seed, device) for s in chosen]
    pictures: dict[int, list[_Picture]] = {}
    total = sum(task.count for task in tasks)
    with tqdm(total=total, desc="aviary", unit="img", disable=not progress, smoothing=0.05) as bar:
        for species_id, found in _run(tasks, workers, device):
            pictures[species_id] = found
            bar.update(len(found))
    items = [
        _item(species, index, seed, picture)
        for species in chosen
        for index, picture in enumerate(pictures[species.id])
    ]
    write_prepared(
        out, name=NAME, items=items, classes=[s.name for s in all_species()],
        image_size=image_size, seed=seed, source=SOURCE, licence="Apache-2.0",
    )  # fmt: skip
    return out


def _make_room(out: Path, wanted: dict[str, object]) -> None:
    """Make the folder; take the header away from a data set that is about to become another.

    Without its header a half-rendered folder is no data set, so that nobody reads captions of one
    bird under the picture of another.

    Raises:
        DataError: `out` holds something else than a (begun) rendering of Aviary, or the disk is
            full.
    """
    header = out / HEADER
    if header.exists():
        found = read_json(header, DataError)
        if found.get("name") != NAME:
            raise DataError(wanted=f"a new folder, or an earlier Aviary, at {out}",
                            found=f"the data set {found.get('name')!r}",
                            fix="choose another folder")  # fmt: skip
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


def _run(
    tasks: list[_Task], workers: int | None, device: str
) -> Iterator[tuple[int, list[_Picture]]]:
    """Part shares of every picture, species by species, as they are finished."""
    workers = _cores() if workers is None else workers
    if workers <= 1 or device != "cpu":
        for task in tasks:
            yield task.species_id, _render_species(task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        running = {pool.submit(_render_species, task): task.species_id for task in tasks}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_thread() -> None:
    torch.set_num_threads(1)  # one picture a core beats one picture on all cores


def item_id(species_id: int, index: int) -> str:
    """The id of a picture."""
    return f"aviary-{species_id:04d}-{index:04d}"


def _render_species(task: _Task) -> list[_Picture]:
    """Render what is missing of one species; return what is known of all its pictures, in order."""
    split = all_species()[task.species_id].split
    files = [task.out / image_file(split, item_id(task.species_id, i)) for i in range(task.count)]
    done = _finished(task.log, files)
    specimens = [sample_bird(task.species_id, i, task.seed) for i in range(task.count)]
    missing = [
        i for i, spec in enumerate(specimens)
        if i not in done or done[i].specimen != fingerprint(spec)
    ]  # fmt: skip
    step = 1 if task.device == "cpu" else 32
    with explain_disk_errors(task.out):
        task.log.parent.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(missing), step):
            batch = missing[start : start + step]
            specs = [specimens[i] for i in batch]
            rgb, parts = render_birds(specs, task.size, task.device)
            for k, index in enumerate(batch):
                buffer = io.BytesIO()
                picture = rgb[k].permute(1, 2, 0).cpu().numpy()
                Image.fromarray(picture).save(buffer, "WEBP", quality=QUALITY, method=4)
                content = buffer.getvalue()
                atomic_write_bytes(files[index], content)
                picture_of = _Picture(part_shares(parts[k]), fingerprint(specs[k]))
                done[index] = picture_of
                line = {
                    "index": index, "crc": zlib.crc32(content), "specimen": picture_of.specimen,
                    "shares": picture_of.shares,
                }  # fmt: skip
                with task.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
    return [done[i] for i in range(task.count)]


def _finished(log: Path, files: list[Path]) -> dict[int, _Picture]:
    """Part shares of the pictures whose log line and file agree."""
    done: dict[int, _Picture] = {}
    if not log.exists():
        return done
    checksums: dict[int, int] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            index, crc = int(record["index"]), int(record["crc"])
            picture = _Picture(dict(record["shares"]), int(record["specimen"]))
        except (ValueError, KeyError, TypeError):
            continue  # the line a killed run was writing
        if index < len(files):
            checksums[index], done[index] = crc, picture
    for index, crc in checksums.items():
        if not files[index].is_file() or zlib.crc32(files[index].read_bytes()) != crc:
            del done[index]
    return done


def part_shares(parts: torch.Tensor) -> dict[str, float]:
    """Share of the bird's pixels that each part has; parts (h, w) with the values of `PARTS`."""
    count = torch.bincount(parts.flatten().long().cpu(), minlength=len(PARTS)).tolist()
    bird = sum(count) - count[PART["background"]] - count[PART["perch"]]
    return {
        name: round(count[i] / max(bird, 1), 6)
        for i, name in enumerate(PARTS)
        if count[i] and name not in ("background", "perch")
    }


def fingerprint(spec: BirdSpec) -> int:
    """A number that changes with anything that was decided about a specimen."""
    return zlib.crc32(repr(spec).encode())


def _item(species: Species, index: int, seed: int, picture: _Picture) -> Item:
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
