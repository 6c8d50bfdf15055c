"""Runs VGG-16 over a data set once and stores v of every image, going on where it was killed."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.data.images import centre_square
from memdriven.errors import BankError, DataError
from memdriven.files import atomic_folder
from memdriven.memory import codec
from memdriven.memory.feature_store import HEADER, FeatureStore, write_store
from memdriven.memory.shards import Shards
from memdriven.numbers import shown

if TYPE_CHECKING:
    from memdriven.data.prepared import Item, PreparedDataset
    from memdriven.encoders.vgg import Vgg16Features


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
    _check_request(out, items)
    device = next(itertools.chain(vgg.parameters(), vgg.buffers())).device
    with torch.inference_mode():
        probe = vgg(torch.zeros(1, 3, size, size, device=device))
    plan = {
        "dataset": dataset.name,
        "encoder": vgg.hash,
        "image_size": size,
        "cosine": cosine,
        "shape": list(probe.shape[1:]),
        "items": _fingerprint(dataset, items),
    }
    if (out / HEADER).exists():
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
    if len(known) < len(store) or _fingerprint(dataset, known) != made_of:
        raise BankError(
            wanted=f"features of the pictures of {dataset.name!r} in {path}",
            found=f"features of other pictures, of the data set {shown(store.header.get('dataset'))}",
            fix=f"run extract-features on {dataset.path}",
        )
    return store


def _check_request(out: Path, items: Sequence[Item]) -> None:
    ids = [item.id for item in items]
    odd = [id_ for id_ in ids if not id_ or "\n" in id_ or "\r" in id_]
    if not ids or odd or len(set(ids)) != len(ids):
        raise DataError(
            wanted="items with different ids of one line each",
            found=repr(odd[0]) if odd else f"{len(ids)} items, {len(set(ids))} ids",
            fix="prepare the data set again",
        )
    if out.exists() and not (out.is_dir() and ((out / HEADER).exists() or not any(out.iterdir()))):
        raise DataError(
            wanted=f"a new or empty folder, or a feature store, at {out}",
            found="something else",
            fix="choose another folder",
        )


def _fingerprint(dataset: PreparedDataset, items: Sequence[Item]) -> str:
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
