from __future__ import annotations

import math

from memdriven.evaluation.report.metrics import in_order, metric
from memdriven.evaluation.report.tables import columns_of, mark_best, newest, protocols, row_of
from tests.evaluation.report.conftest import result


def test_numbers_are_shown_by_their_size_and_scale() -> None:
    assert metric("fid_b").show(123.456) == "123"
    assert metric("fid_b").show(23.98) == "23.98"
    assert metric("diversity").show(0.2345) == "0.234"
    assert metric("asked_colours").show(0.2949) == "29.5"
    assert metric("fid_b").show(math.nan) == ""
    assert metric("new_one").title == "new_one"
    assert in_order({"zzz", "diversity", "fid_a"}) == ["fid_a", "diversity", "zzz"]


def test_the_newest_measurement_of_a_cell_counts() -> None:
    old, new = result("model", "fid_b", 3, time="1"), result("model", "fid_b", 2, time="2")
    assert newest([new, old])["fid_b"].value == 2


def test_a_row_tells_where_it_comes_from_and_what_changed() -> None:
    base = newest([result("model", "fid_b", 40), result("model", "asked_colours", 0.25)])
    row = row_of(
        "x", [result("model", "fid_b", 28.5, n=50), result("model", "asked_colours", 0.5)], base=base
    )
    assert row.record == "bird abc123 · commit c0ffee · n 50/600 · seed 3 · cpu"
    assert row.cells["fid_b"].change == "-11.5"
    assert row.cells["asked_colours"].change == "+25.0"
    small = row_of(
        "x", [result("model", "diversity", 0.2)], base=newest([result("model", "diversity", 0.25)])
    )
    assert small.cells["diversity"].change == "-0.050"
    assert row.cells["fid_b"].note.endswith("n = 50")


def test_best_is_lowest_or_highest_among_ours() -> None:
    same = result("model", "soa_c", 7)
    rows = [
        row_of("a", [same, result("model", "fid_b", 3), result("model", "diversity", 0.2)]),
        row_of("b", [same, result("model", "fid_b", 2), result("model", "diversity", 0.1)]),
        row_of("real", [result("model", "fid_b", 1)], kind="control"),
    ]
    marked = [{k for k, c in row.cells.items() if c.best} for row in mark_best(rows)]
    assert marked == [{"diversity"}, {"fid_b"}, set()]


def test_columns_and_protocols_in_order() -> None:
    found = [
        result("model", "diversity", 1),
        result("model", "fid_b", 1),
        result("real", "fid_b", 1, protocol="other"),
    ]
    assert columns_of(found) == {"fid_b": "FID (b) ↓", "diversity": "diversity ↑"}
    assert columns_of(found, skip=["fid_b"]) == {"diversity": "diversity ↑"}
    assert protocols(found)[0] == "FID (b): Frechet distance, form (b) | other"
