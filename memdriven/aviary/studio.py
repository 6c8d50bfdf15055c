"""Specimens rendered to files on several cores, and gone on with where a stopped run left off.

Beside the pictures a small log a job keeps the part shares of every finished picture and a checksum
of its file; a picture whose log line and file agree is never rendered again.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from memdriven.aviary.render import render_birds
from memdriven.aviary.skin import PART, PARTS
from memdriven.aviary.specimen import BirdSpec
from memdriven.files import atomic_write_bytes, explain_disk_errors

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
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        running = {pool.submit(_render, job): number for number, job in enumerate(jobs)}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_thread() -> None:
    torch.set_num_threads(1)  # one picture a core beats one picture on all cores


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
