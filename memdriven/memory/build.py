"""Making a memory: images become features v (`extract_features`), v and captions a bank (`build_memory`).

Both put what they made on disk a shard at a time and go on where they were killed; what they make
appears whole or not at all, and equal inputs give equal bytes (on one machine).
"""

import contextlib
import hashlib
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from memdriven.config import FEATURE_CHANNELS
from memdriven.data.images import centre_square
from memdriven.data.prepared import Item, PreparedDataset, image_file, refuse_other_content, write_prepared
from memdriven.data.vocabulary import EncodedCaption, Vocabulary, what_is_not_read
from memdriven.devices import choose_device
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.imagenet import STRIDE, Vgg16Features
from memdriven.errors import BankError, DataError, MemDrivenError, require
from memdriven.files import (
    atomic_folder,
    atomic_write_json,
    explain_disk_errors,
    held,
    read_json,
    remove_folder,
)
from memdriven.memory import bank as layout
from memdriven.memory.bank import BankItem, MemoryBank, make_keys, write_items
from memdriven.memory.features import COSINE, FeatureStore, Parts, encode_v, write_store
from memdriven.numbers import check_whole, counted, shown

T = TypeVar("T")
FEATURE_SHARD, BANK_SHARD = 128, 512
"""Items between two writes."""
IMAGE_SIZE, THUMBNAIL, THUMBNAIL_QUALITY = 256, 96, 75
"""Sides in px of what VGG sees and of what people do, and WebP's quality."""
THREADS = min(os.cpu_count() or 1, 16)


@contextlib.contextmanager
def made_in_shards(
    out: Path,
    plan: dict[str, Any],
    items: Sequence[T],
    make: Callable[[Sequence[T]], Iterable[bytes]],
    size: int,
    bar: "tqdm[Any]",
) -> Iterator[tuple[Path, Callable[[], Iterator[bytes]]]]:
    """Make a blob of each item; yield the folder that becomes `out`, and what reads all blobs in order.

    Until then they are kept in `<out>.partial`, `size` in a file, beside a plan of all that they depend on:
    a killed run goes on where it was, and what a run with another plan left is thrown away. Until the block
    ends no other process works there (DataError); the shards go when it has ended well.
    """
    shards, plan, found = out.with_name(f"{out.name}.partial"), {**plan, "shard": size}, None
    starts = range(0, len(items), size)

    def shard(start: int) -> tuple[Path, Path, int]:
        return shards / f"{start}.bin", shards / f"{start}.npy", len(items[start : start + size])

    def made(start: int) -> Iterator[bytes]:
        for blob in make(items[start : start + size]):
            bar.update()
            yield blob

    def read() -> Iterator[bytes]:
        for start in starts:
            yield from map(Parts(*shard(start)).__getitem__, range(shard(start)[2]))

    with held(shards, f"work on {out.name}"), bar:
        with contextlib.suppress(MemDrivenError):
            found = read_json(shards / "plan.json", DataError)
        if found != plan:
            for old in shards.iterdir():
                old.unlink()
            atomic_write_json(shards / "plan.json", plan)
        for start in starts:
            content, positions, count = shard(start)
            try:
                Parts(content, positions, count)
                bar.update(count)
            except (BankError, FileNotFoundError):  # there is none, or a part of one
                with explain_disk_errors(shards):
                    Parts.write(content, positions, made(start))
        made_as = None
        try:
            with atomic_folder(out) as folder:
                made_as = folder.stat().st_ino
                yield folder, read
        finally:  # also where a signal came when it was made
            if made_as and out.exists() and out.stat().st_ino == made_as:
                remove_folder(shards)


# ---- Features ------------------------------------------------------------------------------------


