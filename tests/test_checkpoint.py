"""A checkpoint loads as it was saved; damage, strangers and gaps are named."""

import codecs
import dataclasses
import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from memdriven.checkpoint import ATTRIBUTES, load_checkpoint, model_name, save_checkpoint
from memdriven.config import Config, DamsmConfig, GeneratorConfig, TextConfig
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.readers import (
    AttributeHead,
    Attributes,
    CaptionReader,
    load_attributes,
    save_attributes,
)
from memdriven.encoders.weights import read_weights
from memdriven.errors import CheckpointError, ConfigError, MemDrivenError
from memdriven.files import sealed
from memdriven.models.generator import Generator
from memdriven.pipeline.pipeline import MemoryDrivenPipeline

ROOT = Path(__file__).parents[1]

CONFIG = Config(
    text=TextConfig(embedding_dim=8, dim=8),
    damsm=DamsmConfig(pixel_backbone="vgg16"),
    generator=GeneratorConfig(
        stages=1, width=2, text_dim=8, z_dim=4, condition_dim=4, acm_width=4, feature_width=4
    ),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    vocabulary = Vocabulary(["red", "bird"])
    damsm = Damsm(len(vocabulary), CONFIG.text, CONFIG.damsm)
    save_checkpoint(tmp_path / "model", CONFIG, vocabulary, damsm, Generator(CONFIG.generator), {"steps": 3})
    return tmp_path / "model"


def test_round_trip(folder: Path) -> None:
    first, second = load_checkpoint(folder), load_checkpoint(folder)
    assert first.config == CONFIG
    assert first.facts == {"steps": 3}
    assert first.hash == second.hash
    assert first.name == "model"
    assert first.damsm.hash() == second.damsm.hash()
    assert not first.generator.training
    assert not any(p.requires_grad for p in first.generator.parameters())
    torch.manual_seed(0)
    Damsm(3, CONFIG.text, CONFIG.damsm)
    original = Generator(CONFIG.generator).state_dict()
    for name, value in first.generator.state_dict().items():
        torch.testing.assert_close(value, original[name], atol=1e-3, rtol=1e-3)


def test_a_model_is_called_after_its_run(tmp_path: Path) -> None:
    (tmp_path / "birds/photo-64/checkpoint").mkdir(parents=True)
    assert model_name(tmp_path / "birds") == "birds"
    assert model_name(tmp_path / "caf\udce9") == "caf?", "of a disk with names in Latin-1"
    assert model_name(tmp_path / "birds/photo-64/checkpoint") == "photo-64"
    (tmp_path / "birds/own.json").touch()
    assert model_name(tmp_path / "birds/photo-64/checkpoint") == "birds"


def test_hash_names_what_decides_the_pixels(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())

    def changed(section: str, name: str, value: object) -> str:
        settings = {**content["config"], section: {**content["config"][section], name: value}}
        (folder / "config.json").write_text(json.dumps(sealed({**content, "config": settings})))
        return load_checkpoint(folder).hash

    same = load_checkpoint(folder).hash
    assert changed("train", "seed", 5) == same
    assert changed("retrieval", "temperature", 0.2) != same
    assert changed("retrieval", "k", 2) != same


@pytest.mark.parametrize("name", ["generator.safetensors", "damsm.safetensors"])
def test_truncated_weights(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(folder)


def test_loading_leaves_the_callers_randomness_alone(folder: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_checkpoint(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_missing_parts(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        load_checkpoint(folder / "nowhere")
    (folder / "vocabulary.json").unlink()
    with pytest.raises(CheckpointError, match=r"vocabulary\.json"):
        load_checkpoint(folder)


def test_foreign_schema_and_settings(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    for change, error, message in (
        ({"schema": "other/9"}, CheckpointError, "other/9"),
        ({"files": {"../../etc/passwd": "0"}}, CheckpointError, "hashes"),
        ({"config": {"generator": {"depth": 3}}}, ConfigError, "depth"),
    ):
        (folder / "config.json").write_text(json.dumps(sealed({**content, **change})))
        with pytest.raises(error, match=message):
            load_checkpoint(folder)


def test_another_networks_weights(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    content["config"]["generator"]["width"] = 4
    (folder / "config.json").write_text(json.dumps(sealed(content)))
    with pytest.raises(CheckpointError, match="Generator"):
        load_checkpoint(folder)


def test_attributes_belong_to_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    bare = load_checkpoint(folder)
    assert bare.attributes is None
    values = {"crown": ("blue", "red")}
    torch.manual_seed(0)
    readers = Attributes(AttributeHead(4, values), CaptionReader(8, values))
    out = tmp_path / "reading"
    save_checkpoint(out, CONFIG, bare.vocabulary, bare.damsm, bare.generator, {}, readers)
    first = load_checkpoint(out)
    assert first.attributes is not None
    assert first.attributes.values == values
    assert not first.attributes.training
    assert first.hash != bare.hash, "they decide which memory is kept"
    (out / ATTRIBUTES).unlink()
    with pytest.raises(CheckpointError, match=ATTRIBUTES):
        load_checkpoint(out)
    save_attributes(out, readers, "0" * 16)
    with pytest.raises(CheckpointError, match="damaged or was exchanged"):
        load_checkpoint(out)
    with pytest.raises(CheckpointError, match="encoders 0000000000000000"):
        load_attributes(out, bare.damsm.hash())


def test_a_generator_is_told_by_the_reader_it_was_taught_by(fading_checkpoint: Path) -> None:
    made = load_checkpoint(fading_checkpoint)
    encoded = [made.vocabulary.encode("a small red bird", made.config.text.max_words)]
    with torch.no_grad():
        text, plain = made.encode_captions(encoded), made.damsm.encode_captions(encoded)
    assert plain.attributes is None
    assert text.attributes is not None
    assert text.attributes.shape == (1, made.config.generator.attribute_dim)
    assert torch.equal(text.condition[:, :32], plain.words_mean)


@pytest.mark.parametrize(("width", "readers"), [(8, True), (9, False)])
def test_another_reader_is_refused(
    fading_checkpoint: Path, tmp_path: Path, width: int, readers: bool
) -> None:
    made = load_checkpoint(fading_checkpoint)
    settings = dataclasses.replace(made.config.generator, attribute_dim=width)
    config = dataclasses.replace(made.config, generator=settings)
    save_checkpoint(
        tmp_path / "other",
        config,
        made.vocabulary,
        made.damsm,
        Generator(settings),
        {},
        made.attributes if readers else None,
    )
    with pytest.raises(CheckpointError, match="attribute_dim"):
        load_checkpoint(tmp_path / "other")


def test_a_flipped_byte_anywhere_is_found_or_changes_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Whatever byte of whatever file is struck: a clear error when the model opens, or the same model."""
    whole = opened(tiny_checkpoint)
    chance = random.Random(0)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    files = [path for path in sorted(copy.rglob("*")) if path.is_file() and path.suffix != ".md"]
    assert len(files) > 10
    for path in files:
        intact = path.read_bytes()
        content = bytearray(intact)
        place = chance.randrange(len(content))
        content[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(content))
        try:
            found = opened(copy)
        except MemDrivenError:
            found = whole
        assert found == whole, (path.name, place)
        path.write_bytes(intact)


def opened(folder: Path) -> tuple[object, ...]:
    """Return all that is loaded of a checkpoint and its memory, to be compared."""
    pipe = MemoryDrivenPipeline.from_pretrained(folder)
    weights = {
        name: value.numpy().tobytes() for name, value in pipe.checkpoint.generator.state_dict().items()
    }
    bank = pipe.bank
    keys = (bank.sentence_keys.numpy().tobytes(), bank.global_keys.numpy().tobytes())
    pictures = tuple(bank.thumbnail_bytes(row) for row in range(bank.n))
    items = tuple((bank.items[row].id, bank.items[row].captions) for row in range(bank.n))
    v = tuple(bank.v(row).numpy().tobytes() for row in range(bank.n))
    words = pipe.checkpoint.vocabulary.to_json()
    return weights, pipe.config, words, keys, pictures, items, v


def test_a_clone_with_other_line_endings_is_the_same_model(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As git makes one on Windows where no .gitattributes forbids it; ours does."""
    assert "* -text" in (ROOT / ".gitattributes").read_text("utf-8").splitlines()
    there = tmp_path / tiny_checkpoint.name
    shutil.copytree(tiny_checkpoint, there)
    written = [path for path in there.rglob("*") if path.suffix in (".json", ".txt", ".md")]
    assert {"config.json", "vocabulary.json", "bank.json", "features.json"} <= {path.name for path in written}
    for path in written:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    _is_the_same_model(tiny_checkpoint, there)


@pytest.mark.parametrize(("before", "after"), [(codecs.BOM_UTF8, b"\n"), (b"", b""), (b"", b"\n\n")])
def test_texts_that_an_editor_saved_again_are_the_same_model(
    tiny_checkpoint: Path, tmp_path: Path, before: bytes, after: bytes
) -> None:
    there = tmp_path / tiny_checkpoint.name
    shutil.copytree(tiny_checkpoint, there)
    for path in there.rglob("*"):
        if path.suffix in (".json", ".txt"):
            path.write_bytes(before + path.read_bytes().rstrip(b"\n") + after)
    _is_the_same_model(tiny_checkpoint, there)


def test_what_lies_in_a_files_place_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As after a clone without Git LFS, or a download that gave a web page."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"
    for number, (name, content, found) in enumerate(
        (
            ("generator.safetensors", pointer, "git lfs pull"),
            ("memory/keys.safetensors", pointer, "git lfs pull"),
            ("damsm.safetensors", b"<!DOCTYPE html><html>", "a web page"),
        )
    ):
        there = tmp_path / str(number)
        shutil.copytree(tiny_checkpoint, there)
        (there / name).write_bytes(content)
        with pytest.raises(MemDrivenError, match=found):
            MemoryDrivenPipeline.from_pretrained(there, "cpu")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        read_weights(there.parent / "0" / "generator.safetensors")


def test_a_folder_around_a_checkpoint_says_which_is_meant(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As where an archive was unpacked into a folder of its name, or all checkpoints are given."""
    shutil.copytree(tiny_checkpoint, tmp_path / "tiny/tiny")
    shutil.copytree(tiny_checkpoint, tmp_path / "runs/photo/checkpoint")
    for around, inner in (("tiny", "tiny/tiny"), ("runs", "runs/photo/checkpoint")):
        with pytest.raises(CheckpointError, match="a folder around") as caught:
            load_checkpoint(tmp_path / around)
        assert caught.value.fix == f"give {tmp_path / inner}"
    with pytest.raises(CheckpointError, match=r"found: a file; what to do: give the folder"):
        load_checkpoint(tiny_checkpoint / "config.json")


def _is_the_same_model(tiny_checkpoint: Path, there: Path) -> None:
    here, clone = (MemoryDrivenPipeline.from_pretrained(each, "cpu") for each in (tiny_checkpoint, there))
    assert (clone.checkpoint.hash, clone.bank_hash) == (here.checkpoint.hash, here.bank_hash)
    assert clone("a red bird", seed=3).images[0].tobytes() == here("a red bird", seed=3).images[0].tobytes()
