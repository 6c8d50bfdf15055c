from __future__ import annotations

from pathlib import Path

from memdriven.data.prepared import PreparedDataset
from memdriven.evaluation.prompts import choose_prompts


def test_every_image_once_before_any_twice(squares: Path) -> None:
    data = PreparedDataset.open(squares)
    prompts = choose_prompts(data, "test", 20)
    assert len({p.item.id for p in prompts[:16]}) == 16
    assert [p.item.id for p in prompts[16:]] == [p.item.id for p in prompts[:4]]
    assert prompts[0].caption == prompts[0].item.captions[0]
    assert prompts[16].caption == prompts[0].item.captions[1]
    assert prompts[16].named == prompts[0].item.caption_attributes[1]


def test_fewer_are_the_first_of_more_and_all_is_all(squares: Path) -> None:
    data = PreparedDataset.open(squares)
    assert choose_prompts(data, "test", 5) == choose_prompts(data, "test", 12)[:5]
    assert len(choose_prompts(data, "test", 1000)) == 32
    ids = [p.item.id for p in choose_prompts(data, "test", 16)]
    assert ids != sorted(ids), "not class by class"
