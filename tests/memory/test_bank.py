"""The bank gives back what went in, and refuses what is damaged, foreign or of other encoders."""

from __future__ import annotations

import json
import lzma
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from memdriven.checkpoint import bank_folder, load_checkpoint, save_checkpoint
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.errors import BankError, RetrievalError
from memdriven.files import atomic_write_json, sealed, sha256_file
from memdriven.memory import bank as layout
from memdriven.memory.bank import BorrowedBank, MemoryBank, quantise_keys, unit_keys
from memdriven.memory.features import FeatureStore
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui.state import has_memory
from tests.memory.conftest import World

CAPTION = "a small red bird with black wings"
ALL_FILES = [*MemoryBank.FILES, "features/features.bin", "features/offsets.npy", "features/ids.txt"]


@pytest.fixture
def copy(world: World, tmp_path: Path) -> Path:
    shutil.copytree(world.bank.path, tmp_path / "copy")
    return tmp_path / "copy"


def sign(folder: Path, **changes: object) -> None:
    """Make the header fit files that were changed, so that only their content can be at fault."""
    header = json.loads((folder / "bank.json").read_text()) | changes
    for file in header["files"]:
        path = folder / file
        header["files"][file] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    (folder / "bank.json").write_text(json.dumps(sealed(header)))


def test_items_features_and_rows(world: World) -> None:
    bank, store = world.bank, FeatureStore(world.features)
    train = [item for item in world.items if item.split == "train"]
    assert bank.n == len(bank.items) == 24
    assert bank.ids == [item.id for item in train]
    for index, item in enumerate(train):
        found = bank.items[index]
        assert (found.id, found.captions) == (item.id, item.captions)
        assert (found.class_name, found.attributes) == (item.class_name, dict(item.attributes))
        assert bank.index_of(item.id) == index
        v = bank.v(index)
        assert v.shape == (512, 4, 4)
        assert v.dtype == torch.float32
        assert np.array_equal(v.numpy(), store[store.index_of(item.id)])
        assert [bank.caption(row) for row in bank.caption_rows(index)] == list(item.captions)
        assert {int(bank.caption_item[row]) for row in bank.caption_rows(index)} == {index}


def test_keys_are_the_encoders_directions(world: World) -> None:
    bank, damsm = world.bank, world.damsm
    assert bank.encoder == damsm.hash()
    assert bank.sentence_keys.shape == (48, 16)
    assert bank.global_keys.shape == (24, 16)
    for row in range(48):
        encoded = world.vocabulary.encode(bank.caption(row), bank.max_words)
        sentence = damsm.encode_captions([encoded]).sentence[0]
        assert torch.cosine_similarity(sentence, bank.sentence_keys[row], dim=0) > 0.9998
    for index in range(24):
        key = damsm.heads(bank.v(index)[None]).global_[0]
        assert torch.cosine_similarity(key, bank.global_keys[index], dim=0) > 0.9998


def test_thumbnails_are_the_pictures(world: World) -> None:
    picture = world.bank.thumbnail(0)
    assert picture.size == (96, 96)
    assert picture.mode == "RGB"
    red, green, blue = picture.getpixel((20, 20))
    assert red > 150
    assert green < 90
    assert blue < 90


def test_the_encoders_are_checked_by_name(world: World) -> None:
    path, own = world.bank.path, world.damsm.hash()
    assert MemoryBank(path, expect_encoder=own, expect_vgg="0" * 16).n == 24
    with pytest.raises(BankError, match=f"(?s)feedbeef.*{own}"):
        MemoryBank(path, expect_encoder="feedbeef")
    with pytest.raises(BankError, match="feedbeef"):
        MemoryBank(path, expect_vgg="feedbeef")


@pytest.mark.parametrize("file", ["bank.json", *ALL_FILES])
def test_missing_and_truncated_files_are_refused(copy: Path, file: str) -> None:
    path = copy / file
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BankError, match=path.name):
        MemoryBank(copy)
    path.unlink()
    with pytest.raises(BankError, match=path.name):
        MemoryBank(copy)


@pytest.mark.parametrize("file", ALL_FILES)
def test_verify_finds_a_changed_byte(copy: Path, file: str) -> None:
    bank = MemoryBank(copy)
    bank.verify()
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(BankError, match="sha256"):
        bank.verify()


