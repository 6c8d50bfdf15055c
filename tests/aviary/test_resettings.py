"""Birds in the place, light and plumage that a noise asks for: what z says, and what it may not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from memdriven.aviary.render import render_birds
from memdriven.aviary.resettings import NUMBERS, Resettings, background, prepare_resettings, resetting
from memdriven.aviary.scene import SETTINGS
from memdriven.aviary.species import (
    ATTRIBUTES,
    BACKGROUNDS,
    PLUMAGE,
    BirdSpec,
    contrast,
    possible_places,
    sample_bird,
)
from memdriven.data.prepared import PreparedDataset
from memdriven.errors import DataError

SEEN = [*PLUMAGE, "beak_color", "beak_shape", "size", "body_plan", "pose", "background"]


def _birds(count: int, pose: str | None = None) -> list[BirdSpec]:
    birds = (sample_bird(number % 200, number // 200, 0) for number in range(2000))
    return [bird for bird in birds if pose in (None, bird.attributes["pose"])][:count]


def test_the_bird_keeps_its_kind_build_and_pose_and_its_unnamed_parts_change_by_z_alone() -> None:
    rng = random.Random(0)
    changed = parts = 0
    for bird in _birds(200):
        made = resetting(bird, SEEN, rng, plumage=0.25)
        after = made.specimen
        assert made.names.items() <= after.attributes.items(), "what is named is obeyed"
        for name in ATTRIBUTES:
            if name not in (*made.names, *PLUMAGE, "background"):
                assert after.attributes[name] == bird.attributes[name]
        kept = ("azimuth", "elevation", "noise", "fill", "shift", "flap", "head_yaw", "plump")
        assert all(getattr(after, one) == getattr(bird, one) for one in kept)
        assert len(made.noise) == NUMBERS
        for number, part in enumerate(PLUMAGE, start=11):
            if part in made.names:
                assert made.noise[number] is None
            elif (made.noise[number] or 0) < 0.6744:  # a quarter of all noise lies above
                assert after.attributes[part] == bird.attributes[part]
            else:
                changed += 1
            parts += part not in made.names
    assert changed / parts == pytest.approx(0.25, abs=0.03)


def test_without_a_share_of_plumage_only_words_change_a_bird() -> None:
    rng = random.Random(0)
    for bird in _birds(20):
        made = resetting(bird, SEEN, rng, plumage=0.0, wishes=0.0)
        assert {part: made.specimen.colours[part] for part in PLUMAGE} == {
            p: bird.colours[p] for p in PLUMAGE
        }
        assert made.noise[7:] == (None,) * 13


def test_a_named_background_is_obeyed_and_then_z_does_not_choose_it() -> None:
    rng = random.Random(1)
    named = other = 0
    birds = [bird for bird in _birds(160) if bird.attributes["pose"] != "swimming"]
    for bird in birds:
        made = resetting(bird, SEEN, rng, places=0.4)
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


def test_named_markings_stay_readable() -> None:
    rng = random.Random(3)
    birds = [bird for bird in _birds(150) if bird.attributes["wing_bars"] != "none"]
    for bird in birds:
        made = resetting(bird, [*SEEN, "wing_bars"], rng, plumage=0.9, wishes=0.0)
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


def test_a_data_set_of_resettings_records_its_noise_and_memories(base: Path, tmp_path: Path) -> None:
    out, how = tmp_path / "settings", Resettings(per_image=2, image_size=16, workers=0)
    prepare_resettings(base, out, how, progress=False)
    made, memories = PreparedDataset.open(out), PreparedDataset.open(base).split("train")
    assert {item.memory for item in made.items} <= {item.id for item in memories}
    assert 5 <= len(made) <= 8
    for item in made.items:
        assert len(item.noise) == NUMBERS
        assert len(item.captions) == 1
        assert item.caption_attributes[0].items() <= item.attributes.items()
        assert item.caption_attributes[0].keys() <= set(item.visible)
        assert made.load_image(item).size == (16, 16)
    assert (made.header["plumage"], made.header["places"]) == (0.25, 0.4)
    written = (out / "items.jsonl").read_bytes()
    prepare_resettings(base, out, how, progress=False)
    assert (out / "items.jsonl").read_bytes() == written


def test_shares_are_shares() -> None:
    for plumage in (-0.1, 1.0, float("nan")):
        with pytest.raises(DataError, match="plumage"):
            Resettings(plumage=plumage)
