from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import memdriven
from memdriven.devices import Turn, choose_device
from memdriven.errors import (
    BankError,
    CaptionError,
    CheckpointError,
    ConfigError,
    MemDrivenError,
    RetrievalError,
)
from memdriven.files import sealed
from memdriven.memory.features import encode_v
from memdriven.memory.retrieval import STRATEGIES
from memdriven.models.noise import draw_noise
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED, Recipe, Request, UserImage, Variation

CAPTION = "a small red bird with black wings"


def pixels(output: memdriven.PipelineOutput, index: int = 0) -> list[bytes]:
    return [stage.tobytes() for stage in output.all_stages[index]]


def test_same_recipe_same_pixels_whatever_the_batch(pipe: MemoryDrivenPipeline) -> None:
    alone = pipe(CAPTION, k=3, seed=5)
    among = pipe(CAPTION, k=3, seeds=[1, 5, 9])
    assert pixels(among, 1) == pixels(alone)
    assert among.recipes[1] == alone.recipe
    assert len({stages[-1].tobytes() for stages in among.all_stages}) == 3
    assert len(among.images) == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_comes_back_from_its_recipe(pipe: MemoryDrivenPipeline, strategy: str) -> None:
    first = pipe.prepare(Request(caption=CAPTION, strategy=strategy, k=2, seeds=(11,)))
    recipe = pipe.recipe(first, 11)
    again = pipe.prepare(Recipe.from_json(recipe.to_json()))
    assert torch.equal(again.v, first.v)
    assert all(map(torch.equal, again.text, first.text))
    assert pipe.recipe(again, 11) == recipe
    assert len(first.retrieval) == {"none": 0, "oracle": 1}.get(strategy, 2)


def test_stages_are_those_of_the_generator(pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, k=2, seed=3)
    generator = pipe.checkpoint.generator
    noise = draw_noise(3, generator)
    encoded = pipe.checkpoint.vocabulary.encode(CAPTION, 24)
    with torch.inference_mode():
        text = pipe.checkpoint.damsm.encode_captions([encoded])
        v = sum(n.weight * pipe.bank.v(pipe.bank.index_of(n.id)) for n in out.neighbours)
        assert isinstance(v, torch.Tensor)
        whole = generator(noise.z, text.sentence, text.words_mean, v[None], noise.epsilon)
    for image, stage in zip(whole.images, out.stages, strict=True):
        mine = torch.tensor(list(stage.tobytes()), dtype=torch.int16)
        other = torch.tensor(list(to_picture(image).tobytes()), dtype=torch.int16)
        assert (mine - other).abs().max() <= 1


def test_stream_yields_after_retrieval_and_after_each_stage(three_stages: MemoryDrivenPipeline) -> None:
    steps = list(three_stages.stream(Request.of(CAPTION, seeds=[1, 2])))
    assert [tuple(map(len, step.all_stages)) for step in steps] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 0),
        (3, 1),
        (3, 2),
        (3, 3),
    ]
    assert [step.complete for step in steps] == [False] * 6 + [True]
    assert steps[0].images == []
    assert all(a.recipes == b.recipes for a, b in pairwise(steps))
    assert pixels(steps[-1], 1) == pixels(three_stages(CAPTION, seed=2))


def test_chosen_neighbours_replace_retrieval(pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, neighbours=["bird-05", "bird-02"], weights=[3, 1], seed=1)
    assert [(n.id, n.weight, n.score, n.rank) for n in out.neighbours] == [
        ("bird-05", 0.75, None, 1),
        ("bird-02", 0.25, None, 2),
    ]
    assert out.recipe.weights == (0.75, 0.25)
    assert pixels(pipe(CAPTION, neighbours=["bird-05"], seed=1)) != pixels(out)
    equal = pipe(CAPTION, neighbours=["bird-05", "bird-02", "bird-01"], seed=1)
    assert equal.recipe.weights == pytest.approx((1 / 3,) * 3)
    assert pixels(pipe.from_recipe(equal.recipe)) == pixels(equal)


