"""Training of the GAN in miniature: it runs, learns, resumes bit for bit, and stops on NaN."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.damsm import load_damsm
from memdriven.errors import CheckpointError, TrainingError
from memdriven.files import sealed
from memdriven.training import data as training_data
from memdriven.training.aux_losses import Teachers
from memdriven.training.data import GanData, pyramid
from memdriven.training.distributed import World
from memdriven.training.gan import train_gan
from memdriven.training.step import GanTrainer
from tests.small_world import write_world
from tests.training.small_gan import CONFIG, data, facing, run, train_settings


def test_a_run_leaves_what_it_promises(whole: Path) -> None:
    records = [json.loads(x) for x in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [2, 4]
    assert records[0]["images"] == 8
    assert {"d_adversarial", "g_adversarial", "damsm", "kl", "r1"} <= set(records[0])
    with Image.open(whole / "samples/000004.png") as sheet:
        # A column each of the batch's four captions, a row of real images and three of noises.
        assert sheet.size == (4 * 66 + 2, 4 * 66 + 2)
    checkpoint = load_checkpoint(whole / "checkpoint")
    assert checkpoint.config == CONFIG
    assert checkpoint.facts["images"] == 16
    assert len(checkpoint.hash) == 12


def test_a_run_directory_is_not_overwritten(world: Path, begun: Path) -> None:
    """Nor are data loaded before it is refused."""
    nothing = {"extra": [begun / "no-such-data"]}
    with pytest.raises(TrainingError, match="one that holds a training"):
        run(world, begun, **nothing)
    with pytest.raises(TrainingError, match="settings"):
        run(world, begun, train_settings(learning_rate=1.0), resume=True, **nothing)


def test_time_limit_stops_cleanly(world: Path, tmp_path: Path) -> None:
    run(world, tmp_path / "run", train_settings(steps=10_000, max_minutes=1e-4))
    assert load_checkpoint(tmp_path / "run/checkpoint").facts["steps"] < 10_000


def test_dry_run_writes_nothing(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(world, tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()
    printed = capsys.readouterr().out
    assert "images/s" in printed
    memory = re.search(r"memory +([\d.]+) GB of memory a process: data ([\d.]+), networks", printed)
    assert memory
    assert float(memory[1]) > float(memory[2])
    assert "(4, 512, 16, 16)" in printed


def test_batches_follow_from_seed_and_step(world: Path) -> None:
    first, again = data(world), data(world)
    for step in (0, 5):
        a, b = first.batch(step), again.batch(step)
        assert torch.equal(a.images[0], b.images[0])
        assert torch.equal(a.v, b.v)
        assert torch.equal(a.z, b.z)
    assert not torch.equal(first.batch(0).z, first.batch(1).z)
    epoch = torch.cat([first._indices(i) for i in range(3)])
    assert sorted(epoch.tolist()) == list(range(12))


def test_swap_takes_the_nearest_stranger(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow way: every caption against every caption, own class left out."""
    monkeypatch.setattr(training_data, "SWAP_NEIGHBOURS", 1)
    source = data(world, train_settings(p_swap=1.0))
    items = PreparedDataset.open(world / "data").split("train")
    damsm, vocabulary, *_ = load_damsm(world / "damsm")

    def sentence(text: str) -> torch.Tensor:
        return damsm.encode_captions([vocabulary.encode(text, 8)]).sentence[0]

    pick = source.pick(0)
    index = pick.index.tolist()
    queries = torch.stack([sentence(items[i].captions[0]) for i in index])
    found, shares = source.sources(pick, queries)
    assert found.shape == shares.shape == (4, 1)
    assert torch.all(shares == 1)
    for row, (i, query) in enumerate(zip(index, queries, strict=True)):
        best = max(
            (j for j in range(len(items)) if items[j].class_id != items[i].class_id),
            key=lambda j: max(
                torch.cosine_similarity(query, sentence(c), dim=0).item() for c in items[j].captions
            ),
        )
        assert sentence(items[found[row, 0]].captions[0]).allclose(sentence(items[best].captions[0]))
        assert items[found[row, 0]].class_id != items[i].class_id


