"""Errors say what was wanted, what was found, and what to do."""

import pickle

import pytest

from memdriven.errors import DataError, MemDrivenError, require


def test_errors_cross_process_boundaries() -> None:
    error = DataError(wanted="a", found="b", fix="c")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is DataError
    assert str(copy) == str(error) == "wanted: a; found: b; what to do: c"
    assert isinstance(copy, MemDrivenError)


def test_a_requirement_raises_unless_it_holds() -> None:
    require(True, DataError, wanted="", found="", fix="")
    with pytest.raises(DataError, match=r"wanted: 2; found: 3; what to do: less"):
        require(False, DataError, wanted="2", found=3, fix="less")
