"""`python -m memdriven COMMAND ...`: finds the command, reads its options, prints its errors.

A command is a dataclass whose fields are its options and whose `run` calls the library. Nothing
heavy is imported before `run`, so that `--help` answers at once.
"""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from memdriven import __version__
from memdriven.cli.ablation import Ablate
from memdriven.cli.data import BuildMemory, ExtractFeatures
from memdriven.cli.evaluation import Evaluate, TrainJudge
from memdriven.cli.own import Own, OwnMemory
from memdriven.cli.prepare import (
    PrepareAviary,
    PrepareCoco,
    PrepareCub,
    PrepareFlowers,
    PrepareFolder,
    PrepareRecoloured,
    PrepareResettings,
)
from memdriven.cli.repeat import Repeat
from memdriven.cli.report import Report
from memdriven.cli.training import Train, TrainDamsm, TrainPixels, TrainRival, TrainText, with_preset
from memdriven.cli.use import Generate, Info, Retrieve
from memdriven.errors import Interrupted, MemDrivenError
from memdriven.files import print_what_cannot_be_printed
from memdriven.presets import PRESETS

PROGRAM = "python -m memdriven"
FAILED, STOPPED = 2, 130
"""Exit codes: of an error that we can name, and of Ctrl-C."""


class Command(Protocol):
    """What every command offers."""

    def run(self) -> None:
        """Do the work."""


COMMANDS: dict[str, type[Any]] = {
    "own": Own,
    "own-memory": OwnMemory,
    "prepare aviary": PrepareAviary,
    "prepare recoloured": PrepareRecoloured,
    "prepare resettings": PrepareResettings,
    "prepare folder": PrepareFolder,
    "prepare cub": PrepareCub,
    "prepare coco": PrepareCoco,
    "prepare flowers": PrepareFlowers,
    "extract-features": ExtractFeatures,
    "train-damsm": TrainDamsm,
    "train-pixels": TrainPixels,
    "train-text": TrainText,
    "train": Train,
    "build-memory": BuildMemory,
    "repeat": Repeat,
    "train-rival": TrainRival,
    "train-judge": TrainJudge,
    "generate": Generate,
    "retrieve": Retrieve,
    "evaluate": Evaluate,
    "ablate": Ablate,
    "report": Report,
    "info": Info,
}
"""In the order in which one trains and uses a model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    print_what_cannot_be_printed()
    try:
        return _dispatch(given)
    except MemDrivenError as error:
        print(
            f"error: {type(error).__name__}\n  wanted      {error.wanted}\n"
            f"  found       {error.found}\n  what to do  {error.fix}",
            file=sys.stderr,
        )
        return FAILED
    except Interrupted as stop:
        print(stop.message, file=sys.stderr)
        return 128 + stop.number
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # e.g. `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] == "--version":
        print(f"memdriven {__version__}")
        return 0
    for length in (2, 1):
        name = " ".join(given[:length])
        if name in COMMANDS and len(given) >= length:
            parse(name, given[length:]).run()
            return 0
    group = f"{given[0]} "
    if any(name.startswith(group) for name in COMMANDS):
        asked = given[1:] and given[1] not in ("-h", "--help")
        if asked:
            print(f"error: no command {given[0]} {given[1]}\n", file=sys.stderr)
        print(overview(group), file=sys.stderr if asked else sys.stdout)
        return FAILED if asked else 0
    near = difflib.get_close_matches(given[0], COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; see {PROGRAM} --help"
    print(f"error: no command {given[0]!r}{hint}", file=sys.stderr)
    return FAILED


def parse(name: str, arguments: Sequence[str]) -> Command:
    """Return the command of a name with its options read from the arguments.

    Raises:
        SystemExit: help was asked for, or an option is unknown or of a wrong type.
        ConfigError: a value, or a preset, that cannot work.
    """
    import tyro

    kind = COMMANDS[name]
    description = inspect.getdoc(kind) or ""
    more: dict[str, Any] = {}
    if issubclass(kind, Train | TrainDamsm | Ablate):
        more["default"] = with_preset(kind, arguments)
        description += "\n\nPresets: " + ", ".join(PRESETS) + "."
    command: Command = tyro.cli(
        kind,
        prog=f"{PROGRAM} {name}",
        args=list(arguments),
        description=description,
        config=(tyro.conf.HelptextFromCommentsOff,),
        **more,
    )
    return command


def overview(prefix: str = "") -> str:
    """Return the commands (those that begin with `prefix`) with a line each."""
    lines = [f"usage: {PROGRAM} {prefix or 'COMMAND '}...", ""]
    if not prefix:
        lines += ["Memory-driven text-to-image generation: prepare, train, generate, measure.", ""]
    shown = {name: kind for name, kind in COMMANDS.items() if name.startswith(prefix)}
    width = max(map(len, shown))
    lines += [f"  {name:<{width}}  {summary(kind)}" for name, kind in shown.items()]
    lines += ["", f"{PROGRAM} COMMAND --help lists a command's options."]
    return "\n".join(lines)


def summary(kind: type[Any]) -> str:
    """Return the first line of a command's docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0]
