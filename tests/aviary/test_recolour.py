"""Birds in colours that captions ask for: what changes, what stays, and the data set of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from memdriven.aviary.captions import COLOUR_WORDS
from memdriven.aviary.plumage import PART
from memdriven.aviary.recolour import Recolouring, prepare_recoloured, wish
from memdriven.aviary.render import render_birds
from memdriven.aviary.scene import choose_setting
from memdriven.aviary.species import ATTRIBUTES, COLOUR_SLOTS, PLUMAGE, sample_bird
from memdriven.data.prepared import PreparedDataset
from memdriven.errors import DataError
from tests.small_world import write_world

SEEN = [*PLUMAGE, "beak_color", "beak_shape", "size", "body_plan", "pose", "background"]


def test_only_what_the_caption_names_changes() -> None:
    rng = random.Random(0)
    changed = 0
    for number in range(60):
        bird = sample_bird(number, 0, 0)
        made = wish(bird, SEEN, rng)
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
        assert choose_setting(after) is choose_setting(bird), "the place stays"
        for name in PLUMAGE:
            if name in made.names:
                assert any(word in made.caption for word in COLOUR_WORDS[made.names[name]])
    assert changed > 60


def test_the_picture_changes_on_the_bird_alone() -> None:
    rng = random.Random(3)
    birds = (sample_bird(number, 1, 0) for number in range(99))
    bird = next(bird for bird in birds if bird.attributes["pose"] == "perched")
    made = wish(bird, SEEN, rng).specimen
    (before, after), parts = render_birds([bird, made], 64)
    assert torch.equal(*parts), "the same pose"
    bird_there = (parts[0] != PART["background"]).float()[None]
    behind = F.max_pool2d(bird_there, 5, stride=1, padding=2)[0] == 0  # its edge is blended
    assert behind.float().mean() > 0.3
    assert torch.equal(before[:, behind], after[:, behind])
    assert not torch.equal(before, after)


def test_a_data_set_of_wishes_names_its_memories(base: Path, tmp_path: Path) -> None:
    how = Recolouring(per_image=3, image_size=64, workers=0)
    out = prepare_recoloured(base, tmp_path / "wishes", how, progress=False)
    made, memories = PreparedDataset.open(out), PreparedDataset.open(base).split("train")
    assert 6 <= len(made) <= 12
    assert {item.memory for item in made.items} == {item.id for item in memories}
    for item in made.items:
        of = next(memory for memory in memories if memory.id == item.memory)
        assert (item.split, item.class_id, len(item.captions)) == ("train", of.class_id, 1)
        assert item.caption_attributes[0].keys() <= set(item.visible), "nothing hidden is asked"
        assert made.load_image(item).size == (64, 64)
    files = {path: path.read_bytes() for path in sorted(out.rglob("*.webp"))}
    (out / made.items[0].file).unlink()
    prepare_recoloured(base, out, how, progress=False)
    assert {path: path.read_bytes() for path in sorted(out.rglob("*.webp"))} == files


def test_only_rendered_birds_can_be_recoloured(tmp_path: Path) -> None:
    write_world(tmp_path / "photos", train=2, test=1)
    with pytest.raises(DataError, match="rendered birds"):
        prepare_recoloured(tmp_path / "photos", tmp_path / "out", progress=False)
