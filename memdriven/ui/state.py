"""The one loaded model that every visitor of the page shares, read-only."""

from __future__ import annotations

import secrets
from pathlib import Path

from memdriven.errors import CheckpointError, ConfigError
from memdriven.pipeline import RANDOM_SEEDS, MemoryDrivenPipeline
from memdriven.recipe import MAX_SEED
from memdriven.ui import strings

CONCURRENCY_ID = "model"
"""Queue group of everything that runs the networks: one at a time on one machine."""

_loaded: list[MemoryDrivenPipeline] = []


def load(checkpoint: Path | str, device: str = "auto") -> MemoryDrivenPipeline:
    """Load the checkpoint that the page shows, in place of any other.

    Raises:
        CheckpointError, BankError, ConfigError: as `MemoryDrivenPipeline.from_pretrained`.
    """
    use(MemoryDrivenPipeline.from_pretrained(checkpoint, device))
    return pipeline()


def use(pipe: MemoryDrivenPipeline) -> None:
    """Show an already loaded pipeline."""
    _loaded[:] = [pipe]


def pipeline() -> MemoryDrivenPipeline:
    """Return the loaded model.

    Raises:
        CheckpointError: none was loaded.
    """
    if not _loaded:
        raise CheckpointError(wanted="a loaded checkpoint", found="none",
                              fix="start the page with app.py")  # fmt: skip
    return _loaded[0]


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
    return comparison if source == "retrieved" else source
