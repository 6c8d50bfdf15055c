"""Captions, and the rows of pictures that are made for them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.checkpoint import load_checkpoint, load_rival
from memdriven.data.images import to_bytes
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.weights import write_weights
from memdriven.errors import EvaluationError
from memdriven.evaluation import rows
from memdriven.evaluation.context import Context, Extractor, Protocol, choose_prompts
from memdriven.evaluation.rows import BEST, RETRIEVED_BEST, TRIED, make_row
from memdriven.evaluation.run import evaluate
from memdriven.models.rival import RivalGenerator
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


def material(checkpoint: Path, squares: Path, folder: Path, n: int = 6) -> Context:
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    data = PreparedDataset.open(squares)
    return Context(
        pipe=pipe, dataset=data, prompts=choose_prompts(data, "test", n), seed=3, folder=folder / "model"
    )


def test_references_are_the_pipelines_without_the_captions_own_image(
    checkpoint: Path, squares: Path, tmp_path: Path
) -> None:
    data = PreparedDataset.open(squares)
    context = material(checkpoint, squares, tmp_path)
    context.prompts = choose_prompts(data, "train", 6)
    row = make_row(context, "retrieved")
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    for i, prompt in enumerate(context.prompts):
        wanted = pipe.retrieve(prompt.caption, k=1, exclude=(prompt.item.id,)).ids[0]
        assert row.drew_on is not None
        assert row.drew_on[i] == wanted != prompt.item.id
        original = np.asarray(data.load_image(context.items[wanted]).resize((context.size,) * 2))
        assert np.abs(row.images[i].numpy() - original.transpose(2, 0, 1).astype(int)).mean() < 3


def test_equal_ids_of_another_data_set_are_other_images(
    checkpoint: Path, squares: Path, tmp_path: Path
) -> None:
    """Every camera and every tool begins with 0001.png."""
    data = PreparedDataset.open(squares)
    items = [replace(item, captions=[f"another {item.id}"], caption_attributes=()) for item in data.items]
    other = PreparedDataset(squares, {**data.header, "name": "other"}, items)
    context = material(checkpoint, squares, tmp_path)
    context = Context(
        pipe=context.pipe, dataset=other, prompts=choose_prompts(other, "train", 1), folder=tmp_path
    )
    assert context.remembers_others
    own = context.prompts[0].item.id
    assert own in context.bank
    assert not context.request(context.prompts[0], 0).exclude
    shown = context.remembered(own, 96)
    assert torch.equal(shown, to_bytes(context.bank.thumbnail(context.bank.index_of(own))))


def test_the_rows_memories_are_the_pipelines_choice(
    checkpoint: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = material(checkpoint, squares, tmp_path)
    row = make_row(made, BEST)
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    chosen = [
        pipe(prompt.caption, seed=3 + place, best_of=TRIED).retrieval
        for place, prompt in enumerate(made.prompts)
    ]
    assert row.drew_on == [found.ids[0] for found in chosen]
    assert any(found[0].rank > 1 for found in chosen)
    plain = make_row(made, "model")
    assert row.images.shape == plain.images.shape
    for place, found in enumerate(chosen):
        same = torch.equal(row.images[place], plain.images[place])
        assert same == (found[0].rank == 1), "only another memory makes another picture"

    again = material(checkpoint, squares, tmp_path)

    def never(*given: Any) -> None:
        raise AssertionError("chosen again")

    monkeypatch.setattr(again.pipe, "prepare", never)
    assert make_row(again, BEST).drew_on == row.drew_on


def test_the_best_retrieved_image_is_the_readers_choice_among_eight(
    checkpoint: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that likes red only takes the reddest of the nearest eight."""

    def reddest(checkpoint: Any, named: Any, asked: Any, images: Tensor) -> Tensor:
        return images[:, 0].mean(dim=(1, 2)) - images[:, 1:].mean(dim=(1, 2, 3))

    monkeypatch.setattr(rows, "score_pictures", reddest)
    context = material(checkpoint, squares, tmp_path)
    row = make_row(context, RETRIEVED_BEST)
    for i, prompt in enumerate(context.prompts):
        ids = context.pipe.retrieve(prompt.caption, k=TRIED).ids
        images = (
            torch.stack(
                [context.remembered(each, context.checkpoint.config.damsm.pixel_size) for each in ids]
            ).float()
            / 127.5
            - 1
        )
        assert row.drew_on is not None
        assert row.drew_on[i] == ids[int(reddest(0, 0, 0, images).argmax())]


def test_the_rivals_pictures_know_neither_memory_nor_window(
    checkpoint: Path, squares: Path, tmp_path: Path
) -> None:
    own = tmp_path / "with-rival"
    shutil.copytree(checkpoint, own)
    with pytest.raises(EvaluationError, match="a rival in"):
        make_row(material(own, squares, tmp_path), "rival")
    torch.manual_seed(0)
    rival = RivalGenerator(4, 16, text_dim=load_checkpoint(own).config.text.dim)
    write_weights(own / "rival.safetensors", rival, {})
    context = material(own, squares, tmp_path)
    row = make_row(context, "rival")
    assert row.drew_on is None
    assert row.note == "painted at 16 px"
    z = torch.randn(1, 100, generator=torch.Generator().manual_seed(3 + 2))  # the third caption's noise
    text = context.checkpoint.encode_captions(
        [context.checkpoint.vocabulary.encode(context.prompts[2].caption, 24)]
    )
    wanted = load_rival(context.checkpoint)(z, text.sentence)  # type: ignore[misc]
    smaller = F.interpolate(row.images[2:3].float() / 127.5 - 1, (16, 16), mode="area")
    assert (smaller - wanted).abs().mean() < 0.05
    kept = row.images.clone()
    make_row(context, "rival", context.prompts[:2], "rival-soa")
    assert torch.equal(row.images, kept), "a measure's own pictures are kept beside the row's"


def test_it_is_asked_for_like_a_control(
    checkpoint: Path, squares: Path, judge_folder: Path, tmp_path: Path
) -> None:
    found = evaluate(
        checkpoint,
        squares,
        Protocol(metrics=("attributes", "diversity_seed"), n=6, controls=(BEST,), judge=judge_folder),
        out=tmp_path,
    )
    shown = {(r.metric, r.row) for r in found.results}
    assert ("asked_colours", BEST) in shown
    assert ("diversity_seed", BEST) not in shown


def test_features_are_made_once_of_the_same_pixels() -> None:
    made = []

    def function(images: Tensor) -> Tensor:
        made.append(len(images))
        return images.mean(dim=(2, 3))

    space = Extractor(name="means", side=8, function=function)
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(space(images), space(images.clone()))
    space(images[:3])
    assert made == [5, 3]
