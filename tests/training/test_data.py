"""What a batch is made of where the data is not as even as one would like."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from memdriven.data.prepared import Item, PreparedDataset, write_prepared
from memdriven.encoders.damsm import damsm_loss, load_damsm
from memdriven.encoders.image import ImageFeatures
from memdriven.errors import TrainingError
from memdriven.losses import reconstruction
from memdriven.training import data as training_data
from memdriven.training.captions import EmbeddedCaptions
from memdriven.training.distributed import World
from tests.training.small_gan import CONFIG, data, facing, train_settings


def rewritten(world: Path, folder: Path, change: object) -> Path:
    """Copy the world, with other items."""
    shutil.copytree(world, folder)
    prepared = PreparedDataset.open(folder / "data")
    items = [change(item) for item in prepared.items]  # type: ignore[operator]
    write_prepared(
        folder / "data", name="other", items=items, classes=prepared.classes, image_size=prepared.image_size
    )
    return folder


def test_one_class_alone_still_has_neighbours(world: Path, tmp_path: Path) -> None:
    """Where all images are of one class, strangers of it serve, never the image itself."""
    one = rewritten(world, tmp_path / "one", lambda i: dataclasses.replace(i, class_id=0))
    source = data(one, train_settings(p_swap=1.0, batch_size=12))
    pick = source.pick(0)
    sources, shares = source.sources(pick, source.captions.sentences[pick.caption])
    assert (sources[:, 0] != pick.index).all()
    assert len(set(sources[:, 0].tolist())) > 4, "not the same few for everyone"
    torch.testing.assert_close(shares.sum(1), torch.ones(12))


def test_few_strangers_come_before_the_own_class(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lonely(item: Item) -> Item:
        return dataclasses.replace(item, class_id=int(item.id in ("train-000", "train-005")))

    few = rewritten(world, tmp_path / "few", lonely)
    monkeypatch.setattr(training_data, "SWAP_NEIGHBOURS", 3)
    source = data(few, train_settings(p_swap=1.0, swap_mix=3, batch_size=12))
    assert source.class_ids is not None
    pick = source.pick(0)
    sources, shares = source.sources(pick, source.captions.sentences[pick.caption])
    same = source.class_ids[sources] == source.class_ids[pick.index][:, None]
    strangers = (shares * ~same).sum(1)
    mixed = (~same & (shares > 0)).any(1)
    assert mixed.any()
    assert (strangers[mixed] > 0.99).all(), "of the own class there is hardly anything in the mix"


def test_an_image_made_for_a_memory_is_painted_from_it(world: Path, tmp_path: Path) -> None:
    """It keeps that memory, is a target for it, and is nobody's neighbour."""
    made = rewritten(
        world, tmp_path / "made", lambda i: dataclasses.replace(i, id=f"{i.id}-wish", memory=i.id)
    )
    settings = train_settings(p_swap=1.0, batch_size=24)
    source = facing(data(world, settings, extra=[made / "data"]))
    index, batch = source._indices(0), source.batch(0)
    assert torch.equal(batch.is_target, index >= 12)
    stored = source.features.float() * source.feature_scale
    for place, i in enumerate(index.tolist()):
        if i >= 12:
            assert torch.equal(batch.v[place], stored[source.rows[i - 12]])
    assert int(source.owner.max()) < 12
    lost = rewritten(world, tmp_path / "lost", lambda i: dataclasses.replace(i, memory="nobody"))
    with pytest.raises(TrainingError, match="nobody"):
        data(world, settings, extra=[lost / "data"])


