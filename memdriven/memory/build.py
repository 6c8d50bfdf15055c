"""Making a memory: images become features v (`extract_features`), v and captions a bank (`build_memory`).

Both put what they made on disk a shard at a time and go on where they were killed; what they make
appears whole or not at all, and equal inputs give equal bytes (on one machine).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor
from tqdm import tqdm

from memdriven.config import FEATURE_CHANNELS, TextConfig
from memdriven.data.images import centre_square
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.data.vocabulary import EncodedCaption, Vocabulary, what_is_not_read
from memdriven.encoders.damsm import Damsm
from memdriven.errors import BankError, CaptionError, DataError, MemDrivenError, require
from memdriven.files import (
    atomic_folder,
    atomic_write_bytes,
    atomic_write_json,
    explain_disk_errors,
    held,
    read_json,
)
from memdriven.memory import bank as layout
from memdriven.memory.bank import IMAGE_BATCH, BankItem, MemoryBank, quantise_keys, write_items
from memdriven.memory.features import COSINE, FeatureStore, Parts, encode_v, write_store
from memdriven.numbers import counted, shown

if TYPE_CHECKING:
    from memdriven.encoders.vgg import Vgg16Features

T = TypeVar("T")
FEATURE_SHARD, CAPTION_SHARD, IMAGE_SHARD = 128, 4096, 512
"""Items, or captions, between two writes."""
THUMBNAIL, THUMBNAIL_QUALITY = 96, 75
"""Side in px, and WebP's quality."""


