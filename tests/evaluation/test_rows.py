"""The row whose memories are chosen by their pictures: the pipeline's choice, kept on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.evaluation import rows
from memdriven.evaluation.rows import BEST, TRIED, Neighbours, Prompt, choose_prompts, gather
from memdriven.evaluation.run import evaluate
from memdriven.evaluation.workbench import Resources, Workbench
from memdriven.memory.bank import MemoryBank
from memdriven.memory.retrieval import Retriever
from memdriven.pipeline import rerank as choosing
from memdriven.pipeline.pipeline import MemoryDrivenPipeline


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


IMAGES = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
ROWS = torch.tensor([4, 0, 0, 3, 4, 1, 2])


def test_few_stay_in_memory_and_many_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows" / "real.npy"
    assert torch.equal(gather(IMAGES, ROWS, path), IMAGES[ROWS])
    assert not path.exists()
    kept = gather(IMAGES, ROWS, path, in_memory=10)
    assert torch.equal(kept, IMAGES[ROWS])
    assert np.load(path).shape == (7, 3, 4, 4)


def test_a_file_is_used_again_only_for_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 2)
    path = tmp_path / "real.npy"
    gather(IMAGES, ROWS, path, in_memory=0)
    written = path.stat().st_mtime_ns
    gather(IMAGES, ROWS, path, in_memory=0)
    assert path.stat().st_mtime_ns == written
    assert torch.equal(gather(255 - IMAGES, ROWS, path, in_memory=0), 255 - IMAGES[ROWS])
    path.with_suffix(".json").unlink()  # as a kill before the last line leaves it
    assert torch.equal(gather(IMAGES, ROWS.flip(0), path, in_memory=0), IMAGES[ROWS.flip(0)])


@pytest.fixture(scope="module")
def parts(checkpoint: Path, squares: Path) -> tuple[Neighbours, list[Prompt]]:
    """A finder that keeps nothing, and eight captions, half of them of the bank's own images."""
    loaded = load_checkpoint(checkpoint)
    bank = MemoryBank.open(loaded.bank_path)
    data = PreparedDataset.open(squares)
    prompts = choose_prompts(data, "test", 4) + choose_prompts(data, "train", 4)
    return Neighbours(loaded, bank, None, progress=False), prompts


def keeping(parts: tuple[Neighbours, list[Prompt]], folder: Path) -> Neighbours:
    plain = parts[0]
    return Neighbours(plain.checkpoint, plain.bank, folder, progress=False)


def test_they_are_the_retrievers_without_the_captions_own_image(
    parts: tuple[Neighbours, list[Prompt]],
) -> None:
    finder, prompts = parts
    found = finder.find(prompts, "words-both", 3, 0)
    checkpoint = finder.checkpoint
    plain = Retriever(finder.bank, checkpoint.damsm, checkpoint.vocabulary)
    for prompt, matches in zip(prompts[:4], found[:4], strict=True):
        assert [m.id for m in matches] == [m.id for m in plain.retrieve(prompt.caption, "words-both", 3)]
    for prompt, matches in zip(prompts[4:], found[4:], strict=True):
        assert prompt.item.id in finder.bank.ids
        assert prompt.item.id not in [m.id for m in matches]
    assert finder.find(prompts, "oracle", 3, 0) == [[]] * 8
    random = finder.find(prompts, "random", 1, 5)
    assert random == finder.find(prompts, "random", 1, 5)
    assert random != finder.find(prompts, "random", 1, 6)


def test_a_second_search_reads_and_a_cut_one_goes_on(
    parts: tuple[Neighbours, list[Prompt]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "FLUSH", 2)
    prompts = parts[1]
    whole = keeping(parts, tmp_path).find(prompts, "sentence-sentence", 2, 0)
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 8
    path.write_bytes(b"".join(lines[:3]) + lines[3][:10])  # as a kill leaves it
    searched: list[str] = []
    retrieve = Retriever.retrieve

    def counted(self: Retriever, caption: str, *rest: object, **options: object) -> object:
        searched.append(caption)
        return retrieve(self, caption, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Retriever, "retrieve", counted)
    again = keeping(parts, tmp_path).find(prompts, "sentence-sentence", 2, 0)
    assert searched == [prompt.caption for prompt in prompts[3:]]
    facts = [[(m.id, m.weight, m.rank, m.caption_index) for m in row] for row in whole]
    assert [[(m.id, m.weight, m.rank, m.caption_index) for m in row] for row in again] == facts
    assert path.read_bytes() == b"".join(lines)
    keeping(parts, tmp_path).find(prompts, "sentence-sentence", 2, 0)
    assert len(searched) == 5, "read from the file"
    keeping(parts, tmp_path).find(prompts, "sentence-sentence", 1, 0)
    assert len(list(tmp_path.iterdir())) == 2, "another k is another search"


def test_a_damaged_line_is_searched_again_with_all_after_it(
    parts: tuple[Neighbours, list[Prompt]], tmp_path: Path
) -> None:
    prompts = parts[1][:4]
    whole = keeping(parts, tmp_path).find(prompts, "sentence-sentence", 1, 0)
    (path,) = tmp_path.iterdir()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], json.dumps({"not": "a list"}), *lines[2:]]) + "\n")
    again = keeping(parts, tmp_path).find(prompts, "sentence-sentence", 1, 0)
    assert [m[0].id for m in again] == [m[0].id for m in whole]
    assert path.read_text().splitlines() == lines


def bench(checkpoint: Path, squares: Path, folder: Path, n: int = 6) -> Workbench:
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    data = PreparedDataset.open(squares)
    return Workbench(
        pipe.checkpoint,
        data,
        choose_prompts(data, "test", n),
        Resources(),
        seed=3,
        folder=folder / "model",
        progress=False,
    )


def test_the_rows_memories_are_the_pipelines_choice(
    checkpoint: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench(checkpoint, squares, tmp_path)
    row = made.row(BEST)
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    chosen = [
        pipe(prompt.caption, seed=3 + place, best_of=TRIED).retrieval
        for place, prompt in enumerate(made.prompts)
    ]
    assert row.drew_on == [found.ids[0] for found in chosen]
    assert any(found[0].rank > 1 for found in chosen)
    plain = made.row("model")
    assert row.images.shape == plain.images.shape
    for place, found in enumerate(chosen):
        same = torch.equal(row.images[place], plain.images[place])
        assert same == (found[0].rank == 1), "only another memory makes another picture"

    def never(*given: Any) -> None:
        raise AssertionError("chosen again")

    monkeypatch.setattr(rows, "score_pictures", never)
    assert bench(checkpoint, squares, tmp_path).row(BEST).drew_on == row.drew_on
    assert choosing.score_pictures is not never


def test_it_is_asked_for_like_a_control(
    checkpoint: Path, squares: Path, judge_folder: Path, tmp_path: Path
) -> None:
    found = evaluate(
        checkpoint,
        squares,
        metrics=["attributes", "diversity_seed"],
        n=6,
        controls=[BEST],
        out=tmp_path,
        resources=Resources(judge=judge_folder),
        figures=False,
        progress=False,
    )
    shown = {(r.metric, r.row) for r in found.results}
    assert ("asked_colours", BEST) in shown
    assert ("diversity_seed", BEST) not in shown
