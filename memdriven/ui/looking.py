"""What the memory offers for the words as they are: the panel that follows the keystrokes."""

from __future__ import annotations

from memdriven.errors import MemDrivenError, WordlessCaptionError
from memdriven.pipeline.output import Prepared
from memdriven.pipeline.request import Request
from memdriven.ui import cards, lineup, state, strings
from memdriven.ui.lineup import LineUp
from memdriven.ui.status import failure, status
from memdriven.ui.steering import Steering


def look(
    caption: object,
    source: str,
    comparison: str,
    k: int,
    seed: str,
    keep: bool,
    steering: Steering | None = None,
) -> tuple[str, str, str]:
    """Return memory panel, unknown words and status for what is written so far."""
    if not isinstance(caption, str) or not caption.strip():
        return cards.note(strings.MEMORY_EMPTY), "", status(strings.READY)
    try:
        strategy = state.read_strategy(source, comparison)
        number = state.read_seed(seed, keep) if strategy == "random" else 0
        request = Request(caption=caption, strategy=strategy, k=state.read_k(k), seeds=(number,))
        line = lineup.line_up(request, steering)
    except WordlessCaptionError:  # no failure yet: the first word may be half written
        unknown = cards.unknown_words(state.pipeline().checkpoint.vocabulary.unknown(caption))
        return cards.note(strings.MEMORY_ERROR), unknown, status(strings.FOUND_NO_WORD)
    except MemDrivenError as error:
        return cards.note(strings.MEMORY_ERROR), "", failure(error)
    return (*panels(line), status(_found(line)))


def look_again(
    caption: object,
    source: str,
    comparison: str,
    k: int,
    seed: str,
    keep: bool,
    steering: Steering | None = None,
) -> tuple[str, str]:
    """Return memory panel and unknown words alone, where the status has something else to say."""
    memory, unknown, _ = look(caption, source, comparison, k, seed, keep, steering)
    return memory, unknown


def panels_again(prepared: Prepared, steering: Steering | None = None) -> tuple[str, str]:
    """Return memory panel and unknown words for a picture that was made from a recipe."""
    return panels(lineup.again(prepared, steering))


def panels(line: LineUp) -> tuple[str, str]:
    """Return memory panel and unknown words."""
    retrieval = line.retrieval
    return (
        cards.memory_panel(retrieval, line.spare, state.common_words(), line.steering),
        cards.unknown_words(retrieval.unknown_words, retrieval.truncated),
    )


def _found(line: LineUp) -> str:
    retrieval = line.retrieval
    if retrieval.strategy == "none":
        return strings.FOUND_NONE
    if line.steered:
        pins, masks = len(line.steering.pins), len(line.steering.masks)
        return strings.STEERED_STATUS.format(count=len(retrieval), pins=pins, masks=masks)
    return strings.FOUND.format(count=len(retrieval), words=len(retrieval.words))