class Shards:
    """Blobs of a long computation, kept in shards so that a killed run goes on where it was.

    A folder `<out>.partial` of numbered shards beside a plan that says what they are for: those left by a
    run with another plan are thrown away.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size, self.count = folder, size, 0

    @classmethod
    @contextlib.contextmanager
    def of(cls, out: Path, plan: dict[str, Any], size: int) -> Iterator[Self]:
        """Open, or begin, the shards of `out`, `size` blobs each; `plan` holds all that the blobs depend on.

        Until the block ends no other process works there: it is refused with a DataError. Ended well, the
        folder is deleted: the blobs lie elsewhere by then.
        """
        shards, plan, found = cls(out.with_name(f"{out.name}.partial"), size), {**plan, "shard": size}, None
        with held(shards.folder, f"work on {out.name}"):
            with contextlib.suppress(MemDrivenError):
                found = read_json(shards.folder / "plan.json", DataError)
            if found != plan:
                for old in shards.folder.iterdir():
                    old.unlink()
                atomic_write_json(shards.folder / "plan.json", plan)
            yield shards
            shutil.rmtree(shards.folder, ignore_errors=True)

    def fill(
        self, items: Sequence[T], make: Callable[[Sequence[T]], Iterable[Callable[[], bytes]]], bar: tqdm[Any]
    ) -> None:
        """Make the shards that are missing.

        Args:
            items: one a blob.
            make: from a shard's items to calls that return their blobs, in order; all calls come before
                the first is made, so that threads can work on them.
            bar: what to advance.
        """
        for start in range(0, len(items), self.size):
            part, path = items[start : start + self.size], self._path(self.count)
            if self._done(path) == len(part):
                bar.update(len(part))
            else:
                calls = []
                for call in make(part):
                    calls.append(call)
                    bar.update()
                blobs = [call() for call in calls]
                sizes = np.asarray([len(blob) for blob in blobs], np.int64)
                content = np.frombuffer(b"".join(blobs), np.uint8)
                atomic_write_bytes(path, save({"sizes": sizes, "bytes": content}))
            self.count += 1

    def blobs(self) -> Iterator[bytes]:
        """Yield all blobs in order, one shard in memory at a time."""
        for number in range(self.count):
            tensors = load_file(self._path(number))
            content, start = tensors["bytes"].tobytes(), 0
            for size in tensors["sizes"].tolist():
                yield content[start : start + size]
                start += size

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.safetensors"

    @staticmethod
    def _done(path: Path) -> int:
        """Return how many blobs a shard holds; 0 when it is absent or damaged."""
        try:
            return len(load_file(path)["sizes"])
        except (FileNotFoundError, SafetensorError, KeyError):
            return 0


# ---- Features ------------------------------------------------------------------------------------


def extract_features(
    dataset: PreparedDataset,
    items: Sequence[Item],
    vgg: Vgg16Features,
    out: Path | str,
    *,
    batch: int = 8,
    size: int = 256,
    progress: bool = True,
) -> FeatureStore:
    """Run VGG over the centre squares of items and write their v as a store.

    Threads decode images and compress features, while this one keeps the network busy on its own
    device. A finished store of equal arguments is opened as it is.

    Args:
        dataset: where the images lie.
        items: whose v to store, in this order.
        vgg: network from images (b, 3, h, w) in [0, 1] to v (b, c, h / 16, w / 16).
        out: the store's folder.
        batch: images that go through the network together.
        size: side in px to which the centre square is resized.
        progress: show a bar.

    Raises:
        DataError: an image cannot be read, there are no items, an id is not one line or comes
            twice, the disk is full, or `out` holds something else.
    """
    out, ids = Path(out), [item.id for item in items]
    odd = [id_ for id_ in ids if not id_ or "\n" in id_ or "\r" in id_]
    found = shown(odd[0]) if odd else f"{counted(len(ids), 'item')}, {counted(len(set(ids)), 'id')}"
    good, wanted = len(set(ids)) == len(ids) > 0 and not odd, "items with different ids of one line each"
    require(good, DataError, wanted, found, "prepare the data set again")
    _check_place(out, FeatureStore.NAME, "a feature store")
    device = next(itertools.chain(vgg.parameters(), vgg.buffers())).device
    with torch.inference_mode():
        shape = vgg(torch.zeros(1, 3, size, size, device=device)).shape[1:]
    plan = {
        "dataset": dataset.name,
        "encoder": vgg.hash,
        "image_size": size,
        "cosine": COSINE,
        "shape": list(shape),
        "items": _pictures_hash(dataset, items),
    }
    with contextlib.suppress(BankError):
        store = FeatureStore.open(out, vgg.hash)
        if {name: store.header.get(name) for name in plan} == plan:
            return store

    def read(item: Item) -> Tensor:
        square = centre_square(dataset.load_image(item), size)
        return torch.from_numpy(np.array(square, dtype=np.uint8))  # (size, size, 3)

    def look(part: Sequence[Item]) -> Iterator[Callable[[], bytes]]:
        images = pool.map(read, part)
        while group := list(itertools.islice(images, batch)):
            pixels = torch.stack(group).to(device).permute(0, 3, 1, 2)  # (b, 3, h, w)
            with torch.inference_mode():
                features = vgg(pixels.float() / 255).float().cpu().numpy()
            yield from [pool.submit(encode_v, v).result for v in features]

    with (
        Shards.of(out, plan, FEATURE_SHARD) as shards,
        ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool,
        tqdm(total=len(items), desc="VGG features", disable=not progress, unit="item") as bar,
    ):
        shards.fill(items, look, bar)
        with atomic_folder(out) as scratch:
            write_store(scratch, ids, shards.blobs(), shape, plan)
    return FeatureStore.open(out, vgg.hash)


def features_of(dataset: PreparedDataset, path: Path | str) -> FeatureStore:
    """Open the feature store of a data set.

    Raises:
        BankError: missing or damaged, or extracted from other pictures: equal ids do not suffice.
    """
    store = FeatureStore.open(path)
    made_of = store.header.get("items")
    if made_of is None:  # such as a memory's own features
        return store
    items = {item.id: item for item in dataset.items}
    known = [items[id_] for id_ in store.ids if id_ in items]
    require(
        len(known) == len(store) and _pictures_hash(dataset, known) == made_of,
        BankError,
        f"features of the pictures of {dataset.name!r} in {path}",
        f"features of other pictures, of the data set {shown(store.header.get('dataset'))}",
        f"run extract-features on {dataset.path}",
    )
    return store


def _pictures_hash(dataset: PreparedDataset, items: Sequence[Item]) -> str:
    """Return a hash of the items' ids and file sizes: other items or pictures, another hash."""
    files = ((item.id, dataset.image_path(item)) for item in items)
    # A missing file has size -1: reading it will say what is wrong.
    return _fingerprint(f"{id_}\n{path.stat().st_size if path.is_file() else -1}" for id_, path in files)


