"""The references of a caption, found once, and the panel that shows them: cards, marked words, controls."""

import math
import re
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from memdriven.data.vocabulary import UnknownWord, tokenize
from memdriven.errors import MemDrivenError, RetrievalError, WordlessCaptionError
from memdriven.explore.compare import carries
from memdriven.memory.bank import MemoryBank
from memdriven.memory.retrieval import Neighbour
from memdriven.numbers import percent
from memdriven.pipeline.claims import DENYING, denials, several
from memdriven.pipeline.output import Prepared, Retrieval, Tried
from memdriven.pipeline.request import CONTROLS, Reference, Request
from memdriven.ui import state
from memdriven.ui.html import READY, data_uri, failure, image_uri, note, render, status
from memdriven.ui.query import Query
from memdriven.ui.steering import MAX_FACTOR, MAX_PINS, Steering

MEMORY_EMPTY = "Write a caption and the closest references appear here while you type."
MEMORY_ERROR = "No references for this caption."
SHOWN = 6
"""References on screen: those in use and the next in line."""


# ---- Selection: which references are used, and which are next in line ----------------------------


@dataclass(frozen=True)
class Selection:
    """What the memory panel shows, and what a picture is made with."""

    request: Request
    """What to paint: where references are given by hand, with these in place of retrieval."""
    retrieval: Retrieval
    """The references in use, with their shares."""
    spare: tuple[Neighbour, ...]
    """Next in line."""
    steering: Steering
    tried: tuple[Tried, ...] = ()
    """The references that were painted with, to choose among them."""


def read(*query: object) -> Request:
    """Return what the Picture tab paints, with the references that it shows, from the values of a `Query`.

    A seed in the box is used whether it is kept or not: it is that of the picture on screen.
    """
    asked = Query(*query)
    return select(asked.request(kept=True), asked.steering).request


def select(request: Request, steering: Steering) -> Selection:
    """Return the references in use and those next in line, after a visitor's wishes.

    With `best_of` above k the references are chosen by the pictures that they give. What is steered by
    hand begins from those that are shown (`held`).
    """
    pipe, strategy, k = state.pipeline(), request.strategy or "", request.k or 1
    # What is masked may be of another model's memory.
    masked = tuple(set(steering.masks).intersection(pipe.bank.ids))
    request = replace(request, exclude=masked, images=steering.images)
    if strategy == "none":
        return Selection(request, pipe.retrieve(request), (), steering)
    with pipe.turn:
        line = _in_line(request, steering)
        begun, found = held(steering, request.caption, strategy, k), line
        tried: tuple[Tried, ...] = ()
        fill = 0 if steering.alone else max(0, k - len(steering.pins))
        if request.best_of > k and strategy not in CONTROLS and steering.like is None and fill:
            chosen = pipe.prepare(request)
            found, tried = chosen.retrieval, chosen.tried
        if steering.active or begun:
            # What is pinned among them stays in its place, with its share: the same picture.
            shown = () if steering.alone else begun or found.shares[:k]
            free = [each.id for each in shown if each.id not in steering.pins][:fill]
            mixed = steering.mix([each for each in shown if each.id in (*steering.pins, *free)])
            request = replace(request, k=max(1, len(mixed)), references=mixed)
            found = pipe.retrieve(request)
        elif not tried:
            # A softmax over fewer references is the same shares, scaled.
            whole = math.fsum(line.weights[:k])
            used = tuple(replace(each, weight=each.weight / whole) for each in line[:k])
            found = replace(line, k=k, neighbours=used)
    return _placed(request, found, line, steering, tried)


def held(steering: Steering, caption: str, strategy: str, k: int) -> tuple[Reference, ...]:
    """Return the shown picture's references to begin from; none for other words, or where one is masked."""
    shown = steering.shown
    if shown is None or steering.like or (shown.caption, shown.strategy) != (caption, strategy):
        return ()
    references = shown.references or ()
    masked = any(each.id in steering.masks for each in references)
    return () if masked or len(references) != k else references


