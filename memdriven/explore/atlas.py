"""The bank's thumbnails, small and all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from memdriven.memory.bank import MemoryBank

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""
_REPORT_EVERY = 200


def small_pictures(
    bank: MemoryBank, rows: Sequence[int], side: int, progress: Progress | None = None
) -> np.ndarray:
    """Return the thumbnails of some rows at one size, uint8 (n, side, side, 3).

    Raises:
        BankError: a thumbnail is damaged.
    """
    pictures = np.empty((len(rows), side, side, 3), np.uint8)
    for place, row in enumerate(rows):
        if progress is not None and place % _REPORT_EVERY == 0:
            progress(place, len(rows))
        picture = bank.thumbnail(row)
        pictures[place] = np.asarray(picture.resize((side, side), Image.Resampling.BOX))
    return pictures


def sheet(pictures: np.ndarray) -> tuple[Image.Image, int]:
    """Return pictures (n, side, side, 3) as one image, row by row, and how many stand in a row."""
    count, side = pictures.shape[:2]
    columns = max(1, int(np.ceil(np.sqrt(count))))
    lines = -(-count // columns)
    tiles = np.zeros((lines * columns, side, side, 3), np.uint8)
    tiles[:count] = pictures
    grid = tiles.reshape(lines, columns, side, side, 3).swapaxes(1, 2)
    return Image.fromarray(grid.reshape(lines * side, columns * side, 3)), columns


def mean_colours(pictures: np.ndarray) -> np.ndarray:
    """Return each picture's mean colour in its middle half, where its subject is, uint8 (n, 3)."""
    quarter = pictures.shape[1] // 4
    middle = pictures[:, quarter : -quarter or None, quarter : -quarter or None]
    colours: np.ndarray = middle.reshape(len(pictures), -1, 3).mean(axis=1).round().astype(np.uint8)
    return colours
