"""Prepared data sets that are rendered: Aviary, and its birds as other captions and a noise ask for them.

Each is a table of views (which bird, under which id), rendered on several cores in the order of the
table's logs. A stopped run goes on: a log says of each finished picture what its pixels do not.
"""

import contextlib
import io
import json
import multiprocessing.connection
import os
import random
import signal
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
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
from memdriven.aviary.wishes import Wish, recolouring, resetting
from memdriven.data.prepared import (
    HEADER,
    Item,
    PreparedDataset,
    image_file,
    refuse_other_content,
    write_prepared,
)
from memdriven.errors import DataError, Interrupted, require
from memdriven.files import atomic_write_bytes, explain_disk_errors, read_json
from memdriven.numbers import check_whole, shown

SOURCES = {
    "aviary": "Aviary: birds rendered by memdriven.aviary from signed-distance fields",
    "aviary-recoloured": "Aviary: birds of a data set in colours that other captions ask for",
    "aviary-resettings": "Aviary: birds of a data set in places, lights and plumages that a noise asks for",
}
"""The data sets, with where they come from."""
NAME, RECOLOURED, RESETTINGS = SOURCES
QUALITY = 92
RENDERER = 2
"""Raised whenever the same specimen would give other pixels, so that no run keeps outdated
pictures."""


def _check_counts(**numbers: int | None) -> None:
    """Refuse negative numbers, by the names of their options."""
    for name, number in numbers.items():
        if number is not None:
            check_whole(name.replace("_", " "), number, 0, 2**53 - 1, DataError)


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How pictures are rendered; a DataError names a number that cannot be."""

    image_size: int = 256
    """Side in px."""
    seed: int = 0
    """Another gives other pictures."""
    workers: int | None = None
    """Processes; as many as cores when left out, 0 or 1 render in this process."""

    def __post_init__(self) -> None:
        size = self.image_size
        fits = size % 16 == 0 and 16 <= size <= 4096
        wanted, fix = "image size: a multiple of 16 in 16..4096", "use another number"
        require(fits, DataError, wanted, shown(size), fix)
        _check_counts(**vars(self))


@dataclass(frozen=True, kw_only=True)
class Remake(Rendering):
    """How the birds of a data set are rendered again."""

    per_image: int = 4
    """Captions tried on each training image; pictures that hide what theirs names are dropped."""
    image_size: int = 128


@dataclass(frozen=True)
class View:
    """A picture to be rendered."""

    id: str
    split: str
    bird: BirdSpec
    wish: Wish | None = None
    """What is asked of a remembered bird; ten captions describe another."""
    memory: str = ""
    """`Item.memory`."""


def prepare_aviary(
    out: Path,
    how: Rendering | None = None,
    *,
    train_per_species: int = 27,
    test_per_species: int = 10,
    validation_per_species: int = 10,
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
        species_limit: only the first so many species of each split.

    Raises:
        DataError: the disk is full, or the folder holds something else.
    """
    how = how or Rendering()
    each = {"train": train_per_species, "test": test_per_species, "validation": validation_per_species}
    _check_counts(species_limit=species_limit, **{f"{split}_per_species": n for split, n in each.items()})
    table = {}
    for split, members in groupby(all_species(), attrgetter("split")):
        for species in islice(members, species_limit if each[split] else 0):
            table[f"species-{species.id:04d}"] = [
                View(f"aviary-{species.id:04d}-{i:04d}", split, sample_bird(species.id, i, how.seed))
                for i in range(each[split])
            ]
    return _render_table(out, NAME, table, how, {})


def prepare_recoloured(dataset: Path, out: Path, how: Remake | None = None) -> Path:
    """Render Aviary's birds in colours that captions ask for, for `train --extra`.

    G is shown what should come of a memory and words that disagree, which only a renderer knows. Each
    item names in `memory` the image of `dataset` whose features it is painted from. A stopped run is
    completed.

    Args:
        dataset: a prepared Aviary.
        out: a new folder, or an earlier one of these; it is returned.
        how: pictures are rendered.

    Raises:
        DataError: `dataset` is no Aviary, `out` holds something else, or the disk is full.
    """
    return _render_again(dataset, out, RECOLOURED, "wish", recolouring, how)


