"""`repeat`: a published model made again, phase by phase, by the commands of its recipe."""

from __future__ import annotations

import hashlib
import shlex
import time
import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from memdriven.cli import PROGRAM, parse, run, split
from memdriven.errors import ConfigError
from memdriven.files import atomic_write_bytes
from memdriven.numbers import counted

WORDS = ("name", "what", "minutes", "run")
"""What a phase has: a name, a line about it, the minutes that it took, and its command."""


@dataclass(frozen=True)
class Phase:
    """One command of a recipe."""

    name: str
    what: str
    minutes: float
    arguments: list[str]
    """Of `python -m memdriven`."""

    @property
    def mark(self) -> str:
        """What is written when it has ended, so that another command of that name is run anew."""
        return hashlib.sha256(shlex.join(self.arguments).encode()).hexdigest()


def read_phases(recipe: Path, work: Path) -> list[Phase]:
    """Read a recipe's phases, in order; `{...}` in its commands stands for a word of its table `words`.

    Raises:
        ConfigError: it cannot be read, or a phase lacks something.
    """
    try:
        given = tomllib.loads(recipe.read_text(encoding="utf-8"))
        words = {f"{{{name}}}": shlex.split(text) for name, text in given.get("words", {}).items()}

        def read(command: str) -> list[str]:
            # Taken apart before a folder is put in, whose name may have blanks.
            parts = [part for word in shlex.split(command) for part in words.get(word, [word])]
            return [part.format(work=work.as_posix()) for part in parts]

        return [
            Phase(str(phase["name"]), str(phase["what"]), float(phase["minutes"]), read(phase["run"]))
            for phase in given["phase"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"a recipe in TOML whose phases have {', '.join(WORDS)}",
            f"{recipe}: {type(error).__name__}: {error}",
            "see recipes/aviary.toml",
        ) from None


def repeat(recipe: Path, *, work: Path, dry_run: bool = False) -> None:
    """Make a published model again: every phase of its recipe, in order.

    Stopped, the same command goes on where it was.

    Args:
        recipe: file of its phases, such as recipes/aviary.toml.
        work: folder for what the phases make.
        dry_run: list phases and minutes; run nothing.

    Raises:
        ConfigError: the recipe cannot be read, or one of its commands is none of ours.
    """
    phases, done = read_phases(recipe, work), work / "done"
    ended = {
        phase.name
        for phase in phases
        if (done / phase.name).is_file() and (done / phase.name).read_text() == phase.mark
    }
    total = sum(phase.minutes for phase in phases)
    left = sum(phase.minutes for phase in phases if phase.name not in ended)
    for number, phase in enumerate(phases, 1):
        state = " (done)" if phase.name in ended else ""
        print(f"{number:2}  {phase.minutes:5.1f} min  {phase.name}: {phase.what}{state}")
    print(
        f"{counted(len(phases), 'phase')}, {_hours(total)} of two CPU cores, {_hours(left)} of them to come"
    )
    for phase in phases:
        if phase.name in ended or dry_run:
            continue
        print(f"\n{phase.name}: {PROGRAM} {shlex.join(phase.arguments)}", flush=True)
        started = time.monotonic()
        name, call = command_of(phase.arguments)
        if "resume" in call.keywords:
            call.keywords["resume"] = True
        run(name, call)
        atomic_write_bytes(done / phase.name, phase.mark.encode())
        print(f"{phase.name}: {(time.monotonic() - started) / 60:.1f} minutes")


def command_of(arguments: list[str]) -> tuple[str, partial[Any]]:
    """Return a command's name, and its function with the options that follow.

    Raises:
        ConfigError: it is none of ours.
    """
    name, options = split(arguments)
    if name is None:
        found = " ".join(arguments[:2])
        raise ConfigError(f"a command of {PROGRAM}", found, "see --help")
    return name, parse(name, options)


def _hours(minutes: float) -> str:
    return f"{int(minutes) // 60} h {int(minutes) % 60:02} min"
