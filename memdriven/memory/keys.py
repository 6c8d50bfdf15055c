"""Search keys as directions of eight bits a number: half of float16, the same neighbours [ours].

Every score of a key is a cosine, so its length is not stored. docs/memory.md has the error.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 127


def quantise_keys(keys: Tensor) -> Tensor:
    """Return int8 rows (n, d) that point where keys (n, d) point; a zero row stays zero."""
    rows = keys.detach().float().cpu()
    largest = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return (rows / largest * LEVELS).round().to(torch.int8)


def unit_keys(levels: Tensor) -> Tensor:
    """Return float32 rows of length 1 from int8 rows (n, d)."""
    return F.normalize(levels.float(), dim=1)


class KeysWriter:
    """Writes `sentence` (m, d) and `global` (n, d), int8, as safetensors, a part at a time."""

    def __init__(self, path: Path, captions: int, items: int, dim: int) -> None:
        """Begin a file for so many rows of width `dim`."""
        sentence, both = captions * dim, (captions + items) * dim
        table = {
            "sentence": {"dtype": "I8", "shape": [captions, dim], "data_offsets": [0, sentence]},
            "global": {"dtype": "I8", "shape": [items, dim], "data_offsets": [sentence, both]},
        }
        text = json.dumps(table).encode()
        text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8 bytes
        self._stream = path.open("wb")
        self._stream.write(struct.pack("<Q", len(text)) + text)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()

    def append(self, rows: bytes) -> None:
        """Write the next int8 rows: first all captions', then all items'."""
        self._stream.write(rows)
