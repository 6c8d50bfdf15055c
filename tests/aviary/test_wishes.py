"""What captions and a noise ask of a bird: what changes and what stays."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from torch.nn import functional as F

from memdriven.aviary import wishes
from memdriven.aviary.captions import COLOUR_WORDS
from memdriven.aviary.plumage import PART
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOUR_SLOTS,
    PLUMAGE,
    BirdSpec,
    contrast,
    possible_places,
    sample_bird,
)
from memdriven.aviary.wishes import (
    COLOUR_CIRCLE,
    GROUPS,
    NUMBERS,
    PLACES,
    asked,
    background,
    recolouring,
    resetting,
)
from memdriven.aviary.world import SETTINGS

SEEN = [*PLUMAGE, "beak_color", "beak_shape", "size", "body_plan", "pose", "background"]


def _birds(count: int, pose: str | None = None) -> list[BirdSpec]:
    birds = (sample_bird(number % 200, number // 200, 0) for number in range(2000))
    return [*itertools.islice((bird for bird in birds if pose in (None, bird.attributes["pose"])), count)]


def test_only_what_the_caption_names_changes() -> None:
    rng = random.Random(0)
    changed = 0
    for number in range(60):
        bird = sample_bird(number, 0, 0)
        made = recolouring(bird, SEEN, rng)
        after = made.specimen
        assert made.names.items() <= after.attributes.items()
        for name in ATTRIBUTES:
            if name not in made.names:
                assert after.attributes[name] == bird.attributes[name]
        for slot in COLOUR_SLOTS:
            same = after.attributes[slot] == bird.attributes[slot]
            assert (after.colours[slot] == bird.colours[slot]) == same, "a name keeps its shade"
            changed += not same
        by_name = [
            {after.colours[s] for s in PLUMAGE if after.attributes[s] == c} for c in ATTRIBUTES["crown"]
        ]
        assert all(len(shades) <= 1 for shades in by_name), "parts of one colour match"
        assert (after.azimuth, after.noise, after.fill) == (bird.azimuth, bird.noise, bird.fill)
        assert after.setting is bird.setting, "the place stays"
        for name in PLUMAGE:
            if name in made.names:
                assert any(word in made.caption for word in COLOUR_WORDS[made.names[name]])
    assert changed > 60


def test_the_picture_changes_on_the_bird_alone() -> None:
    rng = random.Random(3)
    (bird,) = _birds(1, "perched")
    made = recolouring(bird, SEEN, rng).specimen
    (before, after), parts = render_birds([bird, made], 64)
    assert torch.equal(*parts), "the same pose"
    bird_there = (parts[0] != PART["background"]).float()[None]
    behind = F.max_pool2d(bird_there, 5, stride=1, padding=2)[0] == 0  # its edge is blended
    assert behind.float().mean() > 0.3
    assert torch.equal(before[:, behind], after[:, behind])
    assert not torch.equal(before, after)


def test_the_bird_keeps_its_kind_build_and_pose_and_its_unnamed_parts_change_by_z_alone() -> None:
    rng = random.Random(0)
    changed = parts = 0
    for bird in _birds(200):
        made = resetting(bird, SEEN, rng)
        after = made.specimen
        assert made.names.items() <= after.attributes.items(), "what is named is obeyed"
        for name in ATTRIBUTES:
            if name not in (*made.names, *PLUMAGE, "background"):
                assert after.attributes[name] == bird.attributes[name]
        kept = ("azimuth", "elevation", "noise", "fill", "shift", "flap", "head_yaw", "plump")
        assert all(getattr(after, one) == getattr(bird, one) for one in kept)
        assert len(made.noise) == NUMBERS
        for first, group in GROUPS.items():
            unnamed = [part for part in group if part not in made.names]
            a, b = made.noise[first : first + 2]
            assert (a is None) == (b is None) == (not unnamed)
            colours = {after.attributes[part] for part in unnamed}
            if unnamed and math.hypot(a or 0, b or 0) < 1.3537:  # six tenths of all pairs are shorter
                assert colours == {bird.attributes[part] for part in unnamed}
            elif unnamed:
                assert len(colours) == 1, "one colour for all of a group that is not named"
                changed += len(unnamed)
            parts += len(unnamed)
    assert changed / parts == pytest.approx(0.4, abs=0.04)


def test_a_named_background_is_obeyed_and_then_z_does_not_choose_it() -> None:
    rng = random.Random(1)
    named = other = 0
    birds = [bird for bird in _birds(160) if bird.attributes["pose"] != "swimming"]
    for bird in birds:
        made = resetting(bird, SEEN, rng)
        place = made.specimen.attributes["background"]
        if "background" in made.names:
            named += 1
            other += place != bird.attributes["background"]
            assert made.names["background"] == place
            assert made.noise[:2] == (None, None)
        else:
            z0, z1 = made.noise[:2]
            assert z0 is not None
            assert z1 is not None
            options = possible_places(bird.attributes["body_plan"], bird.attributes["pose"])
            assert background(z0, z1, options) == place
            assert place in options
    assert named / len(birds) == pytest.approx(0.4, abs=0.08)
    assert other / named > 0.5


def test_every_background_has_its_eighth_of_the_circle() -> None:
    draws = torch.randn(8000, 2, generator=torch.Generator().manual_seed(0)).tolist()
    found = [background(x, y, BACKGROUNDS) for x, y in draws]
    for place in BACKGROUNDS:
        assert found.count(place) / len(found) == pytest.approx(0.125, abs=0.02)


def test_swimming_birds_stay_on_the_water_and_other_noise_still_counts() -> None:
    rng = random.Random(2)
    (bird,) = _birds(1, "swimming")
    made = [resetting(bird, SEEN, rng) for _ in range(20)]
    assert {one.specimen.attributes["background"] for one in made} == {"water"}
    assert all(one.noise[:2] == (None, None) and None not in one.noise[2:7] for one in made)
    settings = {one.specimen.setting for one in made}
    assert len(settings) == 20
    assert not settings & set(SETTINGS["water"])


def test_named_markings_stay_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wishes, "UNNAMED", 0.9)
    monkeypatch.setattr(wishes, "OTHER_COLOURS", 0.0)
    rng = random.Random(3)
    birds = [bird for bird in _birds(150) if bird.attributes["wing_bars"] != "none"]
    for bird in birds:
        made = resetting(bird, [*SEEN, "wing_bars"], rng)
        if "wing_bars" in made.names and made.specimen.attributes["wing"] != bird.attributes["wing"]:
            assert contrast(made.specimen.attributes["wing"], made.names["wing_bars"])


def test_the_suns_side_is_the_sign_of_its_number() -> None:
    rng = random.Random(4)
    for bird in _birds(20):
        made = resetting(bird, SEEN, rng)
        number = made.noise[4]
        assert number is not None
        assert number * made.specimen.sun_azimuth > 0


def test_another_place_changes_pixels_and_none_of_the_birds_outline() -> None:
    (bird,) = _birds(1, "perched")
    rng = random.Random(6)
    made = [resetting(bird, SEEN, rng).specimen for _ in range(3)]
    pictures, parts = render_birds([bird, *made], 32)
    assert all(torch.equal(parts[0] > 0, other > 0) for other in parts[1:])
    assert all(
        (pictures[i].int() - pictures[j].int()).abs().float().mean() > 8 for i in range(4) for j in range(i)
    )


def test_what_z_asks_passes_smoothly_and_is_what_is_rendered() -> None:
    turns = torch.linspace(0, 2 * math.pi, 2001).tolist()
    for length, taken in ((0.5, 0.0), (2.5, 1.0)):
        before: dict[str, dict[str, float]] = {}
        for turn in turns:
            z = [length * math.cos(turn), length * math.sin(turn)] * 8
            found = asked(z, PLACES)
            assert sum(found["background"].values()) == pytest.approx(1.0)
            assert max(found["background"], key=found["background"].get) == background(z[0], z[1], PLACES)
            for parts in GROUPS.values():
                # The odd numbers begin a pair: its angle is turned by a quarter.
                assert sum(found[parts[0]].values()) == pytest.approx(taken, abs=0.01)
            for name, weights in before.items():
                assert all(abs(found[name][value] - weight) < 0.2 for value, weight in weights.items())
            before = found
    only = asked([0.0] * NUMBERS, ("water",))["background"]
    assert only == {"water": 1.0}
    assert set(before["wing"]) == set(COLOUR_CIRCLE)
