"""Recorded runs, written by hand, as one Markdown page."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.errors import EvaluationError
from memdriven.evaluation import report
from memdriven.evaluation.context import Context, choose_prompts
from memdriven.evaluation.diversity import DRAWS
from memdriven.evaluation.report import draw_figures, escape, gather, read_curve, table, write_report
from memdriven.evaluation.results import append_results
from memdriven.evaluation.tables import tables_of
from tests.evaluation.test_tables import HOSTILE, results


def webp(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "WEBP")
    return buffer.getvalue()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with results, figures of two models, and two training logs."""
    root = tmp_path / "runs"
    append_results(root / "evaluation" / "results.jsonl", results())
    for name, variant in (("model", ""), ("base", "base")):
        folder = root / "evaluation" / name / "figures"
        folder.mkdir(parents=True)
        for file in ("a", "b"):
            (folder / f"{file}.webp").write_bytes(webp((200, 30, 30)))
        about = {"caption": HOSTILE, "neighbour": HOSTILE, "matched": "a *red* bird", "retrieved": "a.webp"}
        content = {
            "schema": report.SCHEMA,
            "checkpoint": HOSTILE,
            "dataset": "cub/test",
            "seed": 3,
            "strategy": "sentence-sentence",
            "k": 1,
            "checkpoint_hash": "abc123",
            "commit": "",
            "variant": variant,
            "pairs": [about | {"picture": "b.webp"}],
            "diversity": [about | {"draws": ["a.webp", "b.webp"]}],
        }
        (folder / report.INDEX).write_text(json.dumps(content))
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
    numbers, figures, curves = gather([runs])
    assert len(numbers) == 16
    assert sorted(each.text("variant") for each in figures) == ["", "base"]
    assert [curve.name for curve in curves] == ["runs/damsm", "runs/gan $x^<b>"]
    assert [curve.x for curve in curves] == ["step", "images"]
    assert gather([runs / "evaluation" / "results.jsonl"]) == (numbers, [], [])


def test_folders_without_records_are_not_searched(runs: Path) -> None:
    hidden = runs / "evaluation" / "features"
    hidden.mkdir()
    (hidden / "results.jsonl").write_text("damaged")
    assert len(gather([runs])[0]) == 16


def test_a_log_with_a_cut_line_and_repeated_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "damsm": 5}\n{"step": 2, "damsm": 4}\n{"step": 2, "damsm": 3.5}\n'
        '{"step": 3, "damsm": NaN, "kl": true, "note": "x", "r1": 2}\nnot json\n{"damsm": 1}\n[]\n'
        f'{{"step": {10**400}, "damsm": 1}}\n{{"step": 4, "damsm": {10**400}}}\n{{"step": 5, "damsm": 1e999}}'
    )
    assert read_curve(path, "x").points == {"damsm": [(1, 5), (2, 3.5)], "r1": [(3, 2)]}


def test_nothing_and_damaged_records_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="nothing there"):
        gather([tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="no run"):
        write_report([], tmp_path / "none.md")
    with pytest.raises(EvaluationError, match=r"results\.jsonl"):
        gather([tmp_path / "empty"])
    index = next(runs.rglob("figures.json"))
    content = json.loads(index.read_text())
    for damage in (
        {"pairs": [{}]},
        {"pairs": 7},
        {"pairs": [[]]},
        {"diversity": [{"caption": "x", "draws": 1}]},
    ):
        index.write_text(json.dumps(content | damage))
        with pytest.raises(EvaluationError, match="evaluate again"):
            write_report([runs], tmp_path / "page.md")
    index.write_text('{"schema": "other"}')
    with pytest.raises(EvaluationError, match="schema"):
        gather([runs])


def test_text_keeps_no_meaning() -> None:
    assert escape("a | b") == "a \\| b"
    assert escape("*x*\n# y") == "\\*x\\* \\# y"
    assert escape("<b> `c` [d](e) &amp;") == "&lt;b&gt; \\`c\\` \\[d\\](e) &amp;amp;"


def test_every_line_of_a_table_has_its_columns() -> None:
    for content in tables_of(results()):
        lines = [line for line in table(content).splitlines() if line.startswith("| ")]
        assert len(lines) == len(content.rows) + 2
        widths = {line.replace("\\|", "").count("|") for line in lines}
        assert len(widths) == 1


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
        "Several seeds",
        "Ablation",
        "Learning curves",
    ]
    assert "AttnGAN *(published)*" in shown
    assert "*real*" in shown
    assert "(+15.0)" in shown
    assert "<script" not in shown
    assert HOSTILE not in shown
    assert "commit c0ffee" in shown
    assert "\\|" in shown
    for name in ("pictures-0", "seeds-0", "ablation", "curves"):
        assert f"](<report-figures/{name}.png>)" in shown
        with Image.open(page.parent / "report-figures" / f"{name}.png") as figure:
            assert min(figure.size) > 100


