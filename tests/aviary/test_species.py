"""Species, and the sightings of them."""

from __future__ import annotations

import dataclasses

import pytest

from memdriven.aviary.species import (
    ATTRIBUTES,
    COLOURED_MARKINGS,
    COLOURS,
    MORPHS,
    PLUMAGE,
    SRGB,
    all_species,
    contrast,
    sample_bird,
    srgb_to_linear,
    stream,
)
from memdriven.aviary.world import PLANS

SPECIES = all_species()
TRAIN_SPECIES = 150
TRAIN, TEST = SPECIES[:TRAIN_SPECIES], SPECIES[TRAIN_SPECIES:]
"""Species to be tested, and those to choose by."""


def test_there_are_150_and_50_and_15_species_of_at_least_twelve_plans() -> None:
    assert [s.split for s in SPECIES] == ["train"] * 150 + ["test"] * 50 + ["validation"] * 15
    assert [s.id for s in SPECIES] == list(range(215))
    plans = [{s.attributes["body_plan"] for s in some} for some in (TRAIN, TEST)]
    assert len(plans[0]) == len(plans[1]) == len(PLANS) >= 12


def test_splits_share_no_id_name_or_appearance() -> None:
    assert len({s.name for s in SPECIES}) == len(SPECIES)
    assert len({tuple(s.attributes.values()) for s in SPECIES}) == len(SPECIES)


@pytest.mark.parametrize("name", [n for n in ATTRIBUTES if n not in ("pose", "background")])
def test_every_value_occurs_in_training(name: str) -> None:
    trained = {s.attributes[name] for s in TRAIN}
    assert trained == set(ATTRIBUTES[name])
    assert {s.attributes[name] for s in TEST} <= trained


def test_poses_and_places_of_test_pictures_occur_in_training() -> None:
    def seen(ids: range, name: str) -> set[str]:
        return {sample_bird(s, i, 0).attributes[name] for s in ids for i in range(3)}

    for name in ("pose", "background"):
        trained = seen(range(TRAIN_SPECIES), name)
        assert trained == set(ATTRIBUTES[name])
        assert seen(range(TRAIN_SPECIES, len(SPECIES)), name) <= trained


def test_a_sighting_follows_from_its_three_numbers() -> None:
    bird = sample_bird(12, 3, 7)
    assert bird == sample_bird(12, 3, 7)
    others = {repr(sample_bird(*key)) for key in ((13, 3, 7), (12, 4, 7), (12, 3, 8))}
    assert len(others | {repr(bird)}) == 4
    assert stream("a", 1).random() == stream("a", 1).random() != stream("a", 2).random()


def test_sightings_are_in_character() -> None:
    for species in SPECIES[::3]:
        bird = sample_bird(species.id, 5, 1)
        facts = dict(bird.attributes)
        pose, place = facts.pop("pose"), facts.pop("background")
        shared = facts.keys() - {*PLUMAGE, *COLOURED_MARKINGS}
        assert {name: facts[name] for name in shared} == {name: species.attributes[name] for name in shared}
        assert all(facts[name] in ATTRIBUTES[name] for name in facts)
        assert pose in dict(PLANS[species.attributes["body_plan"]].poses)
        assert place in ATTRIBUTES["background"]
        assert pose != "swimming" or place == "water"
        assert all(0.0 <= channel <= 1.0 for rgb in bird.colours.values() for channel in rgb)
        assert dataclasses.is_dataclass(bird)


def test_some_sightings_are_typical_and_most_wear_colours_of_their_own() -> None:
    worn = []
    for species in SPECIES[:8]:
        typical = tuple(species.attributes[part] for part in PLUMAGE)
        for index in range(50):
            bird = sample_bird(species.id, index, 0)
            worn.append(tuple(bird.attributes[part] for part in PLUMAGE) == typical)
    assert abs(1 - sum(worn) / len(worn) - MORPHS) < 0.06


def test_test_pictures_wear_plumages_that_training_never_shows() -> None:
    def worn(ids: range, count: int) -> set[tuple[str, ...]]:
        birds = (sample_bird(s, i, 0) for s in ids for i in range(count))
        return {tuple(b.attributes[n] for n in ("body_plan", *PLUMAGE)) for b in birds}

    trained = worn(range(TRAIN_SPECIES), 9)
    tested = worn(range(TRAIN_SPECIES, len(SPECIES)), 4)
    assert len(trained & tested) <= 0.01 * len(tested)


def test_markings_contrast_with_what_they_lie_on() -> None:
    sightings = (sample_bird(s.id, i, 0).attributes for s in SPECIES[::5] for i in range(8))
    for bird in (*(s.attributes for s in SPECIES), *sightings):
        assert bird["wing_bars"] == "none" or contrast(bird["wing_bars"], bird["wing"])
        assert bird["eye_ring"] == "none" or contrast(bird["eye_ring"], bird["head"])
        assert contrast(bird["beak_color"], bird["head"])


def test_named_colours_are_apart() -> None:
    for k, one in enumerate(COLOURS):
        assert all(0.0 < srgb_to_linear(channel / 255) < 1.0 for channel in SRGB[one])
        assert not contrast(one, one)
        for other in COLOURS[k + 1 :]:
            assert contrast(one, other) == contrast(other, one)
            assert sum(abs(a - b) for a, b in zip(SRGB[one], SRGB[other], strict=True)) > 60