def prepare_resettings(dataset: Path, out: Path, how: Remake | None = None) -> Path:
    """Render Aviary's birds in the place, light and plumage that a noise z asks for.

    For `train --extra`: z gets something to say that neither words nor memory settle. As `prepare
    recoloured`, whose caption, record and `memory` each item has; and in `noise` the first numbers of
    its z, None where the picture does not depend on one (draw these anew each time).

    Args:
        dataset: a prepared Aviary.
        out: a new folder, or an earlier one of these; it is returned.
        how: pictures are rendered.

    Raises:
        DataError: `dataset` is no Aviary, `out` holds something else, or the disk is full.
    """
    return _render_again(dataset, out, RESETTINGS, "setting", resetting, how)


def _render_again(
    dataset: Path,
    out: Path,
    name: str,
    kind: str,
    ask: Callable[[BirdSpec, Sequence[str], random.Random], Wish],
    how: Remake | None,
) -> Path:
    """Render what is asked of each training image of an Aviary; `kind` is part of the pictures' ids."""
    how, prepared = how or Remake(), PreparedDataset.open(dataset)
    wanted, found = f"a data set of `prepare aviary` in {dataset}", f"the data set {prepared.name!r}"
    require(prepared.name == NAME, DataError, wanted, found, "only rendered birds can be recoloured")
    base_seed = prepared.header["seed"]
    table: dict[str, list[View]] = {}
    for memory in prepared.split("train"):
        bird = sample_bird(int(memory.class_id or 0), int(memory.id.rsplit("-", 1)[1]), base_seed)
        rng = stream(name.removeprefix(f"{NAME}-"), base_seed, how.seed, memory.id)
        wishes = [ask(bird, memory.visible, rng) for _ in range(how.per_image)]
        table[memory.id] = [
            View(f"{memory.id}-{kind}-{k}", "train", wish.specimen, wish, memory.id)
            for k, wish in enumerate(wishes)
        ]
    facts = {"base_seed": base_seed, "per_image": how.per_image}
    return _render_table(out, name, table, how, facts)


# ---- Rendering a table ---------------------------------------------------------------------------


def _render_table(
    out: Path, name: str, table: Mapping[str, Sequence[View]], how: Rendering, facts: Mapping[str, Any]
) -> Path:
    """Render what is missing of a data set and write its tables; return its folder.

    Args:
        table: views by the name of their log; one process renders those of a log.
        facts: further header entries, on which the pictures depend.

    Raises:
        DataError: `out` holds something else than a (begun) rendering of that name, or the disk is full.
    """
    facts = {"seed": how.seed, "image_size": how.image_size, **facts}
    counts = Counter(view.split for views in table.values() for view in views)
    # Of what is asked for some may be hidden, and dropped.
    _make_room(out, name, {**facts, "counts": dict(counts)} if name == NAME else facts)
    made: list[Item | None] = []
    shares_of = contextlib.closing(_run(out, table, how))
    try:
        with tqdm(total=counts.total(), desc="aviary", unit="img", smoothing=0.05) as bar, shares_of as each:
            for views, shares in zip(table.values(), each, strict=True):
                made += map(_item, views, shares)
                bar.update(len(views))
    except KeyboardInterrupt as stop:
        number = getattr(stop, "number", signal.SIGINT)
        raise Interrupted(number, f"\nstopped: the same command goes on where it was, in {out}") from None
    write_prepared(
        out,
        [item for item in made if item is not None],
        name=name,
        classes=[species.name for species in all_species()],
        source=SOURCES[name],
        licence="Apache-2.0",
        **facts,
    )
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


