"""`python -m memdriven COMMAND ...`: finds the command, reads its options, runs it, prints its errors.

A command is a function of the library; nothing is imported before one is chosen, so that the list of them
comes at once.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from memdriven import __version__
from memdriven.config import Config, Strategy, from_dict
from memdriven.errors import ConfigError, DataError, Interrupted, MemDrivenError
from memdriven.files import check_writable, print_what_cannot_be_printed, read_json
from memdriven.presets import PRESETS, preset

PROGRAM = "python -m memdriven"
FAILED, STOPPED = 2, 130
"""Exit codes: of an error that we can name, and of Ctrl-C."""


class Command(NamedTuple):
    """A function as a command."""

    function: str
    """Where it is: `module:name`."""
    line: str
    """What the list says of it."""
    tell: Callable[[Any], str] | None = None
    """What is printed of its result."""


def _summary(made: Any) -> str:
    """Return what a prepared data set, or the one in a folder, has."""
    from memdriven.data.prepared import PreparedDataset

    data = PreparedDataset.open(made) if isinstance(made, Path) else made
    return str(data.summary())


COMMANDS = {
    "own": Command("memdriven.own:train_own", "Train a model of your own captioned pictures"),
    "own-memory": Command("memdriven.own:memorise_own", "Give a model a memory of your own pictures"),
    "prepare aviary": Command(
        "memdriven.aviary.prepare:prepare_aviary", "Render Aviary: 215 invented bird species", _summary
    ),
    "prepare recoloured": Command(
        "memdriven.aviary.recolour:prepare_recoloured", "Render its birds as captions ask for", _summary
    ),
    "prepare resettings": Command(
        "memdriven.aviary.resettings:prepare_resettings", "Render its birds as a noise z asks for", _summary
    ),
    "prepare folder": Command(
        "memdriven.data.folder:prepare_folder", "Read your own captioned images", _summary
    ),
    "prepare cub": Command("memdriven.data.photos:prepare_cub", "CUB-200-2011 birds", _summary),
    "prepare coco": Command("memdriven.data.photos:prepare_coco", "COCO 2014", _summary),
    "prepare flowers": Command("memdriven.data.photos:prepare_flowers", "Oxford-102 flowers", _summary),
    "extract-features": Command("memdriven.cli.use:extract_features", "Keep relu5_3 (v) of every image", str),
    "train-damsm": Command("memdriven.training.damsm:train_damsm", "Train text encoder and image heads"),
    "train-pixels": Command(
        "memdriven.training.damsm_further:train_pixels", "Train the encoders' pixel network further"
    ),
    "train-text": Command(
        "memdriven.training.damsm_further:train_text", "Train the encoders' text side further"
    ),
    "train": Command(
        "memdriven.training.gan:train_gan",
        "Train the generator",
        "run in {0}; next: build-memory --checkpoint {0}/checkpoint".format,
    ),
    "build-memory": Command("memdriven.cli.use:build_memory", "Build the memory bank of a checkpoint", str),
    "repeat": Command("memdriven.cli.repeat:repeat", "Make a published model again, by its recipe"),
    "train-rival": Command(
        "memdriven.training.rival:train_rival",
        "Train a GAN without a memory, to compare",
        "rival in {}".format,
    ),
    "train-judge": Command(
        "memdriven.evaluation.judge:train_attribute_judge", "Train the judge of attributes"
    ),
    "generate": Command("memdriven.cli.use:generate", "Draw pictures for a caption"),
    "retrieve": Command("memdriven.cli.use:retrieve", "Show the memory's nearest images for a caption"),
    "evaluate": Command(
        "memdriven.evaluation.run:evaluate", "Measure a checkpoint", lambda found: str(found.table())
    ),
    "ablate": Command("memdriven.evaluation.ablation:ablate", "Train and measure variants of a model"),
    "report": Command("memdriven.evaluation.report:write_report", "Recorded results as one page", str),
    "info": Command("memdriven.cli.use:info", "What a checkpoint is and holds, verified", str),
}
"""In the order in which one trains and uses a model."""
CONFIGURED = ("train-damsm", "train", "ablate")
"""Commands every field of whose `Config` is an option."""
SHORT = {
    "train": {"--max-minutes": ["--train.max-minutes"]},
    "train-rival": {"--batch": ["--batch-size"]},
    "evaluate": {"--all-strategies": ["--strategies", *Strategy.__args__]},  # type: ignore[attr-defined]
}
"""Short forms of options."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    print_what_cannot_be_printed()
    try:
        return _dispatch(given)
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


