"""The models that the visitors of the page share, read-only, and what they ask of them."""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from functools import lru_cache

from memdriven.config import MAX_GUIDANCE
from memdriven.data.vocabulary import tokenize
from memdriven.errors import CheckpointError, ConfigError
from memdriven.models.noise import Window
from memdriven.numbers import is_number
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import DRAWN_SEEDS, MAX_SEED, MAX_TRIED
from memdriven.ui import strings
from memdriven.ui.shelf import Shelf
from memdriven.ui.startup import session

CONCURRENCY_ID = "model"
"""Queue group of everything that runs the networks: one at a time on one machine."""

MAX_K = 8
"""More neighbours than this blur into an average."""
_COMMON = 0.5
"""A word in a larger share of the memory's captions than this tells nothing apart."""
_SAMPLE = 2_000

_SESSIONS = 10_000
"""Tabs whose choice of checkpoint is remembered."""

_shelf: list[Shelf] = []
_chosen: OrderedDict[str, str] = OrderedDict()


def use(offered: MemoryDrivenPipeline | Shelf) -> None:
    """Show a shelf of checkpoints, or one loaded pipeline."""
    _shelf[:] = [offered if isinstance(offered, Shelf) else Shelf.holding(offered)]
    _chosen.clear()


def shelf() -> Shelf:
    """Return the checkpoints on offer.

    Raises:
        CheckpointError: there are none.
    """
    if not _shelf:
        raise CheckpointError(wanted="a loaded checkpoint", found="none", fix="start the page with app.py")
    return _shelf[0]


def pipeline() -> MemoryDrivenPipeline:
    """Return the model that the visitor whose handler is running has chosen.

    Raises:
        CheckpointError: none was loaded, or it cannot be opened again.
    """
    return shelf().get(chosen())


def choose(name: str) -> MemoryDrivenPipeline:
    """Let the visitor whose handler is running use another checkpoint from now on.

    Raises:
        CheckpointError, BankError: it cannot be opened; the choice stays as it was.
    """
    pipe, visitor = shelf().get(name), session()
    if visitor is not None:
        _chosen[visitor] = name
        _chosen.move_to_end(visitor)
        while len(_chosen) > _SESSIONS:
            _chosen.popitem(last=False)
    return pipe


def chosen() -> str:
    """Return the name of the checkpoint that the visitor whose handler is running uses."""
    return _chosen.get(session() or "", shelf().default)


def common_words() -> frozenset[str]:
    """Return the words that most captions of the loaded memory share, e.g. "bird"."""
    return _common_words(pipeline().bank_hash) if _shelf else frozenset()


def subject() -> str:
    """Return the longest word that most captions of the loaded memory share, e.g. "bird"; "" for none."""
    return max((word for word in common_words() if word.isalpha() and len(word) > 3), key=len, default="")


@lru_cache(maxsize=8)
def _common_words(bank_hash: str) -> frozenset[str]:
    """Count once for each bank; the key is its hash, so that no bank is kept in memory by it."""
    bank = pipeline().bank
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
        return secrets.randbelow(DRAWN_SEEDS)
    if not (written.isascii() and written.isdecimal() and len(written) <= 16):
        raise ConfigError(
            wanted=strings.SEED_WANTED.format(largest=MAX_SEED),
            found=repr(written[:40]),
            fix=strings.SEED_FIX,
        )
    seed = int(written)
    if seed > MAX_SEED:
        raise ConfigError(
            wanted=strings.SEED_WANTED.format(largest=MAX_SEED), found=written, fix=strings.SEED_FIX
        )
    return seed


def offers_memory() -> bool:
    """Return whether the visitor's model was trained on weakened memories, too."""
    return pipeline().config.train.p_fade > 0


def read_memory(share: object) -> float:
    """Return how much of the memory is used, clamped; all of it where the model offers no less."""
    if not is_number(share):
        return 1.0
    return min(1.0, max(0.0, float(share))) if offers_memory() else 1.0


def read_mirror(choice: object) -> bool | None:
    """Return whether the memory is seen mirrored; None where the seed decides."""
    return {"no": False, "yes": True}.get(str(choice))


def read_window(written: object) -> Window | None:
    """Return the part of the memory that is seen, from "left top side"; None where the seed decides.

    Raises:
        ConfigError: it is no three numbers.
    """
    parts = written.replace(",", " ").split() if isinstance(written, str) else []
    if not parts:
        return None
    try:
        x, y, side = map(float, parts)
    except ValueError:
        raise ConfigError(
            wanted="a window: left, top and side of a square in 0 to 1",
            found=repr(written)[:40],
            fix="choose one, or write e.g. 0.1 0.1 0.8",
        ) from None
    return x, y, side


def shown_window(window: Window | None) -> str:
    """Return a window as `read_window` takes it; "" where the seed decides."""
    return " ".join(f"{share:.6g}" for share in window) if window is not None else ""


def read_guidance(guidance: object) -> float:
    """Return how far words are moved from their memory's, clamped; else the model's own."""
    if not is_number(guidance):
        return pipeline().config.generator.guidance
    return min(MAX_GUIDANCE, max(0.0, float(guidance)))


def offers_tries() -> bool:
    """Return whether the visitor's model can tell which of several pictures fits the words."""
    return pipeline().checkpoint.damsm.pixels is not None


def read_tries(tries: object) -> int:
    """Return how many memories are tried, clamped; one where the model cannot choose."""
    if not is_number(tries):
        return 1
    return min(MAX_TRIED, max(1, int(tries))) if offers_tries() else 1


def read_strategy(source: str, comparison: str) -> str:
    """Return the strategy that the page's two choices mean together."""
    return str(comparison if source == "retrieved" else source)


def read_k(k: object) -> int:
    """Return the number of neighbours, clamped to what the page offers."""
    if not is_number(k):
        return 1
    return max(1, min(int(k), MAX_K, pipeline().bank.n))