def extract_features(
    dataset: Path,
    out: Path,
    *,
    splits: Sequence[str] = ("train", "test"),
    vgg: Path | None = None,
    batch: int = 8,
    device: str = "auto",
) -> FeatureStore:
    """Run VGG-16 over a data set once and keep relu5_3 (v) of every image.

    Goes on where it was stopped. Threads decode images and compress features, while this one keeps the
    network busy. A finished store of equal arguments is opened as it is.

    Args:
        dataset: folder of a prepared data set.
        out: folder for the feature store.
        splits: whose images are used, of those that the data set has.
        vgg: VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download. The package's own, in 2.3
            bits a weight, stands for it; the store's header says so then (`coarse`).
        batch: images a forward pass.
        device: auto, cpu, cuda, cuda:1, ...

    Raises:
        DataError: the data set or an image cannot be read, it has no such split, the disk is full, or `out`
            holds something else.
    """
    check_whole("batch", batch, 1, 4096, DataError)
    data, place = PreparedDataset.open(dataset), choose_device(device)
    items = [item for item in data.items if item.split in splits]
    if not items:
        data.split(" or ".join(splits))  # says which there are
    _check_place(out, FeatureStore.NAME, "a feature store")
    network = Vgg16Features.load(vgg, place)
    plan: dict[str, Any] = {
        "dataset": data.name,
        "encoder": network.hash,
        **({"coarse": True} if network.coarse else {}),
        "image_size": IMAGE_SIZE,
        "cosine": COSINE,
        "shape": [FEATURE_CHANNELS, IMAGE_SIZE // STRIDE, IMAGE_SIZE // STRIDE],
        "items": _pictures_hash(data, items),
    }
    with contextlib.suppress(BankError):
        store = FeatureStore(out, network.hash)
        if {name: store.header.get(name) for name in plan} == plan:
            return store

    def read(item: Item) -> Tensor:
        square = centre_square(data.load_image(item), IMAGE_SIZE)
        return torch.from_numpy(np.array(square, dtype=np.uint8))  # (h, w, 3)

    def encode(part: Sequence[Item]) -> Iterator[bytes]:
        images, before = pool.map(read, part), iter(list[bytes]())
        while group := list(itertools.islice(images, batch)):
            pixels = torch.stack(group).to(place).permute(0, 3, 1, 2)  # (b, 3, h, w)
            with torch.inference_mode():
                features = network(pixels.float() / 255).float().cpu().numpy()
            coding = pool.map(encode_v, features)
            yield from before  # while the next batch is compressed
            before = coding
        yield from before

    bar = tqdm(total=len(items), desc="VGG features", unit="item")
    with (
        ThreadPoolExecutor(THREADS) as pool,
        made_in_shards(out, plan, items, encode, FEATURE_SHARD, bar) as (folder, blobs),
    ):
        write_store(folder, [item.id for item in items], blobs(), plan["shape"], plan)
    return FeatureStore(out, network.hash)


def features_of(dataset: PreparedDataset, path: Path | str) -> FeatureStore:
    """Open the feature store of a data set.

    A BankError says that it is missing, damaged, or of other pictures: equal ids do not suffice.
    """
    store = FeatureStore(path)
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
    digest = hashlib.sha256()
    for item in items:
        path = dataset.image_path(item)
        # A missing file has size -1: reading it will say what is wrong.
        digest.update(f"{item.id}\n{path.stat().st_size if path.is_file() else -1}\n".encode())
    return digest.hexdigest()


# ---- Memory bank ---------------------------------------------------------------------------------


def build_memory(
    checkpoint: Path,
    dataset: Path,
    features: Path,
    *,
    out: Path | None = None,
    split: str = "train",
    replace: bool = False,
    device: str = "auto",
) -> MemoryBank:
    """Build the memory bank of a checkpoint.

    Features, captions, search keys and thumbnails of one split. Goes on where it was stopped. An older bank
    is replaced where it is of the same data set and no larger, or where --replace says so.

    Args:
        checkpoint: checkpoint whose encoders are used, or a folder of encoders alone.
        dataset: folder of a prepared data set.
        features: folder of its features (extract-features), copied as they are.
        out: folder for the bank; CHECKPOINT/memory when left out.
        split: whose images become the memory.
        replace: replace an older memory there even if it is larger or of another data set.
        device: auto, cpu, cuda, cuda:1, ...

    Raises:
        CheckpointError: the encoders are missing or damaged.
        DataError: the data set cannot be read, has no usable caption, another process builds a bank
            there, an older bank would be lost, or the disk is full.
        BankError: the feature store is damaged, of other pictures, or lacks items.
    """
    damsm, vocabulary, config, *_ = load_damsm(checkpoint, choose_device(device))
    out, prepared = out or checkpoint / layout.MEMORY, PreparedDataset.open(dataset)
    store, items = features_of(prepared, features), prepared.split(split)
    _check_place(out, layout.HEADER, "a memory bank")
    if not replace:
        _spare(out, prepared.name, len(items))
    rows = [store.index_of(item.id) for item in items]
    entries, encoded = _entries(items, vocabulary, config.text.max_words)

    def thumbnail(item: Item) -> bytes:
        content = io.BytesIO()
        square = centre_square(prepared.load_image(item), THUMBNAIL)
        square.save(content, "WEBP", quality=THUMBNAIL_QUALITY, method=6)
        return content.getvalue()

    def v(place: int) -> Tensor:
        return torch.from_numpy(store[rows[place]])

    plan = {"items": _pictures_hash(prepared, items), "thumbnail_size": THUMBNAIL}
    bar = tqdm(total=len(items), desc="thumbnails", unit="item")
    with (
        ThreadPoolExecutor(THREADS) as pool,
        made_in_shards(out, plan, items, partial(pool.map, thumbnail), BANK_SHARD, bar) as (folder, pictures),
    ):
        Parts.write(folder / layout.THUMBNAILS, folder / layout.POSITIONS, pictures())
        table_bytes = write_items(folder / layout.ITEMS, entries)
        keys = make_keys(damsm, encoded, v, len(items))
        (folder / layout.KEYS).write_bytes(save(keys))
        (folder / layout.FEATURES).mkdir()
        kept = ("encoder", "coarse", "image_size", "cosine")
        known = {name: value for name, value in store.header.items() if name in kept}
        blobs = (store.blobs[row] for row in rows)
        write_store(folder / layout.FEATURES, [item.id for item in items], blobs, store.shape, known)
        facts = {
            "damsm": damsm.hash(),
            "dataset": prepared.name,
            "encoder": store.encoder,
            "split": split,
            "count": len(items),
            "captions": len(encoded),
            "dim": keys["global"].shape[1],
            "max_words": config.text.max_words,
            "thumbnail_size": THUMBNAIL,
            "items_bytes": table_bytes,
        }
        MemoryBank.seal(folder, facts)
    return MemoryBank(out)


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


def _entries(
    items: Sequence[Item], vocabulary: Vocabulary, max_words: int
) -> tuple[list[BankItem], list[EncodedCaption]]:
    """Return the bank's items and their captions, those without any known word left out."""
    entries, encoded = list[BankItem](), list[EncodedCaption]()
    for item in items:
        known = vocabulary.readable(dict.fromkeys(item.captions), max_words)
        fix = "use the vocabulary of this data set"
        require(known, DataError, f"a caption of {item.id!r} with known words", "none", fix)
        captions, codes = zip(*known)
        entries.append(BankItem(item.id, captions, item.class_name, item.attributes))
        encoded += codes
    for line in what_is_not_read(encoded, max_words):
        tqdm.write(line)
    return entries, encoded


def prepare_remembered(checkpoint: Path, out: Path) -> PreparedDataset:
    """Lay out what a checkpoint's memory remembers as a data set: its small pictures, with their captions.

    For a discriminator that is to judge these (`copy-critic`), or where the pictures themselves are not at
    hand. All are training images; their features are the memory's own.

    Args:
        checkpoint: folder of the checkpoint.
        out: folder of the data set.

    Raises:
        BankError: there is no memory, or it is damaged.
        DataError: something else is at `out`, or the disk is full.
    """
    refuse_other_content(out)
    bank = MemoryBank(checkpoint / layout.MEMORY)
    classes = sorted({item.class_name for item in bank.items})
    with atomic_folder(out) as folder:
        items = [
            Item(
                id=item.id,
                file=image_file("train", f"{row:06d}"),  # an id may be no name of a file
                split="train",
                class_id=classes.index(item.class_name),
                class_name=item.class_name,
                captions=item.captions,
                attributes=item.attributes,
            )
            for row, item in enumerate(bank.items)
        ]
        (folder / items[0].file).parent.mkdir(parents=True)
        for row, item in enumerate(items):
            (folder / item.file).write_bytes(bank.thumbnail_bytes(row))
        side = bank.count("thumbnail_size")
        write_prepared(folder, items, name=f"{checkpoint.name}-remembered", image_size=side, classes=classes)
    return PreparedDataset.open(out)
