"""The memory bank on disk: each item's features v, captions, search keys and thumbnail (Sec. 3.1).

    bank.json            schema, hashes of the encoders, counts, size and SHA-256 of each file
    items.jsonl.xz       id, captions, class and attributes, one item a line
    keys.safetensors     int8 directions: `sentence` (m, d) of the captions, `global` (n, d)
    thumbnails.bin, .npy WebP pictures end to end, and the n + 1 byte positions
    features/            a feature store: v of each item

Keys and captions lie in RAM, v and thumbnails are read one item at a time. Word embeddings and
image regions are not stored: retrieval computes them for the few items it re-ranks.
"""

import contextlib
import io
import itertools
import json
import lzma
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from tqdm import trange

from memdriven.data.vocabulary import EncodedCaption, Vocabulary, tokenize
from memdriven.encoders.damsm import Damsm
from memdriven.errors import BankError, DataError, RetrievalError, explained, require
from memdriven.files import atomic_write_bytes
from memdriven.memory.features import AGAIN, FeatureStore, Parts, SealedFolder
from memdriven.numbers import counted, shown

HEADER = "bank.json"
MEMORY = "memory"
"""The folder of a checkpoint's own bank, beside its networks."""
ITEMS, KEYS = "items.jsonl.xz", "keys.safetensors"
THUMBNAILS, POSITIONS = "thumbnails.bin", "thumbnails.npy"
FEATURES = "features"
MAX_ITEMS_BYTES = 1 << 31
"""The item table never unpacks to more."""
CAPTION_BATCH, CAPTION_SHARD, IMAGE_BATCH = 512, 8192, 16
LEVELS = 127
"""Largest number of a key: int8 directions find the same neighbours as float16, in half the bytes [ours]."""


@dataclass(frozen=True)
class BankItem:
    """What a bank knows of one image, besides its pixels and features."""

    id: str
    captions: tuple[str, ...]
    class_name: str
    attributes: Mapping[str, Any]


class MemoryBank(SealedFolder):
    """Read access to a bank; threads, e.g. of a web server, may share it."""

    NAME = HEADER
    SCHEMA = "memdriven.bank/1"
    FILES = (ITEMS, KEYS, THUMBNAILS, POSITIONS, f"{FEATURES}/{FeatureStore.NAME}")
    BUILD = (
        "build it from your data: python -m memdriven build-memory --checkpoint {} --dataset DATA --features "
        "FEATURES, after prepare and extract-features (README), or check the path"
    )

    def __init__(
        self, path: Path | str, expect_encoder: str | None = None, expect_vgg: str | None = None
    ) -> None:
        """Open a bank, checking schema, sizes, counts and encoders, not every byte (`verify`).

        Those of the encoders and of the image network whose hashes are given; None accepts any. A BankError
        says that the bank is missing, foreign, truncated, or made by others.
        """
        super().__init__(path)
        path = self.path
        self.made_with("DAMSM encoders", "damsm", expect_encoder)
        self.made_with("image encoder", "encoder", expect_vgg)
        self.encoder = str(self.header.get("damsm"))
        """Hash of the DAMSM encoders that made the keys."""
        self.max_words = self.count("max_words")
        """Words at which captions were cut before they were encoded."""
        self.keys_name = str(self.recorded(KEYS, "sha256"))[:12]
        """Letters that name the content of both keys."""
        self.n, m = self.count("count"), self.count("captions")
        self.features = FeatureStore(path / FEATURES, self.header.get("encoder"))
        self.items = _read_items(path / ITEMS, self.count("items_bytes"))
        self.ids = [item.id for item in self.items]
        self._rows = {id_: row for row, id_ in enumerate(self.ids)}
        counts = [len(item.captions) for item in self.items]
        self._first_caption = [0, *itertools.accumulate(counts)]
        self.caption_item = torch.arange(len(self.items)).repeat_interleave(torch.tensor(counts))  # (m,)
        require(
            self.ids == self.features.ids and len(self.items) == self.n and sum(counts) == m,
            BankError,
            f"{counted(self.n, 'item')} with {counted(m, 'caption')} and their features in {path}",
            f"{counted(len(counts), 'item')}, {sum(counts)} captions, {len(self.features)} features, others",
            AGAIN,
        )
        self.sentence_keys, self.global_keys = _read_keys(path / KEYS, m, self.n)  # (m, d), (n, d)
        self._thumbnails = Parts(path / THUMBNAILS, path / POSITIONS, self.n)

    def verify(self) -> None:
        """Check every byte of the bank and of its features (`SealedFolder.verify`)."""
        super().verify()
        self.features.verify()

    def summary(self) -> str:
        """Return what there is and where, for people."""
        read = ", read by the package's VGG-16" if self.features.header.get("coarse") else ""
        return f"memory bank of {counted(self.n, 'image')} in {self.path}{read}"

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._rows

    def index_of(self, item_id: str) -> int:
        """Return the row of an id; a RetrievalError says that the bank does not hold it."""
        wanted, fix = "the id of an item in the memory bank", f"use an id such as {self.ids[0]!r}"
        require(item_id in self._rows, RetrievalError, wanted, shown(item_id), fix)
        return self._rows[item_id]

    def v(self, index: int) -> Tensor:
        """Return image features (c, h, w), float32, decompressed from disk now."""
        return torch.from_numpy(self.features[index])

    def thumbnail_bytes(self, index: int) -> bytes:
        """Return the item's picture as the WebP file that the bank keeps."""
        return self._thumbnails[index]

    def thumbnail(self, index: int) -> Image.Image:
        """Return the item's picture, as VGG saw it but smaller."""
        wanted, bomb = f"thumbnail {index} of {self.path}", Image.DecompressionBombError
        with explained(BankError, wanted, AGAIN, OSError, ValueError, bomb):
            picture = Image.open(io.BytesIO(self.thumbnail_bytes(index)), formats=["WEBP"]).convert("RGB")
        return picture

    def caption_rows(self, index: int) -> range:
        """Return the rows of an item's captions in `sentence_keys`."""
        return range(*self._first_caption[index : index + 2])

    def caption(self, row: int) -> str:
        """Return the caption behind a row of `sentence_keys`."""
        item = int(self.caption_item[row])
        return self.items[item].captions[row - self._first_caption[item]]

    def encoded(self, row: int, vocabulary: Vocabulary) -> EncodedCaption:
        """Return the caption behind a row of `sentence_keys` as the encoders of the keys read it."""
        return vocabulary.encode(self.caption(row), self.max_words)


