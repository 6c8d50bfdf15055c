"""Your own pictures, in one command: from their folder to a model of them, or to a memory for another.

`train_own` takes the steps of docs/data.md in turn, each resumable, within the minutes that one gives
it; `memorise_own` leaves the networks as they are and gives them other pictures to look at. Both open the
app with what they made.
"""

import dataclasses
import hashlib
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from memdriven.checkpoint import load_checkpoint, save_checkpoint
from memdriven.cli.repeat import Phase, done_phases, run_phases
from memdriven.cli.use import SHIPPED
from memdriven.config import Config, Strategy
from memdriven.data.folder import prepare_folder
from memdriven.data.images import Fit, tiled
from memdriven.data.prepared import PreparedDataset, write_prepared
from memdriven.data.vocabulary import Vocabulary, clean
from memdriven.devices import choose_device
from memdriven.encoders.imagenet import COARSE, SqueezeNet, Vgg16Features
from memdriven.errors import DataError, require
from memdriven.explore.memory_map import renew_map
from memdriven.files import sha256_file
from memdriven.memory.build import build_memory, extract_features
from memdriven.numbers import check_number, counted
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.presets import preset
from memdriven.training.damsm import train_damsm
from memdriven.training.gan import train_gan

LARGE, LARGE_SHARE = 40.0, 0.25
"""Minutes from which a second stage of 128 px is trained, and its part of them."""
FEW, MANY = 50, 300
"""Pictures below which a model repeats what it saw, and from which words begin to count."""


