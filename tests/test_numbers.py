"""Numbers as hostile JSON and callers write them: a plain number in range, or an error that can be shown."""

from __future__ import annotations

import math

import pytest

from memdriven.errors import ConfigError, DataError
from memdriven.numbers import (
    check_number,
    check_whole,
    counted,
    is_number,
    is_whole,
    parse_json,
    percent,
    shown,
)

NO_NUMBERS = {
    "not a number": math.nan,
    "infinite": math.inf,
    "beyond a float": 10**400,
    "of 5,000 digits": 10**5_000,
    "negative and endless": -(10**400),
    "true": True,
    "text": "1",
    "nothing": None,
    "a list": [1],
    "lists in lists": [[[[1]]]],
    "an object": {"1": 1},
}


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused_and_can_be_shown(value: object) -> None:
    assert not is_number(value)
    with pytest.raises(ConfigError, match=r"share: a number in 0\.\.1"):
        check_number("share", value, 0, 1)
    with pytest.raises(DataError, match=r"count: a whole number in 1\.\.9"):
        check_whole("count", value, 1, 9, DataError)
    assert len(shown(value)) <= 80


def test_numbers_come_back_as_they_were() -> None:
    assert check_number("share", 1, 0, 1) == 1
    assert isinstance(check_number("share", 1, 0, 1), int)
    assert check_number("share", 0.25, 0, 1) == 0.25
    assert check_whole("count", 9, 1, 9) == 9
    assert is_whole(0)
    assert not is_whole(1.0)
    assert is_number(-0.5)


def test_values_are_shown_in_short() -> None:
    assert shown(10**5_000) == "a whole number of 5001 digits"
    assert shown("a") == "'a'"
    assert len(shown("x" * 10_000)) <= 80
    assert len(shown([["y" * 99] * 99] * 99)) <= 80

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Mute" in shown(Mute())


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "-Infinity",
        "1e999",
        '{"a": [-1e999]}',
        '{"a": 1, "a": 2}',
        "1" * 5_000,
        "[" * 100_000,
        '{"a":' * 100_000,
        b"\xff\xfe",
        "",
    ],
    ids=lambda text: str(text)[:12],
)
def test_json_beyond_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_a_number_too_long_is_told_without_advice_for_programmers() -> None:
    with pytest.raises(ValueError, match=r"^-9{39} is beyond every number$"):
        parse_json('{"a": -' + "9" * 5_000 + "}")


def test_a_count_has_its_nouns_number() -> None:
    assert [counted(n, "image") for n in (0, 1, 4050)] == ["0 images", "1 image", "4,050 images"]
    assert [counted(n, "minute", "g") for n in (1.0, 1.5)] == ["1 minute", "1.5 minutes"]
    assert [percent(0.456), percent(0.456, 1), percent(0)] == ["46 %", "45.6 %", "0 %"]
    assert [counted(n, "minute", ".0f") for n in (0.9, 1.6)] == ["1 minute", "2 minutes"]


def test_plain_json_is_read() -> None:
    assert parse_json('{"a": [1, 2.5, "x", null, true]}') == {"a": [1, 2.5, "x", None, True]}
    assert parse_json(b'"\xc3\xa9"') == "é"
    assert parse_json("\ufeff[1]") == parse_json(b"\xef\xbb\xbf[1]") == [1]
