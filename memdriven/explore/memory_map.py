"""The memory as a map: every picture a point, alike captions near each other.

Positions come from a file beside the bank, which `build-memory` and `own-memory` renew; or, without it, from
the two directions in which the captions' keys differ most (PCA, at once).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F
from tqdm import trange

from memdriven.checkpoint import MAP, record_files
from memdriven.errors import BankError, explained, require
from memdriven.files import atomic_write_bytes
from memdriven.memory.bank import MEMORY, MemoryBank

SCHEMA = "memdriven.map/1"
REPAIR = "delete the file, or build the memory again"
PERPLEXITY = 30.0
STEPS = 500
LARGEST = 5_000
"""Items above which `renew_map` writes none: time and memory grow with their square."""
Progress = Callable[[int, int], None]
"""Told how many of how many are done."""


# ---- Where each item lies ------------------------------------------------------------------------


@dataclass(frozen=True)
class Map:
    """Where each item of a bank lies."""

    points: Tensor
    """(n, 2) in -1..1."""
    directions: Tensor
    """Each item's mean caption key, length 1, (n, d): what the map is a picture of."""
    stored: bool
    """Whether the positions were computed beforehand."""

    def place(self, sentence: Tensor, count: int = 5) -> Tensor:
        """Return where a caption's embedding (d,) belongs: amid its nearest items, (2,)."""
        cosines = self.directions @ F.normalize(sentence.float().cpu(), dim=0)
        found = cosines.topk(min(count, len(cosines)))
        weights = (found.values / 0.05).softmax(dim=0)
        return (weights[:, None] * self.points[found.indices]).sum(dim=0)


def read_map(bank: MemoryBank, path: Path) -> Map:
    """Return a bank's map from a file (BankError: it is damaged), or by PCA where there is none of it."""
    directions = item_directions(bank)
    if path.is_file():
        unreadable = explained(BankError, f"a map of the memory in {path}", REPAIR, SafetensorError, OSError)
        with unreadable, safe_open(path, "pt") as content:
            facts, points = content.metadata() or {}, content.get_tensor("points").float()
        if facts.get("bank") == _bank_hash(bank):  # else the memory has been exchanged since
            found, wanted = (facts.get("schema"), tuple(points.shape)), (SCHEMA, (bank.n, 2))
            require(found == wanted, BankError, f"the map {wanted} in {path}", found, REPAIR)
            return Map(points, directions, stored=True)
    return Map(_fit(principal(directions)), directions, stored=False)


def renew_map(checkpoint: Path, *, steps: int = STEPS) -> None:
    """Give a checkpoint's folder the map of the memory in it, unless it has that; none of a large memory."""
    bank, path = MemoryBank(checkpoint / MEMORY), checkpoint / MAP
    with suppress(BankError):  # a damaged one is written again
        if read_map(bank, path).stored:
            return
    if bank.n <= LARGEST:
        points = _fit(neighbour_embedding(item_directions(bank), steps=steps))
        facts = {"schema": SCHEMA, "bank": _bank_hash(bank)}
        atomic_write_bytes(path, save({"points": points.half().contiguous()}, facts))
    else:  # the page draws principal components
        path.unlink(missing_ok=True)
    record_files(checkpoint)


def item_directions(bank: MemoryBank) -> Tensor:
    """Return the mean of each item's caption keys, scaled to length 1, (n, d)."""
    total = torch.zeros(bank.n, bank.sentence_keys.shape[1])
    return F.normalize(total.index_add_(0, bank.caption_item, bank.sentence_keys), dim=1)


def principal(rows: Tensor) -> Tensor:
    """Return rows (n, d) in their two principal directions, (n, 2); signs are fixed."""
    centred = (rows - rows.mean(dim=0)).double()
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -2:].flip(1)
    flat: Tensor = (centred @ (axes * axes[axes.abs().argmax(dim=0), [0, 1]].sign())).float()
    return flat


def neighbour_embedding(rows: Tensor, perplexity: float = PERPLEXITY, steps: int = STEPS) -> Tensor:
    """Return a layout (n, 2) in which near rows (n, d) stay near: t-SNE, exact, from PCA.

    Van der Maaten & Hinton 2008; memory and time a step grow with n^2.
    """
    p = _likeness(rows, min(perplexity, (len(rows) - 1) / 3))
    start = principal(rows)
    y = start / start.std().clamp_min(1e-9) * 1e-2
    speed, gain = torch.zeros_like(y), torch.ones_like(y)
    rate = max(50.0, len(rows) / 12 / 4)
    for step in trange(steps, desc="map"):
        early = step < steps // 4
        closeness = 1 / (1 + torch.cdist(y, y).square_())
        closeness.fill_diagonal_(0)
        pull = (p * (12 if early else 1) - closeness / closeness.sum()).mul_(closeness)
        slope = 4 * (pull.sum(dim=1, keepdim=True) * y - pull @ y)
        gain = torch.where(slope.sign() != speed.sign(), gain + 0.2, gain * 0.8).clamp_min(0.01)
        speed = (0.5 if early else 0.8) * speed - rate * gain * slope
        y = y + speed
        y = y - y.mean(dim=0)
    return y


def _likeness(rows: Tensor, perplexity: float) -> Tensor:
    """Return p (n, n): symmetric, summing to 1, each row's width set by the perplexity."""
    squared = torch.cdist(rows, rows).square_()
    wanted = torch.tensor(perplexity).log()
    low, high = torch.full((len(rows), 1), 1e-4), torch.full((len(rows), 1), 1e6)
    for _ in range(40):  # bisection of the precision, on a logarithmic scale
        precision = (low * high).sqrt()
        p = (-squared * precision).fill_diagonal_(-torch.inf).softmax(dim=1)
        too_wide = torch.special.entr(p).sum(dim=1, keepdim=True) > wanted
        low, high = torch.where(too_wide, precision, low), torch.where(too_wide, high, precision)
    return (p + p.T) / (2 * len(rows))


def _fit(points: Tensor) -> Tensor:
    """Return points centred and scaled to -1..1, the same scale both ways."""
    middle = (points.amin(dim=0) + points.amax(dim=0)) / 2
    return (points - middle) / (points - middle).abs().max().clamp_min(1e-9)


def _bank_hash(bank: MemoryBank) -> str:
    """Name the keys, of which alone the map is made: other pixel networks leave it as it is."""
    return str(bank.header["files"]["keys.safetensors"]["sha256"])[:16]


# ---- What stands there: the thumbnails, small and all at once ------------------------------------


def small_pictures(
    bank: MemoryBank, rows: Sequence[int], side: int, progress: Progress | None = None
) -> np.ndarray:
    """Return the thumbnails of some rows at one size, uint8 (n, side, side, 3)."""
    pictures = np.empty((len(rows), side, side, 3), np.uint8)
    for place, row in enumerate(rows):
        if progress and place % 200 == 0:
            progress(place, len(rows))
        pictures[place] = np.asarray(bank.thumbnail(row).resize((side, side), Image.Resampling.BOX))
    return pictures


def mean_colours(pictures: np.ndarray) -> np.ndarray:
    """Return each picture's mean colour in its middle half, where its subject is, uint8 (n, 3)."""
    quarter = pictures.shape[1] // 4
    middle = pictures[:, quarter : -quarter or None, quarter : -quarter or None]
    colours: np.ndarray = middle.reshape(len(pictures), -1, 3).mean(axis=1).round().astype(np.uint8)
    return colours
