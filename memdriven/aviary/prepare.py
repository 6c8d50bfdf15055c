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
from collections.abc import Callable, Iterator, Sequence
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
from memdriven.errors import DataError
from memdriven.files import atomic_write_bytes, explain_disk_errors, read_json
from memdriven.numbers import check_whole, shown

QUALITY = 92
RENDERER = 2
"""Raised whenever the same specimen would give other pixels, so that no run keeps outdated
pictures."""


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
    size: int
    """Side in px."""
    seed: int
    device: str

    @property
    def log(self) -> Path:
        """What is known of its finished pictures."""
        return self.out / "progress" / f"{RENDERER}-{self.size}-{self.seed}" / f"{self.name}.jsonl"

    def file(self, index: int) -> Path:
        """Return where a picture goes."""
        return self.out / image_file(self.split, self.ids[index])


def render_set(
    out: Path,
    jobs: Sequence[Job],
    item: Callable[[Job, int, Picture], Item | None],
    *,
    name: str,
    source: str,
    classes: Sequence[str],
    image_size: int,
    seed: int,
    workers: int | None,
    progress: bool,
    **facts: Any,
) -> Path:
    """Render what is missing of a data set, for which `make_room` has been called; write its tables.

    Args:
        jobs: on the CPU one process each at a time; on another device in this process, in batches.
        item: (a job, the number of one of its pictures, what is known of it) -> the item, if it is one.
        facts: further header entries.
    """
    known: list[list[Picture]] = [[] for _ in jobs]
    total = sum(len(job.ids) for job in jobs)
    with tqdm(total=total, desc="aviary", unit="img", disable=not progress, smoothing=0.05) as bar:
        for number, found in _run(jobs, workers):
            known[number] = found
            bar.update(len(found))
    made = (item(job, k, one) for job, found in zip(jobs, known, strict=True) for k, one in enumerate(found))
    write_prepared(
        out,
        items=[one for one in made if one is not None],
        name=name,
        image_size=image_size,
        classes=classes,
        seed=seed,
        source=source,
        licence="Apache-2.0",
        **facts,
    )
    return out


def _run(jobs: Sequence[Job], workers: int | None) -> Iterator[tuple[int, list[Picture]]]:
    """Give each job's number and pictures, as they are finished."""
    workers = _cores() if workers is None else workers
    if workers <= 1 or any(job.device != "cpu" for job in jobs):
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
    step = 1 if job.device == "cpu" else 32
    with explain_disk_errors(job.out):
        job.log.parent.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(missing), step):
            batch = missing[start : start + step]
            rgb, parts = render_birds([job.specimens[i] for i in batch], job.size, job.device)
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


NAME = "aviary"
SOURCE = "Aviary: birds rendered by memdriven.aviary from signed-distance fields"


def check_numbers(image_size: int, **numbers: int | None) -> None:
    """Refuse a size that cannot be rendered, and negative numbers, by the names of their options.

    Raises:
        DataError: one of them is so.
    """
    if image_size % 16 or not 16 <= image_size <= 4096:
        wanted = "image size: a multiple of 16 in 16..4096"
        raise DataError(wanted, shown(image_size), "use another number")
    for name, number in numbers.items():
        if number is not None:
            check_whole(name.replace("_", " "), number, 0, 2**53 - 1, DataError)


def prepare_aviary(
    out: Path,
    *,
    train_per_species: int = 27,
    test_per_species: int = 10,
    validation_per_species: int = 10,
    image_size: int = 256,
    seed: int = 0,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    species_limit: int | None = None,
) -> Path:
    """Render Aviary: 215 invented bird species with captions, from this code alone.

    A run that was stopped, or a folder with damaged pictures, is completed.

    Args:
        out: folder for the data set, which is returned.
        train_per_species: images of each of the 150 training species.
        test_per_species: images of each of the 50 test species.
        validation_per_species: images of each of the 15 further species by which to choose.
        image_size: side in px.
        seed: another gives other pictures of the same species.
        workers: processes on the CPU; all cores when left out, 0 or 1 render in this process.
        device: another than the CPU renders in this process, in batches.
        progress: show a bar.
        species_limit: only the first so many species of each split.

    Raises:
        DataError: the disk is full, or the folder holds something else.
    """
    check_numbers(
        image_size,
        train_per_species=train_per_species,
        test_per_species=test_per_species,
        validation_per_species=validation_per_species,
        species_limit=species_limit,
        seed=seed,
        workers=workers,
    )
    out, device = Path(out), str(choose_device(device))
    each = {"train": train_per_species, "test": test_per_species, "validation": validation_per_species}
    chosen = [
        species
        for split, members in groupby(all_species(), attrgetter("split"))
        for species in islice(members, species_limit)
        if each[split]
    ]
    counts = Counter(s.split for s in chosen for _ in range(each[s.split]))
    make_room(out, NAME, {"seed": seed, "image_size": image_size, "counts": dict(counts)})
    jobs = []
    for species in chosen:
        numbers = range(each[species.split])
        specimens = [sample_bird(species.id, i, seed) for i in numbers]
        ids = [item_id(species.id, i) for i in numbers]
        name = f"species-{species.id:04d}"
        jobs.append(Job(out, name, species.split, ids, specimens, image_size, seed, device))
    return render_set(
        out,
        jobs,
        _item,
        name=NAME,
        source=SOURCE,
        classes=[species.name for species in all_species()],
        image_size=image_size,
        seed=seed,
        workers=workers,
        progress=progress,
    )


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
                f"a new folder, or an earlier {name}, at {out}",
                f"the data set {found.get('name')!r}",
                "choose another folder",
            )
        if any(found.get(key) != value for key, value in wanted.items()):
            header.unlink()
    elif not (out / "progress").is_dir():
        refuse_other_content(out)
    with explain_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)


def item_id(species_id: int, index: int) -> str:
    """The id of a picture."""
    return f"aviary-{species_id:04d}-{index:04d}"


def _item(job: Job, index: int, picture: Picture) -> Item:
    spec = job.specimens[index]
    species = all_species()[spec.species_id]
    if fingerprint(spec) != picture.specimen:  # captions of one bird under the picture of another
        raise DataError(
            f"the same {species.name} in every process",
            f"a picture of another bird for {job.ids[index]}",
            "render with one version of memdriven at a time",
        )
    visible = visible_attributes(spec.attributes, picture.shares)
    described = describe(spec.attributes, visible, stream("captions", job.seed, species.id, index))
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
