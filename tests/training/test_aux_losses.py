"""What frozen encoders tell G: DAMSM's loss and, where they have a head, the attribute loss."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import Item
from memdriven.data.vocabulary import IGNORED
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.readers import FILE, AttributeHead, Attributes, load_attributes, save_attributes
from memdriven.errors import CheckpointError, TrainingError
from memdriven.training.aux_losses import Teachers, text_losses
from memdriven.training.damsm_further import PixelSettings, train_pixels
from memdriven.training.distributed import Chance
from tests.training.small_gan import CONFIG, data, hasty_reader, run, steady_clock, train_settings
from tests.training.test_data import rewritten


def weighted(**changes: object) -> object:
    return dataclasses.replace(CONFIG, loss=dataclasses.replace(CONFIG.loss, **changes))


def known(folder: Path) -> Attributes:
    """What the encoders in a folder were taught of attributes."""
    found = load_damsm(folder).attributes
    assert found is not None
    return found


@pytest.fixture(scope="module")
def taught(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoders whose pixel network has learnt to name colours."""
    out = tmp_path_factory.mktemp("taught") / "damsm"
    with steady_clock(), hasty_reader():
        train_pixels([world / "data"], world / "damsm", out, PixelSettings(minutes=0.05, batch=12))
    return out


def world_of(world: Path, damsm: Path, folder: Path) -> Path:
    """A folder with the world's data and features and other encoders."""
    folder.mkdir()
    for name in ("data", "features"):
        (folder / name).symlink_to(world / name)
    (folder / "damsm").symlink_to(damsm)
    return folder


def test_disturbed_scoring_follows_from_seed_and_step(world: Path) -> None:
    damsm, *_ = load_damsm(world / "damsm")
    batch = data(world).batch(0)
    found = {}
    for disturbed in (False, True):
        config, teachers = weighted(damsm_disturbed=disturbed), Teachers(damsm)
        image = batch.images[-1].clone().requires_grad_()
        first, again, other = (
            text_losses(config, teachers, batch, [image], Chance(seed))["damsm"] for seed in (3, 3, 4)
        )
        assert torch.equal(first, again)
        assert torch.equal(first, other) != disturbed
        (gradient,) = torch.autograd.grad(first, image)
        assert gradient.abs().sum() > 0
        found[disturbed] = first.item()
    assert found[True] != found[False]


def test_attribute_loss_is_the_heads_cross_entropy(world: Path, taught: Path) -> None:
    trained = load_damsm(taught)
    config = weighted(attribute_weight=2.0)
    teachers = Teachers.load(config, trained)
    assert trained.attributes is not None
    assert trained.attributes.values == {"colour": ("blue", "green", "red")}
    batch = data(world, config, taught).batch(0)
    found = text_losses(config, teachers, batch, batch.images, Chance(0))
    assert batch.labels is not None
    assert teachers.head is not None
    pixels = trained.damsm.pixels
    assert pixels is not None
    with torch.no_grad():
        logits = teachers.head(pixels.maps((batch.images[-1] + 1) / 2))[:, 0]
    torch.testing.assert_close(found["attributes"], F.cross_entropy(logits, batch.labels[:, 0]).detach())
    plain = text_losses(CONFIG, Teachers(trained.damsm), batch, batch.images, Chance(0))
    torch.testing.assert_close(plain["damsm"], found["damsm"])
    assert "attributes" not in plain


def test_it_prefers_the_picture_that_shows_what_is_named(world: Path, taught: Path) -> None:
    trained = load_damsm(taught)
    config = weighted(attribute_weight=2.0)
    teachers = Teachers.load(config, trained)
    batch = data(world, config, taught).batch(0)
    assert batch.labels is not None
    right = text_losses(config, teachers, batch, batch.images, Chance(0))["attributes"]
    wrong = dataclasses.replace(batch, labels=(batch.labels + 1) % 3)
    assert right < text_losses(config, teachers, wrong, batch.images, Chance(0))["attributes"]
    unnamed = dataclasses.replace(batch, labels=None)
    assert "attributes" not in text_losses(config, teachers, unnamed, batch.images, Chance(0))


def test_what_z_alone_asks_is_told_to_g_and_asked_of_its_pictures(
    world: Path, taught: Path, tmp_path: Path
) -> None:
    """That is where an image is not as its memory is, and its caption does not say so."""
    values = known(taught).values["colour"]

    def another(colour: object) -> str:
        return values[(values.index(str(colour)) + 1) % len(values)]

    def remade(item: Item) -> Item:
        colour = another(item.attributes["colour"])
        told = [{"colour": colour} if item.id.endswith("0") else {} for _ in item.captions]
        made = {"attributes": {**item.attributes, "colour": colour}, "caption_attributes": told}
        return dataclasses.replace(item, id=f"{item.id}-z", memory=item.id, noise=(0.5, None), **made)

    made = rewritten(world, tmp_path / "made", remade)
    settings = dataclasses.replace(
        CONFIG.generator, fuse_early=True, early_blocks=1, text_code=4, attribute_dim=1, z_asks=True
    )
    config = dataclasses.replace(weighted(attribute_weight=2.0), generator=settings)
    source = data(world, config, taught, extra=[made / "data"])
    pick = source.pick(0)
    items = [source.items[i] for i in pick.index.tolist()]
    wanted = [
        IGNORED if item.caption_attributes[0] else values.index(str(item.attributes["colour"]))
        for item in items
    ]
    assert source.asked is not None
    assert source.asked[pick.index][:, 0].tolist() == wanted
    assert {*wanted} > {IGNORED}
    labels = source.labels_of(pick)
    assert labels is not None
    assert labels[:, 0].tolist() == [values.index(str(item.attributes["colour"])) for item in items]
    told, silent = source.text_of(pick).attributes, source.captions.text(pick.caption).attributes
    assert told is not None
    assert silent is not None
    for row, label in enumerate(wanted):
        if label == IGNORED:
            assert torch.equal(told[row], silent[row])
        else:
            torch.testing.assert_close(told[row].sum(), torch.tensor(1.0))
            torch.testing.assert_close(told[row, label] - silent[row, label], 1 - silent[row].sum())