def test_no_memory_and_empty_neighbours_are_zero_features(pipe: MemoryDrivenPipeline) -> None:
    none = pipe(CAPTION, "none", seed=1)
    assert none.neighbours == []
    assert pixels(pipe(CAPTION, neighbours=[], seed=1)) == pixels(none)
    assert pixels(pipe(CAPTION, seed=1)) != pixels(none)


def test_controls(pipe: MemoryDrivenPipeline) -> None:
    assert pipe.retrieve(CAPTION, "random", 4, seed=1).ids == pipe.retrieve(CAPTION, "random", 4, seed=1).ids
    draws = {pipe.retrieve(CAPTION, "random", 4, seed=seed).ids for seed in range(5)}
    assert len(draws) > 1
    own = "this bird is green and has white wings and a short beak"
    assert pipe.retrieve(own, "oracle").ids == ("bird-10",)


def test_excluded_ids_do_not_come_back(pipe: MemoryDrivenPipeline) -> None:
    first = pipe.retrieve(CAPTION, k=3)
    rest = pipe.retrieve(CAPTION, k=3, exclude=[first[0].id])
    assert rest.ids[:2] == first.ids[1:]
    assert len(first) == 3
    assert [n.rank for n in first] == [1, 2, 3]
    assert [n.id for n in first[1:]] == list(first.ids[1:])


def test_variations_step_away_and_come_back_from_the_recipe(pipe: MemoryDrivenPipeline) -> None:
    generator = pipe.checkpoint.generator
    own, other = draw_noise(3, generator), draw_noise(8, generator)
    half = draw_noise(3, generator, [(8, 0.5)])
    torch.testing.assert_close(half.z, (own.z + other.z) / 2**0.5)
    assert torch.equal(half.epsilon, own.epsilon)
    whole = draw_noise(3, generator, [(8, 1.0)])
    torch.testing.assert_close(whole.z, other.z)
    steps = (Variation(seed=8, strength=0.2), Variation(seed=9, strength=0.1))
    out = pipe(CAPTION, seed=3, variations=steps)
    assert pixels(out) != pixels(pipe(CAPTION, seed=3))
    assert pixels(pipe.from_recipe(Recipe.from_png(out.png()))) == pixels(out)


def test_memory_is_used_in_part(pipe: MemoryDrivenPipeline) -> None:
    whole = pipe(CAPTION, k=2, seed=3)
    assert pixels(pipe(CAPTION, k=2, seed=3, memory=1)) == pixels(whole)
    mixed = pipe.retriever.mix(whole.retrieval.shares)
    assert torch.equal(whole.prepared.v, mixed)
    half = pipe(CAPTION, k=2, seed=3, memory=0.5)
    assert torch.equal(half.prepared.v, mixed * 0.5)
    none = pipe(CAPTION, k=2, seed=3, memory=0)
    assert half.retrieval.ids == none.retrieval.ids == whole.retrieval.ids
    assert len({pixels(each)[-1] for each in (whole, half, none)}) == 3
    assert pixels(none) == pixels(pipe(CAPTION, "none", seed=3))
    assert half.recipe.memory == 0.5
    assert pixels(pipe.from_recipe(Recipe.from_png(half.png()))) == pixels(half)
    *_, streamed = pipe.stream(Request.of(CAPTION, k=2, seeds=[3], memory=0.5))
    assert pixels(streamed) == pixels(half)
    own = own_image(pipe, 4)
    given = pipe(CAPTION, seed=1, neighbours=["own:abc"], memory=0.5, images=[own])
    assert torch.equal(given.prepared.v[0], own.v() * 0.5)
    for wrong in (-0.1, 1.1, float("nan"), True, "all"):
        with pytest.raises(ConfigError, match="memory"):
            pipe(CAPTION, seed=3, memory=wrong)  # type: ignore[arg-type]


def own_image(pipe: MemoryDrivenPipeline, number: int) -> UserImage:
    v = pipe.bank.v(number)
    return UserImage(
        id="own:abc",
        image=pipe.bank.thumbnail(number),
        caption="mine",
        features=encode_v(v.numpy()),
        shape=tuple(v.shape),
    )  # type: ignore[arg-type]


