from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.species import BACKGROUNDS, possible_places
from memdriven.aviary.wishes import background
from memdriven.data.prepared import Item
from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Prompt
from memdriven.evaluation.diversity import (
    entropy,
    mean_pairwise_distance,
    measure_background_entropy,
    paint_draws,
)
from memdriven.evaluation.rows import Row
from memdriven.models.noise import WHOLE, Noise
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request


def maps(images: Tensor) -> list[Tensor]:
    return [images, F.avg_pool2d(images, 2)]


def test_equals_a_loop_over_pairs() -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    total, pairs = 0.0, 0
    for i in range(4):
        for j in range(i):
            for depth in maps(images):
                a, b = (depth[k] / depth[k].norm(dim=0) for k in (i, j))
                total += float((a - b).square().sum(0).mean())
            pairs += 1
    assert mean_pairwise_distance(images, maps) == pytest.approx(total / pairs, rel=1e-5)


def test_equal_images_have_none() -> None:
    same = torch.rand(1, 3, 8, 8).expand(5, 3, 8, 8)
    assert mean_pairwise_distance(same, maps) == pytest.approx(0, abs=1e-8)


def test_draws_of_z_hold_epsilon_the_mirror_and_the_window(checkpoint: Path) -> None:
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    request = Request(caption="a red head", seeds=(3,), mirror=False, window=WHOLE)
    prepared = pipe.prepare(request)
    drawn = paint_draws(SimpleNamespace(pipe=pipe, batch=2), prepared, [11, 12, 13])  # type: ignore[arg-type]
    assert [images.shape for images in drawn] == [(3, 3, 64, 64), (3, 3, 128, 128)]
    for place, seed in enumerate((11, 12, 13)):
        noise = Noise(pipe.noise(request, seed).z, pipe.noise(request, 3).epsilon)
        *_, last = pipe.paint(prepared, noise)
        expected = (last.image[0] + 1) * 127.5
        assert (drawn[-1][place].float() - expected).abs().max() <= 1
    assert not torch.equal(drawn[-1][0], drawn[-1][1])


def test_entropy_of_equal_shares_is_their_logarithm() -> None:
    assert entropy(["sky"] * 9) == 0
    assert entropy(["sky", "dusk", "snow", "foliage"]) == 2
    assert entropy(["sky", "sky", "sky", "dusk"]) == pytest.approx(2 - 0.75 * math.log2(3))


RECORDS = {
    "duck": {"body_plan": "duck", "pose": "swimming", "background": "water"},
    "flier": {"body_plan": "finch", "pose": "flying", "background": "sky"},
    "percher": {"body_plan": "finch", "pose": "perched", "background": "foliage"},
}
CAPTIONS = {"a bird": "", "a bird in the sky": "sky", "a bird by the water": "water"}


class Painter:
    """Stands for a pipeline whose picture is one number: which background it shows."""

    def __init__(self, paints: Any, memory: tuple[str, ...]) -> None:
        self.paints, self.memory = paints, memory

    def retrieve(self, request: Request) -> list[Any]:
        return [SimpleNamespace(id=name) for name in self.memory][: request.k]

    def prepare(self, request: Request) -> Any:
        return Asked(request)

    def noise(self, request: Request, seed: int) -> Noise:
        seed = request.variations[0].seed if request.variations else seed
        z = torch.randn(1, 4, generator=torch.Generator().manual_seed(seed))
        return Noise(z, torch.zeros(1, 1))

    def paint_many(self, prepared: list[Any], seeds: list[int]) -> list[Tensor]:
        shown = [self.paints(p.request, self.noise(p.request, s).z[0]) for p, s in zip(prepared, seeds)]
        labels = torch.tensor([BACKGROUNDS.index(place) for place in shown])
        return [(labels / 127.5 - 1)[:, None, None, None].expand(-1, 3, 4, 4)]


@dataclass(frozen=True)
class Asked:
    request: Request


class Judge:
    """Reads that number."""

    names, attributes = ["background"], {"background": BACKGROUNDS}

    def log_probabilities(self, images: Tensor) -> Tensor:
        return F.one_hot(images[:, 0, 0, 0].long(), len(BACKGROUNDS))[:, None].float().log()


def backgrounds(paints: Any, *memory: str) -> dict[str, float]:
    """Measure a stand-in with a memory whose references always come in this order."""
    item = Item(id="x", split="test", captions=tuple(CAPTIONS))
    bench = SimpleNamespace(
        prompts=[
            Prompt(item=item, caption=caption, named={"background": place} if place else {})
            for caption, place in CAPTIONS.items()
        ],
        seed=0,
        batch=8,
        request=lambda prompt, seed, **fields: Request(caption=prompt.caption, seeds=(seed,), **fields),
        judge=Judge(),
        pipe=Painter(paints, memory),
        bank=SimpleNamespace(
            index_of=memory.index, items=[SimpleNamespace(attributes=RECORDS[each]) for each in memory]
        ),
    )
    return {found.metric: found.value for found in measure_background_entropy(bench, Row(name="model"))}  # type: ignore[arg-type]


def obedient(request: Request, z: Tensor) -> str:
    """The caption's background, else z's."""
    record = RECORDS[request.references[0].id]  # type: ignore[index]
    options = possible_places(record["body_plan"], record["pose"])
    return CAPTIONS[request.caption] or background(float(z[0]), float(z[1]), options)


def test_a_model_that_obeys_words_and_then_z() -> None:
    found = backgrounds(obedient, "flier", "percher")
    assert found["background_entropy"] > 1.2, "z chooses among sky, dusk, water and foliage"
    assert found["background_of_z"] == 1
    assert found["background_entropy_named"] == found["background_entropy_conflicting"] == 0
    assert found["background_obeyed_named"] == found["background_obeyed_conflicting"] == 1


def test_a_model_that_shows_its_memorys_background() -> None:
    def paints(request: Request, z: Tensor) -> str:
        return RECORDS[request.references[0].id]["background"]  # type: ignore[index]

    found = backgrounds(paints, "flier", "percher")
    assert found["background_entropy"] == 0
    assert 0 < found["background_of_z"] < 0.6
    assert found["background_obeyed_named"] == 0.5, "sky is the memory's own, water is not"
    assert found["background_obeyed_conflicting"] == 0


def test_a_swimming_bird_leaves_nothing_to_z() -> None:
    with pytest.raises(EvaluationError, match="leave the background open"):
        backgrounds(obedient, "duck")