class BorrowedBank(MemoryBank):
    """Another model's bank, searched by one's own encoders [ours].

    v comes from a network that all models share (VGG-16's relu5_3), so a model without a bank can paint
    from another's: features, pictures and captions are read where they lie, and only the keys are made
    anew, once; they stay in the bank's index folder, where that can be written.
    """

    def __init__(self, bank: MemoryBank, damsm: Damsm, vocabulary: Vocabulary) -> None:
        """Make keys of an open bank's captions and features, by the encoders that will search it."""
        self.__dict__.update(bank.__dict__)
        self.encoder, m = damsm.hash(), len(bank.caption_item)
        self.keys_name += f"_{self.encoder}"
        path = index_folder(bank) / f"keys_{self.keys_name}.safetensors"
        try:
            self.sentence_keys, self.global_keys = _read_keys(path, m, bank.n)
        except BankError:  # there are none yet, or damaged ones
            captions = [self.encoded(row, vocabulary) for row in range(m)]
            keys = make_keys(damsm, captions, bank.v, bank.n)
            self.sentence_keys, self.global_keys = map(unit_keys, keys.values())
            with contextlib.suppress(DataError):  # a folder that refuses writing: made again next time
                atomic_write_bytes(path, save(keys))

    def encoded(self, row: int, vocabulary: Vocabulary) -> EncodedCaption:
        """Return a caption without the words that a vocabulary lacks, but for their synonyms.

        What looks like a typo is left out, too: a word of another vocabulary ("dusk") is no misspelling of
        this one's ("duck"). Where nothing is left it is read as the vocabulary's first word.
        """
        caption = self.caption(row)
        skipped = {each.word for each in vocabulary.unknown(caption) if each.reason != "synonym"}
        words = [word for word in tokenize(caption) if word not in skipped]
        return vocabulary.encode(" ".join(words) or vocabulary.words[0], self.max_words)