def test_own_images_stand_beside_the_bank_for_one_call(pipe: MemoryDrivenPipeline) -> None:
    own = own_image(pipe, 4)
    ids = ["own:abc", "bird-01"]
    out = pipe(CAPTION, neighbours=ids, weights=[1, 1], seed=1, images=[own])
    assert next(neighbour.caption for neighbour in out.neighbours) == "mine"
    assert out.recipe.private
    torch.testing.assert_close(out.prepared.v[0], (own.v() + pipe.bank.v(1)) / 2)
    assert pixels(pipe.from_recipe(out.recipe, [own])) == pixels(out)
    for strangers in ([], [replace(own, id="own:def")]):
        with pytest.raises(RetrievalError, match="private"):
            pipe.from_recipe(out.recipe, strangers)


def test_images_alike_are_nearest_by_their_keys(pipe: MemoryDrivenPipeline) -> None:
    keys = pipe.bank.global_keys
    wanted = (keys @ keys[2]).argsort(descending=True).tolist()
    found = pipe.alike("bird-02", 4)
    assert [neighbour.id for neighbour in found] == [pipe.bank.ids[row] for row in wanted[:4]]
    assert found[0].id == "bird-02"
    assert sum(neighbour.weight for neighbour in found) == pytest.approx(1)
    assert found[0].percentile == pytest.approx(100 * 11 / 12)
    rest = pipe.alike("bird-02", 3, exclude=["bird-02"])
    assert [neighbour.id for neighbour in rest] == [pipe.bank.ids[row] for row in wanted[1:4]]
    own = own_image(pipe, 2)
    assert pipe.alike("own:abc", 1, images=[own])[0].id == "bird-02"
    with pytest.raises(RetrievalError):
        pipe.alike("bird-99", 1)


def test_threads_take_turns_at_the_networks(pipe: MemoryDrivenPipeline) -> None:
    stream = pipe.stream(Request.of(CAPTION, seed=1))
    next(stream)
    with ThreadPoolExecutor(1) as other:
        # A stream that waits for its reader keeps nobody out ...
        assert other.submit(pipe.retrieve, CAPTION).result(timeout=20)
        with pipe.turn:
            # ... and nobody gets in while something is computed.
            waiting = other.submit(pipe.retrieve, CAPTION)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)
        assert waiting.result(timeout=20)


def test_who_waits_for_the_networks_comes_before_who_had_them() -> None:
    turn, order, begun = Turn(), list[str](), threading.Event()

    def paint_many() -> None:
        for _ in range(200):
            with turn, turn:
                order.append("table")
                begun.set()
                time.sleep(0.002)

    with ThreadPoolExecutor(1) as other:
        table = other.submit(paint_many)
        begun.wait(20)
        for _ in range(4):
            with turn:
                order.append("picture")
        table.result()
    last = len(order) - order[::-1].index("picture")
    assert last < 20, "of 204"


def test_seed_is_drawn_and_recorded(pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION)
    assert 0 <= out.recipe.seed < 2**32
    assert pixels(pipe(CAPTION, seed=out.recipe.seed)) == pixels(out)


WRONG: dict[str, tuple[type[MemDrivenError], dict[str, object]]] = {
    "empty caption": (CaptionError, {"caption": "  "}),
    "long caption": (CaptionError, {"caption": "bird " * 2_000}),
    "unknown words": (CaptionError, {"caption": "qqq xxyyzz"}),
    "strategy": (RetrievalError, {"strategy": "best"}),
    "strategy beside neighbours": (RetrievalError, {"strategy": "x", "neighbours": ["bird-01"]}),
    "large k": (RetrievalError, {"k": 13}),
    "k of zero": (RetrievalError, {"k": 0}),
    "fractional k": (RetrievalError, {"k": 1.5}),
    "true as k": (RetrievalError, {"k": True}),
    "unknown id": (RetrievalError, {"neighbours": ["bird-99"]}),
    "id twice": (RetrievalError, {"neighbours": ["bird-01", "bird-01"]}),
    "ids as text": (RetrievalError, {"neighbours": "bird-01"}),
    "weights alone": (RetrievalError, {"weights": [1.0]}),
    "few weights": (RetrievalError, {"neighbours": ["bird-01", "bird-02"], "weights": [1.0]}),
    "negative weight": (RetrievalError, {"neighbours": ["bird-01"], "weights": [-1.0]}),
    "NaN weight": (RetrievalError, {"neighbours": ["bird-01"], "weights": [float("nan")]}),
    "excluded id": (RetrievalError, {"exclude": ["bird-99"]}),
    "oracle of a stranger": (RetrievalError, {"caption": "a red bird", "strategy": "oracle"}),
    "negative seed": (ConfigError, {"seed": -1}),
    "large seed": (ConfigError, {"seed": MAX_SEED + 1}),
    "fractional seed": (ConfigError, {"seed": 1.0}),
    "seeds as text": (ConfigError, {"seeds": "12"}),
    "seed and seeds": (ConfigError, {"seed": 1, "seeds": [1]}),
}


