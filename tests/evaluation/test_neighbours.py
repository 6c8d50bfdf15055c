from __future__ import annotations

import json
from pathlib import Path

import pytest

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.evaluation import neighbours
from memdriven.evaluation.neighbours import Neighbours
from memdriven.evaluation.prompts import Prompt, choose_prompts
from memdriven.memory.bank import MemoryBank
from memdriven.memory.retrieval import Retriever


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
    monkeypatch.setattr(neighbours, "FLUSH", 2)
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
