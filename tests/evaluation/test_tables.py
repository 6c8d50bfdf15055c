"""Tables made from hand-written results."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from memdriven.evaluation.report import cells_of
from memdriven.evaluation.results import Result
from memdriven.evaluation.tables import (
    PUBLISHED,
    Table,
    TableRow,
    columns_of,
    in_order,
    metric,
    protocols,
    row_of,
    tables_of,
)

HOSTILE = '</td><script>alert("x")</script>|<img src=http://bad.example/x.png>'
BASIC = Result(
    checkpoint="bird",
    checkpoint_hash="abc123",
    dataset="cub/test",
    row="model",
    metric="fid_b",
    protocol="Frechet distance, form (b)",
    value=30.25,
    n=600,
    seed=3,
    device="cpu",
    captions=600,
    prompts="p",
    memory="m",
    strategy="sentence-sentence",
    commit="c0ffee",
    time="2026-01-01",
)


def result(row: str, metric: str, value: float, **changes: object) -> Result:
    return replace(BASIC, row=row, metric=metric, value=value, **changes)  # type: ignore[arg-type]


def results() -> list[Result]:
    """One model with controls and strategies, and an ablation of three rows."""
    found = [
        result("model", "fid_b", 30.25),
        result("real", "fid_b", 4.5),
        result("retrieved", "fid_b", 9.0),
        result("model", "asked_colours", 0.29),
        result("real", "asked_colours", 0.46),
        result("none", "asked_colours", 0.08),
        result("strategy words-words", "recall@1", 0.125, strategy="words-words"),
        result("strategy sentence-sentence", "recall@1", 0.25),
        result("strategy words-words", "asked_colours", 0.31, strategy="words-words"),
    ]
    for variant, value, share in (("no-v", 55.0, 0.1), ("base", 40.0, 0.3), (HOSTILE, 41.5, 0.2)):
        options = {"variant": variant, "budget": "9 steps", "dataset": "aviary/test"}
        found += [
            result("model", "fid_vgg", value, **options),
            result("model", "asked_colours", share, **options),
        ]
    return found + [result("real", "fid_vgg", 3.0, **(options | {"variant": "base"}))]


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
    assert row_of("x", [new, old]).numbers == {"fid_b": 2}


def made(*rows: TableRow, **options: bool) -> list[dict[str, str]]:
    table = Table(title="", lead="", columns={}, rows=list(rows), **options)
    return [cells_of(table, row) for row in rows]


def test_a_row_tells_where_it_comes_from_and_what_changed() -> None:
    base = [("fid_b", 40), ("asked_colours", 0.25), ("diversity", 0.25)]
    first = row_of("base", [result("model", *number) for number in base])
    row = row_of("x", [result("model", "fid_b", 28.5, n=50), result("model", "asked_colours", 0.5)])
    assert row.record == "bird abc123 · commit c0ffee · n 50/600 · seed 3 · cpu"
    other = row_of("y", [result("model", "diversity", 0.2)])
    assert made(first, row, other, compared=True) == [
        {"fid_b": "40.00", "asked_colours": "25.0", "diversity": "0.250"},
        {"fid_b": "28.50 (-11.5)", "asked_colours": "50.0 (+25.0)"},
        {"diversity": "0.200 (-0.050)"},
    ]


def test_best_is_lowest_or_highest_among_ours() -> None:
    same = result("model", "soa_c", 7)
    rows = [
        row_of("a", [same, result("model", "fid_b", 3), result("model", "diversity", 0.2)]),
        row_of("b", [same, result("model", "fid_b", 2), result("model", "diversity", 0.1)]),
        row_of("real", [result("model", "fid_b", 1)], ours=False),
    ]
    marked = [{name for name, text in row.items() if "**" in text} for row in made(*rows, marked=True)]
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


def titled(start: str) -> Table:
    (table,) = [table for table in tables_of(results()) if table.title.startswith(start)]
    return table


def test_ours_stand_below_the_published_rows_of_their_data_set() -> None:
    table = titled("Table 1, CUB")
    kinds = [row.kind for row in table.rows]
    assert kinds == ["published"] * 8 + ["ours", "control", "control"]
    ours = table.rows[8]
    assert ours.label == "Ours: bird on cub/test"
    assert ours.numbers == {"fid": 30.25, "form": "b"}
    assert "c0ffee" in ours.record
    assert list(table.columns) == ["form", "inception_score", "fid", "r_precision"]
    assert {row.kind for row in titled("Table 1, COCO").rows} == {"published"}


def test_a_model_stands_beside_its_controls() -> None:
    table = titled("bird on cub/test")
    assert [row.label for row in table.rows] == ["bird (the model)", "retrieved", "real", "none"]
    assert table.columns == {"fid_b": "FID (b) ↓", "asked_colours": "asked colours % ↑"}
    assert table.rows[2].numbers["asked_colours"] == 0.46
    assert table.notes[-1] == "none: the model with features set to zero"


def test_strategies_gather_their_rows() -> None:
    table = titled("Retrieval strategies")
    assert [row.label for row in table.rows] == ["sentence-sentence (the model's own)", "words-words", "none"]
    own = cells_of(table, table.rows[0])
    assert [own[name] for name in ("recall@1", "fid_b")] == ["**25.0**", "30.25"]
    assert cells_of(table, table.rows[1])["asked_colours"] == "**31.0**"


def test_ablation_rows_begin_with_the_base() -> None:
    table = titled("Ablation on aviary/test")
    assert [row.label for row in table.rows] == ["base", "no-v", HOSTILE, "real"]
    assert cells_of(table, table.rows[0]) == {"fid_vgg": "**40.00**", "asked_colours": "**30.0**"}
    assert cells_of(table, table.rows[1]) == {"fid_vgg": "55.00 (+15.0)", "asked_colours": "10.0 (-20.0)"}
    assert table.rows[3].kind == "control"
    assert "9 steps" in table.lead


def test_models_are_not_mixed() -> None:
    mixed = [
        result("model", "fid_b", 1),
        result("model", "fid_b", 2, checkpoint_hash="other"),
        result("model", "fid_b", 3, seed=9),
    ]
    found = [t for t in tables_of(mixed) if "beside its controls" in t.title]
    assert [t.rows[0].numbers["fid_b"] for t in found] == [1, 2, 3]
    assert [t.title for t in tables_of([])] == [
        "Table 1, CUB: published numbers",
        "Table 1, COCO: published numbers",
    ]


def test_rows_as_printed() -> None:
    cub = {row.method: row for row in PUBLISHED["CUB"]}
    coco = {row.method: row for row in PUBLISHED["COCO"]}
    assert (len(cub), len(coco)) == (8, 14)
    assert cub["The paper"].values == {"inception_score": "5.91", "fid": "10.49", "r_precision": "73.87"}
    assert list(coco["The paper"].values.values()) == ["29.36", "19.47", "90.32", "47.46", "65.83"]
    assert coco["DF-GAN"].values == {"fid": "21.42"}
    assert coco["XMC-GAN"].values["soa_i"] == "71.33"
    assert "r_precision" not in coco["XMC-GAN"].values
    assert cub["AttnGAN"].form == "b"
    assert coco["GLIDE"].form == "?"
    assert cub["Real images"].form == ""


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_number_is_one(name: str) -> None:
    for row in PUBLISHED[name]:
        assert row.values
        for text in row.values.values():
            assert float(text.removeprefix("~")) > 0