def train_own(
    folder: Path,
    *,
    out: Path | None = None,
    minutes: float = 30.0,
    start_from: Path = SHIPPED,
    fit: Fit = "pad",
    vgg: Path | None = None,
    squeezenet: Path | None = None,
    device: str = "auto",
    open: bool = True,
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
        vgg: VGG-16 weight file; else $MEMDRIVEN_VGG16, torchvision's where it was downloaded before, or the
            package's own, in 2.3 bits a weight.
        squeezenet: SqueezeNet 1.1 weight file; else $MEMDRIVEN_SQUEEZENET or a download.
        device: auto, cpu, cuda, cuda:1, ...
        open: open the app at the end.

    Returns:
        The checkpoint, with its memory.

    Raises:
        DataError: there are too few pictures, or the folder cannot be read.
        CheckpointError: weights are missing, or `start_from` is of another shape.
    """
    check_number("minutes", minutes, 1, 1e5, DataError, "give another time, e.g. --minutes 30")
    require(folder.exists(), DataError, f"the folder {folder}", "no such folder", "check the path")
    choose_device(device)
    work = out or Path("runs") / _name_of(folder)
    data, features, encoders = work / "data", work / "features", work / "encoders"
    budgets = share_out(minutes)
    runs = [start_from, *(work / name for name in budgets if name != "encoders")]
    checkpoint = runs[-1] / "checkpoint"

    def read() -> None:
        _tell_how_many(len(_prepare(folder, data, fit, 0.1)))

    def extract() -> None:
        SqueezeNet.load(squeezenet)  # of no use before G's turn, but then they would be missed late
        load_checkpoint(start_from)
        _read_features(data, features, vgg, device)

    steps: dict[str, Callable[[], object]] = {
        "pictures and captions": read,
        "what VGG-16 sees in them": extract,
    }
    options: dict[str, Any] = {"minutes": budgets["encoders"], "resume": encoders.exists(), "device": device}
    steps["encoders"] = partial(train_damsm, data, features, encoders, preset("photo-64"), **options)
    for start, run in pairwise(runs):
        settings = settings_of(run.name, budgets[run.name])
        options = {"start_from": start, "squeezenet": squeezenet, "resume": run.exists(), "device": device}
        steps[run.name] = partial(train_gan, data, features, encoders, run, settings, **options)
    steps["the memory"] = partial(build_memory, checkpoint, data, features, replace=True, device=device)
    plan, mark = work / "own.json", f"{minutes:g} minutes, {_fingerprint(folder)}"
    wanted = f"the same pictures and minutes as those of the run in {work}"
    found = f"{folder} with {counted(minutes, 'minute', 'g')}"
    fix = "choose another folder with --out, or remove that one"
    require({*done_phases(plan).values()} <= {mark}, DataError, wanted, found, fix)
    run_phases([Phase(name, step, mark, budgets.get(name, 0)) for name, step in steps.items()], plan)
    _show(checkpoint, data, f"model in {checkpoint}", open)
    return checkpoint


def share_out(minutes: float) -> dict[str, float]:
    """Return the minutes of each training of `train_own`."""
    large = LARGE_SHARE if minutes >= LARGE else 0.0
    shares = {"encoders": 0.2, "photo-64-shape": 0.45, "photo-64": 0.35}
    budgets = {name: minutes * share * (1 - large) for name, share in shares.items()}
    return budgets | ({"photo-128": minutes * large} if large else {})


def settings_of(name: str, minutes: float) -> Config:
    """Return a preset as `train_own` uses it."""
    config = preset(name)
    # What the shipped first layer knows of the memory's features carries over to any picture.
    frozen = config.train.frozen_parts if name == "photo-128" else "first.linear"
    swap = min(config.train.p_swap, 0.5)
    train = dataclasses.replace(config.train, max_minutes=minutes, frozen_parts=frozen, p_swap=swap)
    return dataclasses.replace(config, train=train)


def _name_of(folder: Path) -> str:
    """Return what a folder is called, or an archive without its ending, in letters that any file may have."""
    return clean(folder.resolve().stem if folder.is_file() else folder.resolve().name)


def _tell_how_many(count: int) -> None:
    """Say what so many pictures can give; fewer than eight are refused."""
    fix = "add pictures, or give a shipped model a memory of these: own-memory FOLDER"
    require(count >= 8, DataError, "8 pictures with captions, better some hundreds", count, fix)
    if count < FEW:
        print(f"  {count} pictures are few: they will be repeated, softly. From {FEW} on they begin to mix.")
    elif count < MANY:
        print(f"  {count} pictures: shapes will be theirs; words count more from some {MANY} on.")


def _fingerprint(folder: Path) -> str:
    """Return a short hash of the names and contents of a folder's files, or of one file's."""
    paths = sorted(path for path in (folder, *folder.rglob("[!.]*")) if path.is_file())
    contents = [(path.relative_to(folder).as_posix(), sha256_file(path)) for path in paths]
    return hashlib.sha256(ascii(contents).encode()).hexdigest()[:16]


def memorise_own(
    folder: Path,
    *,
    out: Path | None = None,
    checkpoint: Path = SHIPPED,
    fit: Fit = "pad",
    vgg: Path | None = None,
    device: str = "auto",
    open: bool = True,
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
        vgg: VGG-16 weight file; else $MEMDRIVEN_VGG16, torchvision's where it was downloaded before, or the
            package's own, in 2.3 bits a weight.
        device: auto, cpu, cuda, cuda:1, ...
        open: open the app at the end.

    Returns:
        The new checkpoint.

    Raises:
        DataError: there is no picture, or the folder cannot be read.
        CheckpointError: weights are missing.
    """
    choose_device(device)
    work = out or Path("runs") / f"{_name_of(folder)}-memory"
    model, data, features = load_checkpoint(checkpoint), work / "data", work / "features"
    made, retrieval = work / model.name, model.config.retrieval
    prepared = _prepare(folder, data, fit, 0.0)
    unknown = _make_readable(prepared, model.vocabulary, model.config.text.max_words)
    many = counted(len(prepared), "picture")
    if unknown:
        strategy: Strategy = "sentence-image" if unknown == len(prepared) else "sentence-both"
        retrieval = dataclasses.replace(retrieval, strategy=strategy)
        why = f"have no word that {model.name} knows: they are found by how they look"
        print(f"  {unknown} of {many} {why}, so the strategy is {strategy}")
    _read_features(data, features, vgg, device)
    config = dataclasses.replace(model.config, retrieval=retrieval)
    networks = model.vocabulary, model.damsm, model.generator
    save_checkpoint(made, config, *networks, model.facts, model.attributes)
    build_memory(made, data, features, replace=True, device=device)
    renew_map(made)
    _show(made, data, f"{model.name} with a memory of {many} in {made}", open)
    return made


def _make_readable(data: PreparedDataset, vocabulary: Vocabulary, max_words: int) -> int:
    """Begin captions of unknown words with an article, which is known; return how many have no others."""
    article = next((word for word in ("a", "the", "this") if word in vocabulary.words), vocabulary.words[0])
    items, unknown = [], 0
    for item in data.items:
        captions = [caption for caption, _ in vocabulary.readable(item.captions, max_words)]
        unknown += not captions
        items.append(dataclasses.replace(item, captions=captions or [f"{article} {item.captions[0]}"]))
    header = {key: value for key, value in data.header.items() if key not in ("schema", "counts")}
    write_prepared(data.path, items, **header)
    return unknown


def _read_features(data: Path, out: Path, vgg: Path | None, device: str) -> None:
    """Keep what VGG-16 sees in the pictures, by its exact weights where they are at hand."""
    weights = vgg or Vgg16Features.at_hand()
    if weights is None:
        print("  read by VGG-16 with the weights of the package, in 2.3 bits each (exact ones: --vgg FILE)")
    extract_features(data, out, vgg=weights or COARSE, device=device)


def _prepare(folder: Path, out: Path, fit: Fit, test_fraction: float) -> PreparedDataset:
    lenient: dict[str, Any] = {"captions_from_names": True, "skip_faults": True}
    data = prepare_folder(folder, out, fit=fit, test_fraction=test_fraction, **lenient)
    print(data.summary())
    return data


def _show(made: Path, data: Path, line: str, wanted: bool) -> None:
    """Say what was made, paint captions with it, and serve the page, or say how."""
    pipe = MemoryDrivenPipeline.from_pretrained(made)
    items = sorted(PreparedDataset.open(data).items, key=lambda item: item.split != "test")
    captions = list(dict.fromkeys(item.captions[0] for item in items))[:6]
    painted = [pipe(caption, seeds=(0, 1, 2)) for caption in captions]
    columns = [[out.neighbours[0].image, *out.images] for out in painted]
    sheet, rows = data.with_name("sheet.png"), zip(*columns, strict=True)
    tiled([cell for row in rows for cell in row], len(captions), 128, 8).save(sheet)
    print(f"{line}\ncontact sheet in {sheet}: a column a caption, its reference above three noises")
    app = Path(__file__).parents[2] / "app.py"
    if wanted and app.is_file():
        subprocess.run([sys.executable, str(app), "--checkpoint", str(made)], check=False)
    else:
        print(f"to open it: python app.py --checkpoint {shlex.quote(str(made))}")