# ---- Memory bank ---------------------------------------------------------------------------------


def build_memory(
    dataset: Path | str,
    features: Path | str,
    damsm: Damsm,
    vocabulary: Vocabulary,
    out: Path | str,
    *,
    split: str = "train",
    limit: int | None = None,
    max_words: int = TextConfig().max_words,
    replace: bool = False,
    progress: bool = True,
) -> MemoryBank:
    """Write a bank over one split of a prepared data set.

    Args:
        dataset: a prepared data set.
        features: its feature store; the compressed v are copied as they are.
        damsm: trained encoders.
        vocabulary: theirs.
        out: the bank's folder; an older bank of the same data set and no more items is replaced.
        split: whose items become the memory.
        limit: at most so many items, spread evenly over the split.
        max_words: words at which captions are cut, as in the encoders' training.
        replace: replace any older bank, larger ones and those of other data sets too.
        progress: show bars.

    Raises:
        DataError: the data set cannot be read, has no usable caption, another process builds a bank
            there, an older bank would be lost, or the disk is full.
        BankError: the feature store is damaged, of other pictures, or lacks items.
    """
    # What goes into it: items that have features, with those of their captions that the encoders can read.
    out, prepared = Path(out), PreparedDataset.open(dataset)
    store, fix = features_of(prepared, features), "extract relu5_3 of VGG-16"
    wanted = f"features of {FEATURE_CHANNELS} channels"
    require(store.shape[0] == FEATURE_CHANNELS, BankError, wanted, store.shape, fix)
    items = _spread(prepared.split(split), limit)
    _check_place(out, layout.HEADER, "a memory bank")
    if not replace:
        _spare(out, prepared.name, len(items))
    rows = [store.index_of(item.id) for item in items]
    entries = _entries(items, vocabulary, max_words, progress)
    texts = [caption for entry in entries for caption in entry.captions]

    # An image's part: the global key of its v, and its picture made small.
    def thumbnail(item: Item) -> bytes:
        content = io.BytesIO()
        square = centre_square(prepared.load_image(item), THUMBNAIL)
        square.save(content, "WEBP", quality=THUMBNAIL_QUALITY, method=6)
        return content.getvalue()

    def joined(key: bytes, picture: Future[bytes]) -> bytes:
        return key + picture.result()

    def image_parts(places: Sequence[int]) -> Iterator[Callable[[], bytes]]:
        pictures = [pool.submit(thumbnail, items[place]) for place in places]
        for start in range(0, len(places), IMAGE_BATCH):
            batch = places[start : start + IMAGE_BATCH]
            v = torch.from_numpy(np.stack(list(pool.map(lambda place: store[rows[place]], batch))))
            with torch.no_grad():
                keys = quantise_keys(damsm.heads(v.to(damsm.device)).global_).numpy()  # (b, d)
            for key, picture in zip(keys, pictures[start:], strict=False):
                yield partial(joined, key.tobytes(), picture)

    # A caption's part: the key of its sentence.
    def caption_parts(part: Sequence[str]) -> Iterator[Callable[[], bytes]]:
        encoded = [vocabulary.encode(text, max_words) for text in part]
        yield from (key.tobytes for key in quantise_keys(damsm.sentences(encoded)).numpy())

    common = {"damsm": damsm.hash(), "dataset": prepared.name}
    of_captions = {**common, "max_words": max_words, "texts": _fingerprint(texts)}
    of_captions["words"] = _fingerprint(vocabulary)
    of_images = {**common, "features": store.header["files"]["features.bin"]["sha256"]}
    of_images |= {"thumbnail_size": THUMBNAIL, "ids": _fingerprint(item.id for item in items)}
    hidden, was_training = not progress, damsm.training
    with (
        Shards.of(out.with_name(f"{out.name}.captions"), of_captions, CAPTION_SHARD) as captions,
        Shards.of(out, of_images, IMAGE_SHARD) as images,
    ):
        damsm.eval()
        try:
            with tqdm(total=len(texts), desc="memory captions", disable=hidden, unit="caption") as bar:
                captions.fill(texts, caption_parts, bar)
            with (
                ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool,
                tqdm(total=len(items), desc="memory images", disable=hidden, unit="item") as bar,
            ):
                images.fill(range(len(items)), image_parts, bar)
        finally:
            damsm.train(was_training)

        # All of it in one folder, which appears when it is whole.
        dim = 2 * damsm.text.lstm.hidden_size
        with atomic_folder(out) as folder, explain_disk_errors(out):
            table_bytes = write_items(folder / layout.ITEMS, entries)
            keys = {
                "sentence": _int8_rows(captions.blobs(), dim),
                "global": _int8_rows((part[:dim] for part in images.blobs()), dim),
            }
            (folder / layout.KEYS).write_bytes(save(keys))
            pictures = (part[dim:] for part in images.blobs())
            Parts.write(folder / layout.THUMBNAILS, folder / layout.POSITIONS, pictures)
            own = folder / layout.FEATURES
            own.mkdir()
            kept = ("encoder", "image_size", "cosine")
            known = {name: value for name, value in store.header.items() if name in kept}
            ids, blobs = [item.id for item in items], (store.blob(row) for row in rows)
            write_store(own, ids, blobs, store.shape, known)
            facts = {"encoder": store.encoder, "split": split, "count": len(items), "captions": len(texts)}
            facts |= {"dim": dim, "max_words": max_words, "thumbnail_size": THUMBNAIL}
            MemoryBank.seal(folder, {**common, **facts, "items_bytes": table_bytes})
    return MemoryBank.open(out)