def again(prepared: Prepared, steering: Steering | None = None) -> Selection:
    """Return the selection of a picture that was made from ids, as `select` would show it.

    `prepared` tells of its references nothing but their shares.
    """
    steering, retrieval = steering or Steering(), prepared.retrieval
    line: Sequence[Neighbour] = ()
    request = replace(prepared.request, strategy=retrieval.strategy, k=len(retrieval) or 1)
    # A recipe may name the references of an `oracle` that its words do not have.
    with state.pipeline().turn, suppress(RetrievalError):
        line = _in_line(request, steering) if retrieval.strategy != "none" else ()
    return _placed(prepared.request, retrieval, line, steering, prepared.tried)


def _placed(
    request: Request,
    retrieval: Retrieval,
    line: Sequence[Neighbour],
    steering: Steering,
    tried: tuple[Tried, ...],
) -> Selection:
    """Return references with what the line tells of them, and who is next in it."""
    rich = {each.id: each for each in line}
    used = tuple(replace(rich.get(each.id, each), weight=each.weight) for each in retrieval)
    rest = [each for each in line if each.id not in retrieval.ids]
    count = max(SHOWN - len(used), 2 if steering.active else 0)
    return Selection(request, replace(retrieval, neighbours=used), tuple(rest[:count]), steering, tried)


def _in_line(request: Request, steering: Steering) -> Retrieval:
    pipe, strategy = state.pipeline(), request.strategy or ""
    longest = min(max(SHOWN, state.MAX_K) + MAX_PINS, pipe.bank.n - len(request.exclude))
    if steering.like is not None:
        alike = pipe.alike(steering.like, longest, request.exclude, steering.images)
        return Retrieval(caption=request.caption, strategy=strategy, k=longest, neighbours=alike)
    if strategy in CONTROLS:  # they have no order that one could go further down
        longest = min(longest, (request.k or 1) + len(steering.pins))
    seeds = request.seeds[:1] if strategy == "random" else (0,)
    alone = Request(
        caption=request.caption, strategy=strategy, k=longest, exclude=request.exclude, seeds=seeds
    )
    return _ranked(pipe.checkpoint.hash + pipe.bank_hash, alone)


@lru_cache(maxsize=16)  # the key names the model, so that the cache keeps none in memory
def _ranked(key: str, request: Request) -> Retrieval:
    return state.pipeline().retrieve(request)


# ---- The panel: what is found, for the words written so far --------------------------------------


def show_references(*query: object) -> tuple[str, str, str]:
    """Return memory panel, unknown words and status for what a `Query` holds so far."""
    asked = Query(*query)._replace(tries=None, window=None)
    if asked.empty:
        return note(MEMORY_EMPTY), "", status(READY)
    if asked.source != "random":  # a seed may be half written, where it does not count
        asked = asked._replace(seed="0", keep=True)
    try:
        found = select(asked.request(), asked.steering)
    except WordlessCaptionError:  # no failure yet: the first word may be half written
        words = state.pipeline().checkpoint.vocabulary.unknown(str(asked.caption))
        unknown = unknown_words(str(asked.caption), words)
        return note(MEMORY_ERROR), unknown, status("No known word yet.")
    except MemDrivenError as error:
        return note(MEMORY_ERROR), "", failure(error)
    count, steering = len(found.retrieval), found.steering
    summary = f"Words read: {len(found.retrieval.words)}. References in use: {count}."
    if found.retrieval.strategy == "none":
        summary = "Memory off."
    elif steering.active:
        summary = f"References in use: {count} ({len(steering.pins)} pinned, {len(steering.masks)} excluded)."
    return (*panels(found), status(summary))


def panels(found: Selection) -> tuple[str, str]:
    """Return memory panel and unknown words."""
    retrieval = found.retrieval
    unknown = unknown_words(retrieval.caption, retrieval.unknown_words, retrieval.truncated)
    return memory_panel(retrieval, found.spare, found.steering), unknown


def memory_panel(
    retrieval: Retrieval, spare: Sequence[Neighbour] = (), steering: Steering | None = None
) -> str:
    """Return the cards of the references in use, then those next in line as a short list.

    Without a steering the cards have no controls.
    """
    steered = ""
    if steering and steering.active:
        steered = "Steered by hand"
    elif steering and held(steering, retrieval.caption, retrieval.strategy, len(retrieval)):
        steered = "Kept for these words"
    return render(
        "memory",
        strategy=retrieval.strategy,
        tried=retrieval.tried,
        used=[_card(each, retrieval, steering) for each in retrieval],
        spare=[_card(each, retrieval, steering) for each in spare],
        steering=steering,
        steered=steered,
        masked=[_masked(name, state.pipeline().bank) for name in steering.masks] if steering else [],
        most=f"{MAX_FACTOR:g}",
    )


