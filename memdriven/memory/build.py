"""Building a memory bank: captions and images become keys, pictures become thumbnails."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor
from tqdm import tqdm

from memdriven.data.images import centre_square
from memdriven.errors import BankError, DataError, MemDrivenError
from memdriven.files import atomic_folder, atomic_write_bytes, atomic_write_json, held, read_json
from memdriven.memory import codec
from memdriven.memory.bank import STORE_HEADER, FeatureStore, write_store
from memdriven.numbers import shown

if TYPE_CHECKING:
    from memdriven.data.prepared import Item, PreparedDataset
    from memdriven.encoders.vgg import Vgg16Features
import io

from memdriven.config import FEATURE_CHANNELS, TextConfig
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.data.vocabulary import EncodedCaption, Vocabulary, what_is_not_read
from memdriven.encoders.damsm import Damsm
from memdriven.errors import CaptionError
from memdriven.files import explain_disk_errors
from memdriven.memory import bank as layout
from memdriven.memory.bank import (
    BankItem,
    KeysWriter,
    MemoryBank,
    quantise_keys,
    write_manifest,
    write_offsets,
)


class Shards:
    """A folder `<out>.partial` of numbered shards beside a plan that says what they are for.

    Shards left by a run with another plan are thrown away, those of an equal one are kept. It is a
    context manager: until it is left, no other process works in the folder.
    """

    def __init__(self, out: Path, plan: dict[str, Any]) -> None:
        """Open, or begin, the shards of `out`; `plan` is all that the blobs depend on.

        Raises:
            DataError: another process works at `out` now, or the disk is full or refuses writing.
        """
        self.folder = out.parent / f"{out.name}.partial"
        with contextlib.ExitStack() as lock:
            lock.enter_context(held(self.folder, f"work on {out.name}"))
            self._begin(plan)
            self._lock = lock.pop_all()

    def __enter__(self) -> Self:
        """Return the shards."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let other processes work here."""
        self._lock.close()

    def _begin(self, plan: dict[str, Any]) -> None:
        wanted = json.loads(json.dumps(plan))
        found: Any = None
        with contextlib.suppress(MemDrivenError):
            found = read_json(self.folder / "plan.json", DataError)
        if found != wanted:
            for old in self.folder.iterdir():
                old.unlink()
            atomic_write_json(self.folder / "plan.json", wanted)

    def done(self, number: int) -> int:
        """Return how many blobs a shard holds; 0 when it is absent or damaged."""
        try:
            return len(load_file(self._path(number))["sizes"])
        except (FileNotFoundError, SafetensorError, KeyError):
            return 0

    def write(self, number: int, blobs: Sequence[bytes]) -> None:
        """Write one shard, whole or not at all.

        Raises:
            DataError: the disk is full or refuses writing.
        """
        tensors: dict[str, NDArray[Any]] = {
            "sizes": np.asarray([len(blob) for blob in blobs], np.int64),
            "bytes": np.frombuffer(b"".join(blobs), np.uint8),
        }
        atomic_write_bytes(self._path(number), save(tensors))

    def blobs(self, count: int) -> Iterator[bytes]:
        """Yield the blobs of the first `count` shards in order, one shard in memory at a time."""
        for number in range(count):
            tensors = load_file(self._path(number))
            content, start = tensors["bytes"].tobytes(), 0
            for size in tensors["sizes"].tolist():
                yield content[start : start + size]
                start += size

    def remove(self) -> None:
        """Delete the folder, once its blobs lie elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.safetensors"


def extract_features(
    dataset: PreparedDataset,
    items: Sequence[Item],
    vgg: Vgg16Features,
    out: Path | str,
    *,
    batch: int = 8,
    size: int = 256,
    workers: int | None = None,
    shard: int = 128,
    cosine: float = codec.COSINE,
    progress: bool = True,
) -> FeatureStore:
    """Run VGG over the centre squares of items and write their v as a store.

    Images are decoded in one pool of threads and features are compressed in another, while this
    thread keeps the network busy on its own device. Every `shard` items are put on disk: a run
    that was killed goes on there when it is called again with equal arguments, and a finished
    store is opened as it is.

    Args:
        dataset: where the images lie.
        items: whose v to store, in this order.
        vgg: network from images (b, 3, h, w) in [0, 1] to v (b, c, h / 16, w / 16).
        out: the store's folder.
        batch: images that go through the network together.
        size: side in px to which the centre square is resized.
        workers: threads of each pool; the machine's cores, at most 16, by default.
        shard: items between two writes.
        cosine: fidelity of the codec.
        progress: show a bar.

    Raises:
        DataError: an image cannot be read, there are no items, an id is not one line or comes
            twice, the disk is full, or `out` holds something else.
    """
    out = Path(out)
    _check_extraction(out, items)
    device = next(itertools.chain(vgg.parameters(), vgg.buffers())).device
    with torch.inference_mode():
        probe = vgg(torch.zeros(1, 3, size, size, device=device))
    plan = {
        "dataset": dataset.name,
        "encoder": vgg.hash,
        "image_size": size,
        "cosine": cosine,
        "shape": list(probe.shape[1:]),
        "items": _pictures_hash(dataset, items),
    }
    if (out / STORE_HEADER).exists():
        with contextlib.suppress(BankError):
            store = FeatureStore.open(out, vgg.hash)
            if {name: store.header.get(name) for name in plan} == plan:
                return store
    workers = workers or min(os.cpu_count() or 1, 16)
    numbers = range(-(-len(items) // shard))

    def read(item: Item) -> Tensor:
        square = centre_square(dataset.load_image(item), size)
        return torch.from_numpy(np.array(square, dtype=np.uint8))  # (size, size, 3)

    with Shards(out, {**plan, "shard": shard}) as shards:
        with (
            ThreadPoolExecutor(workers) as readers,
            ThreadPoolExecutor(workers) as writers,
            tqdm(total=len(items), desc="VGG features", disable=not progress, unit="item") as bar,
        ):
            for number in numbers:
                chunk = items[number * shard : (number + 1) * shard]
                if shards.done(number) == len(chunk):
                    bar.update(len(chunk))
                    continue
                pending: list[Future[bytes]] = []
                images = _ahead(readers, read, chunk, 4 * batch)
                while group := list(itertools.islice(images, batch)):
                    pixels = torch.stack(group).to(device).permute(0, 3, 1, 2)  # (b, 3, h, w)
                    with torch.inference_mode():
                        features = vgg(pixels.float() / 255).float().cpu().numpy()
                    pending += [writers.submit(codec.encode, v, cosine) for v in features]
                    bar.update(len(group))
                shards.write(number, [blob.result() for blob in pending])
        with atomic_folder(out) as scratch:
            write_store(
                scratch, [item.id for item in items], shards.blobs(len(numbers)), probe.shape[1:], plan
            )
        shards.remove()
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
    if len(known) < len(store) or _pictures_hash(dataset, known) != made_of:
        raise BankError(
            wanted=f"features of the pictures of {dataset.name!r} in {path}",
            found=f"features of other pictures, of the data set {shown(store.header.get('dataset'))}",
            fix=f"run extract-features on {dataset.path}",
        )
    return store


def _check_extraction(out: Path, items: Sequence[Item]) -> None:
    ids = [item.id for item in items]
    odd = [id_ for id_ in ids if not id_ or "\n" in id_ or "\r" in id_]
    if not ids or odd or len(set(ids)) != len(ids):
        raise DataError(
            wanted="items with different ids of one line each",
            found=repr(odd[0]) if odd else f"{len(ids)} items, {len(set(ids))} ids",
            fix="prepare the data set again",
        )
    if out.exists() and not (out.is_dir() and ((out / STORE_HEADER).exists() or not any(out.iterdir()))):
        raise DataError(
            wanted=f"a new or empty folder, or a feature store, at {out}",
            found="something else",
            fix="choose another folder",
        )


def _pictures_hash(dataset: PreparedDataset, items: Sequence[Item]) -> str:
    """Return a hash of the items' ids and file sizes: other items or pictures, another hash."""
    digest = hashlib.sha256()
    for item in items:
        path = dataset.image_path(item)
        size = path.stat().st_size if path.is_file() else -1  # reading it will say what is wrong
        digest.update(f"{item.id}\n{size}\n".encode())
    return digest.hexdigest()


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Tensor], items: Iterable[Item], depth: int
) -> Iterator[Tensor]:
    """Yield work(item) in order, with at most `depth` of them begun and not yet taken."""
    source, begun = iter(items), deque[Future[Tensor]]()
    while True:
        room = depth - len(begun)
        begun.extend(pool.submit(work, item) for item in itertools.islice(source, room))
        if not begun:
            return
        yield begun.popleft().result()


