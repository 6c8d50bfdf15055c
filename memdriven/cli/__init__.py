"""`python -m memdriven COMMAND ...`: finds the command, reads its options, runs it, prints its errors.

A command is a function of the library; nothing is imported before one is chosen, so that the list of them
comes at once.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from memdriven import __version__
from memdriven.config import Config, from_dict
from memdriven.errors import ConfigError, DataError, Interrupted, MemDrivenError
from memdriven.files import check_writable, print_what_cannot_be_printed, read_json
from memdriven.presets import PRESETS, preset

PROGRAM = "python -m memdriven"
FAILED, STOPPED = 2, 130
"""Exit codes: of an error that we can name, and of Ctrl-C."""
COMMANDS = {
    "own": ("own:train_own", "Train a model of your own captioned pictures"),
    "own-memory": ("own:memorise_own", "Give a model a memory of your own pictures"),
    "prepare aviary": ("aviary.prepare:prepare_aviary", "Render Aviary: 215 invented bird species"),
    "prepare recoloured": ("aviary.prepare:prepare_recoloured", "Render its birds as captions ask for"),
    "prepare resettings": ("aviary.prepare:prepare_resettings", "Render its birds as a noise z asks for"),
    "prepare folder": ("data.folder:prepare_folder", "Read your own captioned images"),
    "prepare cub": ("data.photos:prepare_cub", "CUB-200-2011 birds"),
    "prepare coco": ("data.photos:prepare_coco", "COCO 2014"),
    "prepare flowers": ("data.photos:prepare_flowers", "Oxford-102 flowers"),
    "extract-features": ("cli.use:extract_features", "Keep relu5_3 (v) of every image"),
    "train-damsm": ("training.damsm:train_damsm", "Train text encoder and image heads"),
    "train-pixels": ("training.damsm_further:train_pixels", "Train the encoders' pixel network further"),
    "train-text": ("training.damsm_further:train_text", "Train the encoders' text side further"),
    "train": ("training.gan:train_gan", "Train the generator"),
    "build-memory": ("cli.use:build_memory", "Build the memory bank of a checkpoint"),
    "repeat": ("cli.repeat:repeat", "Make a published model again, by its recipe"),
    "train-rival": ("training.rival:train_rival", "Train a GAN without a memory, to compare"),
    "train-judge": ("evaluation.judge:train_attribute_judge", "Train the judge of attributes"),
    "generate": ("cli.use:generate", "Draw pictures for a caption"),
    "retrieve": ("cli.use:retrieve", "Show the memory's nearest images for a caption"),
    "evaluate": ("evaluation.run:evaluate", "Measure a checkpoint"),
    "ablate": ("evaluation.ablation:ablate", "Train and measure variants of a model"),
    "report": ("evaluation.report:write_report", "Recorded results as one page"),
    "info": ("cli.use:info", "What a checkpoint is and holds, verified"),
}
"""Where each function is in the package, and what the list says of it; in the order in which one trains and
uses a model."""
TOLD = {
    "train": "run in {0}; next: build-memory --checkpoint {0}/checkpoint",
    "train-rival": "rival in {}",
    "report": "{}",
}
"""What is printed of a result that is a path."""
CONFIGURED = ("train-damsm", "train", "ablate")
"""Commands every field of whose `Config` is an option."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    print_what_cannot_be_printed()
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except MemDrivenError as error:
        return _failed(error)
    except Interrupted as stop:
        print(stop.message, file=sys.stderr)
        return 128 + stop.number
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # e.g. `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        fix = "check the path, and who may read and write there"
        return _failed(DataError(f"to use {error.filename}", str(error.strerror), fix))


@contextlib.contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: what is half-written is removed on the way out.

    Not before its libraries are there: an import that is interrupted may swallow the exception.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number, "\nstopped")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _failed(error: MemDrivenError) -> int:
    print(f"error: {type(error).__name__}", file=sys.stderr)
    for label, text in (("wanted", error.wanted), ("found", error.found), ("what to do", error.fix)):
        print(f"  {label:<10}  {text}", file=sys.stderr)
    return FAILED


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] == "--version":
        print(f"memdriven {__version__}")
        return 0
    if given[0] == "prepare" and given[1:2] in ([], ["-h"], ["--help"]):
        print(overview("prepare "))
        return 0
    run(*command_of(given))
    return 0


