"""Render the whole Aviary to a prepared data set, on several cores; a stopped run goes on."""

from __future__ import annotations

import io
import json
import multiprocessing.connection
import os
import threading
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from memdriven.aviary.captions import describe, visible_attributes
from memdriven.aviary.plumage import PART, PARTS
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import BirdSpec, Species, all_species, sample_bird, stream
from memdriven.data.assemble import refuse_other_content
from memdriven.data.prepared import HEADER, Item, image_file, write_prepared
from memdriven.devices import choose_device
from memdriven.errors import DataError
from memdriven.files import atomic_write_bytes, explain_disk_errors, read_json

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
    files: Sequence[Path]
    """Where each picture goes."""
    specimens: Sequence[BirdSpec]
    size: int
    """Side in px."""
    seed: int
    device: str

    @property
    def log(self) -> Path:
        """What is known of its finished pictures."""
        folder = self.out / "progress" / f"{RENDERER}-{self.size}-{self.seed}"
        return folder / f"{self.name}.jsonl"


def render_jobs(
    jobs: Sequence[Job], *, workers: int | None = None, progress: bool = True
) -> list[list[Picture]]:
    """Render what is missing of every job; return what is known of its pictures, in order.

    Args:
        jobs: on the CPU one process each at a time; on another device in this process, in batches.
        workers: processes on the CPU (all cores when None; 0 or 1 renders in this process).
        progress: show a bar.

    Raises:
        DataError: the disk is full.
    """
    known: list[list[Picture]] = [[] for _ in jobs]
    total = sum(len(job.files) for job in jobs)
    with tqdm(total=total, desc="aviary", unit="img", disable=not progress, smoothing=0.05) as bar:
        for number, found in _run(jobs, workers):
            known[number] = found
            bar.update(len(found))
    return known


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
    missing = [
        i for i, spec in enumerate(job.specimens) if i not in done or done[i].specimen != fingerprint(spec)
    ]
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
                content = buffer.getvalue()
                atomic_write_bytes(job.files[index], content)
                picture = Picture(part_shares(parts[k]), fingerprint(job.specimens[index]))
                done[index] = picture
                line = {
                    "index": index,
                    "crc": zlib.crc32(content),
                    "specimen": picture.specimen,
                    "shares": picture.shares,
                }
                with job.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
    return [done[i] for i in range(len(job.files))]


def _finished(job: Job) -> dict[int, Picture]:
    """Return the pictures whose log line and file agree, by their place in the job."""
    done: dict[int, Picture] = {}
    if not job.log.exists():
        return done
    checksums: dict[int, int] = {}
    for line in job.log.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            index, crc = int(record["index"]), int(record["crc"])
            picture = Picture(dict(record["shares"]), int(record["specimen"]))
        except (ValueError, KeyError, TypeError):
            continue  # the line a killed run was writing
        if index < len(job.files):
            checksums[index], done[index] = crc, picture
    for index, crc in checksums.items():
        file = job.files[index]
        if not file.is_file() or zlib.crc32(file.read_bytes()) != crc:
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
    place = "" if spec.setting is None else repr(spec.setting)
    return zlib.crc32((repr(spec) + place).encode())


NAME = "aviary"
SOURCE = "Aviary: birds rendered by memdriven.aviary from signed-distance fields"


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
    jobs = [_job(out, s, each[s.split], image_size, seed, device) for s in chosen]
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


def _item(species: Species, index: int, seed: int, picture: Picture) -> Item:
    spec = sample_bird(species.id, index, seed)
    if fingerprint(spec) != picture.specimen:  # captions of one bird under the picture of another
        raise DataError(
            f"the same {species.name} in every process",
            f"a picture of another bird for {item_id(species.id, index)}",
            "render with one version of memdriven at a time",
        )
    visible = visible_attributes(spec.attributes, picture.shares)
    described = describe(spec.attributes, visible, stream("captions", seed, species.id, index))
    name = item_id(species.id, index)
    return Item(
        id=name,
        split=species.split,
        class_id=species.id,
        class_name=species.name,
        captions=[text for text, _ in described],
        attributes=dict(spec.attributes),
        caption_attributes=[names for _, names in described],
        visible=visible,
    )
