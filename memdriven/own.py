"""Your own pictures, in one command: from a captioned folder to a model, or to a memory for a shipped one.

`train_own` takes the steps of docs/data.md in turn, each resumable, within the minutes that one gives
it; `memorise_own` leaves the networks as they are and gives them other pictures to look at. Both open the
app with what they made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from memdriven.checkpoint import BESIDE, MEMORY, load_checkpoint
from memdriven.config import Config
from memdriven.data.archive import open_archives
from memdriven.data.folder import prepare_folder
from memdriven.data.images import Fit, tiled
from memdriven.data.prepared import Item, PreparedDataset, write_prepared
from memdriven.data.vocabulary import Vocabulary
from memdriven.devices import choose_device
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.imagenet import SqueezeNet, Vgg16Features
from memdriven.errors import CaptionError, DataError, Interrupted, require
from memdriven.explore.memory_map import renew_map
from memdriven.files import atomic_write_json, read_json, sealed
from memdriven.memory.build import build_memory, extract_features
from memdriven.numbers import counted
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.presets import preset
from memdriven.training.damsm import train_damsm
from memdriven.training.gan import train_gan

SHARES = {"encoders": 0.2, "photo-64-shape": 0.45, "photo-64": 0.35}
"""Each training's part of the minutes."""
LARGE, LARGE_SHARE = 40.0, 0.25
"""Minutes from which a second stage of 128 px is trained, and its part of them."""
FEW, MANY = 50, 300
"""Pictures below which a model repeats what it saw, and from which words begin to count."""
IMAGE_SIZE = 256
SHEET_COLUMNS = 6
PLAN = "own.json"
SHEET = "sheet.png"


def train_own(
    folder: Path,
    *,
    out: Path | None = None,
    minutes: float = 30.0,
    start_from: Path = Path("checkpoints/aviary"),
    fit: Fit = "pad",
    vgg: Path | None = None,
    squeezenet: Path | None = None,
    device: str = "auto",
    open: bool = True,
    progress: bool = True,
) -> Path:
    """Train a model of your own captioned pictures and open the app with it.

    Begins with the shipped generator, and ends with a contact sheet beside the checkpoint. Stopped, the
    same command goes on where it was.

    Args:
        folder: pictures with captions, as `prepare folder` reads them; what has no caption is
            described by its file's name.
        out: where everything goes; runs/ and the folder's name when left out.
        minutes: for the trainings together; features and the memory come on top.
        start_from: checkpoint whose generator it begins with.
        fit: wide pictures are kept whole between bars, or cropped to their middle.
        vgg: VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download.
        squeezenet: SqueezeNet 1.1 weight file; else $MEMDRIVEN_SQUEEZENET or a download.
        device: auto, cpu, cuda, cuda:1, ...
        open: open the app at the end.
        progress: show what is happening.

    Returns:
        The checkpoint, with its memory.

    Raises:
        DataError: there are too few pictures, or the folder cannot be read.
        CheckpointError: weights are missing, or `start_from` is of another shape.
    """
    require(1 <= minutes < 1e5, DataError, "1 minute or more", minutes, "give more time, e.g. --minutes 30")
    device = str(choose_device(device))
    work = out or Path("runs") / folder.resolve().stem
    data, features, encoders = work / "data", work / "features", work / "encoders"
    steps = _Steps(work, folder, minutes, progress)
    steps.take("pictures and captions", lambda: _prepare(folder, data, fit, 0.1, progress))
    prepared = PreparedDataset.open(data)
    _tell_how_many(prepared, progress)

    def look() -> None:
        SqueezeNet.load(squeezenet)  # of no use before G's turn, but then it would be missed late
        network = Vgg16Features.load(vgg, device)
        extract_features(prepared, prepared.items, network, features, progress=progress)

    def learn_words() -> None:
        options: dict[str, Any] = {"device": device, "resume": encoders.exists(), "progress": progress}
        share = steps.minutes["encoders"]
        train_damsm(data, features, encoders, preset("photo-64"), minutes=share, **options)

    def learn_to_paint(run: Path, start: Path) -> None:
        options: dict[str, Any] = {"device": device, "resume": run.exists(), "progress": progress}
        options |= {"start_from": start, "squeezenet": squeezenet}
        train_gan(data, features, encoders, run, _settings(run.name, steps.minutes[run.name]), **options)

    steps.take("what VGG-16 sees in them", look)
    steps.take("encoders", learn_words)
    runs = [start_from, *(work / name for name in steps.phases)]
    for start, run in itertools.pairwise(runs):
        steps.take(run.name, partial(learn_to_paint, run, start))
    checkpoint = runs[-1] / "checkpoint"

    def remember() -> None:
        trained = load_damsm(encoders, device)
        bank = checkpoint / MEMORY
        build_memory(data, features, trained.damsm, trained.vocabulary, bank, replace=True, progress=progress)

    steps.take("the memory", remember)
    steps.take("a contact sheet", lambda: contact_sheet(checkpoint, work / SHEET, _examples(prepared)))
    _show(checkpoint, work / SHEET, f"model in {checkpoint}", open, progress)
    return checkpoint