def command_of(arguments: Sequence[str]) -> tuple[str, functools.partial[Any]]:
    """Return a command's name, and its function with the options that follow.

    Raises:
        ConfigError: it is none of ours.
    """
    for length in (2, 1):
        if (name := " ".join(arguments[:length])) in COMMANDS:
            return name, parse(name, arguments[length:])
    asked = " ".join(arguments[: 1 + (arguments[0] == "prepare")])
    near = difflib.get_close_matches(asked, COMMANDS, n=1)
    fix = f"did you mean {near[0]}?" if near else f"see {PROGRAM} --help"
    raise ConfigError(f"a command of {PROGRAM}", asked, fix)


def parse(name: str, arguments: Sequence[str]) -> functools.partial[Any]:
    """Return the function of a command with its parameters read from the arguments.

    Raises:
        SystemExit: help was asked for, or an option is unknown or of a wrong type.
        ConfigError: a value, or a preset, that cannot work.
    """
    from memdriven.cli.options import bind, takes_a_checkpoint

    config, note, full = None, "", list(arguments)
    if name in CONFIGURED:
        config = _settings(full)
        note = f"\n\nPresets: {', '.join(PRESETS)}."
    function = pkgutil.resolve_name(f"memdriven.{COMMANDS[name][0]}")
    if takes_a_checkpoint(function):
        note = "\n\nThe checkpoint may also stand first, without --checkpoint."
        if full and full[0][:1] != "-":
            full.insert(0, "--checkpoint")
    return bind(function, full, prog=f"{PROGRAM} {name}", config=config, note=note)


def _settings(arguments: Sequence[str]) -> Config:
    """Return the settings that options change: a preset's, or those of a run that is gone on with.

    Raises:
        ConfigError: there is no such preset, or none was named.
    """
    reader = argparse.ArgumentParser(PROGRAM, argparse.SUPPRESS, add_help=False, allow_abbrev=False)
    reader.add_argument("--preset")
    reader.add_argument("--out", type=Path, default=Path())
    for option in ("--resume", "--help"):
        reader.add_argument(option, option[1:3], action="store_true")
    given = reader.parse_known_args(arguments)[0]
    if given.preset is None and given.resume and (given.out / "config.json").is_file():
        return from_dict(Config, read_json(given.out / "config.json", ConfigError))
    return Config() if given.preset is None and given.help else preset(given.preset)


def run(name: str, call: functools.partial[Any]) -> None:
    """Run a command, unless what it makes cannot be written; print what is to be said of its result."""
    given = call.keywords
    for out in (given.get("out"), given.get("work")):
        if out is not None and not given.get("dry_run"):
            check_writable(out)
    with _sigterm_unwinds():
        made = call()
    if given.get("dry_run") or os.environ.get("RANK", "0") != "0":
        return
    if name.startswith("prepare "):
        from memdriven.data.prepared import PreparedDataset

        data = PreparedDataset.open(made) if isinstance(made, Path) else made
        print(data.summary())
    elif name == "evaluate":
        print(made.table())
    elif isinstance(made, str) or name in TOLD:
        print(TOLD.get(name, "{}").format(made))


def overview(prefix: str = "") -> str:
    """Return the commands (those that begin with `prefix`) with a line each."""
    lines = [f"usage: {PROGRAM} {prefix or 'COMMAND '}...", ""]
    if not prefix:
        lines += ["Memory-driven text-to-image generation: prepare, train, generate, measure.", ""]
    width = max(map(len, COMMANDS))
    lines += [f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items() if name.startswith(prefix)]
    return "\n".join([*lines, "", f"{PROGRAM} COMMAND --help lists a command's options."])
