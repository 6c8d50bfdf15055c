from __future__ import annotations

from memdriven.evaluation.report.contents import tables_of
from memdriven.evaluation.report.tables import Table
from tests.evaluation.report.conftest import HOSTILE, result, results


def titled(start: str) -> Table:
    (table,) = [table for table in tables_of(results()) if table.title.startswith(start)]
    return table


def test_ours_stand_below_the_published_rows_of_their_data_set() -> None:
    table = titled("Table 1, CUB")
    kinds = [row.kind for row in table.rows]
    assert kinds == ["published"] * 8 + ["ours", "control", "control"]
    ours = table.rows[8]
    assert ours.label == "Ours: bird on cub/test"
    assert (ours.cells["fid"].text, ours.cells["form"].text) == ("30.25", "b")
    assert "c0ffee" in ours.record
    assert list(table.columns) == ["form", "inception_score", "fid", "r_precision"]
    assert {row.kind for row in titled("Table 1, COCO").rows} == {"published"}


def test_a_model_stands_beside_its_controls() -> None:
    table = titled("bird on cub/test")
    assert [row.label for row in table.rows] == ["bird (the model)", "retrieved", "real", "none"]
    assert table.columns == {"fid_b": "FID (b) ↓", "asked_colours": "asked colours % ↑"}
    assert table.rows[2].cells["asked_colours"].text == "46.0"
    assert all(row.hint for row in table.rows[1:])


def test_strategies_gather_their_rows() -> None:
    table = titled("Retrieval strategies")
    assert [row.label for row in table.rows] == ["sentence-sentence (the model's own)", "words-words", "none"]
    own = table.rows[0].cells
    assert [own[name].text for name in ("recall@1", "fid_b")] == ["25.0", "30.25"]
    assert own["recall@1"].best
    assert table.rows[1].cells["asked_colours"].best


def test_ablation_rows_begin_with_the_base() -> None:
    table = titled("Ablation on aviary/test")
    assert [row.label for row in table.rows] == ["base", "no-v", HOSTILE, "real"]
    assert table.rows[0].cells["fid_vgg"].change == ""
    assert table.rows[1].cells["fid_vgg"].change == "+15.0"
    assert table.rows[1].cells["asked_colours"].change == "-20.0"
    assert table.rows[0].cells["fid_vgg"].best
    assert table.rows[3].kind == "control"
    assert "9 steps" in table.lead


def test_models_are_not_mixed() -> None:
    mixed = [
        result("model", "fid_b", 1),
        result("model", "fid_b", 2, checkpoint_hash="other"),
        result("model", "fid_b", 3, seed=9),
    ]
    found = [t for t in tables_of(mixed) if "beside its controls" in t.title]
    assert [t.rows[0].cells["fid_b"].text for t in found] == ["1.00", "2.00", "3.00"]
    assert [t.title for t in tables_of([])] == [
        "Table 1, CUB: published numbers",
        "Table 1, COCO: published numbers",
    ]
