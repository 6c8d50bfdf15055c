"""Numbers from outside, read with suspicion: settings, metadata, recipes, API and command line.

JSON as people and programs write it holds NaN, 1e999, whole numbers of thousands of digits, true where
a number belongs, and lists in lists without end. Every reader here either returns a plain finite number
in its range or raises an error that can itself be shown.
"""

import json
import math
import reprlib
from typing import Any, TypeGuard

from memdriven.errors import ConfigError, MemDrivenError

LARGEST = 1e15
"""Finite numbers of greater size are refused wherever no range is named."""
Kind = type[MemDrivenError]
ANOTHER = "use another number"


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a whole or finite number of at most `LARGEST`, and no truth value."""
    # Compared, not converted: float(10**400) would overflow.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def in_range(value: object, low: float, high: float) -> TypeGuard[int | float]:
    """Return whether a value is a number in low..high, both included."""
    return is_number(value) and low <= value <= high


def check_whole(
    name: str, value: object, low: int, high: int, kind: Kind = ConfigError, fix: str = ANOTHER
) -> int:
    """Return a whole number in low..high, both included, or raise an error of `kind`."""
    if not (is_whole(value) and low <= value <= high):
        raise kind(f"{name}: a whole number in {low}..{high}", shown(value), fix)
    return value


def check_number(
    name: str, value: object, low: float, high: float, kind: Kind = ConfigError, fix: str = ANOTHER
) -> float:
    """Return a number in low..high as it came (a whole one stays whole), or raise an error of `kind`."""
    if not in_range(value, low, high):
        raise kind(f"{name}: a number in {low:g}..{high:g}", shown(value), fix)
    return value


def shown(value: object, longest: int = 80) -> str:
    """Return a value as an error may show it: short, whatever it is."""
    try:
        text = _REPR.repr(value)
    except Exception:  # a whole number of over 4,300 digits, or an object that cannot be shown
        text = type(value).__name__
        if isinstance(value, int):
            text = f"a whole number of {value.bit_length() * 30103 // 100000 + 1} digits"
    return text if len(text) <= longest else text[: longest - 3] + "..."


def counted(count: float, noun: str, form: str = ",") -> str:
    """Return "1 image", "2 images" or, with another format of the number, "1.5 minutes"."""
    number = f"{count:{form}}"
    return f"{number} {noun}{'s' * (number != '1')}"


def percent(share: float, digits: int = 0) -> str:
    """Return "45 %" for 0.45, or with as many digits after the point."""
    return f"{100 * share:.{digits}f} %"


def parse_json(text: str | bytes) -> Any:
    """Return what strict JSON says: no NaN, no infinity, no number beyond a float, no field twice.

    A ValueError says that it is not such JSON, not UTF-8, or nested too deep.
    """
    text = text.decode(json.detect_encoding(text)).lstrip("\ufeff") if isinstance(text, bytes) else text
    value, end = json_value(text, len(text) - len(text.lstrip(_BLANKS)))
    if rest := text[end:].strip(_BLANKS):
        raise ValueError(f"more behind it: {rest[:40]!r}")
    return value


def json_value(text: str, start: int) -> tuple[Any, int]:
    """Return the value that strict JSON has at a place, as `parse_json` does, and where it ends."""
    try:
        return _STRICT.raw_decode(text, start)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _number(text: str) -> int | float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is beyond every number")
    return int(text) if text.lstrip("-").isdigit() else value


def _each_field_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a field is given twice")
    return values


_BLANKS = " \t\r\n"
_STRICT = json.JSONDecoder(
    parse_constant=_number, parse_float=_number, parse_int=_number, object_pairs_hook=_each_field_once
)
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_REPR.maxlevel = 3