def test_a_run_with_it(world: Path, taught: Path, tmp_path: Path) -> None:
    config = weighted(attribute_weight=2.0)
    with pytest.raises(TrainingError, match="train-pixels"):
        run(world, tmp_path / "without", config)
    world_of(world, taught, tmp_path / "world")
    config = dataclasses.replace(config, train=train_settings(steps=2, log_every=1).train)
    run(tmp_path / "world", tmp_path / "run", config)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["attributes"] > 0 for line in lines)
    made = tmp_path / "run/checkpoint"
    world_of(world, made, tmp_path / "world2")
    still = dataclasses.replace(config, train=train_settings(steps=0).train)
    run(tmp_path / "world2", tmp_path / "next", still, start_from=made)
    first, last = (known(folder).state_dict() for folder in (taught, tmp_path / "next/checkpoint"))
    assert first.keys() == last.keys()
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert load_checkpoint(tmp_path / "next/checkpoint").attributes is not None


def test_a_generator_that_is_told_what_captions_name(world: Path, taught: Path, tmp_path: Path) -> None:
    reader = known(taught).reader
    assert reader is not None
    settings = dataclasses.replace(
        CONFIG.generator, fuse_early=True, early_blocks=1, text_code=4, attribute_dim=1
    )
    config = dataclasses.replace(CONFIG, generator=settings)
    drawn = data(world, config, taught)
    batch = drawn.batch(0)
    wanted = reader.attribute_probs(batch.text).flatten(1)
    assert batch.text.attributes is not None
    torch.testing.assert_close(batch.text.attributes, wanted, atol=1e-3, rtol=1e-2)
    assert torch.equal(batch.text.condition, torch.cat([batch.text.words_mean, batch.text.attributes], dim=1))
    with pytest.raises(CheckpointError, match="attribute_dim"):
        run(world, tmp_path / "without", config)
    world_of(world, taught, tmp_path / "world")
    run(tmp_path / "world", tmp_path / "run", config)
    made = load_checkpoint(tmp_path / "run/checkpoint")
    assert made.config.generator.attribute_dim == reader.width
    assert made.generator.early.text_code.attributes.weight.abs().sum() > 0, "it has learnt to listen"
    deaf = dataclasses.replace(
        config, generator=dataclasses.replace(settings, attribute_dim=0), train=train_settings(steps=0).train
    )
    run(world, tmp_path / "deaf", deaf, start_from=tmp_path / "run/checkpoint")
    later = load_checkpoint(tmp_path / "deaf/checkpoint")
    own, then = later.generator.state_dict(), made.generator.state_dict()
    assert set(then) - set(own) == {"early.text_code.attributes.weight"}
    assert torch.equal(own["early.text_code.linear.weight"], then["early.text_code.linear.weight"])


def test_attributes_alone(world: Path, taught: Path) -> None:
    """Without a weight DAMSM's loss is neither computed nor logged."""
    config = weighted(attribute_weight=2.0, damsm_weight=0.0)
    teachers = Teachers.load(config, load_damsm(taught))
    batch = data(world, config, taught).batch(0)
    assert list(text_losses(config, teachers, batch, batch.images, Chance(0))) == ["attributes"]


def test_attributes_belong_to_their_encoders(taught: Path, tmp_path: Path) -> None:
    name = load_damsm(taught).facts["hash"]
    readers = known(taught)
    assert readers.reader is not None
    with pytest.raises(CheckpointError, match="0123456789abcdef"):
        load_attributes(taught, "0123456789abcdef")
    save_attributes(tmp_path, readers, name)
    again = load_attributes(tmp_path, name)
    assert again is not None
    maps = torch.randn(2, 112, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(readers.head(maps), again.head(maps))
    written = {(tmp_path / FILE).read_bytes()}
    for _ in range(5):
        save_attributes(tmp_path, readers, name)
        written.add((tmp_path / FILE).read_bytes())
    assert len(written) == 1, "a file's bytes are its hash"
    save_attributes(tmp_path, Attributes(readers.head, None), name)
    silent = load_attributes(tmp_path, name)
    assert silent is not None
    assert silent.reader is None
    assert silent.values == readers.values
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_attributes(tmp_path, name)
    assert load_attributes(tmp_path / "elsewhere", name) is None


def test_further_training_goes_on_with_the_head(
    world: Path, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    load = AttributeHead.load_state_dict

    def watched(self: AttributeHead, state: object, **options: object) -> object:
        taken.append(state)
        return load(self, state, **options)

    monkeypatch.setattr(AttributeHead, "load_state_dict", watched)
    with steady_clock(), hasty_reader():
        train_pixels([world / "data"], taught, tmp_path / "out", PixelSettings(minutes=0.01, batch=12))
    assert any(torch.equal(state["bias"], known(taught).head.bias) for state in taken)
