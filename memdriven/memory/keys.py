"""Search keys as directions of eight bits a number: half of float16, the same neighbours [ours].

Every score of a key is a cosine, so its length is not stored. docs/memory.md has the error.
"""

from __future__ import annotations

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
