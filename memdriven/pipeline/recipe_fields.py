"""What each field of a recipe may hold: checks that treat what they are given as hostile."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from memdriven.config import MAX_GUIDANCE
from memdriven.errors import ConfigError

MAX_EXTRA = 16
_EXTRA_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WEIGHT_TOLERANCE = 1e-4


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def sums_to_one(weights: Sequence[float]) -> bool:
    """Return whether weights are shares of a whole, as far as float32 can say."""
    return abs(math.fsum(weights) - 1.0) <= _WEIGHT_TOLERANCE


def recipe_error(wanted: str, found: object) -> ConfigError:
    """Return the error of a recipe that cannot be used."""
    return ConfigError(
        wanted=f"a recipe ({wanted})",
        found=str(found)[:120],
        fix="copy the recipe again from where it was made",
    )


def check(holds: bool, wanted: str, found: object) -> None:
    """Raise a `ConfigError` unless the condition holds."""
    if not holds:
        raise recipe_error(wanted, repr(found))


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Refuse all but a whole number in a range."""
    good = is_whole(value) and low <= value <= high
    check(good, f"{name}: a whole number in {low}..{high}", value)


def check_text(name: str, value: object, longest: int) -> None:
    """Refuse all but text that is short enough and can be written."""
    good = isinstance(value, str) and len(value) <= longest
    check(good, f"{name}: text of at most {longest} characters", value)
    check(not _LONE_SURROGATE.search(str(value)), f"{name}: text that can be written", value)


def check_weights(weights: tuple[Any, ...], count: int) -> None:
    """Refuse weights that are no shares of a whole, or not `count`."""
    check(len(weights) == count, f"{count} weights, one a neighbour", len(weights))
    for weight in weights:
        good = isinstance(weight, int | float) and not isinstance(weight, bool)
        check(good and 0.0 <= weight <= 1.0, "weights in 0..1", weight)
    check(not weights or sums_to_one(weights), "weights that sum to 1", math.fsum(weights))


def check_guidance(value: object) -> None:
    """Refuse all but a strength of guidance: a number in 0..`MAX_GUIDANCE`."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value <= MAX_GUIDANCE:  # type: ignore[operator]
        raise ConfigError(
            wanted=f"guidance: a number in 0..{MAX_GUIDANCE:g}",
            found=repr(value)[:80],
            fix="0 reads the words alone, 1 doubles what they change",
        )


def check_memory(value: object) -> None:
    """Refuse all but a share of the memory's features: a number in 0..1."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    if not good:
        raise ConfigError(
            wanted="a recipe's memory: a number in 0..1",
            found=repr(value)[:80],
            fix="0 leaves the words alone, 1 is all of the memory",
        )


def check_extra(extra: Mapping[Any, Any]) -> None:
    """Refuse extra settings that are not few, short and plain."""
    check(len(extra) <= MAX_EXTRA, f"at most {MAX_EXTRA} extra settings", len(extra))
    for key, value in extra.items():
        check(
            isinstance(key, str) and _EXTRA_KEY.fullmatch(key) is not None,
            "names of extra settings in lower case",
            key,
        )
        check(isinstance(value, str | int | float | bool), "plain extra settings", value)
        if isinstance(value, float):
            check(math.isfinite(value), "finite extra settings", value)
        check(len(str(value)) <= 200, "short extra settings", value)


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which JSON does not have."""
    raise ValueError(f"{name} is not a number of JSON")


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, refusing fields that are given twice."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a field is given twice")
    return values
