"""All images of a split at one size: decoded once, kept as bytes, mapped from disk afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.data.image_file import read_image
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.data.transforms import centre_square

FOLDER = "cache"
_WORKERS = 4


def load_images(dataset: PreparedDataset, items: Sequence[Item], size: int, progress: bool = True) -> Tensor:
    """Return the items' images as uint8 (n, 3, size, size), in the order of `items`.

    The first call decodes them (on several threads) into `<data set>/cache/`; later calls map that
    file. The cache is keyed by the size, the ids, and the image files' lengths and times, so a
    data set that was prepared anew is decoded anew. A folder that cannot be written to, or a full
    disk, means no cache, not an error: the images are then kept in RAM alone.

    Args:
        dataset: the data set that the items belong to.
        items: which images.
        size: side in px; the central square of each image is resized to it.
        progress: show a bar.

    Raises:
        DataError: an image is missing or unreadable.
    """
    path = dataset.path / FOLDER / f"images-{size}-{_key(dataset, items)}.npy"
    shape = (len(items), 3, size, size)
    cached = _map_cache(path, shape)
    if cached is None:
        with contextlib.suppress(OSError):
            _write_cache(path, dataset, items, size, progress)
            cached = _map_cache(path, shape)
    if cached is None:
        cached = np.empty(shape, dtype=np.uint8)
        _decode_into(cached, dataset, items, size, progress)
    return torch.from_numpy(cached)


def _key(dataset: PreparedDataset, items: Sequence[Item]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.id}\0{item.file}\0".encode())
        with contextlib.suppress(OSError):
            facts = dataset.image_path(item).stat()
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _map_cache(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Map a cache file copy-on-write, or return None when it is absent or not what is wanted."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _write_cache(
    path: Path, dataset: PreparedDataset, items: Sequence[Item], size: int, progress: bool
) -> None:
    path.parent.mkdir(exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        shape = (len(items), 3, size, size)
        array = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(Path(scratch))
        _decode_into(array, dataset, items, size, progress)
        array.flush()
        os.replace(scratch, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)


def _reserve(path: Path) -> None:
    """Take the disk space now: writing to a mapped file on a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _decode_into(
    array: np.ndarray, dataset: PreparedDataset, items: Sequence[Item], size: int, progress: bool
) -> None:
    def decode(index: int) -> None:
        image = read_image(dataset.image_path(items[index]), least_side=size)
        array[index] = np.asarray(centre_square(image, size)).transpose(2, 0, 1)

    with ThreadPoolExecutor(_WORKERS) as pool:
        jobs = pool.map(decode, range(len(items)))
        for _ in tqdm(jobs, f"images at {size} px", len(items), disable=not progress):
            pass
