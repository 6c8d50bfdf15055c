"""What the left column asks for, and the references of a caption in one long line, found once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from memdriven.errors import CaptionError, MemDrivenError, RetrievalError, WordlessCaptionError
from memdriven.pipeline.output import Neighbour, PipelineOutput, Prepared, Retrieval, Tried
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference, Request, Variation, sums_to_one
from memdriven.ui import cards, state
from memdriven.ui.cards import MEMORY_EMPTY
from memdriven.ui.html import READY, failure, status
from memdriven.ui.steering import MAX_PINS, Steering

MEMORY_ERROR = "No references for this caption."

SHOWN = 6
"""Memories on screen: those in use and the next in line."""
CONTROLS = ("random", "oracle", "none")
"""Strategies without an order that one could go further down."""


@dataclass(frozen=True)
class LineUp:
    """What the memory panel shows, and what a picture is made with."""

    request: Request
    """What to paint: where references are given by hand, with these in place of retrieval."""
    retrieval: Retrieval
    """The references in use, with their shares."""
    spare: tuple[Neighbour, ...] = ()
    """Next in line."""
    steering: Steering = field(default_factory=Steering)
    tried: tuple[Tried, ...] = ()
    """The references that were painted with, to choose among them."""

    @property
    def steered(self) -> bool:
        """Whether the references are given by hand, at least in part."""
        return self.steering.active and self.retrieval.strategy != "none"


def line_up(request: Request, steering: Steering | None = None) -> LineUp:
    """Return the references in use and those next in line, after a visitor's wishes.

    With `best_of` above k the references are chosen by the pictures that they give. What is steered by
    hand begins from those that are shown (`Steering.shown`).

    Raises:
        CaptionError, RetrievalError: as `MemoryDrivenPipeline.retrieve`.
    """
    pipe, steering = state.pipeline(), steering or Steering()
    caption, strategy, k = request.caption, request.strategy or "", request.k or 1
    seed = request.seeds[0] if request.seeds else 0
    request = replace(request, exclude=masks(pipe, steering), images=steering.guests)
    held = dict(steering.held(caption, strategy, k))
    choosing = request.best_of > k and strategy not in CONTROLS
    if strategy == "none" or not (steering.active or held):
        retrieval, spare = neighbours(caption, strategy, k, seed)
        if not choosing or strategy == "none":
            return LineUp(request, retrieval, spare, steering)
        prepared, every = pipe.prepare(request), (*retrieval, *spare)
        spare = tuple(each for each in every if each.id not in prepared.retrieval.ids)
        return LineUp(request, prepared.retrieval, spare, steering, prepared.tried)
    tried: tuple[Tried, ...] = ()
    with pipe.turn:
        line = _long_line(pipe, caption, strategy, k, seed, steering)
        fill = 0 if steering.alone else max(0, k - len(steering.pins))
        found = held
        if choosing and steering.like is None and fill:
            prepared = pipe.prepare(request)
            tried = prepared.tried
            found = held or {each.id: each.weight for each in prepared.retrieval}
        found = found or {each.id: each.weight for each in line}
        used = {name: share for name, share in found.items() if name not in steering.pins}
        ids, weights = steering.mix(_whole(dict(list(used.items())[:fill])))
        request = replace(request, k=max(1, len(ids)), references=tuple(map(Reference, ids, weights)))
        retrieval = pipe.retrieve(request)
    return _placed(request, retrieval, line, steering, tried)


def _whole(found: Mapping[str, float]) -> dict[str, float]:
    """Return shares that sum to 1; those that do so already keep their last bit."""
    whole = math.fsum(found.values()) or 1.0
    return dict(found) if sums_to_one([whole]) else {name: each / whole for name, each in found.items()}


def neighbours(caption: str, strategy: str, k: int, seed: int) -> tuple[Retrieval, tuple[Neighbour, ...]]:
    """Return the k neighbours in use, and those next in line.

    Raises:
        CaptionError, RetrievalError: as `MemoryDrivenPipeline.retrieve`.
    """
    if strategy in CONTROLS:
        return state.pipeline().retrieve(caption, strategy, k, seed=seed), ()
    line = _line(_key(state.pipeline()), caption, strategy)
    whole = math.fsum(neighbour.weight for neighbour in line[:k])
    # A softmax over fewer neighbours is the same shares, scaled.
    used = tuple(replace(neighbour, weight=neighbour.weight / whole) for neighbour in line[:k])
    return replace(line, k=k, neighbours=used), line[k:SHOWN]


def again(prepared: Prepared, steering: Steering | None = None) -> LineUp:
    """Return the line-up of a picture that was made from ids, as `line_up` would show it.

    Args:
        prepared: the picture's, which tells of its references nothing but their shares.
        steering: what was done by hand since, e.g. which images are masked.
    """
    pipe, steering = state.pipeline(), steering or Steering()
    retrieval, seed = prepared.retrieval, prepared.request.seeds[0]
    line: Sequence[Neighbour] = ()
    # A recipe may name the neighbours of an `oracle` that its words do not have.
    with pipe.turn, suppress(RetrievalError):
        line = _long_line(pipe, retrieval.caption, retrieval.strategy, len(retrieval), seed, steering)
    return _placed(prepared.request, retrieval, line, steering, prepared.tried)


def _placed(
    request: Request,
    retrieval: Retrieval,
    line: Sequence[Neighbour],
    steering: Steering,
    tried: tuple[Tried, ...],
) -> LineUp:
    """Return given neighbours with what a line tells of them, and who is next in it."""
    rich = {each.id: each for each in line}
    used = tuple(
        replace(rich[each.id], weight=each.weight) if each.id in rich else each for each in retrieval
    )
    rest = [each for each in line if each.id not in retrieval.ids]
    count = max(SHOWN - len(used), 2 if steering.active else 0)
    return LineUp(request, replace(retrieval, neighbours=used), tuple(rest[:count]), steering, tried)


def masks(pipe: MemoryDrivenPipeline, steering: Steering) -> tuple[str, ...]:
    """Return the masked ids that a model's memory has; what is masked may be of another one."""
    return tuple(sorted(set(steering.masks).intersection(pipe.bank.ids)))


