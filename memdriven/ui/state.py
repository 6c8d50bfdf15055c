"""The one loaded model that every visitor of the page shares, read-only."""

from __future__ import annotations

import math
import secrets
from collections import Counter

from memdriven.data.vocabulary import tokenize
from memdriven.errors import CheckpointError, ConfigError
from memdriven.memory.bank import MemoryBank
from memdriven.pipeline import RANDOM_SEEDS, MemoryDrivenPipeline
from memdriven.recipe import MAX_SEED
from memdriven.ui import strings

CONCURRENCY_ID = "model"
"""Queue group of everything that runs the networks: one at a time on one machine."""

MAX_K = 8
"""More neighbours than this blur into an average."""
_COMMON = 0.5
"""A word in a larger share of the memory's captions than this tells nothing apart."""
_SAMPLE = 2_000

_loaded: list[MemoryDrivenPipeline] = []
_common: list[frozenset[str]] = []


def use(pipe: MemoryDrivenPipeline) -> None:
    """Show an already loaded pipeline."""
    _loaded[:] = [pipe]
    _common[:] = [_common_words(pipe.bank)]


def pipeline() -> MemoryDrivenPipeline:
    """Return the loaded model.

    Raises:
        CheckpointError: none was loaded.
    """
    if not _loaded:
        raise CheckpointError(wanted="a loaded checkpoint", found="none",
                              fix="start the page with app.py")  # fmt: skip
    return _loaded[0]


def common_words() -> frozenset[str]:
    """Return the words that most captions of the loaded memory share, e.g. "bird"."""
    return _common[0] if _common else frozenset()


def _common_words(bank: MemoryBank) -> frozenset[str]:
    items = bank.items[:: max(1, bank.n // _SAMPLE)]
    counts = Counter(word for item in items for word in set(tokenize(item.captions[0])))
    return frozenset(word for word, count in counts.items() if count > _COMMON * len(items))


def read_seed(written: str, keep: bool) -> int:
    """Return the seed in the text box when it is to be kept, else a random one.

    Raises:
        ConfigError: the seed to be kept is no whole number in range.
    """
    written = written.strip() if isinstance(written, str) else ""
    if not keep or not written:
        return secrets.randbelow(RANDOM_SEEDS)
    if not (written.isascii() and written.isdecimal() and len(written) <= 16):
        raise ConfigError(wanted=strings.SEED_WANTED.format(largest=MAX_SEED),
                          found=repr(written[:40]), fix=strings.SEED_FIX)  # fmt: skip
    seed = int(written)
    if seed > MAX_SEED:
        raise ConfigError(wanted=strings.SEED_WANTED.format(largest=MAX_SEED), found=written,
                          fix=strings.SEED_FIX)  # fmt: skip
    return seed


def read_strategy(source: str, comparison: str) -> str:
    """Return the strategy that the page's two choices mean together."""
    return str(comparison if source == "retrieved" else source)


def read_k(k: object) -> int:
    """Return the number of neighbours, clamped to what the page offers."""
    if not isinstance(k, int | float) or not math.isfinite(k):
        return 1
    return max(1, min(int(k), MAX_K, pipeline().bank.n))
