"""Recorded runs, written by hand, as one Markdown page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memdriven.errors import EvaluationError
from memdriven.evaluation.report import (
    COLUMNS,
    PUBLISHED,
    arrowed,
    escape,
    gather,
    read_curve,
    tables,
    write_report,
)
from memdriven.evaluation.results import Result, append_results

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
        result("retrieved", "fid_b", 9.0, n=50),
        result("real", "fid_b", 4.5),
        result("none", "asked_colours", 0.08),
        result("model", "asked_colours", 0.29),
        result("real", "asked_colours", 0.46),
        result("strategy words-words", "recall@1", 0.125, strategy="words-words"),
        result("strategy sentence-sentence", "recall@1", 0.25),
    ]
    for variant, value, share in (("base", 40.0, 0.3), ("no-v", 55.0, 0.1), (HOSTILE, 41.5, 0.2)):
        options = {"variant": variant, "budget": "9 steps", "dataset": "aviary/test"}
        found += [
            result("model", "fid_vgg", value, **options),
            result("model", "asked_colours", share, **options),
        ]
    return found + [result("real", "fid_vgg", 3.0, **(options | {"variant": "base"}))]


def lines_of(start: str, page: str) -> list[list[str]]:
    """Return the cells of a page's table under the heading that begins so."""
    text = page[page.index(f"## {start}") :].split("\n## ", maxsplit=1)[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [
        [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]
        for line in [lines[0], *lines[2:]]
    ]


@pytest.fixture(scope="module")
def page() -> str:
    return "\n".join(tables(results()))


def test_the_newest_measurement_of_a_cell_counts() -> None:
    old, new = result("model", "fid_b", 3, time="1"), result("model", "fid_b", 2, time="2")
    assert lines_of("bird", "\n".join(tables([new, old])))[1] == ["model", "2.0000"]


def test_ours_stand_below_the_published_rows_of_their_data_set(page: str) -> None:
    table = lines_of("Table 1, CUB", page)
    assert table[0] == ["", "FID form", "inception_score ↑", "fid ↓", "r_precision ↑"]
    assert [row[0].endswith("*(published)*") for row in table[1:]] == [True] * 8 + [False] * 3
    assert table[9] == ["Ours: bird abc123 on cub/test, model", "b", "–", "30.25", "–"]
    assert all(row[0].endswith("*(published)*") for row in lines_of("Table 1, COCO", page)[1:])


def test_a_model_stands_beside_its_controls_and_says_where_it_comes_from(page: str) -> None:
    table = lines_of("bird on cub/test, beside", page)
    assert table[0] == ["", "fid\\_b ↓", "asked\\_colours ↑"]
    assert [row[0] for row in table[1:]] == ["model", "retrieved", "real", "none"]
    assert table[3] == ["real", "4.5000", "0.4600"]
    assert "bird abc123 · commit c0ffee · n 50/600 · seed 3 · cpu" in page
    assert "- fid\\_b: Frechet distance, form (b)\n" in page


def test_strategies_have_their_own_table(page: str) -> None:
    table = lines_of("Retrieval strategies", page)
    assert table[0] == ["", "recall@1 ↑"]
    assert [row[0] for row in table[1:]] == ["strategy words-words", "strategy sentence-sentence"]


def test_ablation_rows_begin_with_the_base(page: str) -> None:
    table = lines_of("Ablation on aviary/test", page)
    assert [row[0] for row in table[1:]] == ["base", "no-v", escape(HOSTILE).replace("\\|", "/"), "real"]
    assert table[2] == ["no-v", "55.00", "0.1000"]
    assert "trained with 9 steps" in page


def test_models_are_not_mixed() -> None:
    mixed = [
        result("model", "fid_b", 1),
        result("model", "fid_b", 2, checkpoint_hash="other"),
        result("model", "fid_b", 3, seed=9),
    ]
    found = [each for each in tables(mixed) if "beside its controls" in each]
    assert [lines_of("bird", each)[1][1] for each in found] == ["1.0000", "2.0000", "3.0000"]
    assert [each[:10] for each in tables([])] == ["## Table 1"] * 2


def test_rows_as_printed() -> None:
    cub = {row["method"]: row for row in PUBLISHED["CUB"]}
    coco = {row["method"]: row for row in PUBLISHED["COCO"]}
    assert (len(cub), len(coco)) == (8, 14)
    assert [cub["The paper"][key] for key in COLUMNS] == ["5.91", "10.49", "73.87", "", ""]
    assert [coco["The paper"][key] for key in COLUMNS] == ["29.36", "19.47", "90.32", "47.46", "65.83"]
    assert [coco["DF-GAN"][key] for key in COLUMNS] == ["", "21.42", "", "", ""]
    assert coco["XMC-GAN"]["soa_i"] == "71.33"
    assert cub["AttnGAN"]["form"] == "b"
    assert coco["GLIDE"]["form"] == "?"
    for row in (*cub.values(), *coco.values()):
        assert (row["form"] in ("a", "b", "c", "?")) == bool(row["fid"]), row
        assert all(float(row[key].removeprefix("~")) > 0 for key in COLUMNS if row[key])


def test_an_arrow_shows_the_better_side() -> None:
    assert arrowed("background_entropy_named").endswith("↓")
    assert arrowed("background_obeyed_named").endswith("↑")
    assert arrowed("copy_nearest_percentile")[-1] not in "↑↓"


def test_text_keeps_no_meaning() -> None:
    assert escape("a | b") == "a \\| b"
    assert escape("*x*\n# y") == "\\*x\\* \\# y"
    assert escape("<b> `c` [d](e) &amp;") == "&lt;b&gt; \\`c\\` \\[d\\](e) &amp;amp;"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with results, the pictures of a model, red, and of a control, blue, and two training logs."""
    root = tmp_path / "runs"
    append_results(root / "evaluation" / "results.jsonl", results())
    folder = root / "evaluation" / "bird <b>" / "rows"
    folder.mkdir(parents=True)
    for name, colour in (("model", (200, 30, 30)), ("none", (30, 30, 200)), ("model-soa", (0, 0, 0))):
        pictures = np.zeros((3, 3, 8, 8), np.uint8)
        pictures[:] = np.array(colour)[None, :, None, None]
        np.save(folder / f"{name}.npy", pictures)
        captions = [HOSTILE, "a $red bird", "a bird"][: 2 if name == "model-soa" else 3]
        (folder / f"{name}.json").write_text(json.dumps({"captions": captions}))
    gan = root / "gan $x^<b>"
    gan.mkdir()
    lines = [
        json.dumps({"step": i, "images": 12 * i, "damsm": 9.0 - i, "d_accuracy": 0.7 + i / 100})
        for i in (1, 2, 3, 2)
    ]
    (gan / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 4, "dam']))
    (root / "damsm").mkdir()
    lines = [json.dumps({"epoch": i, "step": 10 * i, "loss": 30.0 - i}) for i in (1, 2)]
    (root / "damsm" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return root


def test_everything_under_a_run_is_found(runs: Path) -> None:
    found = gather([runs])
    assert len(found.results) == 15
    assert [mark.parents[1].name for mark in found.pictures] == ["bird <b>"]
    assert list(found.logs) == ["runs/damsm", "runs/gan $x^<b>"]
    alone = gather([runs / "evaluation" / "results.jsonl"])
    assert (alone.results, alone.pictures, alone.logs) == (found.results, [], {})


def test_a_log_with_a_cut_line_and_repeated_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "damsm": 5}\n{"step": 2, "damsm": 4}\n{"step": 2, "damsm": 3.5}\n'
        '{"step": 3, "images": 60, "damsm": NaN, "kl": true, "r1": 2}\nnot json\n{"damsm": 1}\n[]\n'
        f'{{"step": {10**400}, "damsm": 1}}\n{{"step": 4, "damsm": {10**400}}}\n{{"step": 5, "damsm": 1e999}}'
    )
    assert read_curve(path) == {"damsm": [(1, 5), (2, 3.5)], "r1": [(60, 2)]}


def test_nothing_and_damaged_records_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="nothing there"):
        gather([tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="no run"):
        write_report([], tmp_path / "none.md")
    with pytest.raises(EvaluationError, match=r"results\.jsonl"):
        gather([tmp_path / "empty"])
    mark = next(runs.rglob("model.json"))
    for damage in ({"captions": 7}, {"captions": [1]}, {"captions": []}, {}):
        mark.write_text(json.dumps(damage))
        with pytest.raises(EvaluationError, match="captions and pictures in"):
            write_report([runs], tmp_path / "page.md")
    mark.write_text(json.dumps({"captions": ["a bird"]}))
    mark.with_suffix(".npy").write_bytes(b"nothing")
    with pytest.raises(EvaluationError, match="captions and pictures in"):
        write_report([runs], tmp_path / "page.md")


def test_the_page_has_every_part_and_shows_hostile_names_as_text(runs: Path, tmp_path: Path) -> None:
    page = write_report([runs], tmp_path / "out" / "report.html")
    assert page.name == "report.md"
    shown = page.read_text()
    headings = [line[3:].split(":")[0].split(",")[0] for line in shown.splitlines() if line.startswith("## ")]
    assert headings == [
        "Table 1",
        "Table 1",
        "bird on cub/test",
        "Retrieval strategies",
        "Ablation on aviary/test",
        "Pictures",
        "Learning curves",
    ]
    assert "<script" not in shown
    assert HOSTILE not in shown
    for name in ("1", "2"):
        assert f"](<report-figures/{name}.png>)" in shown
        with Image.open(page.parent / "report-figures" / f"{name}.png") as figure:
            assert min(figure.size) > 100


def test_a_line_of_pictures_a_row(runs: Path, tmp_path: Path) -> None:
    """The model's red pictures stand above the blue ones without memory, each below its caption."""
    write_report([runs], tmp_path / "report.md")
    with Image.open(tmp_path / "report-figures" / "1.png") as figure:
        pixels = np.asarray(figure.convert("RGB")).astype(int)
    red = np.argwhere((pixels[..., 0] > 150) & (pixels[..., 1:] < 80).all(axis=2))
    blue = np.argwhere((pixels[..., 2] > 150) & (pixels[..., :2] < 80).all(axis=2))
    assert 0 < red[:, 0].max() < blue[:, 0].min()
    assert red[:, 1].min() == blue[:, 1].min()
    starts = np.flatnonzero(np.diff(np.unique(red[:, 1])) > 1)
    assert len(starts) == 2, "three captions"
