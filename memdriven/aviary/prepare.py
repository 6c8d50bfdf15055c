"""Render the whole Aviary to a prepared data set, on several cores; a stopped run goes on."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing.connection
import os
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from memdriven.aviary.captions import describe, visible_attributes
from memdriven.aviary.plumage import PART, PARTS
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import BirdSpec, all_species, sample_bird, stream
from memdriven.data.prepared import HEADER, Item, image_file, refuse_other_content, write_prepared
from memdriven.devices import choose_device
from memdriven.errors import DataError, require
from memdriven.files import atomic_write_bytes, explain_disk_errors, read_json
from memdriven.numbers import check_whole, shown

NAME = "aviary"
SOURCE = "Aviary: birds rendered by memdriven.aviary from signed-distance fields"
QUALITY = 92
RENDERER = 2
"""Raised whenever the same specimen would give other pixels, so that no run keeps outdated
pictures."""


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How pictures are rendered.

    Raises:
        DataError: a number that cannot be.
    """

    image_size: int = 256
    """Side in px."""
    seed: int = 0
    """Another gives other pictures."""
    workers: int | None = None
    """Processes on the CPU; all cores when left out, 0 or 1 render in this process."""
    device: str = "cpu"
    """Another than the CPU renders in this process, in batches."""

    def __post_init__(self) -> None:
        size = self.image_size
        fits = size % 16 == 0 and 16 <= size <= 4096
        wanted, fix = "image size: a multiple of 16 in 16..4096", "use another number"
        require(fits, DataError, wanted, shown(size), fix)
        check_counts(seed=self.seed, workers=self.workers)


def check_counts(**numbers: int | None) -> None:
    """Refuse negative numbers, by the names of their options.

    Raises:
        DataError: one of them is so.
    """
    for name, number in numbers.items():
        if number is not None:
            check_whole(name.replace("_", " "), number, 0, 2**53 - 1, DataError)


@dataclass(frozen=True)
class Picture:
    """What is known of a finished picture besides its pixels."""

    shares: dict[str, float]
    """Share of the bird's pixels by part."""
    specimen: int
    """`fingerprint` of the bird that was rendered."""


@dataclass(frozen=True)
class Job:
    """Pictures that one process renders."""

    out: Path
    """The data set's folder."""
    name: str
    """Of its log."""
    split: str
    ids: Sequence[str]
    specimens: Sequence[BirdSpec]
    how: Rendering

    @property
    def log(self) -> Path:
        """What is known of its finished pictures."""
        kind = f"{RENDERER}-{self.how.image_size}-{self.how.seed}"
        return self.out / "progress" / kind / f"{self.name}.jsonl"

    def file(self, index: int) -> Path:
        """Return where a picture goes."""
        return self.out / image_file(self.split, self.ids[index])


def render_set(
    out: Path,
    jobs: Sequence[Job],
    item: Callable[[Job, int, Picture], Item | None],
    how: Rendering,
    *,
    name: str,
    source: str,
    classes: Sequence[str],
    progress: bool,
    counts: Mapping[str, int] | None = None,
    **facts: Any,
) -> Path:
    """Render what is missing of a data set and write its tables; return its folder.

    Args:
        jobs: on the CPU one process each at a time; on another device in this process, in batches.
        item: (a job, the number of one of its pictures, what is known of it) -> the item, if it is one.
        counts: of each split's items, where they are known beforehand.
        facts: further header entries, on which the pictures depend.

    Raises:
        DataError: `out` holds something else than a (begun) rendering of that name, or the disk is full.
    """
    choose_device(how.device)  # refused before anything is touched
    same = {"seed": how.seed, "image_size": how.image_size, **facts}
    _make_room(out, name, same if counts is None else {**same, "counts": dict(counts)})
    known: list[list[Picture]] = [[] for _ in jobs]
    total = sum(len(job.ids) for job in jobs)
    with tqdm(total=total, desc="aviary", unit="img", disable=not progress, smoothing=0.05) as bar:
        for number, found in _run(jobs, how):
            known[number] = found
            bar.update(len(found))
    made = (item(job, k, one) for job, found in zip(jobs, known, strict=True) for k, one in enumerate(found))
    items = [one for one in made if one is not None]
    write_prepared(out, items=items, name=name, classes=classes, source=source, licence="Apache-2.0", **same)
    return out


def _make_room(out: Path, name: str, wanted: Mapping[str, object]) -> None:
    """Make the folder; take the header away from a data set that is about to become another.

    Without its header a half-rendered folder is no data set, so that nobody reads captions of one
    bird under the picture of another.
    """
    header = out / HEADER
    if header.exists():
        found, expected = read_json(header, DataError), f"a new folder, or an earlier {name}, at {out}"
        other = f"the data set {found.get('name')!r}"
        require(found.get("name") == name, DataError, expected, other, "choose another folder")
        if any(found.get(key) != value for key, value in wanted.items()):
            header.unlink()
    elif not (out / "progress").is_dir():
        refuse_other_content(out)
    with explain_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)