def test_a_swap_mixes_neighbours_as_retrieval_does(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "SWAP_NEIGHBOURS", 4)
    source = facing(data(world, train_settings(p_swap=0.8, swap_mix=3, batch_size=12)))
    pick, batch = source.pick(0), source.batch(0)
    sources, shares = source.sources(pick, batch.text.sentence)

    assert set((shares > 0).sum(1).tolist()) == {1, 2, 3}
    torch.testing.assert_close(shares.sum(1), torch.ones(12))
    for row, (places, weights) in enumerate(zip(sources, shares)):
        used = places[weights > 0].tolist()
        assert len(set(used)) == len(used)
        assert batch.is_target[row] == (used == [int(pick.index[row])])
        query = F.normalize(batch.text.sentence[row], dim=0)
        scores = torch.stack(
            [
                (source.keys[source.captions.of[i].start : source.captions.of[i].stop] @ query).max()
                for i in used
            ]
        )
        temperature = source.config.retrieval.temperature
        torch.testing.assert_close(weights[weights > 0], (scores / temperature).softmax(0))
        memory = sum(
            weight * source.features[source.rows[i]].float() * source.feature_scale[source.rows[i]]
            for i, weight in zip(used, weights[weights > 0])
        )
        torch.testing.assert_close(batch.v[row], memory)


