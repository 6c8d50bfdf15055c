"""Recorded runs, written by hand: what a report is made from."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from memdriven.evaluation import figures
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
            "schema": figures.SCHEMA,
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
        (folder / figures.INDEX).write_text(json.dumps(content))
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
