"""Functions of the library as commands: their parameters are the options, their docstrings the help."""

import argparse
import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from memdriven.config import Config, from_dict
from memdriven.errors import ConfigError
from memdriven.files import read_json
from memdriven.presets import PRESETS, preset

POSITIONAL = ("caption", "folder", "source", "recipe", "runs")
"""Parameters that are given without their names."""
HIDDEN = ("variant", "budget")
"""Parameters for callers in Python."""
FORM = (tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName, tyro.conf.HelptextFromCommentsOff)


def bind(function: Callable[..., Any], arguments: Sequence[str], prog: str) -> functools.partial[Any]:
    """Return a function with its parameters read from a command line.

    Its docstring has a section `Args:` in Google's form, `prog` is the command's name. A parameter that is a
    dataclass gives an option for each of its fields; every field of a `Config` is one, and a preset's where
    no option is given.

    Raises:
        SystemExit: help was asked for, or an option is unknown or of a wrong type.
        ConfigError: a setting, or a preset, that cannot work.
    """
    parameters, given, note = [], list(arguments), ""
    hints, signature = get_type_hints(function), inspect.signature(function)
    if "checkpoint" in hints and not hints.keys() & POSITIONAL:
        note = "\n\nThe checkpoint may also stand first, without --checkpoint."
        given[:0] = ["--checkpoint"] if given and given[0][:1] != "-" else []
        # As `build-memory` called it, and the trainings still do.
        given = (
            given if "damsm" in hints else ["--checkpoint" if each == "--damsm" else each for each in given]
        )
    for name, each in signature.parameters.items():
        kind, default = _plain(hints[name]), each.default
        sections: list[Any] = [part for part in (kind, *get_args(kind)) if dataclasses.is_dataclass(part)]
        if name in HIDDEN:
            continue
        if Config in sections:
            note = f"\n\nPresets: {', '.join(PRESETS)}."
        if sections:
            default = _settings(given, prog) if Config in sections else default or sections[0]()
            kind = Annotated[(sections[0], tyro.conf.arg(name=""))]
        elif name in POSITIONAL:
            kind = Annotated[(kind, tyro.conf.Positional)]
        parameters.append(each.replace(kind=each.KEYWORD_ONLY, default=default, annotation=kind))

    def bound(**options: Any) -> functools.partial[Any]:
        return functools.partial(function, **options)

    bound.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    bound.__annotations__ = {each.name: each.annotation for each in parameters}
    text = re.sub(r"\n {8}(?=\S)", " ", inspect.getdoc(function) or "")  # an option's lines are one
    bound.__doc__ = text
    return tyro.cli(
        bound, prog=prog, args=given, description=text.partition("\n\nArgs:")[0] + note, config=FORM
    )


def _plain(hint: Any) -> Any:
    """Return a type with `Path | str` as a path, and what else may be text as text."""
    parts = get_args(hint)
    if get_origin(hint) is Sequence:
        return tuple[_plain(parts[0]), ...]  # type: ignore[misc]
    if str in parts:
        kind: Any = Path if Path in parts else str
        return kind | None if types.NoneType in parts else kind
    return hint


def _settings(arguments: Sequence[str], prog: str) -> Config:
    """Return the settings that options change: a preset's, or those of a run that is gone on with."""
    reader = argparse.ArgumentParser(prog, argparse.SUPPRESS, add_help=False, allow_abbrev=False)
    reader.add_argument("--preset")
    reader.add_argument("--out", type=Path, default=Path())
    for option in ("--resume", "--help"):
        reader.add_argument(option, option[1:3], action="store_true")
    given = reader.parse_known_args(arguments)[0]
    if given.preset is None and given.resume and (given.out / "config.json").is_file():
        return from_dict(Config, read_json(given.out / "config.json", ConfigError))
    return Config() if given.preset is None and given.help else preset(given.preset)