def test_no_bank_and_another_kind_of_folder(world: World, tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no such folder"):
        MemoryBank(tmp_path / "nowhere")
    with pytest.raises(BankError, match=r"bank\.json"):
        MemoryBank(world.features)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "memdriven.bank/2"},
        {"count": 23},
        {"captions": 47},
        {"count": None},
        {"items_bytes": 10},
        {"items_bytes": 10**6},
        {"encoder": "another"},
        {"files": None},
    ],
)
def test_foreign_headers_are_refused(copy: Path, changes: dict[str, object]) -> None:
    header = json.loads((copy / "bank.json").read_text()) | changes
    (copy / "bank.json").write_text(json.dumps(sealed(header)))
    with pytest.raises(BankError):
        MemoryBank(copy)


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        "null",
        "not json",
        '{"id": 3, "captions": ["a"], "class": "", "attributes": {}}',
        '{"id": "x", "captions": [], "class": "", "attributes": {}}',
        '{"id": "x", "captions": ["a"], "class": "", "attributes": {}}',
        "[" * 100_000,
    ],
)
def test_odd_item_tables_are_refused(copy: Path, line: str) -> None:
    table = f"{line}\n".encode()
    (copy / layout.ITEMS).write_bytes(lzma.compress(table))
    sign(copy, items_bytes=len(table))
    with pytest.raises(BankError):
        MemoryBank(copy)


def test_a_decompression_bomb_is_refused(copy: Path) -> None:
    (copy / layout.ITEMS).write_bytes(lzma.compress(bytes(20_000_000)))
    sign(copy)
    with pytest.raises(BankError, match="bytes of items"):
        MemoryBank(copy)


def test_keys_of_another_kind_are_refused(copy: Path) -> None:
    keys = load_file(copy / layout.KEYS)
    odd = [
        {"sentence": keys["sentence"]},
        {**keys, "global": keys["global"][:-1].clone()},
        {**keys, "global": keys["global"].float()},
        {"sentence": keys["sentence"][:, 0].clone(), "global": keys["global"][:, 0].clone()},
    ]
    for tensors in odd:
        save_file(tensors, copy / layout.KEYS)
        sign(copy)
        with pytest.raises(BankError):
            MemoryBank(copy)


def test_a_damaged_thumbnail_is_an_error_of_its_own(copy: Path) -> None:
    content = bytearray((copy / layout.THUMBNAILS).read_bytes())
    content[:12] = bytes(12)
    (copy / layout.THUMBNAILS).write_bytes(content)
    bank = MemoryBank(copy)
    with pytest.raises(BankError, match="thumbnail 0"):
        bank.thumbnail(0)
    assert bank.thumbnail(1).size == (96, 96)


def test_rows_and_ids_that_the_bank_lacks(world: World) -> None:
    with pytest.raises(RetrievalError, match="'nobody'"):
        world.bank.index_of("nobody")


def test_threads_read_what_one_thread_reads(world: World) -> None:
    wanted = [world.bank.v(index) for index in range(24)]
    pixels = [world.bank.thumbnail(index).tobytes() for index in range(24)]

    def same(turn: int) -> bool:
        index = turn * 7 % 24
        return (
            torch.equal(world.bank.v(index), wanted[index])
            and world.bank.thumbnail(index).tobytes() == pixels[index]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, range(200)))


def test_a_checkpoint_without_bank_names_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(BankError, match=r"build-memory --checkpoint \S*cub "):
        MemoryBank(tmp_path / "cub" / "memory")


def test_directions_survive() -> None:
    keys = torch.randn(200, 256, generator=torch.Generator().manual_seed(0)) * 7
    back = unit_keys(quantise_keys(keys))
    assert torch.allclose(back.norm(dim=1), torch.ones(200), atol=1e-6)
    assert float(torch.cosine_similarity(keys, back).min()) > 0.9998
    unit = keys / keys.norm(dim=1, keepdim=True)
    assert float((unit @ unit.T - back @ back.T).abs().max()) < 0.004


def test_a_zero_row_stays_zero() -> None:
    assert unit_keys(quantise_keys(torch.zeros(1, 4))).tolist() == [[0.0] * 4]


# ---- Another model's bank ----


