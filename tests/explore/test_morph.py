from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from memdriven.errors import ConfigError
from memdriven.explore.morph import PARTS, animation, between, frames, slerp
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

RED, BLUE = "a small red bird with black wings", "a small blue bird with white wings"


def asked(caption: str, seed: int) -> Request:
    return Request(caption=caption, k=1, seeds=(seed,))


def test_slerp_keeps_angles_and_length() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    half = slerp(a, b, 1 / 3)
    wanted = torch.tensor([[2 * 3**0.5 / 2, 1.0]])
    torch.testing.assert_close(half, wanted)
    assert torch.equal(slerp(a, b, 0.0), a)
    assert torch.equal(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, a, 0.3), a)


def test_only_what_moves_moves(pipe: MemoryDrivenPipeline) -> None:
    requests = asked(RED, 1), asked(BLUE, 2)
    start, end = ((pipe.prepare(each), pipe.noise(each, each.seeds[0])) for each in requests)
    for part in PARTS:
        prepared, noise = between(start, end, {part}, 0.5)
        moved = {
            "z": not torch.equal(noise.z, start[1].z),
            "view": not torch.equal(noise.epsilon, start[1].epsilon),
            "words": not torch.equal(prepared.text.sentence, start[0].text.sentence),
            "memory": not torch.equal(prepared.v, start[0].v),
        }
        assert moved == {each: each == part for each in PARTS}


def test_both_ends_are_the_pipelines_pictures(pipe: MemoryDrivenPipeline) -> None:
    start, end = asked(RED, 1), asked(BLUE, 2)
    made = list(frames(pipe, start, end, set(PARTS), 3))
    assert made[0].tobytes() == pipe(RED, k=1, seed=1).images[0].tobytes()
    assert made[2].tobytes() == pipe(BLUE, k=1, seed=2).images[0].tobytes()
    assert len({picture.tobytes() for picture in made}) == 3


@pytest.mark.parametrize("moving", [(), ("seed",)])
def test_nonsense_is_refused(pipe: MemoryDrivenPipeline, moving: tuple[str, ...]) -> None:
    start = asked(RED, 1)
    with pytest.raises(ConfigError):
        next(frames(pipe, start, start, moving, 3))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animation_goes_there_and_back(kind: str) -> None:
    pictures = [Image.new("RGB", (8, 8), (80 * i, 0, 0)) for i in range(4)]
    with Image.open(io.BytesIO(animation(pictures, kind))) as made:
        assert made.n_frames == 6
        assert made.info["loop"] == 0
