"""Building a memory bank: captions and images become keys, pictures become thumbnails."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.config import FEATURE_CHANNELS, TextConfig
from memdriven.data.images import centre_square
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.data.vocabulary import EncodedCaption, Vocabulary, what_is_not_read
from memdriven.encoders.damsm import Damsm
from memdriven.errors import BankError, CaptionError, DataError
from memdriven.files import atomic_folder, explain_disk_errors, read_json
from memdriven.memory import bank as layout
from memdriven.memory.bank import BankItem, MemoryBank
from memdriven.memory.caption_keys import CAPTION_BLOCK, fill_captions
from memdriven.memory.extraction import features_of
from memdriven.memory.feature_store import FeatureStore, write_store
from memdriven.memory.keys import KeysWriter, quantise_keys
from memdriven.memory.manifest import write_manifest, write_offsets
from memdriven.memory.shards import Shards
from memdriven.numbers import shown

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
