"""Functions of the library as commands: their parameters are the options, their docstrings the help."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from memdriven.config import Config

POSITIONAL = ("caption", "folder", "source", "recipe", "runs")
"""Parameters that are given without their names."""
HIDDEN = ("progress", "variant", "budget", "say")
"""Parameters for callers in Python."""
METAVARS = {Path: "PATH", int: "INT", float: "FLOAT", str: "TEXT"}


def takes_a_checkpoint(function: Callable[..., Any]) -> bool:
    """Return whether a function's first word may be its checkpoint."""
    names = inspect.signature(function).parameters.keys()
    return "checkpoint" in names and not names & set(POSITIONAL)


def bind(
    function: Callable[..., Any],
    arguments: list[str],
    *,
    prog: str,
    config: Config | None = None,
    note: str = "",
) -> functools.partial[Any]:
    """Return a function with its parameters read from a command line.

    Args:
        function: its docstring has a section `Args:` in Google's form.
        arguments: what follows the command's name.
        prog: the command's name.
        config: the settings that options change, where the function takes a `Config`.
        note: what the help adds to the docstring.

    Raises:
        SystemExit: help was asked for, or an option is unknown or of a wrong type.
        ConfigError: a setting that cannot work.
    """

    def bound(**given: Any) -> functools.partial[Any]:
        return functools.partial(function, **given)

    hints = get_type_hints(function)
    parameters = [
        _option(each, hints[name], config)
        for name, each in inspect.signature(function).parameters.items()
        if name not in HIDDEN
    ]
    bound.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    bound.__annotations__ = {each.name: each.annotation for each in parameters}
    text = re.sub(r"\n {8}(?=\S)", " ", inspect.getdoc(function) or "")  # an option's lines are one
    bound.__doc__ = text
    description = text.partition("\n\nArgs:")[0] + note
    shown = (tyro.conf.HelptextFromCommentsOff,)
    return tyro.cli(bound, prog=prog, args=arguments, description=description, config=shown)


def _option(parameter: inspect.Parameter, hint: Any, config: Config | None) -> inspect.Parameter:
    """Return a parameter as an option: `--name`, but for those that stand alone and whole sections."""
    kind, default, marks = _plain(hint), parameter.default, []
    inner = [part for part in get_args(kind) if part is not types.NoneType]
    optional = len(inner) == 1 and types.NoneType in get_args(kind)
    section: Any = inner[0] if optional else kind
    if isinstance(section, type) and dataclasses.is_dataclass(section):
        kind, marks = section, [tyro.conf.arg(name="")]
        default = config if section is Config else default or section()
    elif parameter.name in POSITIONAL:
        marks = [tyro.conf.Positional, tyro.conf.arg(metavar=parameter.name.upper())]
    elif optional:  # its help shows the type alone, not `{None}|PATH (default: None)`
        marks = [tyro.conf.arg(metavar=METAVARS.get(inner[0], "VALUE"), help_behavior_hint="")]
    annotation = Annotated[(kind, *marks)] if marks else kind
    return parameter.replace(kind=parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _plain(hint: Any) -> Any:
    """Return a type with `Path | str` as a path, and what else may be text as text."""
    parts = get_args(hint)
    if get_origin(hint) is Sequence:
        return tuple[_plain(parts[0]), ...]  # type: ignore[misc]
    if str in parts:
        kind: Any = Path if Path in parts else str
        return kind | None if types.NoneType in parts else kind
    return hint