def _masked(name: str, bank: MemoryBank) -> dict[str, str]:
    """Return an excluded item; of another model's memory its id alone."""
    if name not in bank:
        return {"id": name, "src": ""}
    row = bank.index_of(name)
    return {"id": name, "src": data_uri(bank.thumbnail_bytes(row)), "caption": bank.items[row].captions[0]}


def unknown_words(caption: str, words: Sequence[UnknownWord], truncated: int = 0) -> str:
    """Return what a model does not take as it is written: words and the ones on offer, denials, numbers."""
    ignored, kinds = [each.word for each in words if each.replacement is None], state.paints()
    # What is denied is painted where the model knows a word of it, articles apart.
    denied = [each for each in denials(caption) if set(tokenize(each)) - _SMALL_WORDS - {*ignored}]
    if denied:
        ignored = [word for word in ignored if word not in DENYING]
    told = {
        "offers": [each for each in words if each.replacement is not None],
        "ignored": ignored,
        "truncated": truncated,
        "denied": denied,
        "one": kinds[0] if several(caption, kinds) else "",
    }
    return render("unknown", **told) if any(told.values()) else ""


def _card(neighbour: Neighbour, retrieval: Retrieval, steering: Steering | None) -> dict[str, object]:
    """Return one reference as `memory.html` shows it."""
    # One that was given by hand, from beyond the line, has a place in the mix but no rank.
    by_hand = steering is not None and steering.active and neighbour.percentile is None
    return {
        "of": neighbour,
        "src": data_uri(neighbour.webp) if neighbour.webp else image_uri(neighbour.image),
        "rank": "By hand" if by_hand else f"No. {neighbour.rank}",
        "share": percent(neighbour.weight) if len(retrieval) > 1 else "",
        "words": mark_words(neighbour.caption, retrieval.words, neighbour.word_weights, state.common_words()),
        "fit": _fit(neighbour, retrieval),
        "own": steering is not None and steering.owns(neighbour.id),
        "factor": f"{steering.factors.get(neighbour.id, 1.0):g}" if steering else "",
    }


_PIECE = re.compile(r"\w+|\W+")
_SMALL_WORDS = {"a", "an", "and", "are", "as", "at", "by", "has", "have", "in", "is", "it", "its", "of"}
_SMALL_WORDS |= {"on", "or", "that", "the", "this", "to", "which", "with"}
"""Shared by nearly every pair of captions, so marking them would say nothing."""


def main_words(words: Sequence[str], common: Set[str] | None = None) -> set[str]:
    """Return the words that tell captions of the memory apart: neither small nor in most of them."""
    return set(words) - _SMALL_WORDS - (state.common_words() if common is None else common)


def mark_words(
    caption: str,
    words: Sequence[str],
    strengths: Mapping[str, float] | None = None,
    common: Set[str] = frozenset(),
) -> list[tuple[str, str]]:
    """Return the pieces of a memory's caption, the query's words with how strongly each was matched.

    Small words are left alone, and those that most captions of the memory share, e.g. "bird".
    """
    shared, strengths = main_words(words, common), strengths or {}
    strongest, pieces = max(strengths.values(), default=0.0), []
    for piece in _PIECE.findall(caption):
        word = "".join(tokenize(piece))
        share = min(1.0, max(0.2, strengths.get(word, 0.0) / strongest)) if strongest > 0 else 1.0
        pieces.append((piece, f"{share:.2f}" if word in shared else ""))
    return pieces


def _fit(neighbour: Neighbour, retrieval: Retrieval) -> dict[str, object] | None:
    """Return how many of the things that the words name a reference has, or else how many of the words."""
    bank = state.pipeline().bank
    if neighbour.id not in bank:  # an image of the visitor's own
        return None
    has, by = carries(retrieval.named, bank.items[bank.index_of(neighbour.id)]), "things"
    if has is None:
        denied = {*DENYING, *tokenize(" ".join(denials(retrieval.caption)))}
        by, telling = "words", main_words(retrieval.words) - denied
        has = len(telling.intersection(tokenize(neighbour.caption))), len(telling)
    return {"by": by, "has": has[0], "of": has[1]} if has[1] else None
