"""Image features v of many items on disk, compressed one by one and read one by one.

A folder of four files: `features.json` (header), `features.bin` (the items' blobs end to end),
`offsets.npy` (n + 1 byte positions in it) and `ids.txt` (one id a line).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import mmap
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from memdriven.data.transforms import centre_square
from memdriven.errors import BankError, DataError
from memdriven.files import atomic_folder, explain_disk_errors
from memdriven.memory import codec
from memdriven.memory.manifest import (
    count,
    read_manifest,
    read_offsets,
    refuse_other,
    verify_manifest,
    write_manifest,
    write_offsets,
)
from memdriven.memory.shards import Shards

if TYPE_CHECKING:
    from memdriven.data.prepared import Item, PreparedDataset
    from memdriven.encoders.vgg import Vgg16Features

SCHEMA = "memdriven.features/1"
HEADER = "features.json"
FILES = ("features.bin", "offsets.npy", "ids.txt")


class FeatureStore:
    """Read access to a store; safe to share between threads.

    Opening maps `features.bin` without reading it; an item is decompressed when it is asked for.
    """

    def __init__(
        self, path: Path, header: dict[str, Any], ids: list[str], offsets: NDArray[np.int64]
    ) -> None:
        """Use `FeatureStore.open`; this takes parts that were already checked."""
        self.path, self.header, self.ids, self.offsets = path, header, ids, offsets
        shape = header["shape"]
        self.shape: tuple[int, int, int] = (shape[0], shape[1], shape[2])
        with (path / "features.bin").open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = {id_: row for row, id_ in enumerate(ids)}

    @classmethod
    def open(cls, path: Path | str, expect_encoder: str | None = None) -> FeatureStore:
        """Open a store, checking its schema, sizes, offsets and encoder.

        Args:
            path: the store's folder.
            expect_encoder: hash of the VGG in use; None accepts any.

        Raises:
            BankError: missing, foreign, truncated, or made by another encoder.
        """
        path = Path(path)
        header = read_manifest(path, HEADER, SCHEMA, FILES)
        refuse_other(path, "image encoder", header.get("encoder"), expect_encoder)
        n = count(header, "count", path / HEADER)
        shape = header.get("shape")
        if not (isinstance(shape, list) and len(shape) == 3
                and all(type(side) is int and side > 0 for side in shape)):  # fmt: skip
            raise BankError(wanted="a shape [c, h, w]", found=repr(shape)[:80],
                            fix="build the feature store again")  # fmt: skip
        ids = (path / "ids.txt").read_text(encoding="utf-8").split("\n")[:-1]
        offsets = read_offsets(path / "offsets.npy", n, (path / "features.bin").stat().st_size)
        if len(ids) != n or len(set(ids)) != n:
            raise BankError(wanted=f"{n} different ids in {path / 'ids.txt'}",
                            found=f"{len(ids)} lines, {len(set(ids))} different",
                            fix="build the feature store again")  # fmt: skip
        return cls(path, header, ids, offsets)

    def __len__(self) -> int:
        """Return n, the number of items."""
        return len(self.ids)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Return v (c, h, w) of one item.

        Raises:
            IndexError: there is no such row.
            BankError: the item's bytes are damaged.
        """
        return codec.decode(self.blob(index), self.shape)

    @property
    def encoder(self) -> str:
        """Hash of the VGG that made the features."""
        return str(self.header["encoder"])

    def index_of(self, item_id: str) -> int:
        """Return the row of an id.

        Raises:
            BankError: the store does not hold it.
        """
        if item_id not in self._rows:
            raise BankError(wanted=f"features of item {item_id!r} in {self.path}",
                            found="no such id", fix="extract the features again")  # fmt: skip
        return self._rows[item_id]

    def blob(self, index: int) -> bytes:
        """Return one item's compressed bytes.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._map[self.offsets[index] : self.offsets[index + 1]]

    def load_all(
        self,
        indices: Sequence[int] | None = None,
        *,
        workers: int | None = None,
        progress: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Decode many items at once, e.g. for training, in threads.

        The pair is exact: `levels[i] * scale[i]` equals `store[i]`, in a quarter of its memory
        (131 kB an item at 512 x 16 x 16).

        Args:
            indices: rows to decode, in this order; all by default.
            workers: threads; the machine's cores by default.
            progress: show a bar.

        Returns:
            levels (m, c, h, w) uint8 and scale (m, 1, 1, 1) float32.

        Raises:
            BankError: an item's bytes are damaged.
        """  # fmt: skip
        rows = range(len(self)) if indices is None else indices
        levels = torch.empty((len(rows), *self.shape), dtype=torch.uint8)
        scale = torch.empty((len(rows), 1, 1, 1))
        views, scales = levels.numpy(), scale.view(-1).numpy()

        def fill(place: int) -> None:
            _, scales[place] = codec.decode_levels(self.blob(rows[place]), self.shape,
                                                   views[place])  # fmt: skip

        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            work = pool.map(fill, range(len(rows)))
            for _ in tqdm(work, "features", total=len(rows), disable=not progress, unit="item"):
                pass
        return levels, scale

    def verify(self) -> None:
        """Check every file's SHA-256 against the header.

        Raises:
            BankError: a file's content is not what was written.
        """
        verify_manifest(self.path, self.header, FILES)