CAPTION_BATCH = 256
CAPTION_BLOCK = 4096
"""Captions between two writes."""


def fill_captions(
    shards: Shards, damsm: Damsm, vocabulary: Vocabulary, texts: Sequence[str], max_words: int, progress: bool
) -> None:
    """Write the blocks that are missing: s of their captions as int8, end to end."""
    with tqdm(desc="memory captions", total=len(texts), disable=not progress) as bar:
        for number, start in enumerate(range(0, len(texts), CAPTION_BLOCK)):
            block = texts[start : start + CAPTION_BLOCK]
            if shards.done(number) == 0:
                encoded = [vocabulary.encode(text, max_words) for text in block]
                keys = quantise_keys(sentence_keys(damsm, encoded))
                shards.write(number, [keys.numpy().tobytes()])
            bar.update(len(block))


def sentence_keys(damsm: Damsm, captions: Sequence[EncodedCaption], progress: bool = False) -> Tensor:
    """Return s of every caption (m, d), encoding captions of like length together."""
    order = sorted(range(len(captions)), key=lambda row: len(captions[row].ids))
    parts = []
    starts = range(0, len(order), CAPTION_BATCH)
    for start in tqdm(starts, "captions", disable=not progress):
        batch = [captions[row] for row in order[start : start + CAPTION_BATCH]]
        with torch.no_grad():
            parts.append(damsm.encode_captions(batch).sentence.float().cpu())
    return torch.cat(parts)[torch.argsort(torch.tensor(order))]