def test_pictures_lie_where_the_sheet_says(runs: Path, tmp_path: Path) -> None:
    """One red and one blue picture stand side by side, in this order."""
    folder = next((runs / "evaluation" / "base").rglob("figures.json")).parent
    (folder / "b.webp").write_bytes(webp((20, 30, 200)))
    write_report([runs], tmp_path / "report.md")
    with Image.open(tmp_path / "report-figures" / "ablation.png") as figure:
        pixels = figure.convert("RGB")
        colours = [pixels.getpixel((x, y)) for y in range(pixels.height) for x in range(pixels.width)]
    red = [i for i, (r, g, b) in enumerate(colours) if r > 150 and g < 80 and b < 80]
    blue = [i for i, (r, g, b) in enumerate(colours) if b > 150 and r < 80 and g < 80]
    assert red
    assert blue
    assert max(red) < min(blue), "what was retrieved stands in the line above"


def test_figures_cannot_point_outside_their_folder(runs: Path, tmp_path: Path) -> None:
    index = next((runs / "evaluation" / "model").rglob("figures.json"))
    index.write_text(index.read_text().replace('"b.webp"', '"../../secret.webp"'))
    (index.parents[2] / "secret.webp").write_bytes(webp((0, 0, 0)))
    with pytest.raises(EvaluationError, match=r"figures/secret\.webp"):
        write_report([runs], tmp_path / "report.md")


def test_pairs_and_draws_with_what_they_show(
    checkpoint: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PAIRS", 3)
    monkeypatch.setattr(report, "GROUPS", 1)
    data = PreparedDataset.open(squares)
    context = Context(
        checkpoint=load_checkpoint(checkpoint),
        dataset=data,
        prompts=choose_prompts(data, "test", 8),
        folder=tmp_path / "model",
        seed=4,
        progress=False,
    )
    index = draw_figures(context)
    content = json.loads(index.read_text())
    assert [pair["caption"] for pair in content["pairs"]] == [p.caption for p in context.prompts[:3]]
    first = content["pairs"][0]
    item = context.bank.item(context.bank.index_of(first["neighbour"]))
    assert first["matched"] in item.captions
    by_id = {one.id: one for one in data.items}
    retrieved = np.asarray(Image.open(index.parent / first["retrieved"]).convert("RGB"))
    original = np.asarray(data.load_image(by_id[first["neighbour"]]).resize(retrieved.shape[:2]))
    assert np.abs(retrieved.astype(int) - original.astype(int)).mean() < 12
    with Image.open(index.parent / first["picture"]) as picture:
        assert picture.size == (context.size, context.size)
    (group,) = content["diversity"]
    assert len(group["draws"]) == DRAWS
    draws = [(index.parent / name).read_bytes() for name in group["draws"]]
    assert draws[0] != draws[1]

    def refuse(*_: object) -> None:
        raise AssertionError("painted again")

    monkeypatch.setattr(context.pipe, "paint_many", refuse)
    assert draw_figures(context) == index
    with pytest.raises(AssertionError, match="again"):
        draw_figures(context, "another variant")
