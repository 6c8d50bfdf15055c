"""Functions of the library as commands: their parameters are the options, their docstrings the help."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from memdriven.config import Config

POSITIONAL = ("caption", "folder", "source", "recipe", "runs")
"""Parameters that are given without their names."""
HIDDEN = ("progress", "variant", "budget", "say")
"""Parameters for callers in Python."""
METAVARS = {Path: "PATH", int: "INT", float: "FLOAT", str: "TEXT"}


def bind(
    function: Callable[..., Any], arguments: list[str], *, prog: str, config: Config | None, note: str = ""
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
        for name, each in parameters_of(function).items()
        if name not in HIDDEN
    ]
    bound.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    bound.__annotations__ = {each.name: each.annotation for each in parameters}
    text = re.sub(r"\n {8}(?=\S)", " ", inspect.getdoc(function) or "")  # an option's lines are one
    bound.__doc__ = text
    return tyro.cli(
        bound,
        prog=prog,
        args=arguments,
        description=text.partition("\n\nArgs:")[0].strip() + note,
        config=(tyro.conf.HelptextFromCommentsOff,),
    )


def _option(parameter: inspect.Parameter, hint: Any, config: Config | None) -> inspect.Parameter:
    """Return a parameter as an option: `--name`, but for those that stand alone and whole sections."""
    kind, default = _plain(hint), parameter.default
    marks: list[Any] = []
    inner = [part for part in get_args(kind) if part is not types.NoneType]
    optional = len(inner) == 1 and len(get_args(kind)) == 2 and types.NoneType in get_args(kind)
    if optional and dataclasses.is_dataclass(inner[0]):
        kind, default = inner[0], parameter.empty
    if dataclasses.is_dataclass(kind):
        marks.append(tyro.conf.arg(name=""))
        default = _section(kind, config) if default is parameter.empty else default
    elif parameter.name in POSITIONAL:
        marks += [tyro.conf.Positional, tyro.conf.arg(metavar=parameter.name.upper())]
    elif optional:  # its help shows the type alone, not `{None}|PATH (default: None)`
        marks.append(tyro.conf.arg(metavar=METAVARS.get(inner[0], "VALUE"), help_behavior_hint=""))
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


def _section(kind: Any, config: Config | None) -> Any:
    """Return the defaults of a dataclass whose fields are options; `config` where it holds settings."""
    if kind is Config:
        return config
    hints, required = get_type_hints(kind), {}
    for entry in dataclasses.fields(kind):
        if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
            required[entry.name] = config if hints[entry.name] is Config else tyro.MISSING
    return kind(**required)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return a function's parameters by name."""
    return inspect.signature(function).parameters