class StoredWords:
    """Words of stored captions and regions of stored images, computed when they are needed.

    A bank would be many times larger with them inside; what was used last is kept.
    """

    def __init__(
        self, bank: MemoryBank, damsm: Damsm, vocabulary: Vocabulary, captions: int = 8192, images: int = 1024
    ) -> None:
        """Keep so many captions (6 kB each: float16 of 12 x 256) and images (33 kB each: of 64 x 256)."""

        def encode(rows: Sequence[int]) -> Iterable[Tensor]:
            text = damsm.encode_captions([bank.encoded(row, vocabulary) for row in rows])
            lengths = text.mask.sum(dim=1).tolist()
            return [words[:length] for words, length in zip(text.words, lengths, strict=True)]  # (l, d)

        def project(items: Sequence[int]) -> Iterable[Tensor]:
            regions: Tensor = damsm.heads(torch.stack([*map(bank.v, items)]).to(damsm.device)).regions
            return regions  # (b, r, d)

        self.damsm = damsm
        self._words = LruCache(captions, CAPTION_BATCH, encode)
        self._regions = LruCache(images, IMAGE_BATCH, project)

    def words(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Return word embeddings (m, l, d) of captions and the mask (m, l) of real words."""
        found = self._words.fetch(rows)
        mask = pad_sequence([torch.ones(len(e), dtype=torch.bool) for e in found], True)
        return pad_sequence(found, True).to(self.damsm.device).float(), mask.to(self.damsm.device)

    def regions(self, items: list[int]) -> Tensor:
        """Return region embeddings (c, r, d) of images."""
        return torch.stack(self._regions.fetch(items)).to(self.damsm.device).float()


class LruCache:
    """Tensors, as float16 on the CPU, by whole-number key; of more than `size` the longest unused go.

    Safe to share between threads; two that miss the same key at once both compute it.
    """

    def __init__(self, size: int, batch: int, make: Callable[[Sequence[int]], Iterable[Tensor]]) -> None:
        self.size, self.batch, self.make = size, batch, make
        self.held: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def fetch(self, keys: Sequence[int]) -> list[Tensor]:
        """Return the tensor of each key, making those that are missing, each once."""
        with self._lock:
            found = {key: self.held[key] for key in keys if key in self.held}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        for start in range(0, len(missing), self.batch):
            part = missing[start : start + self.batch]
            made = (tensor.half().cpu().clone() for tensor in self.make(part))  # no view of the whole batch
            found |= zip(part, made, strict=True)
        with self._lock:
            for key, tensor in found.items():
                self.held[key] = tensor
                self.held.move_to_end(key)
            while len(self.held) > self.size:
                self.held.popitem(last=False)
        return [found[key] for key in keys]


def index_folder(bank: MemoryBank) -> Path:
    """Return the folder beside a bank for what makes its keys faster to search."""
    return bank.path.with_name(f"{bank.path.name}.index")


@torch.no_grad()
def make_keys(
    damsm: Damsm, captions: Sequence[EncodedCaption], v: Callable[[int], Tensor], n: int
) -> dict[str, Tensor]:
    """Return int8 keys by some encoders: of captions (m, d), of n images with features v(row) (n, d)."""
    images, sentences = list[Tensor](), list[Tensor]()
    for start in trange(0, n, IMAGE_BATCH, desc="images"):
        batch = torch.stack([*map(v, range(n)[start : start + IMAGE_BATCH])]).to(damsm.device)
        images.append(quantise_keys(damsm.heads(batch).global_))
    for start in trange(0, len(captions), CAPTION_SHARD, desc="captions"):
        sentences.append(quantise_keys(damsm.sentences(captions[start : start + CAPTION_SHARD])))
    return {"sentence": torch.cat(sentences), "global": torch.cat(images)}


def quantise_keys(keys: Tensor) -> Tensor:
    """Return int8 rows (n, d) that point where keys (n, d) point; a zero row stays zero."""
    rows = keys.detach().float().cpu()
    largest = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return (rows / largest * LEVELS).round().to(torch.int8)


def unit_keys(levels: Tensor) -> Tensor:
    """Return float32 rows of length 1 from int8 rows (n, d); every score is a cosine."""
    return F.normalize(levels.float(), dim=1)


def _read_keys(path: Path, captions: int, items: int) -> tuple[Tensor, Tensor]:
    """Return unit float32 keys of the captions (m, d) and of the images (n, d)."""
    with explained(BankError, f"keys in {path}", AGAIN, SafetensorError, KeyError, OSError):
        keys = load_file(path)
        both = keys["sentence"], keys["global"]
    found, dim = [(*each.shape, each.dtype) for each in both], both[0].shape[-1]
    wanted = f"int8 keys ({captions}, d) and ({items}, d) in {path}"
    good = found == [(captions, dim, torch.int8), (items, dim, torch.int8)]
    require(good, BankError, wanted, found, AGAIN)
    return unit_keys(both[0]), unit_keys(both[1])


def write_items(path: Path, items: Iterable[BankItem]) -> int:
    """Write the item table, compressed; return its size before."""
    rows = (
        {"id": i.id, "captions": i.captions, "class": i.class_name, "attributes": dict(i.attributes)}
        for i in items
    )
    table = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows).encode()
    path.write_bytes(lzma.compress(table, preset=6))
    return len(table)


def _read_items(path: Path, size: int) -> list[BankItem]:
    size = min(size, MAX_ITEMS_BYTES)
    damaged = lzma.LZMAError, EOFError, ValueError, TypeError, RecursionError
    with explained(BankError, f"{size} bytes of items in {path}", AGAIN, *damaged):
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        table = stream.decompress(path.read_bytes(), max_length=size + 1)
        if len(table) != size or not stream.eof:
            raise ValueError(f"{len(table)} bytes")
        items = [_item(**json.loads(line)) for line in table.split(b"\n")[:-1]]
    return items


def _item(id: str, captions: list[str], attributes: dict[str, Any], **rest: str) -> BankItem:
    texts = (id, *rest.values(), *captions)
    good = (
        isinstance(captions, list) and captions and rest.keys() == {"class"} and isinstance(attributes, dict)
    )
    if not good or not all(isinstance(each, str) for each in texts):
        raise ValueError(f"an odd item {id!r}"[:80])
    return BankItem(id, tuple(captions), rest["class"], attributes)
