"""`python -m memdriven COMMAND ...`: finds the command, reads its options, runs it, prints its errors.

A command is a function of the library; nothing is imported before one is chosen, so that the list of them
comes at once.
"""

import difflib
import functools
import os
import pkgutil
import signal
import sys
import tomllib
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
COMMANDS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text(encoding="utf-8")
)
"""Each one's function in the package, what the list says of it, what is printed of a path that is made."""


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
        ended = stop if isinstance(stop, Interrupted) else Interrupted(signal.SIGINT, "\nstopped")
        print(ended.message, file=sys.stderr)
        return 128 + ended.number
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

            function = pkgutil.resolve_name(f"memdriven.{COMMANDS[name]['function']}")
            return name, bind(function, arguments[length:], f"{PROGRAM} {name}")
    asked = " ".join(arguments[: 1 + (arguments[:1] == ["prepare"])])
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
    elif isinstance(made, str) or "made" in COMMANDS[name]:
        print(COMMANDS[name].get("made", "{}").format(made))


def _stop(number: int, frame: object) -> None:
    raise Interrupted(number, "\nstopped")


def overview(prefix: str = "") -> str:
    """Return the commands (those that begin with `prefix`) with a line each."""
    lines = [f"usage: {PROGRAM} {prefix or 'COMMAND '}...", ""]
    if not prefix:
        lines += ["Memory-driven text-to-image generation: prepare, train, generate, measure.", ""]
    width = max(map(len, COMMANDS))
    listed = ((name, each["line"]) for name, each in COMMANDS.items() if name.startswith(prefix))
    lines += [f"  {name:<{width}}  {line}" for name, line in listed]
    return "\n".join([*lines, "", f"{PROGRAM} COMMAND --help lists a command's options."])