def memorise_own(
    folder: Path,
    *,
    out: Path | None = None,
    checkpoint: Path = Path("checkpoints/aviary"),
    fit: Fit = "pad",
    vgg: Path | None = None,
    device: str = "auto",
    open: bool = True,
    progress: bool = True,
) -> Path:
    """Give a model a memory of your own pictures, without training, and open the app with it.

    Captions are optional, as rows of a table, in `.txt` files beside the pictures, or as their files' names.
    Pictures whose words the model does not know are found by how they look: the copy's strategy is then
    sentence-both, or sentence-image where that is all of them.

    Args:
        folder: pictures, with captions or without.
        out: where the copy of the checkpoint goes; runs/ and the folder's name when left out.
        checkpoint: the model; it stays as it is.
        fit: wide pictures are kept whole between bars, or cropped to their middle.
        vgg: VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download.
        device: auto, cpu, cuda, cuda:1, ...
        open: open the app at the end.
        progress: show what is happening.

    Returns:
        The new checkpoint.

    Raises:
        DataError: there is no picture, or the folder cannot be read.
        CheckpointError: weights are missing.
    """
    device = str(choose_device(device))
    work = out or Path("runs") / f"{folder.resolve().stem}-memory"
    model = load_checkpoint(checkpoint, device)
    data, features, made = work / "data", work / "features", work / model.name
    made.mkdir(parents=True, exist_ok=True)
    _prepare(folder, data, fit, 0.0, progress)
    max_words, strategy = model.config.text.max_words, model.config.retrieval.strategy
    unknown = _say_what_is_known(data, model.vocabulary, max_words)
    prepared = PreparedDataset.open(data)
    many = counted(len(prepared), "picture")
    if unknown:
        strategy = "sentence-image" if unknown == len(prepared) else "sentence-both"
        if progress:
            print(
                f"  {unknown} of {many} have no word that {model.name} knows: they are found by how they "
                f"look, so the strategy is {strategy}"
            )
    extract_features(prepared, prepared.items, Vgg16Features.load(vgg, device), features, progress=progress)

    # A copy of the model, with another memory and nothing that speaks of the first.
    content = read_json(checkpoint / "config.json", DataError)
    content["files"] = {name: content["files"][name] for name in content["files"] if name not in BESIDE}
    for name in content["files"]:
        shutil.copy2(checkpoint / name, made / name)
    content["config"].setdefault("retrieval", {})["strategy"] = strategy
    atomic_write_json(made / "config.json", sealed(content))
    options: dict[str, Any] = {"max_words": max_words, "replace": True, "progress": progress}
    build_memory(data, features, model.damsm, model.vocabulary, made / MEMORY, **options)
    renew_map(made, progress=progress)
    contact_sheet(made, work / SHEET, _examples(prepared))
    _show(made, work / SHEET, f"{model.name} with a memory of {many} in {made}", open, progress)
    return made


def _show(made: Path, sheet: Path, line: str, wanted: bool, progress: bool) -> None:
    """Say what was made, and serve the page with it, or say how."""
    if progress:
        print(line)
        print(
            f"contact sheet in {sheet}: a column a caption, with its reference above and three noises below"
        )
    app = Path(__file__).parents[1] / "app.py"
    if wanted and app.is_file():
        subprocess.run([sys.executable, str(app), "--checkpoint", str(made)], check=False)
    else:
        print(f"to open it: python app.py --checkpoint {shlex.quote(str(made))}")