def _int8_rows(rows: Iterable[bytes], dim: int) -> NDArray[np.int8]:
    return np.frombuffer(b"".join(rows), np.int8).reshape(-1, dim)


def _check_place(out: Path, header: str, what: str) -> None:
    free = not out.exists() or (out.is_dir() and ((out / header).exists() or not any(out.iterdir())))
    wanted = f"a new or empty folder, or {what}, at {out}"
    require(free, DataError, wanted, "something else", "choose another folder")


def _spare(out: Path, dataset: str, count: int) -> None:
    """Refuse to lose a bank that this build could not make again."""
    try:
        old = read_json(out / layout.HEADER, BankError)
    except BankError:  # there is none, or a damaged one, which is no loss
        return
    items, name = old.get("count"), old.get("dataset")
    require(
        name == dataset and not (isinstance(items, int) and items > count),
        DataError,
        f"a place for the memory of {counted(count, 'item')} of {dataset!r}",
        f"{out} with a memory of {shown(items)} items of {shown(name)}",
        "choose another folder with --out, or lose that memory with --replace",
    )


def _spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return at most `limit` items, evenly spaced, so that every class keeps its share."""
    require(limit is None or limit >= 1, DataError, "a limit of 1 item or more", shown(limit), "raise it")
    fix = "choose another split, or prepare the data set again"
    require(items, DataError, "items in this split", "none", fix)
    count = min(limit or len(items), len(items))
    return [items[place * len(items) // count] for place in range(count)]


def _entries(items: Sequence[Item], vocabulary: Vocabulary, max_words: int, progress: bool) -> list[BankItem]:
    """Return the bank's items in order; captions without any known word are left out."""
    entries: list[BankItem] = []
    encoded: list[EncodedCaption] = []
    for item in items:
        kept: list[str] = []
        for caption in dict.fromkeys(item.captions):
            with contextlib.suppress(CaptionError):
                encoded.append(vocabulary.encode(caption, max_words))
                kept.append(caption)
        fix = "use the vocabulary of this data set"
        require(kept, DataError, f"a caption of {item.id!r} with known words", "none", fix)
        entries.append(BankItem(item.id, tuple(kept), item.class_name, item.attributes))
    for line in what_is_not_read(encoded, max_words) if progress else ():
        tqdm.write(line)
    return entries


def _fingerprint(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()