def _long_line(
    pipe: MemoryDrivenPipeline, caption: str, strategy: str, k: int, seed: int, steering: Steering
) -> Sequence[Neighbour]:
    """Return retrieval's own line without what is masked, or an image's look-alikes."""
    masked = masks(pipe, steering)
    longest = min(max(SHOWN, state.MAX_K) + MAX_PINS, pipe.bank.n - len(masked))
    if steering.like is not None:
        return pipe.alike(steering.like, longest, masked, steering.guests)
    if strategy in CONTROLS:
        count = min(longest, max(1, k + len(steering.pins)))
        return pipe.retrieve(caption, strategy, count, exclude=masked, seed=seed)
    return _line(_key(pipe), caption, strategy, longest, masked)


def _key(pipe: MemoryDrivenPipeline) -> str:
    return pipe.checkpoint.hash + pipe.bank_hash


@lru_cache(maxsize=16)
def _line(key: str, caption: str, strategy: str, longest: int = 0, masks: tuple[str, ...] = ()) -> Retrieval:
    """Retrieve once; the key names the model, so that the cache keeps none in memory."""
    pipe = state.pipeline()
    longest = longest or min(max(SHOWN, state.MAX_K), pipe.bank.n)
    return pipe.retrieve(caption, strategy, longest, exclude=masks)


class Query(NamedTuple):
    """What the left column's components hold, in the order that handlers are given it; not yet checked."""

    caption: object
    source: object
    comparison: object
    k: object
    seed: object
    keep: object
    steering: object = None
    share: object = None
    guidance: object = None
    mirror: object = None
    window: object = None
    tries: object = None


@dataclass(frozen=True)
class Asked:
    """One picture's question, with the references that the Picture tab shows for it."""

    request: Request

    @property
    def caption(self) -> str:
        """The words."""
        return self.request.caption

    @property
    def seed(self) -> int:
        """Of its noise."""
        return self.request.seeds[0]

    @property
    def variations(self) -> tuple[Variation, ...]:
        """Steps away from the seed's noise."""
        return self.request.variations

    def paint(self, pipe: MemoryDrivenPipeline) -> PipelineOutput:
        """Return the picture, the same as the Picture tab's."""
        return pipe(self.request)


def read(*query: object) -> Asked:
    """Return what is asked, from the values of `Compose.whole_query`.

    A seed in the box is used whether it is kept or not: it is that of the picture on screen.

    Raises:
        CaptionError: there are no words yet.
        RetrievalError: what was steered by hand cannot be served.
        ConfigError: the seed is no whole number in range, or there is no such window.
    """
    wanted, steering = question(*query, kept=True)
    return Asked(line_up(wanted, steering).request)


def question(*query: object, kept: bool = False) -> tuple[Request, Steering]:
    """Return the column's own request, and what was steered by hand; `read` puts both together.

    Args:
        query: the values of `Compose.whole_query`, or the first of them.
        kept: the seed in the box counts as kept.

    Raises:
        CaptionError, ConfigError: as `read`.
    """
    asked = Query(*query)
    if not isinstance(asked.caption, str) or not asked.caption.strip():
        raise CaptionError(
            wanted="words to start from", found="an empty box", fix="write a caption, or take an example"
        )
    steering = asked.steering if isinstance(asked.steering, Steering) else Steering()
    number = state.read_seed(asked.seed if isinstance(asked.seed, str) else "", kept or bool(asked.keep))
    request = Request(
        caption=asked.caption,
        seeds=(number,),
        strategy=state.read_strategy(str(asked.source), str(asked.comparison)),
        k=state.read_k(asked.k),
        variations=steering.steps_from(number, bool(asked.keep)),
        memory=state.read_memory(asked.share),
        guidance=state.read_guidance(asked.guidance),
        best_of=state.read_tries(asked.tries),
        mirror=state.read_mirror(asked.mirror),
        window=state.read_window(asked.window),
    )
    return request, steering


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
        return cards.note(MEMORY_EMPTY), "", status(READY)
    try:
        strategy = state.read_strategy(source, comparison)
        number = state.read_seed(seed, keep) if strategy == "random" else 0
        request = Request(caption=caption, strategy=strategy, k=state.read_k(k), seeds=(number,))
        line = line_up(request, steering)
    except WordlessCaptionError:  # no failure yet: the first word may be half written
        unknown = cards.unknown_words(state.pipeline().checkpoint.vocabulary.unknown(caption))
        return cards.note(MEMORY_ERROR), unknown, status("No known word yet.")
    except MemDrivenError as error:
        return cards.note(MEMORY_ERROR), "", failure(error)
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
    return panels(again(prepared, steering))


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
        return "Memory off."
    if line.steered:
        pins, masks = len(line.steering.pins), len(line.steering.masks)
        return f"References in use: {len(retrieval)}, {pins} pinned, {masks} excluded."
    return f"Words read: {len(retrieval.words)}. References in use: {len(retrieval)}."