class _Steps:
    """The steps of a run in turn: told as they begin, noted when they are done, not done twice."""

    def __init__(self, work: Path, folder: Path, minutes: float, progress: bool) -> None:
        self.file, self.progress = work / PLAN, progress
        self.plan = {"folder": str(folder.resolve()), "content": _fingerprint(folder), "minutes": minutes}
        self.done: list[str] = []
        if self.file.is_file():
            kept = read_json(self.file, DataError)
            self.done = list(kept.pop("done", ()))
            wanted = f"the same pictures and minutes as those of the run in {work}"
            found = f"{folder} with {counted(minutes, 'minute', 'g')}"
            fix = "choose another folder with --out, or remove that one"
            require(kept == self.plan, DataError, wanted, found, fix)
        large = LARGE_SHARE if minutes >= LARGE else 0.0
        self.minutes = {name: minutes * share * (1 - large) for name, share in SHARES.items()}
        if large:
            self.minutes["photo-128"] = minutes * large
        self.phases = [name for name in self.minutes if name != "encoders"]

    def take(self, name: str, work: Callable[[], object]) -> None:
        """Take a step, unless it was taken before."""
        if name in self.done:
            return
        left = sum(minutes for phase, minutes in self.minutes.items() if phase not in self.done)
        if self.progress:
            budget = f" ({counted(self.minutes[name], 'minute', '.1f')})" if name in self.minutes else ""
            print(f"{name}{budget}; {counted(left, 'minute', '.0f')} of training to come", flush=True)
        try:
            work()
        except (Interrupted, KeyboardInterrupt):
            print(f"stopped in {name}; the same command goes on there", flush=True)
            raise
        self.done.append(name)
        atomic_write_json(self.file, {**self.plan, "done": self.done})


def _settings(name: str, minutes: float) -> Config:
    config = preset(name)
    # What the shipped first layer knows of the memory's features carries over to any picture.
    frozen = config.train.frozen_parts if name == "photo-128" else "first.linear"
    swap = min(config.train.p_swap, 0.5)
    train = dataclasses.replace(config.train, max_minutes=minutes, frozen_parts=frozen, p_swap=swap)
    return dataclasses.replace(config, train=train)


def _prepare(folder: Path, out: Path, fit: Fit, test_fraction: float, progress: bool) -> None:
    lenient: dict[str, Any] = {"captions_from_names": True, "skip_faults": True, "progress": progress}
    data = prepare_folder(folder, out, image_size=IMAGE_SIZE, fit=fit, test_fraction=test_fraction, **lenient)
    if progress:
        print(data.summary())


def _tell_how_many(data: PreparedDataset, progress: bool) -> None:
    """Say what so many pictures can give; fewer than eight are refused."""
    count = len(data.split("train"))
    wanted = "8 pictures to learn from, better some hundreds"
    fix = "add pictures, or give a shipped model a memory of these: own-memory FOLDER"
    require(count >= 8, DataError, wanted, count, fix)
    if progress and count < FEW:
        print(
            f"  {count} pictures are few: the model will repeat them, softly. From {FEW} on it begins to mix."
        )
    elif progress and count < MANY:
        print(f"  {count} pictures: shapes will be theirs; words count more from some {MANY} on.")


def _say_what_is_known(data: Path, vocabulary: Vocabulary, max_words: int) -> int:
    """Begin captions of unknown words with the article, which every vocabulary has; count them."""
    prepared = PreparedDataset.open(data)
    article = next((word for word in ("a", "the", "this") if word in vocabulary), vocabulary.words[0])
    items, unknown = [], 0

    def known(caption: str) -> bool:
        try:
            return bool(vocabulary.encode(caption, max_words).ids)
        except CaptionError:
            return False

    for item in prepared.items:
        captions: Sequence[str] = [caption for caption in item.captions if known(caption)]
        if not captions:
            unknown += 1
            captions = [f"{article} {item.captions[0]}"]
        items.append(dataclasses.replace(item, captions=captions))
    header = {key: value for key, value in prepared.header.items() if key not in ("schema", "counts")}
    write_prepared(data, items=items, **header)
    return unknown


def _fingerprint(folder: Path) -> str:
    """Return a short hash of a folder's names and sizes, or of a file's size."""
    require(folder.exists(), DataError, f"the folder {folder}", "no such folder", "check the path")
    digest = hashlib.sha256()
    with open_archives(folder, inner=False) as files:
        for name in files.names:
            path = folder / name
            size = path.stat().st_size if path.is_file() else 0
            digest.update(f"{name}\0{size}\0".encode("utf-8", "replace"))
    return digest.hexdigest()[:16]


def _examples(data: PreparedDataset) -> list[str]:
    """Return captions to paint: of held-out pictures, then of others."""
    items: list[Item] = sorted(data.items, key=lambda item: item.split != "test")
    return list(dict.fromkeys(item.captions[0] for item in items))[:SHEET_COLUMNS]


def contact_sheet(checkpoint: Path, file: Path, captions: Sequence[str]) -> None:
    """Paint captions: a column each, above the memory that was found, below it three noises."""
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint)
    painted = [pipe(caption, seeds=(0, 1, 2)) for caption in captions]
    columns = [[out.neighbours[0].image, *out.images] for out in painted]
    tiled([cell for row in zip(*columns, strict=True) for cell in row], len(captions), 128, 8).save(file)