def _run(
    out: Path, table: Mapping[str, Sequence[View]], how: Rendering
) -> Generator[list[dict[str, float]], None, None]:
    """Give what `_render` returns of each log's views, in the table's order; closed, end in mid-picture.

    By itself the pool would wait until each worker has finished its log.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = cores if how.workers is None else how.workers
    if workers <= 1:
        yield from map(partial(_render, out, how), table, table.values())
        return
    context, others = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin) as pool:
        try:
            yield from pool.map(partial(_work, out, how), table, table.values())
        except BaseException:
            for worker in {*multiprocessing.active_children()} - {*others}:
                worker.terminate()
            raise


def _begin() -> None:
    """Begin a worker, which ends with its parent: a pool's wait for work for ever.

    It has one thread: a picture a core beats a picture on all cores. Ctrl-C is for the parent, which sends
    SIGTERM; what is half-written is removed then.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int = parent.sentinel) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(*task: Any) -> list[dict[str, float]]:
    """Render in a worker; when it is told to stop, end it: by itself it would take the next task."""
    try:
        return _render(*task)
    except SystemExit:
        os._exit(1)


def _render(out: Path, how: Rendering, name: str, views: Sequence[View]) -> list[dict[str, float]]:
    """Render what is missing of the views of a log; return the shares of each bird's parts."""
    log = out / "progress" / f"{RENDERER}-{how.image_size}-{how.seed}" / f"{name}.jsonl"
    files = [out / image_file(view.split, view.id) for view in views]
    specimens = [fingerprint(view) for view in views]
    done = _finished(log, files)
    with explain_disk_errors(out):
        log.parent.mkdir(parents=True, exist_ok=True)
        for index, (view, file, specimen) in enumerate(zip(views, files, specimens, strict=True)):
            if index in done and done[index][1] == specimen:
                continue
            (rgb,), (parts,) = render_birds([view.bird], how.image_size)
            buffer = io.BytesIO()
            Image.fromarray(rgb.permute(1, 2, 0).numpy()).save(buffer, "WEBP", quality=QUALITY, method=4)
            atomic_write_bytes(file, buffer.getvalue())
            shares, _ = done[index] = part_shares(parts), specimen
            facts = {"index": index, "crc": zlib.crc32(buffer.getvalue())}
            with log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({**facts, "shares": shares, "specimen": specimen}) + "\n")
    return [done[i][0] for i in range(len(views))]


def _finished(log: Path, files: Sequence[Path]) -> dict[int, tuple[dict[str, float], int]]:
    """Return the shares and the specimens of pictures whose log line and file agree, by their number."""
    done = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        # No whole line: a killed run was writing it. No file: it was removed.
        with contextlib.suppress(ValueError, LookupError, TypeError, OSError):
            record = json.loads(line)
            if zlib.crc32(files[record["index"]].read_bytes()) == record["crc"]:
                done[int(record["index"])] = dict(record["shares"]), int(record["specimen"])
    return done


def part_shares(parts: torch.Tensor) -> dict[str, float]:
    """Share of the bird's pixels that each part has; parts (h, w) with the values of `PARTS`."""
    count = torch.bincount(parts.flatten().long(), minlength=len(PARTS)).tolist()
    bird = sum(count) - count[PART["background"]] - count[PART["perch"]]
    return {
        name: round(count[i] / max(bird, 1), 6)
        for i, name in enumerate(PARTS)
        if count[i] and name not in ("background", "perch")
    }


def fingerprint(view: View) -> int:
    """A number that changes with anything that was decided about a picture."""
    # A setting that no noise asks for follows from all the rest, which the log of a run always held.
    asked = repr(view.bird.setting) if view.wish and view.wish.noise else ""
    return zlib.crc32((repr(view.bird) + asked).encode())


def _item(view: View, shares: dict[str, float]) -> Item | None:
    """Return a view's item, or none where its picture hides what its wish names."""
    bird, wish = view.bird, view.wish
    visible = visible_attributes(bird.attributes, shares)
    if wish is None:
        rng = stream("captions", bird.seed, bird.species_id, bird.index)
        described = describe(bird.attributes, visible, rng)
    elif wish.names.keys() <= set(visible):
        described = [(wish.caption, wish.names)]
    else:
        return None
    return Item(
        id=view.id,
        split=view.split,
        class_id=bird.species_id,
        class_name=all_species()[bird.species_id].name,
        captions=[text for text, _ in described],
        attributes=dict(bird.attributes),
        caption_attributes=[names for _, names in described],
        visible=visible,
        memory=view.memory,
        noise=wish.noise if wish else (),
    )