def test_extra_pictures_always_get_neighbours(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures without features train G as an unseen caption meets it: v is the memory's."""
    write_world(tmp_path / "more", train=9, test=1, size=256)
    monkeypatch.setattr(training_data, "SWAP_NEIGHBOURS", 1)
    settings = train_settings(p_swap=0.0, batch_size=21)
    source = facing(data(world, settings, extra=[tmp_path / "more"]))
    assert (len(source), source.featured) == (21, 12)
    batch = source.batch(0)
    index = source._indices(0)
    assert torch.equal(batch.is_target, index < 12)
    own = data(world, settings)
    known = own.features[own.rows].float() * own.feature_scale[own.rows]
    gap = (batch.v[:, None] - known[None]).abs().amax((2, 3, 4))
    for place, i in enumerate(index.tolist()):
        nearest = int(gap[place].argmin())
        assert gap[place, nearest] == 0, "every v is one of the memory's"
        if i < 12:
            assert nearest == i
        else:
            assert source.class_ids is not None
            assert source.class_ids[nearest] != source.class_ids[i], "a stranger's"
    run(world, tmp_path / "run", extra=[tmp_path / "more"])
    facts = load_checkpoint(tmp_path / "run/checkpoint").facts
    assert facts["training_images"] == 21


def test_without_swap_features_are_the_images_own(world: Path) -> None:
    source = facing(data(world, train_settings(p_swap=0.0)))
    index = source._indices(0)
    expected = source.features[source.rows[index]].float() * source.feature_scale[source.rows[index]]
    assert torch.equal(source.batch(0).v, expected)


def test_pyramid_halves_by_area() -> None:
    images = torch.randn(2, 3, 8, 8)
    small, large = pyramid(images, 2)
    assert torch.equal(large, images)
    torch.testing.assert_close(small[0, 0, 0, 0], images[0, 0, :2, :2].mean())


def test_moving_average_holds_buffers(world: Path) -> None:
    source = data(world)
    damsm, *_ = load_damsm(world / "damsm")

    config = train_settings(ema=0.5)
    trainer = GanTrainer(config, Teachers(damsm), World())
    name = "first.norm.running_mean"
    expected = None
    for step in range(3):
        trainer.step(source.batch(step), step)
        value = trainer.generator.state_dict()[name].clone()
        d = min(0.5, (1 + step) / (10 + step))  # first pictures are not those of first weights
        expected = value if expected is None else d * expected + (1 - d) * value
    torch.testing.assert_close(trainer.ema.state_dict()[name], expected)


def test_a_run_may_start_from_another_with_other_settings(world: Path, begun: Path, tmp_path: Path) -> None:
    changed = dataclasses.replace(
        train_settings(steps=0), loss=dataclasses.replace(CONFIG.loss, damsm_weight=1.0)
    )
    run(world, tmp_path / "second", changed, start_from=begun)
    name = "checkpoint/generator.safetensors"
    assert (tmp_path / "second" / name).read_bytes() == (begun / name).read_bytes()
    third = dataclasses.replace(changed, train=dataclasses.replace(changed.train, steps=1))
    run(world, tmp_path / "third", third, start_from=tmp_path / "second")
    facts = load_checkpoint(tmp_path / "third/checkpoint").facts
    assert (facts["steps"], [part["steps"] for part in facts["earlier_runs"]]) == (1, [2, 0])
    with pytest.raises(CheckpointError, match="no such file"):
        run(world, tmp_path / "fifth", changed, start_from=tmp_path / "nowhere")


def test_a_run_may_start_from_a_checkpoints_generator(world: Path, begun: Path, tmp_path: Path) -> None:
    made = shutil.copytree(begun / "checkpoint", tmp_path / "made")
    run(world, tmp_path / "second", train_settings(steps=0), start_from=made)
    first, second = (
        load_checkpoint(folder).generator.state_dict() for folder in (made, tmp_path / "second/checkpoint")
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    facts = load_checkpoint(tmp_path / "second/checkpoint").facts
    assert [part["steps"] for part in facts["earlier_runs"]] == [2]
    wider = dataclasses.replace(
        train_settings(steps=1), generator=dataclasses.replace(CONFIG.generator, width=12)
    )
    with pytest.raises(CheckpointError, match="another shape"):
        run(world, tmp_path / "fourth", wider, start_from=made)
    (made / "generator.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="damaged"):
        run(world, tmp_path / "fifth", train_settings(steps=1), start_from=made)


def test_a_run_that_goes_on_sees_new_batches(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    batch = GanData.batch

    def watched(self: GanData, step: int, *rest: object) -> object:
        if step < 2**30:  # beyond lies the sample grid
            drawn.append(step)
        return batch(self, step, *rest)

    monkeypatch.setattr(GanData, "batch", watched)
    run(world, tmp_path / "first", train_settings(steps=2))
    run(world, tmp_path / "second", train_settings(steps=1), start_from=tmp_path / "first")
    run(world, tmp_path / "second", train_settings(steps=2), resume=True)
    run(world, tmp_path / "third", train_settings(steps=1), start_from=tmp_path / "second")
    assert drawn == [0, 1, 2, 3, 4]


def test_a_run_may_grow_what_the_earlier_one_lacked(world: Path, begun: Path, tmp_path: Path) -> None:
    grown = dataclasses.replace(
        train_settings(steps=0), generator=dataclasses.replace(CONFIG.generator, fuse_early=True)
    )
    run(world, tmp_path / "second", grown, start_from=begun)
    first, second = (
        load_checkpoint(folder / "checkpoint").generator.state_dict()
        for folder in (begun, tmp_path / "second")
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(name.startswith("early.acm") for name in second)
    with pytest.raises(CheckpointError, match="unknown"):
        run(world, tmp_path / "third", train_settings(steps=2), start_from=tmp_path / "second")


def test_a_projected_discriminator_trains_beside_the_others(
    world: Path, begun: Path, tmp_path: Path, squeezenet_file: Path
) -> None:
    projected = dataclasses.replace(CONFIG.discriminator, projected=True)
    config = dataclasses.replace(train_settings(steps=2), discriminator=projected)
    state = load_file(run(world, tmp_path / "run", config, squeezenet=squeezenet_file) / "state.safetensors")
    assert any(name.startswith("module/discriminators/1.heads") for name in state)
    assert not any("backbone" in name for name in state)
    name = "module/generator/to_rgb.0.weight"
    assert not torch.equal(state[name], load_file(begun / "state.safetensors")[name])


def test_a_faded_memory_is_weaker_and_not_reconstructed(world: Path) -> None:
    plain = data(world, train_settings(p_swap=0.0, batch_size=12))
    faded = data(world, train_settings(p_swap=0.0, batch_size=12, p_fade=0.5))
    one, other = plain.batch(0), faded.batch(0)
    ratio = other.v.flatten(1).norm(dim=1) / one.v.flatten(1).norm(dim=1)
    weak = ratio < 0.999
    assert 0 < int(weak.sum()) < 12
    assert torch.equal(other.is_target, ~weak)
    assert torch.equal(one.z, other.z), "other noise would make other experiments"
    torch.testing.assert_close(other.v, one.v * ratio[:, None, None, None])


def test_a_checkpoint_lends_its_encoders(world: Path, whole: Path, tmp_path: Path) -> None:
    """A new run can use the encoders of a finished one; others' names for them are refused."""
    made = shutil.copytree(whole / "checkpoint", tmp_path / "made")
    lent, own = load_damsm(made), load_damsm(world / "damsm")
    assert lent.damsm.hash() == own.damsm.hash() == lent.facts["hash"]
    assert lent.vocabulary.to_json() == own.vocabulary.to_json()
    settings, folders = train_settings(steps=0), (world / "data", world / "features", made)
    again = train_gan(*folders, tmp_path / "again", settings)
    assert load_checkpoint(again / "checkpoint").facts["damsm"] == lent.facts["hash"]
    told = json.loads((made / "config.json").read_text())
    told["facts"]["damsm"] = "0" * 16
    (made / "config.json").write_text(json.dumps(sealed(told)))
    with pytest.raises(CheckpointError, match="the DAMSM weights 0000"):
        load_damsm(made)