def _run(jobs: Sequence[Job], how: Rendering) -> Iterator[tuple[int, list[Picture]]]:
    """Give each job's number and pictures, as they are finished."""
    workers = _cores() if how.workers is None else how.workers
    if workers <= 1 or choose_device(how.device).type != "cpu":
        for number, job in enumerate(jobs):
            yield number, _render(job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin) as pool:
        running = {pool.submit(_render, job): number for number, job in enumerate(jobs)}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin() -> None:
    """Begin a worker, which ends with its parent: a pool's wait for work for ever.

    It has one thread: a picture a core beats a picture on all cores.
    """
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int = parent.sentinel) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _render(job: Job) -> list[Picture]:
    done = _finished(job)
    fingerprints = [fingerprint(specimen) for specimen in job.specimens]
    missing = [i for i, known in enumerate(fingerprints) if i not in done or done[i].specimen != known]
    device = choose_device(job.how.device)
    step = 1 if device.type == "cpu" else 32
    with explain_disk_errors(job.out):
        job.log.parent.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(missing), step):
            batch = missing[start : start + step]
            rgb, parts = render_birds([job.specimens[i] for i in batch], job.how.image_size, device)
            for k, index in enumerate(batch):
                buffer = io.BytesIO()
                pixels = rgb[k].permute(1, 2, 0).cpu().numpy()
                Image.fromarray(pixels).save(buffer, "WEBP", quality=QUALITY, method=4)
                atomic_write_bytes(job.file(index), buffer.getvalue())
                done[index] = Picture(part_shares(parts[k]), fingerprints[index])
                line = {"index": index, "crc": zlib.crc32(buffer.getvalue()), **vars(done[index])}
                with job.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
    return [done[i] for i in range(len(job.ids))]


def _finished(job: Job) -> dict[int, Picture]:
    """Return the pictures whose log line and file agree, by their place in the job."""
    done: dict[int, tuple[int, Picture]] = {}
    for line in job.log.read_text(encoding="utf-8").splitlines() if job.log.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # the line a killed run was writing
            record = json.loads(line)
            picture = Picture(dict(record["shares"]), int(record["specimen"]))
            done[int(record["index"])] = int(record["crc"]), picture

    def whole(index: int) -> bool:
        file = job.file(index) if index < len(job.ids) else job.log
        return file.is_file() and zlib.crc32(file.read_bytes()) == done[index][0]

    return {index: picture for index, (_, picture) in done.items() if whole(index)}


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
    place = "" if spec.setting is None else repr(spec.setting)
    return zlib.crc32((repr(spec) + place).encode())


def prepare_aviary(
    out: Path,
    how: Rendering | None = None,
    *,
    train_per_species: int = 27,
    test_per_species: int = 10,
    validation_per_species: int = 10,
    progress: bool = True,
    species_limit: int | None = None,
) -> Path:
    """Render Aviary: 215 invented bird species with captions, from this code alone.

    A run that was stopped, or a folder with damaged pictures, is completed.

    Args:
        out: folder for the data set, which is returned.
        how: pictures are rendered.
        train_per_species: images of each of the 150 training species.
        test_per_species: images of each of the 50 test species.
        validation_per_species: images of each of the 15 further species by which to choose.
        progress: show a bar.
        species_limit: only the first so many species of each split.

    Raises:
        DataError: the disk is full, or the folder holds something else.
    """
    how = how or Rendering()
    check_counts(
        train_per_species=train_per_species,
        test_per_species=test_per_species,
        validation_per_species=validation_per_species,
        species_limit=species_limit,
    )
    each = {"train": train_per_species, "test": test_per_species, "validation": validation_per_species}
    jobs = []
    for split, members in groupby(all_species(), attrgetter("split")):
        for species in islice(members, species_limit if each[split] else 0):
            specimens = [sample_bird(species.id, i, how.seed) for i in range(each[split])]
            ids = [f"aviary-{species.id:04d}-{i:04d}" for i in range(each[split])]
            jobs.append(Job(out, f"species-{species.id:04d}", split, ids, specimens, how))
    counts = Counter(job.split for job in jobs for _ in job.ids)
    classes = [species.name for species in all_species()]
    return render_set(
        out, jobs, _item, how, name=NAME, source=SOURCE, classes=classes, progress=progress, counts=counts
    )


def _item(job: Job, index: int, picture: Picture) -> Item:
    spec = job.specimens[index]
    species = all_species()[spec.species_id]
    # No captions of one bird under the picture of another.
    wanted, found = f"the same {species.name} in every process", f"another bird in {job.ids[index]}"
    same, fix = fingerprint(spec) == picture.specimen, "render with one version of memdriven at a time"
    require(same, DataError, wanted, found, fix)
    visible = visible_attributes(spec.attributes, picture.shares)
    described = describe(spec.attributes, visible, stream("captions", job.how.seed, species.id, index))
    return Item(
        id=job.ids[index],
        split=species.split,
        class_id=species.id,
        class_name=species.name,
        captions=[text for text, _ in described],
        attributes=dict(spec.attributes),
        caption_attributes=[names for _, names in described],
        visible=visible,
    )
