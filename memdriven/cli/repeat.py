"""Work in phases, each told and done once; `repeat` makes a published model again by those of its recipe."""

import shlex
import time
import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from memdriven.cli import PROGRAM, command_of, run
from memdriven.errors import ConfigError, DataError, explained, require
from memdriven.files import atomic_write_json, read_json
from memdriven.numbers import check_number, counted, shown


class Phase(NamedTuple):
    """One part of a work that takes long."""

    name: str
    work: Callable[[], object]
    mark: str
    """What its result depends on: with another one it is done anew."""
    minutes: float = 0.0
    """How long it takes; 0 where that is not known beforehand."""
    what: str = ""
    """What it is for."""


def done_phases(file: Path) -> dict[str, str]:
    """Return the marks of the phases that a file notes as done, by name."""
    done = read_json(file, DataError) if file.is_file() else {}
    good = all(isinstance(mark, str) for mark in done.values())
    wanted, fix = f"what is done, by phase, in {file}", "remove it: then every phase is done anew"
    require(good, DataError, wanted, shown(done), fix)
    return done


def run_phases(phases: Sequence[Phase], file: Path) -> None:
    """Do in turn what `file` does not note as done, and note it: stopped, the work goes on where it was."""
    done = done_phases(file)
    left = [phase for phase in phases if done.get(phase.name) != phase.mark]
    for number, phase in enumerate(left):
        budget = f" ({counted(phase.minutes, 'minute', '.1f')})" if phase.minutes else ""
        to_come = counted(sum(each.minutes for each in left[number:]), "minute", ".0f")
        print(f"\n{phase.name}{budget}; {to_come} to come", flush=True)
        started = time.monotonic()
        try:
            phase.work()
        except KeyboardInterrupt:
            print(f"stopped in {phase.name}; the same command goes on there", flush=True)
            raise
        print(f"{phase.name}: {counted((time.monotonic() - started) / 60, 'minute', '.1f')}", flush=True)
        done[phase.name] = phase.mark
        atomic_write_json(file, done)


def read_phases(recipe: Path, work: Path) -> list[Phase]:
    """Read a recipe's phases, in order; the mark of each is its command.

    `{work}` in a command stands for that folder, any other `{...}` for words of the recipe's table `words`. A
    ConfigError says that it cannot be read, or that a phase lacks something.
    """
    wanted = f"a recipe in TOML whose phases have name, what, minutes, run: {recipe}"
    wrong = OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError
    with explained(ConfigError, wanted, "see recipes/aviary.toml", *wrong):
        given = tomllib.loads(recipe.read_text(encoding="utf-8-sig"))
        words = {f"{{{name}}}": shlex.split(text) for name, text in given.get("words", {}).items()}
        phases = []
        for phase in given["phase"]:
            # Taken apart before a folder is put in, whose name may have blanks.
            parts = [part for word in shlex.split(phase["run"]) for part in words.get(word, [word])]
            command = shlex.join(part.format(work=work.as_posix()) for part in parts)
            minutes = check_number(f"minutes of {phase['name']}", phase["minutes"], 0, 1e5)
            about = str(phase["what"])
            phases.append(Phase(str(phase["name"]), partial(_give, command), command, minutes, about))
    names = [phase.name for phase in phases]
    twice = ", ".join({name for name in names if names.count(name) > 1})
    require(
        phases and not twice, ConfigError, wanted, f"{twice} twice" if twice else "no phase", "name each once"
    )
    return phases


def _give(command: str) -> None:
    """Run one of our own commands; a training goes on where it was stopped."""
    print(f"{PROGRAM} {command}", flush=True)
    name, call = command_of(shlex.split(command))
    if "resume" in call.keywords:
        call.keywords["resume"] = True
    run(name, call)


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
    phases, done = read_phases(recipe, work), done_phases(work / "done.json")
    left = [phase for phase in phases if done.get(phase.name) != phase.mark]
    for number, phase in enumerate(phases, 1):
        state = "" if phase in left else " (done)"
        print(f"{number:2}  {phase.minutes:5.1f} min  {phase.name}: {phase.what}{state}")
    whole, rest = (sum(phase.minutes for phase in some) / 60 for some in (phases, left))
    print(f"{counted(len(phases), 'phase')}, {whole:.1f} h of two CPU cores, {rest:.1f} of them to come")
    run_phases([] if dry_run else left, work / "done.json")
