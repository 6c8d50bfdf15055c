"""Your own pictures in one command: its steps, and a memory for a model that stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from memdriven.cli import own
from memdriven.cli.own import memorise_own, train_own
from memdriven.data.folder import prepare_folder
from memdriven.encoders.imagenet import EXACT, Vgg16Features
from memdriven.errors import CheckpointError, DataError
from memdriven.memory.build import extract_features
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.training.captions import split_items


class FakeVgg(nn.Module):
    """Colours in a grid, in the shape of relu5_3."""

    hash, coarse = "f" * 16, False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("nothing", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        small = torch.nn.functional.adaptive_avg_pool2d(images, 16)
        return small.repeat(1, 171, 1, 1)[:, :512]


@pytest.fixture
def drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Vgg16Features, "load", staticmethod(lambda *_: FakeVgg()))
    folder = tmp_path / "drawings"
    folder.mkdir()
    for name, colour in (("red bird", "red"), ("ghost", "white"), ("0001", "blue"), ("ghost 2", "grey")):
        Image.new("RGB", (60, 40), colour).save(folder / f"{name}.png")
    return folder


def test_a_model_gets_a_memory_of_pictures_with_captions_and_without(
    drawings: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in tiny_checkpoint.rglob("*") if path.is_file()}
    made = memorise_own(drawings, out=tmp_path / "out", checkpoint=tiny_checkpoint, open=False)
    told = capsys.readouterr().out
    assert "3 of 4 pictures have no word that tiny knows" in told
    assert told.endswith(f"to open it: python app.py --checkpoint {made}\n")
    assert {path: path.read_bytes() for path in before} == before
    assert not (made / "examples.json").exists()
    with Image.open(tmp_path / "out/sheet.png") as sheet_file:
        assert sheet_file.size == (3 * 136 + 8, 4 * 136 + 8)
        assert np.asarray(sheet_file).std() > 1
    pipe = MemoryDrivenPipeline.from_pretrained(made)
    assert pipe.config.retrieval.strategy == "sentence-both"
    assert sorted(pipe.bank.ids) == ["0001", "ghost", "ghost-2", "red-bird"]
    found = pipe.retrieve("a red bird", "sentence-sentence", 4).neighbours
    captions = {one.id: one.caption for one in found}
    assert captions == {"red-bird": "red bird", "ghost": "a ghost", "ghost-2": "a ghost", "0001": "a picture"}
    assert {one.caption for one in pipe.retrieve("a red bird", "sentence-image", 4).neighbours} >= {"a ghost"}

    # Once more, now of pictures that no word is known of.
    (drawings / "red bird.png").rename(drawings / "IMG_0002.png")
    memorise_own(drawings, out=tmp_path / "out", checkpoint=tiny_checkpoint, open=False)
    pipe = MemoryDrivenPipeline.from_pretrained(made)
    asked = pipe.retrieve("a red bird", k=4)
    assert asked.strategy == "sentence-image"
    assert len({one.score for one in asked.neighbours}) == 4


def test_a_memory_is_read_with_nothing_but_the_package(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(Vgg16Features.VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("a red bird", "a blue bird"):
        Image.effect_noise((60, 40), 50).convert("RGB").save(folder / f"{name}.png")
    made = memorise_own(folder, out=tmp_path / "out", checkpoint=tiny_checkpoint, open=False)
    assert "read by VGG-16 with the weights of the package" in capsys.readouterr().out
    bank = MemoryDrivenPipeline.from_pretrained(made).bank
    assert bank.header["encoder"] == EXACT
    assert "read by the package's VGG-16" in bank.summary()


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_too_few_pictures_are_told_what_else_can_be_done(
    drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="own-memory"):
        train_own(drawings, out=tmp_path / "out")
    for number in range(4):
        Image.new("RGB", (60, 40), (60 * number, 90, 20)).save(drawings / f"bird {number}.png")
    monkeypatch.setattr(own.SqueezeNet, "load", stop)
    dotted = drawings.rename(tmp_path / "drawings.2")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):  # eight are enough, though one of them is held out
        train_own(dotted)
    assert (tmp_path / "runs/drawings.2/data").is_dir()
    with pytest.raises(DataError, match="no such folder"):
        train_own(tmp_path / "none", out=tmp_path / "out")
    for minutes in (0.0, float("nan"), float("inf")):
        with pytest.raises(DataError, match=r"minutes: a number in 1\.\.100000"):
            train_own(dotted, out=tmp_path / "out", minutes=minutes)


def test_weights_that_a_later_step_lacks_are_told_before_the_first(
    drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(16):
        Image.new("RGB", (60, 40), (16 * number, 90, 20)).save(drawings / f"bird {number}.png")
        (drawings / f"bird {number}.txt").write_text(f"a bird of colour {number}")
    with pytest.raises(CheckpointError, match="SqueezeNet"):
        train_own(drawings, out=tmp_path / "out", minutes=1, squeezenet=tmp_path / "none")
    monkeypatch.setattr(own.SqueezeNet, "load", lambda *_: None)
    with pytest.raises(CheckpointError, match="a checkpoint folder at"):
        train_own(drawings, out=tmp_path / "out", minutes=1, start_from=tmp_path / "none")
    assert not (tmp_path / "out" / "features").exists()


def test_a_run_of_other_pictures_or_minutes_is_not_gone_on_with(
    drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "_tell_how_many", lambda count: None)
    monkeypatch.setattr(own.SqueezeNet, "load", stop)
    monkeypatch.chdir(tmp_path)
    for folder in (drawings, Path(drawings.name)):  # the same one
        with pytest.raises(KeyboardInterrupt):
            train_own(folder, out=tmp_path / "run", minutes=20)
    with pytest.raises(DataError, match="same pictures and minutes"):
        train_own(drawings, out=tmp_path / "run", minutes=30)
    picture = min(drawings.glob("*.png"))
    before = picture.read_bytes()
    picture.write_bytes(before[:-1] + b"x")  # as long as it was
    with pytest.raises(DataError, match="same pictures and minutes"):
        train_own(drawings, out=tmp_path / "run", minutes=20)
    picture.write_bytes(before)
    Image.new("RGB", (9, 9)).save(drawings / "more.png")
    with pytest.raises(DataError, match="same pictures and minutes"):
        train_own(drawings, out=tmp_path / "run", minutes=20)


def test_a_folder_whose_name_is_no_utf_8_has_a_run_that_weights_can_be_read_from(tmp_path: Path) -> None:
    assert own._name_of(tmp_path / "caf\udce9 1.5") == "caf? 1.5"


@pytest.mark.parametrize(("minutes", "phases"), [(10.0, 2), (39.0, 2), (40.0, 3), (120.0, 3)])
def test_the_minutes_are_shared_out(minutes: float, phases: int) -> None:
    budgets = own.share_out(minutes)
    assert sum(budgets.values()) == pytest.approx(minutes)
    assert len(budgets) == 1 + phases
    for name in [*budgets][1:]:
        assert own.settings_of(name, budgets[name]).train.max_minutes == budgets[name]


def test_encoders_train_on_a_set_that_holds_nothing_out(drawings: Path, tmp_path: Path) -> None:
    data = prepare_folder(
        drawings, tmp_path / "data", image_size=64, test_fraction=0.0, captions_from_names=True
    )
    store = extract_features(data.path, tmp_path / "features", device="cpu")
    split = split_items(data, store)
    assert [len(part) for part in split] == [4, 0, 0]