@pytest.fixture(scope="module")
def stranger(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint without a bank, of other encoders, whose vocabulary lacks "wings" and "beak"."""
    folder = tmp_path_factory.mktemp("models") / "stranger"
    made = load_checkpoint(tiny_checkpoint)
    words = [word for word in made.vocabulary.words if word not in ("wings", "beak")]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        damsm = Damsm(len(words) + 1, made.config.text, made.config.damsm).eval()
    with torch.no_grad():
        damsm.text.embedding.weight.mul_(30)
    save_checkpoint(folder, made.config, Vocabulary(words), damsm, made.generator, {"steps": 1})
    return folder


def test_keys_are_of_its_own_encoders_and_all_else_is_shared(stranger: Path, tiny_checkpoint: Path) -> None:
    pipe = MemoryDrivenPipeline.from_pretrained(stranger, "cpu", memory=tiny_checkpoint / "memory")
    other = MemoryDrivenPipeline.from_pretrained(tiny_checkpoint, "cpu")
    assert isinstance(pipe.bank, BorrowedBank)
    assert pipe.bank.ids == other.bank.ids
    assert pipe.bank_hash == other.bank_hash
    assert torch.equal(pipe.bank.v(3), other.bank.v(3))
    damsm, vocabulary = pipe.checkpoint.damsm, pipe.vocabulary
    row = next(iter(other.bank.caption_rows(0)))
    assert other.bank.caption(row) == CAPTION
    with torch.no_grad():
        text = damsm.encode_captions([vocabulary.encode("a small red bird with black", 24)])
        image = damsm.heads(other.bank.v(5)[None]).global_
    assert float(torch.cosine_similarity(pipe.bank.sentence_keys[row], text.sentence[0], dim=0)) > 0.9998
    assert float(torch.cosine_similarity(pipe.bank.global_keys[5], image[0].float(), dim=0)) > 0.9998
    assert pipe.bank.encoder == damsm.hash() != other.bank.encoder


def test_its_keys_are_made_once(
    stranger: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_checkpoint / "memory", tmp_path / "memory")
    first = MemoryDrivenPipeline.from_pretrained(stranger, "cpu", memory=tmp_path / "memory").bank
    (kept,) = (tmp_path / "memory.index").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(Damsm, "sentences", None)
        again = MemoryDrivenPipeline.from_pretrained(stranger, "cpu", memory=tmp_path / "memory").bank
    assert torch.equal(again.sentence_keys, first.sentence_keys)
    assert torch.equal(again.global_keys, first.global_keys)
    kept.write_bytes(kept.read_bytes()[:-9])
    mended = MemoryDrivenPipeline.from_pretrained(stranger, "cpu", memory=tmp_path / "memory").bank
    assert torch.equal(mended.sentence_keys, first.sentence_keys)


def test_captions_of_unknown_words_do_no_harm(stranger: Path, tiny_checkpoint: Path) -> None:
    pipe = MemoryDrivenPipeline.from_pretrained(stranger, "cpu", memory=tiny_checkpoint)
    assert isinstance(pipe.bank, BorrowedBank)
    few = Vocabulary(["a", "the"])
    for row in range(8):
        assert pipe.bank.encoded(row, few).words in (["a"], ["the"], ["a", "a"])


def test_its_pictures_come_back_from_their_recipes(stranger: Path, tiny_checkpoint: Path) -> None:
    pipe = MemoryDrivenPipeline.from_pretrained(stranger, "cpu", memory=tiny_checkpoint / "memory")
    output = pipe(CAPTION, k=2, seed=4)
    assert len(output.neighbours) == 2
    assert pipe.from_recipe(output.recipe).images[0].tobytes() == output.images[0].tobytes()
    for strategy in ("words-image", "sentence-both", "all"):
        assert len(pipe.retrieve(CAPTION, strategy, 3)) == 3


def test_a_checkpoint_names_the_bank_that_it_opens_with(
    stranger: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "stranger"
    shutil.copytree(stranger, folder)
    assert not has_memory(folder)
    with pytest.raises(BankError):
        MemoryDrivenPipeline.from_pretrained(folder, "cpu")
    content = json.loads((folder / "config.json").read_text())
    before = load_checkpoint(folder).hash
    atomic_write_json(folder / "config.json", sealed({**content, "memory": "../other/memory"}))
    assert load_checkpoint(folder).hash == before
    (tmp_path / "other").mkdir()
    shutil.copytree(tiny_checkpoint / "memory", tmp_path / "other/memory")
    assert has_memory(folder)
    pipe = MemoryDrivenPipeline.from_pretrained(folder, "cpu")
    assert isinstance(pipe.bank, BorrowedBank)
    (folder / "memory").mkdir()
    assert bank_folder(folder) == folder / "memory", "its own goes before another's"


def test_features_of_another_network_are_refused(
    stranger: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "stranger"
    shutil.copytree(stranger, folder)
    content = json.loads((folder / "config.json").read_text())
    content["facts"]["vgg"] = "f" * 16
    atomic_write_json(folder / "config.json", sealed(content))
    with pytest.raises(BankError, match="image encoder"):
        MemoryDrivenPipeline.from_pretrained(folder, "cpu", memory=tiny_checkpoint / "memory")