def _failed(error: MemDrivenError) -> int:
    lines = [f"wanted      {error.wanted}", f"found       {error.found}", f"what to do  {error.fix}"]
    print("\n  ".join([f"error: {type(error).__name__}", *lines]), file=sys.stderr)
    return FAILED


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] == "--version":
        print(f"memdriven {__version__}")
        return 0
    name, options = split(given)
    if name is not None:
        run(name, parse(name, options))
        return 0
    group = f"{given[0]} "
    if any(name.startswith(group) for name in COMMANDS):
        wrong = bool(given[1:]) and given[1] not in ("-h", "--help")
        if wrong:
            print(f"error: no command {given[0]} {given[1]}\n", file=sys.stderr)
        print(overview(group), file=sys.stderr if wrong else sys.stdout)
        return FAILED if wrong else 0
    near = difflib.get_close_matches(given[0], COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; see {PROGRAM} --help"
    print(f"error: no command {given[0]!r}{hint}", file=sys.stderr)
    return FAILED


def split(given: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the command that a line begins with, if any, and its options."""
    for length in (2, 1):
        name = " ".join(given[:length])
        if name in COMMANDS and len(given) >= length:
            return name, list(given[length:])
    return None, list(given)


def parse(name: str, arguments: Sequence[str]) -> functools.partial[Any]:
    """Return the function of a command with its parameters read from the arguments.

    Raises:
        SystemExit: help was asked for, or an option is unknown or of a wrong type.
        ConfigError: a value, or a preset, that cannot work.
    """
    config, note = None, ""
    if name in CONFIGURED:
        config = _settings(arguments)
        note = "\n\nPresets: " + ", ".join(PRESETS) + "."
    short = SHORT.get(name, {})
    for brief, long in short.items():
        note += f"\n\n{brief} is short for {' '.join(long)}."
    full = [part for word in arguments for part in _in_full(word, short)]

    from memdriven.cli.options import POSITIONAL, bind, parameters_of

    function = pkgutil.resolve_name(COMMANDS[name].function)
    known = parameters_of(function)
    if "checkpoint" in known and not known.keys() & set(POSITIONAL):
        note += "\n\nThe checkpoint may also stand first, without --checkpoint."
        if full and full[0][:1] != "-":
            full.insert(0, "--checkpoint")
    return bind(function, full, prog=f"{PROGRAM} {name}", config=config, note=note)


def _in_full(word: str, short: dict[str, list[str]]) -> list[str]:
    brief, equals, value = word.partition("=")
    if brief not in short:
        return [word]
    return [*short[brief], value] if equals else short[brief]


def _settings(arguments: Sequence[str]) -> Config:
    """Return the settings that options change: a preset's, or those of a run that is gone on with.

    Raises:
        ConfigError: there is no such preset, or none was named.
    """
    reader = argparse.ArgumentParser(
        prog=PROGRAM, usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False
    )
    reader.add_argument("--preset")
    reader.add_argument("--out", type=Path, default=Path())
    reader.add_argument("--resume", action="store_true")
    given = reader.parse_known_args(list(arguments))[0]
    if given.preset is None and given.resume and (given.out / "config.json").is_file():
        return from_dict(Config, read_json(given.out / "config.json", ConfigError))
    if given.preset is None and {"-h", "--help"} & set(arguments):
        return Config()
    return preset(given.preset)


def run(name: str, call: functools.partial[Any]) -> None:
    """Run a command, unless what it makes cannot be written; print what is to be said of its result."""
    given = call.keywords
    for out in (given.get("out"), given.get("work")):
        if out is not None and not given.get("dry_run"):
            check_writable(out)
    result = call()
    tell = COMMANDS[name].tell
    if tell is not None and not given.get("dry_run") and os.environ.get("RANK", "0") == "0":
        print(tell(result))


def overview(prefix: str = "") -> str:
    """Return the commands (those that begin with `prefix`) with a line each."""
    lines = [f"usage: {PROGRAM} {prefix or 'COMMAND '}...", ""]
    if not prefix:
        lines += ["Memory-driven text-to-image generation: prepare, train, generate, measure.", ""]
    shown = {name: command for name, command in COMMANDS.items() if name.startswith(prefix)}
    width = max(map(len, shown))
    lines += [f"  {name:<{width}}  {command.line}" for name, command in shown.items()]
    lines += ["", f"{PROGRAM} COMMAND --help lists a command's options."]
    return "\n".join(lines)
