from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from memdriven.data.images import tiled
from memdriven.explore.copies import ALIKE_COLOURS, CopySpace
from memdriven.explore.memory_map import mean_colours, small_pictures
from memdriven.pipeline.pipeline import MemoryDrivenPipeline

CAPTION = "a small red bird with black wings"


@pytest.fixture(scope="module")
def space(pipe: MemoryDrivenPipeline) -> CopySpace:
    return CopySpace(pipe.bank)


def test_copies_and_mirrored_copies_are_found(pipe: MemoryDrivenPipeline, space: CopySpace) -> None:
    for row in (0, 5):
        picture = pipe.bank.thumbnail(row)
        for copy in (picture, ImageOps.mirror(picture), picture.resize((256, 256))):
            best = space.nearest(copy)[0]
            assert best.index == row
            assert best.percentile == 0.0


def test_noise_is_no_copy(space: CopySpace) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = space.nearest(Image.fromarray(noise), count=3)
    assert found[0].percentile == 100.0
    assert [near.distance for near in found] == sorted(near.distance for near in found)


def test_a_picture_outside_the_memory_is_judged_alike(pipe: MemoryDrivenPipeline, space: CopySpace) -> None:
    picture = pipe(CAPTION, seed=1).images[0]
    distances = {near.index: near.distance for near in space.nearest(picture, pipe.bank.n)}
    for row in (0, 5):
        one = space.standing(picture, pipe.bank.thumbnail(row))
        assert one.distance == pytest.approx(distances[row], rel=1e-3)
    assert space.standing(picture, ImageOps.mirror(picture)).percentile == 0


def test_own_distances_are_those_to_the_nearest_other(pipe: MemoryDrivenPipeline, space: CopySpace) -> None:
    points = space.pictures.double().numpy()
    wanted = [
        min(np.linalg.norm(a - b) for j, b in enumerate(points) if j != i) for i, a in enumerate(points)
    ]
    assert space.own.numpy() == pytest.approx(wanted, rel=1e-3)


def test_progress_is_told(pipe: MemoryDrivenPipeline) -> None:
    told: list[tuple[int, int]] = []
    CopySpace(pipe.bank, lambda done, count: told.append((done, count)))
    assert told == [(0, pipe.bank.n)]


def test_pictures_of_the_map_are_tiled_as_they_are_beside_their_mean_colours(
    pipe: MemoryDrivenPipeline,
) -> None:
    pictures = small_pictures(pipe.bank, range(5), 8)
    image = tiled([Image.fromarray(each) for each in pictures], 3, 8, 0)
    assert image.size == (24, 16)
    assert np.array_equal(np.asarray(image)[8:16, 0:8], pictures[3])
    assert mean_colours(pictures)[2].tolist() == pytest.approx(
        pictures[2, 2:6, 2:6].reshape(-1, 3).mean(0), abs=0.51
    )


def test_a_part_of_a_memory_is_a_copy_of_it(pipe: MemoryDrivenPipeline, space: CopySpace) -> None:
    window = (0.1, 0.05, 0.8)
    whole = pipe.bank.thumbnail(5).convert("RGB")
    left, top, side = (round(share * whole.width) for share in window)
    part = whole.crop((left, top, left + side, top + side)).resize((64, 64))
    plain, seen = space.nearest(part, 1)[0], space.nearest(part, 1, window)[0]
    assert seen.index == 5
    distances = {near.index: near.distance for near in space.nearest(part, pipe.bank.n)}
    assert seen.distance < 0.6 * distances[5]
    assert seen.distance < plain.distance
    assert space.nearest(whole, 1, window)[0].distance == pytest.approx(0, abs=1e-3)
    assert space.standing(part, whole, window).distance < space.standing(part, whole).distance


def test_three_levels_say_in_what_a_picture_is_like_its_reference(
    pipe: MemoryDrivenPipeline, space: CopySpace
) -> None:
    output = pipe(CAPTION, k=1, seed=1)
    reference = output.retrieval[0].image.convert("RGB")
    strong = output.prepared.v[0].norm(dim=0)
    mask = Image.fromarray((strong > strong.median()).numpy().astype(np.uint8) * 255)
    mask = mask.resize(reference.size, Image.Resampling.NEAREST)
    red, green, blue = reference.split()  # the mean of the three stays: light alone says where things are
    recoloured = Image.composite(Image.merge("RGB", (blue, red, green)), reference, mask)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    levels = []
    for picture in (reference, recoloured, Image.fromarray(noise)):
        checked = space.check(replace(output, all_stages=((picture,),)))
        levels.append(checked.level)
        if picture is recoloured:
            assert checked.surroundings < 0.01 < ALIKE_COLOURS < checked.subject
            assert checked.layout == 0
    assert levels == ["copy", "follows", "new"]
    assert not space.check(pipe(CAPTION, "none", seed=1)).same_layout