@pytest.mark.parametrize(("kind", "wrong"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_a_clear_error(
    pipe: MemoryDrivenPipeline, kind: type[MemDrivenError], wrong: dict[str, object]
) -> None:
    with pytest.raises(kind) as caught:
        pipe(**{"caption": CAPTION, **wrong})  # type: ignore[arg-type]
    assert caught.value.fix


def test_too_many_neighbours_for_one_picture(
    pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memdriven.pipeline.pipeline.MAX_REFERENCES", 3)
    assert len(pipe.retrieve(CAPTION, k=4)) == 4
    with pytest.raises(RetrievalError, match="at most 3"):
        pipe(CAPTION, k=4)


def test_recipe_of_another_checkpoint_is_refused(pipe: MemoryDrivenPipeline) -> None:
    recipe = pipe(CAPTION, seed=1).recipe
    for field in ("checkpoint_hash", "bank_hash"):
        with pytest.raises(CheckpointError, match="recipe"):
            pipe.from_recipe(replace(recipe, **{field: "abc"}))
    bare = replace(recipe, checkpoint_hash="", bank_hash="", references=None)
    assert pipe.from_recipe(bare).recipe == recipe


def test_missing_checkpoint_and_foreign_bank(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        MemoryDrivenPipeline.from_pretrained(tmp_path / "none")
    foreign = tmp_path / "foreign"
    shutil.copytree(tiny_checkpoint, foreign)
    header = json.loads((foreign / "memory" / "bank.json").read_text())
    (foreign / "memory" / "bank.json").write_text(json.dumps(sealed({**header, "damsm": "0" * 16})))
    with pytest.raises(BankError):
        MemoryDrivenPipeline.from_pretrained(foreign, device="cpu")
    shutil.rmtree(foreign / "memory")
    with pytest.raises(BankError):
        MemoryDrivenPipeline.from_pretrained(foreign, device="cpu")


def test_devices() -> None:
    assert choose_device("auto").type in ("cpu", "cuda")
    assert choose_device("cpu") == torch.device("cpu")
    for name in ("abacus", "cuda:99", ""):
        with pytest.raises(ConfigError, match="device"):
            choose_device(name)


def test_package_imports_lazily() -> None:
    code = (
        "import sys, memdriven; assert 'torch' not in sys.modules; memdriven.MemoryDrivenPipeline;"
        "import memdriven.memory.build;"
        "print([m for m in ('gradio', 'torchvision', 'annoy', 'pymilvus', 'tyro') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(memdriven.__all__) <= set(dir(memdriven))
    with pytest.raises(AttributeError, match="nonsense"):
        memdriven.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("set_before", "spin"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_threads_wait_without_spinning_for_long(set_before: dict[str, str], spin: str) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import memdriven, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=kept | set_before
    )
    assert done.stdout.strip() == spin


def test_another_index_finds_the_same(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    caption = "a small red bird with black wings"
    found = MemoryDrivenPipeline.from_pretrained(copy, "cpu", index="annoy").retrieve(caption, k=2)
    assert found.ids == MemoryDrivenPipeline.from_pretrained(copy, "cpu").retrieve(caption, k=2).ids
    assert (copy / "memory.index").is_dir()
    with pytest.raises(ConfigError, match=r"retrieval\.index"):
        MemoryDrivenPipeline.from_pretrained(copy, "cpu", index="faiss")  # type: ignore[arg-type]