THUMBNAIL_QUALITY = 75
SHARD = 512
"""Items between two writes of a build."""
IMAGE_BATCH = 16


def build_memory(
    dataset: Path | str,
    features: Path | str,
    damsm: Damsm,
    vocabulary: Vocabulary,
    out: Path | str,
    *,
    split: str = "train",
    limit: int | None = None,
    thumbnail_size: int = 96,
    captions_per_item: int | None = None,
    max_words: int = TextConfig().max_words,
    replace: bool = False,
    progress: bool = True,
) -> MemoryBank:
    """Write a bank over one split of a prepared data set.

    The folder appears whole or not at all; a run that was killed goes on with the images it had
    not reached. Equal inputs give equal bytes (on one machine).

    Args:
        dataset: a prepared data set.
        features: its feature store; the compressed v are copied as they are.
        damsm: trained encoders.
        vocabulary: theirs.
        out: the bank's folder; an older bank of the same data set and no more items is replaced.
        split: whose items become the memory.
        limit: at most so many items, spread evenly over the split.
        thumbnail_size: side of the thumbnails in px.
        captions_per_item: at most so many captions of each item.
        max_words: words at which captions are cut, as in the encoders' training.
        replace: replace any older bank, larger ones and those of other data sets too.
        progress: show bars.

    Raises:
        DataError: the data set cannot be read, has no usable caption, another process builds a bank
            there, an older bank would be lost, or the disk is full.
        BankError: the feature store is damaged, of other pictures, or lacks items.
    """
    write_memory(
        dataset,
        features,
        damsm,
        vocabulary,
        out,
        split=split,
        limit=limit,
        thumbnail_size=thumbnail_size,
        captions_per_item=captions_per_item,
        max_words=max_words,
        replace=replace,
        progress=progress,
    )
    return MemoryBank.open(out)


