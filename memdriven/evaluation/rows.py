"""The rows of a table of pictures: the model, its controls, other strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

MODEL = "model"
CONTROLS = ("retrieved", "real", "random", "none", "oracle")
TRIED = 8
BEST = f"best-of-{TRIED}"
"""The model, with the one of so many neighbours whose picture fits the words best."""
ROWS = (*CONTROLS, BEST)
"""What can stand beside the model; the last costs a painting a neighbour."""
STRATEGY = "strategy "
"""Begins the name of a row whose neighbours another strategy found."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The images of one line of the table, one a caption."""

    name: str
    images: Tensor
    """uint8 (n, 3, size, size)."""
    drew_on: Sequence[str | None] | None = None
    """Id of the first neighbour each image drew on."""
    seeds: range | None = None
    """Of each image's noise, where G painted it."""
    strategy: str = ""
    """By which the neighbours were found."""
    note: str = ""
    """What a reader must know of these images."""
