"""`repeat`: a published model made again, phase by phase, by the commands of its recipe."""

from __future__ import annotations

import hashlib
import shlex
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

from memdriven.cli import PROGRAM, command_of, run
from memdriven.errors import ConfigError
from memdriven.files import atomic_write_bytes
from memdriven.numbers import counted


class Phase(NamedTuple):
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
        phases = []
        for phase in given["phase"]:
            # Taken apart before a folder is put in, whose name may have blanks.
            parts = [part for word in shlex.split(phase["run"]) for part in words.get(word, [word])]
            command = [part.format(work=work.as_posix()) for part in parts]
            phases.append(Phase(str(phase["name"]), str(phase["what"]), float(phase["minutes"]), command))
        return phases
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "a recipe in TOML whose phases have name, what, minutes, run",
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
    left = []
    for number, phase in enumerate(phases, 1):
        mark = done / phase.name
        ended = mark.is_file() and mark.read_text() == phase.mark
        left += [] if ended else [phase]
        state = " (done)" if ended else ""
        print(f"{number:2}  {phase.minutes:5.1f} min  {phase.name}: {phase.what}{state}")
    whole, rest = (sum(phase.minutes for phase in some) / 60 for some in (phases, left))
    print(f"{counted(len(phases), 'phase')}, {whole:.1f} h of two CPU cores, {rest:.1f} of them to come")
    for phase in [] if dry_run else left:
        print(f"\n{phase.name}: {PROGRAM} {shlex.join(phase.arguments)}", flush=True)
        started = time.monotonic()
        name, call = command_of(phase.arguments)
        if "resume" in call.keywords:
            call.keywords["resume"] = True
        run(name, call)
        atomic_write_bytes(done / phase.name, phase.mark.encode())
        print(f"{phase.name}: {counted((time.monotonic() - started) / 60, 'minute', '.1f')}")