def write_memory(
    dataset: Path | str,
    features: Path | str,
    damsm: Damsm,
    vocabulary: Vocabulary,
    out: Path | str,
    *,
    split: str,
    limit: int | None,
    thumbnail_size: int,
    captions_per_item: int | None,
    max_words: int,
    replace: bool = False,
    progress: bool,
) -> None:
    """Write the folder of `build_memory`, without opening it.

    Keys, thumbnails and v go to disk a shard at a time: what stays in memory is the data set's
    table of captions.
    """
    out, prepared = Path(out), PreparedDataset.open(dataset)
    store = features_of(prepared, features)
    _check_request(out, store)
    items = _spread(prepared.split(split), limit)
    if not replace:
        _spare(out, prepared.name, len(items))
    rows = [store.index_of(item.id) for item in items]
    entries = _entries(items, vocabulary, captions_per_item, max_words, progress)
    texts = [caption for entry in entries for caption in entry.captions]
    facts = {"damsm": damsm.hash(), "dataset": prepared.name}
    of_captions = {
        **facts,
        "block": CAPTION_BLOCK,
        "max_words": max_words,
        "texts": _fingerprint(texts),
        "words": _fingerprint(vocabulary),
    }
    of_images = {
        **facts,
        "features": store.header["files"]["features.bin"]["sha256"],
        "thumbnail_size": thumbnail_size,
        "ids": _fingerprint(item.id for item in items),
    }
    with (
        Shards(out.with_name(f"{out.name}.captions"), of_captions) as spoken,
        Shards(out, of_images) as shown,
    ):
        was_training = damsm.training
        damsm.eval()
        try:
            fill_captions(spoken, damsm, vocabulary, texts, max_words, progress)
            _Images(prepared, store, damsm, thumbnail_size).fill(shown, items, rows, progress)
        finally:
            damsm.train(was_training)
        dim = 2 * damsm.text.lstm.hidden_size
        with atomic_folder(out) as folder, explain_disk_errors(out):
            table_bytes = layout.write_items(folder / layout.ITEMS, entries)
            with (
                KeysWriter(folder / layout.KEYS, len(texts), len(items), dim) as keys,
                (folder / layout.THUMBNAILS).open("wb") as stream,
            ):
                for block in spoken.blobs(_count(texts, CAPTION_BLOCK)):
                    keys.append(block)
                sizes = []
                for part in shown.blobs(_count(items, SHARD)):
                    keys.append(part[:dim])
                    sizes.append(stream.write(part[dim:]))
            write_offsets(folder / layout.POSITIONS, sizes)
            (folder / layout.FEATURES).mkdir()
            kept = ("encoder", "image_size", "cosine")
            known = {name: value for name, value in store.header.items() if name in kept}
            write_store(
                folder / layout.FEATURES,
                [item.id for item in items],
                (store.blob(row) for row in rows),
                store.shape,
                known,
            )
            write_manifest(
                folder,
                layout.HEADER,
                layout.SCHEMA,
                {
                    "damsm": damsm.hash(),
                    "encoder": store.encoder,
                    "dataset": prepared.name,
                    "split": split,
                    "count": len(items),
                    "captions": len(texts),
                    "dim": dim,
                    "max_words": max_words,
                    "thumbnail_size": thumbnail_size,
                    "items_bytes": table_bytes,
                },
                layout.FILES,
            )
        spoken.remove()
        shown.remove()


