"""Pictures: every plan has its own outline, parts have their colours, bad sizes are refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from benchmarks import sheets
from memdriven.aviary.plumage import PART, PARTS
from memdriven.aviary.prepare import part_shares
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import SRGB, BirdSpec, all_species, sample_bird, srgb_to_linear
from memdriven.aviary.world import PLANS, SETTINGS


def _linear(name: str) -> tuple[float, float, float]:
    red, green, blue = (srgb_to_linear(channel / 255) for channel in SRGB[name])
    return red, green, blue


def _profile(plan: str, **colours: str) -> BirdSpec:
    """The usual pose of a plan, seen from the side."""
    species = next(s for s in all_species() if s.attributes["body_plan"] == plan)
    bird = sample_bird(species.id, 0, 0)
    pose = max(PLANS[plan].poses, key=lambda entry: entry[1])[0]
    place = {"flying": "sky", "swimming": "water", "standing": "sand"}.get(pose, "foliage")
    return dataclasses.replace(
        bird,
        attributes={**bird.attributes, "pose": pose, "background": place},
        colours={**bird.colours, **{part: _linear(name) for part, name in colours.items()}},
        azimuth=math.pi / 2,
        elevation=0.1,
        head_yaw=0.0,
        head_pitch=0.0,
        pitch_change=0.0,
        flap=0.6,
        bank=0.0,
        plump=1.0,
        fill=0.85,
        shift=(0.0, 0.0),
        setting=SETTINGS[place][0],
    )


def test_all_body_plans_have_different_silhouettes() -> None:
    plans = sorted(PLANS)
    _, parts = render_birds([_profile(plan) for plan in plans], 32)
    shapes = ((parts != PART["background"]) & (parts != PART["perch"])).flatten(1).double()
    area = shapes.sum(1)
    assert (area / 32**2 > 0.06).all()
    both = shapes @ shapes.T
    overlap = both / (area[:, None] + area[None] - both)  # intersection over union
    overlap.fill_diagonal_(0)
    k = int(overlap.argmax())
    assert overlap.max() < 0.86, f"{plans[k // len(plans)]} and {plans[k % len(plans)]}"


def test_parts_are_where_they_belong_and_of_their_colour() -> None:
    names = {"breast": "red", "belly": "red", "back": "blue", "wing": "blue", "crown": "yellow"}
    rgb, parts = render_birds([_profile("finch", **names)], 96)
    picture, part = rgb[0].double().numpy(), parts[0].numpy()
    row = {name: float(np.nonzero(part == PART[name])[0].mean()) for name in (*names, "legs")}
    assert row["crown"] < row["back"] < row["belly"] < row["legs"]
    r, g, b = ({name: float(channel[part == PART[name]].mean()) for name in names} for channel in picture)
    assert r["breast"] > 1.8 * max(g["breast"], b["breast"])
    assert b["wing"] > 1.3 * max(r["wing"], g["wing"])
    assert min(r["crown"], g["crown"]) > 1.5 * b["crown"]
    shares = part_shares(parts[0])
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)
    assert not {"background", "perch"} & shares.keys()
    assert shares.keys() <= set(PARTS)


def test_the_far_side_is_hidden() -> None:
    side = _profile("finch", eye_ring="red")
    behind = dataclasses.replace(side, azimuth=math.pi)
    _, parts = render_birds([side, behind], 64)
    seen, hidden = (part_shares(p) for p in parts)
    assert seen["beak"] > 0.01
    assert hidden.get("beak", 0.0) < 0.004
    assert hidden["tail"] > 0.01


@pytest.mark.parametrize("size", [0, 8, 100])
def test_sizes_that_cannot_be_marched_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        render_birds([sample_bird(0, 0, 0)], size)


def test_a_sheet_has_a_tile_for_every_bird() -> None:
    assert len({bird.attributes["body_plan"] for bird in sheets.choose_birds(3, 0)}) == 3
    page = np.asarray(sheets.birds(3, 2, 0, side=32))
    assert page.shape == (2 * (32 + 6) + 6, 2 * (32 + 6) + 6, 3)
    assert page[6:38, 6:38].std() > 5
    assert (page[-38:, -38:] == 255).all(), "no fourth bird"
