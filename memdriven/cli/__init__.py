"""`python -m memdriven COMMAND ...`: finds the command, reads its options, runs it, prints its errors.

A command is a function of the library; nothing is imported before one is chosen, so that the list of them
comes at once.
"""

from __future__ import annotations

import difflib
import functools
import os
import pkgutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memdriven import __version__
from memdriven.errors import ConfigError, DataError, Interrupted, MemDrivenError, signals_handled
from memdriven.files import check_writable, print_what_cannot_be_printed

PROGRAM = "python -m memdriven"
HELP = ("-h", "--help", "help")
FAILED = 2
"""Exit code of an error that we can name; of a signal it is 128 and its number."""
COMMANDS = {
    "own": ("cli.own:train_own", "Train a model of your own captioned pictures"),
    "own-memory": ("cli.own:memorise_own", "Give a model a memory of your own pictures"),
    "prepare aviary": ("aviary.prepare:prepare_aviary", "Render Aviary: 215 invented bird species"),
    "prepare recoloured": ("aviary.prepare:prepare_recoloured", "Render its birds as captions ask for"),
    "prepare resettings": ("aviary.prepare:prepare_resettings", "Render its birds as a noise z asks for"),
    "prepare folder": ("data.folder:prepare_folder", "Read your own captioned images"),
    "prepare cub": ("data.photos:prepare_cub", "CUB-200-2011 birds"),
    "prepare coco": ("data.photos:prepare_coco", "COCO 2014"),
    "prepare flowers": ("data.photos:prepare_flowers", "Oxford-102 flowers"),
    "extract-features": ("memory.build:extract_features", "Keep relu5_3 (v) of every image"),
    "train-damsm": ("training.damsm:train_damsm", "Train text encoder and image heads"),
    "train-pixels": ("training.damsm_further:train_pixels", "Train the encoders' pixel network further"),
    "train-text": ("training.damsm_further:train_text", "Train the encoders' text side further"),
    "train": ("training.gan:train_gan", "Train the generator"),
    "build-memory": ("memory.build:build_memory", "Build the memory bank of a checkpoint"),
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    print_what_cannot_be_printed()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["--version"]:
            print(f"memdriven {__version__}")
        elif not given or given[0] in HELP:
            print(overview())
        elif given[0] == "prepare" and not {*given[1:2]} - {*HELP}:
            print(overview("prepare "))
        else:
            run(*command_of(given))
        return 0
    except MemDrivenError as error:
        return _failed(error)
    except KeyboardInterrupt as stop:
        told = stop if isinstance(stop, Interrupted) else Interrupted(signal.SIGINT, "\nstopped")
        print(told.message, file=sys.stderr)
        return 128 + told.number
    except BrokenPipeError:  # e.g. `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        fix = "check the path, and who may read and write there"
        return _failed(DataError(f"to use {error.filename}", str(error.strerror), fix))


def _failed(error: MemDrivenError) -> int:
    print(f"error: {type(error).__name__}", file=sys.stderr)
    for label, text in (("wanted", error.wanted), ("found", error.found), ("what to do", error.fix)):
        print(f"  {label:<10}  {text}", file=sys.stderr)
    return FAILED


def command_of(arguments: Sequence[str]) -> tuple[str, functools.partial[Any]]:
    """Return a command's name, and its function with the options that follow.

    Raises:
        SystemExit: help was asked for, or an option is unknown or of a wrong type.
        ConfigError: it is none of ours, or a value that cannot work.
    """
    for length in (2, 1):
        if (name := " ".join(arguments[:length])) in COMMANDS:
            from memdriven.cli.options import bind

            function = pkgutil.resolve_name(f"memdriven.{COMMANDS[name][0]}")
            return name, bind(function, arguments[length:], f"{PROGRAM} {name}")
    asked = " ".join(arguments[: 1 + (arguments[0] == "prepare")])
    near = difflib.get_close_matches(asked, COMMANDS, n=1)
    fix = f"did you mean {near[0]}?" if near else f"see {PROGRAM} --help"
    raise ConfigError(f"a command of {PROGRAM}", asked, fix)


def run(name: str, call: functools.partial[Any]) -> None:
    """Run a command, unless what it makes cannot be written; print what is to be said of its result."""
    given = call.keywords
    for out in (given.get("out"), given.get("work")):
        if out is not None and not given.get("dry_run"):
            check_writable(out)
    # SIGTERM, too, removes what is half-written on its way out; not before the command's libraries are
    # there, for an import that is interrupted may swallow the exception.
    with signals_handled(_stop, signal.SIGTERM):
        made = call()
    if given.get("dry_run") or os.environ.get("RANK", "0") != "0":
        return
    if name.startswith("prepare ") and isinstance(made, Path):
        from memdriven.data.prepared import PreparedDataset

        made = PreparedDataset.open(made)
    elif name == "build-memory" and made.path.name == "memory":
        from memdriven.checkpoint import MAP
        from memdriven.explore.memory_map import renew_map

        if made.path.with_name(MAP).is_file():  # of the memory before
            renew_map(made.path.parent)
    if hasattr(made, "summary"):
        print(made.summary())
    elif name == "evaluate":
        print(made.table())
    elif isinstance(made, str) or name in TOLD:
        print(TOLD.get(name, "{}").format(made))


def _stop(number: int, frame: object) -> None:
    raise Interrupted(number, "\nstopped")


def overview(prefix: str = "") -> str:
    """Return the commands (those that begin with `prefix`) with a line each."""
    lines = [f"usage: {PROGRAM} {prefix or 'COMMAND '}...", ""]
    if not prefix:
        lines += ["Memory-driven text-to-image generation: prepare, train, generate, measure.", ""]
    width = max(map(len, COMMANDS))
    lines += [f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items() if name.startswith(prefix)]
    return "\n".join([*lines, "", f"{PROGRAM} COMMAND --help lists a command's options."])
