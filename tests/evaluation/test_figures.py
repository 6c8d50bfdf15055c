from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.evaluation import figures
from memdriven.evaluation.context import Context, Resources, choose_prompts
from memdriven.evaluation.figures import draw_figures


def test_pairs_and_draws_with_what_they_show(
    checkpoint: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PAIRS", 3)
    monkeypatch.setattr(figures, "GROUPS", 1)
    monkeypatch.setattr(figures, "DRAWS", 2)
    data = PreparedDataset.open(squares)
    context = Context(
        load_checkpoint(checkpoint),
        data,
        choose_prompts(data, "test", 8),
        Resources(vgg=squares),
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
    assert len(group["draws"]) == 2
    draws = [(index.parent / name).read_bytes() for name in group["draws"]]
    assert draws[0] != draws[1]

    def refuse(*_: object) -> None:
        raise AssertionError("painted again")

    monkeypatch.setattr(context.pipe, "paint_many", refuse)
    assert draw_figures(context) == index
    with pytest.raises(AssertionError, match="again"):
        draw_figures(context, "another variant")