class _Images:
    """The part of a build that looks at each image: its global key and its thumbnail."""

    def __init__(self, dataset: PreparedDataset, store: FeatureStore, damsm: Damsm, size: int) -> None:
        self.dataset, self.store, self.damsm, self.size = dataset, store, damsm, size

    def fill(self, shards: Shards, items: Sequence[Item], rows: Sequence[int], progress: bool) -> None:
        """Write the shards that are missing: each blob is an int8 key and a WebP picture."""
        with (
            ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool,
            tqdm(total=len(items), desc="memory images", disable=not progress, unit="item") as bar,
        ):
            for number, start in enumerate(range(0, len(items), SHARD)):
                chunk, places = items[start : start + SHARD], rows[start : start + SHARD]
                if shards.done(number) == len(chunk):
                    bar.update(len(chunk))
                    continue
                pictures = [pool.submit(self._thumbnail, item) for item in chunk]
                keys = [key for batch in self._keys(pool, places, bar) for key in batch]
                shards.write(
                    number,
                    [
                        key.numpy().tobytes() + picture.result()
                        for key, picture in zip(keys, pictures, strict=True)
                    ],
                )

    def _keys(self, pool: ThreadPoolExecutor, rows: Sequence[int], bar: tqdm[Any]) -> Iterator[Tensor]:
        for start in range(0, len(rows), IMAGE_BATCH):
            batch = rows[start : start + IMAGE_BATCH]
            v = torch.from_numpy(np.stack(list(pool.map(self.store.__getitem__, batch))))
            with torch.no_grad():
                yield quantise_keys(self.damsm.heads(v.to(self.damsm.device)).global_)
            bar.update(len(batch))

    def _thumbnail(self, item: Item) -> bytes:
        content = io.BytesIO()
        square = centre_square(self.dataset.load_image(item), self.size)
        square.save(content, "WEBP", quality=THUMBNAIL_QUALITY, method=6)
        return content.getvalue()


def _check_request(out: Path, store: FeatureStore) -> None:
    if store.shape[0] != FEATURE_CHANNELS:
        raise BankError(
            wanted=f"features of {FEATURE_CHANNELS} channels",
            found=f"{store.shape}",
            fix="extract relu5_3 of VGG-16",
        )
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / layout.HEADER).exists())):
        raise DataError(
            wanted=f"a new or empty folder, or a memory bank, at {out}",
            found="something else",
            fix="choose another folder",
        )


def _spare(out: Path, dataset: str, count: int) -> None:
    """Refuse to lose a bank that this build could not make again."""
    if not (out / layout.HEADER).exists():
        return
    try:
        old = read_json(out / layout.HEADER, BankError)
    except BankError:  # a damaged bank is no loss
        return
    items = old.get("count")
    larger = type(items) is int and items > count
    if old.get("dataset") != dataset or larger:
        raise DataError(
            wanted=f"a place for the memory of {count} items of {dataset!r}",
            found=f"{out} with a memory of {shown(items)} items of {shown(old.get('dataset'))}",
            fix="choose another folder with --out, or lose that memory with --replace",
        )


def _spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return at most `limit` items, evenly spaced, so that every class keeps its share."""
    if limit is not None and limit < 1:
        raise DataError(wanted="a limit of 1 item or more", found=str(limit), fix="raise it")
    if not items:
        raise DataError(
            wanted="items in this split",
            found="none",
            fix="choose another split, or prepare the data set again",
        )
    if limit is None or limit >= len(items):
        return list(items)
    return [items[place * len(items) // limit] for place in range(limit)]


def _entries(
    items: Sequence[Item], vocabulary: Vocabulary, per_item: int | None, max_words: int, progress: bool
) -> list[BankItem]:
    """Return the bank's items in order; captions without any known word are left out."""
    entries: list[BankItem] = []
    encoded: list[EncodedCaption] = []
    for item in items:
        kept: list[str] = []
        for caption in dict.fromkeys(item.captions):
            if per_item is not None and len(kept) == per_item:
                break
            with contextlib.suppress(CaptionError):
                encoded.append(vocabulary.encode(caption, max_words))
                kept.append(caption)
        if not kept:
            raise DataError(
                wanted=f"a caption of {item.id!r} with known words",
                found="none",
                fix="use the vocabulary of this data set",
            )
        entries.append(BankItem(item.id, tuple(kept), item.class_name, item.attributes))
    for line in what_is_not_read(encoded, max_words) if progress else ():
        tqdm.write(line)
    return entries


def _fingerprint(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def _count(whole: Sequence[object], part: int) -> int:
    return -(-len(whole) // part)
