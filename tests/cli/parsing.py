"""What commands make of their options."""

from __future__ import annotations

import inspect
import pkgutil
from typing import Any

from memdriven.cli import command_of

FOLDERS = ("--dataset", "a", "--features", "b", "--damsm", "c", "--out", "d")


def arguments_of(function: str) -> list[str]:
    return list(inspect.signature(pkgutil.resolve_name(f"memdriven.{function}")).parameters)


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    return command_of([*name.split(), *arguments])[1].keywords


def train(*arguments: str) -> dict[str, Any]:
    return parsed("train", *FOLDERS, *arguments)