def test_what_the_words_changed_counts_more(world: Path, tmp_path: Path) -> None:
    """Only where an image differs from its memory's, seen through the same window and turned."""
    made = rewritten(
        world, tmp_path / "made", lambda i: dataclasses.replace(i, id=f"{i.id}-wish", memory=i.id)
    )
    settings = train_settings(p_swap=0.0, batch_size=24)
    settings = dataclasses.replace(
        settings,
        generator=dataclasses.replace(CONFIG.generator, zoom=0.2),
        loss=dataclasses.replace(CONFIG.loss, change_weight=4.0),
    )
    source = data(world, settings, extra=[made / "data"])
    side = source.images.shape[-1]
    source.images[12:] = source.images[:12]
    source.images[12:, 0, : side // 2] = 255 - source.images[12:, 0, : side // 2]
    index, batch = source._indices(0), source.batch(0)
    assert batch.pixel_weights is not None
    assert batch.pixel_weights.shape == (24, 1, *batch.images[-1].shape[2:])
    assert set(batch.pixel_weights.unique().tolist()) == {1.0, 5.0}
    assert (batch.pixel_weights[index < 12] == 1).all(), "its own image is no change"
    assert (batch.pixel_weights[index >= 12][:, :, -20:] == 1).all()
    assert (batch.pixel_weights[index >= 12][:, :, :20] == 5).float().mean() > 0.3
    plain = data(world, train_settings(batch_size=24), extra=[made / "data"])
    assert plain.batch(0).pixel_weights is None


def test_weighted_places_count_in_the_reconstruction() -> None:
    fake, real = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    places = torch.ones(2, 1, 8, 8)
    places[:, :, :4] = 5.0
    own = torch.tensor([True, False])
    assert reconstruction(fake, real, own) == 1.0
    assert reconstruction(fake, real, own, places) == 3.0, "half of it counts five times"


def test_one_class_alone_still_teaches_damsm() -> None:
    config = CONFIG.damsm
    chance = torch.Generator().manual_seed(0)
    words = torch.randn(4, 5, 16, generator=chance)
    from memdriven.encoders.text import TextFeatures

    text = TextFeatures(words, torch.randn(4, 16, generator=chance), torch.ones(4, 5).bool())
    image = ImageFeatures(torch.randn(4, 9, 16, generator=chance), torch.randn(4, 16, generator=chance))
    assert config.mask_same_class
    alone = damsm_loss(image, text, torch.zeros(4, dtype=torch.long)).total
    assert alone == damsm_loss(image, text, None).total > 0
    two = damsm_loss(image, text, torch.tensor([0, 0, 1, 1])).total
    assert 0 < two < alone


@pytest.mark.parametrize(("crop", "stages", "side"), [(1.0, 1, 64), (76 / 64, 1, 76), (76 / 64, 3, 256)])
def test_pictures_are_not_enlarged_for_a_crop(world: Path, crop: float, stages: int, side: int) -> None:
    settings = train_settings(crop=crop)
    settings = dataclasses.replace(settings, generator=dataclasses.replace(CONFIG.generator, stages=stages))
    assert data(world, settings).images.shape[-1] == side


def test_a_data_set_smaller_than_the_picture_is_refused(world: Path) -> None:
    settings = dataclasses.replace(CONFIG, generator=dataclasses.replace(CONFIG.generator, stages=4))
    with pytest.raises(TrainingError, match=r"512 px or more.*256 px in small-world"):
        data(world, settings)


def test_a_crop_moves_v_along_with_the_picture(world: Path) -> None:
    """What is seen of a bright spot in the picture is where the same spot of v is."""
    source = facing(data(world, train_settings(p_swap=0.0, crop=76 / 64, batch_size=12)))
    source.images.zero_()
    source.images[:, :, 30:46, 20:36] = 255
    ramp = torch.arange(16.0)
    spot = torch.exp(-((ramp[:, None] - 7.5) ** 2 + (ramp[None] - 5.4) ** 2) / 4)  # its place in v's grid
    source.features = spot.expand(len(source.features), 512, 16, 16).clone()
    source.feature_scale = torch.ones_like(source.feature_scale)
    batch = source.batch(0)
    centres = []
    for maps in (batch.images[0] + 1, batch.v[:, :3]):
        side = maps.shape[-1]
        line = (torch.arange(side) + 0.5) / side
        mass = maps.sum(1) / maps.sum((1, 2, 3))[:, None, None]
        centres.append(torch.stack([(mass.sum(1) * line).sum(1), (mass.sum(2) * line).sum(1)], dim=1))
    assert centres[0].std(0).min() > 0.01, "crops differ"
    assert (centres[0] - centres[1]).abs().max() < 0.03


def test_z_is_what_asks_for_the_picture(world: Path, tmp_path: Path) -> None:
    """Known numbers are taken, open ones drawn; the sun's side turns with a mirrored picture."""
    asked = [0.5, None, 1.5, -2.5, 0.7]
    made = rewritten(
        world, tmp_path / "made", lambda i: dataclasses.replace(i, id=f"{i.id}-z", memory=i.id, noise=asked)
    )
    source = data(world, train_settings(batch_size=24), extra=[made / "data"])
    assert (source._indices(0) >= 12).all(), "pictures that no z asked for say nothing of z"
    pick, batch = source.pick(0), source.batch(0)
    assert (batch.z[:, [0, 2, 3]] == torch.tensor([0.5, 1.5, -2.5])).all()
    assert torch.equal(batch.z[:, 1], pick.z[:, 1])
    assert torch.equal(batch.z[:, 5:], pick.z[:, 5:])
    torch.testing.assert_close(batch.z[:, 4], torch.where(pick.views[:, 3] > 0, -0.7, 0.7))


def test_the_parts_of_a_global_batch_are_the_batch(world: Path) -> None:
    source = data(world, train_settings(batch_size=8))
    whole = source.batch(3)
    parts = [source.batch(3, World(rank=rank, size=2)) for rank in range(2)]
    assert torch.equal(torch.cat([part.v for part in parts]), whole.v)
    assert torch.equal(torch.cat([part.z for part in parts]), whole.z)
    assert torch.equal(torch.cat([part.images[0] for part in parts]), whole.images[0])


def test_captions_without_known_words_are_left_out(world: Path, tmp_path: Path) -> None:
    def foreign(item: Item) -> Item:
        colour = item.attributes["colour"]
        return dataclasses.replace(
            item, captions=["xyzzy plugh", *item.captions], caption_attributes=[{}, {"colour": colour}, {}]
        )

    odd = rewritten(world, tmp_path / "odd", foreign)
    source, trained = data(odd), load_damsm(odd / "damsm")
    captions = EmbeddedCaptions(source.items, trained, {"colour": ("blue", "green", "red")})
    assert captions.of == source.captions.of
    assert [len(own) for own in captions.of] == [2] * 12
    assert captions.labels is not None
    for item, own in zip(source.items, captions.of, strict=True):
        expected = ("blue", "green", "red").index(str(item.attributes["colour"]))
        assert captions.labels[own, 0].tolist() == [expected, -1], "labels keep in step"
    first = trained.damsm.encode_captions([trained.vocabulary.encode(source.items[3].captions[1], 8)])
    torch.testing.assert_close(captions.sentences[captions.of[3].start], first.sentence[0])