def write_store(
    folder: Path,
    ids: Sequence[str],
    blobs: Iterable[bytes],
    shape: Sequence[int],
    facts: dict[str, Any],
) -> None:
    """Write a store's files into an existing folder (make it atomic around this).

    Args:
        folder: where the four files go.
        ids: one id an item, each without line breaks.
        blobs: one `codec.encode` result an item, in the ids' order.
        shape: (c, h, w) of every item.
        facts: entries for the header; `encoder`, the VGG's hash, is one of them.

    Raises:
        DataError: the disk is full.
    """  # fmt: skip
    with explain_disk_errors(folder):
        with (folder / "features.bin").open("wb") as stream:
            sizes = [stream.write(blob) for blob in blobs]
        write_offsets(folder / "offsets.npy", sizes)
        (folder / "ids.txt").write_text("".join(f"{id_}\n" for id_ in ids), encoding="utf-8")
    write_manifest(
        folder, HEADER, SCHEMA, {**facts, "count": len(ids), "shape": list(shape)}, FILES
    )


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
    """  # fmt: skip
    out = Path(out)
    _check_request(out, items)
    device = next(itertools.chain(vgg.parameters(), vgg.buffers())).device
    with torch.inference_mode():
        probe = vgg(torch.zeros(1, 3, size, size, device=device))
    plan = {"dataset": dataset.name, "encoder": vgg.hash, "image_size": size, "cosine": cosine,
            "shape": list(probe.shape[1:]), "items": _fingerprint(dataset, items)}  # fmt: skip
    if (out / HEADER).exists():
        with contextlib.suppress(BankError):
            store = FeatureStore.open(out, vgg.hash)
            if {name: store.header.get(name) for name in plan} == plan:
                return store
    shards = Shards(out, {**plan, "shard": shard})
    workers = workers or min(os.cpu_count() or 1, 16)
    numbers = range(-(-len(items) // shard))

    def read(item: Item) -> Tensor:
        square = centre_square(dataset.load_image(item), size)
        return torch.from_numpy(np.array(square, dtype=np.uint8))  # (size, size, 3)

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
        write_store(scratch, [item.id for item in items], shards.blobs(len(numbers)),
                    probe.shape[1:], plan)  # fmt: skip
    shards.remove()
    return FeatureStore.open(out, vgg.hash)


def _check_request(out: Path, items: Sequence[Item]) -> None:
    ids = [item.id for item in items]
    odd = [id_ for id_ in ids if not id_ or "\n" in id_ or "\r" in id_]
    if not ids or odd or len(set(ids)) != len(ids):
        raise DataError(wanted="items with different ids of one line each",
                        found=repr(odd[0]) if odd else f"{len(ids)} items, {len(set(ids))} ids",
                        fix="prepare the data set again")  # fmt: skip
    if out.exists() and not (out.is_dir() and ((out / HEADER).exists() or not any(out.iterdir()))):
        raise DataError(wanted=f"a new or empty folder, or a feature store, at {out}",
                        found="something else", fix="choose another folder")  # fmt: skip


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
