"""The references of a caption, found once, and the panel that shows them: cards, marked words, controls."""

from __future__ import annotations

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
from memdriven.numbers import counted, percent
from memdriven.pipeline.claims import DENYING, denials, several
from memdriven.pipeline.output import Prepared, Retrieval, Tried
from memdriven.pipeline.request import CONTROLS, Reference, Request
from memdriven.ui import state
from memdriven.ui.html import CARD_ALT, READY, button, data_uri, failure, image_uri, status, tag
from memdriven.ui.query import Query
from memdriven.ui.steering import MAX_PINS, Steering, card_action, card_buttons

MEMORY_EMPTY = "Write a caption and the closest references appear here while you type."
MEMORY_ERROR = "No references for this caption."
FOLDED = 3
"""More ignored words than this are told by their number, and shown when it is opened."""
SHOWN = 6
"""References on screen: those in use and the next in line."""


# ---------------------------------------------------------------------------------------------------------
# Selection: which references are used, and which are next in line.


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
    request = replace(request, exclude=masked, images=steering.guests)
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
        alike = pipe.alike(steering.like, longest, request.exclude, steering.guests)
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


# ---------------------------------------------------------------------------------------------------------
# The panel: what is found, for the words written so far.


def look(*query: object) -> tuple[str, str, str]:
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
    told = f"Words read: {len(found.retrieval.words)}. References in use: {count}."
    if found.retrieval.strategy == "none":
        told = "Memory off."
    elif steering.active:
        told = f"References in use: {count} ({len(steering.pins)} pinned, {len(steering.masks)} excluded)."
    return (*panels(found), status(told))


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
    if retrieval.strategy == "none":
        return note("The memory is switched off: this picture comes from words and noise alone.")
    panel = steered_line(steering, retrieval, state.pipeline().bank) if steering else ""
    if retrieval.tried:
        words = f"Best of {retrieval.tried} references: its picture fits your words best."
        panel += tag("p", words, class_="md-hint md-tried")
    panel += tag("ol", *(_card(each, retrieval, steering) for each in retrieval), class_="md-cards")
    if spare:
        panel += tag("h3", "Runners-up (not used)", class_="md-small-title")
        panel += tag("ol", *(_card(each, retrieval, steering, True) for each in spare), class_="md-next")
    return panel


def steered_line(steering: Steering, retrieval: Retrieval, bank: MemoryBank) -> str:
    """Return what was done by hand, each with a way back; nothing when nothing was."""
    if not (steering.active or held(steering, retrieval.caption, retrieval.strategy, len(retrieval))):
        return ""
    line = tag("strong", "Steered by hand" if steering.active else "Kept for these words")
    if steering.like is not None:
        line += _undo("unlike", "", "Look-alikes of one reference", "back to the words")
    for name in steering.masks:
        if name in bank:
            row = bank.index_of(name)
            caption, source = bank.items[row].captions[0], data_uri(bank.thumbnail_bytes(row))
            picture = tag("img", src=source, alt=caption, width=28, height=28)
            line += _undo("mask", name, "Excluded", f"Allow again: {caption}", picture)
        else:  # of another model's memory
            line += _undo("mask", name, f"Excluded: {name}", f"Allow {name} again")
    return tag("div", line + button("Back to retrieval", "md-link", data_act="release"), class_="md-steered")


def _undo(act: str, item: str, label: str, hint: str, picture: str = "") -> str:
    words = label + picture + tag("span", "\u00d7", aria_hidden="true")
    does = {"data_act": act, "data_id": item, "title": hint, "aria_label": f"{label}: {hint}"}
    return tag("button", words, type="button", class_="md-undo", **does)


def note(message: str) -> str:
    """Return a quiet line for a panel that has nothing to show."""
    return tag("p", message, class_="md-note")


def unknown_words(caption: str, words: Sequence[UnknownWord], truncated: int = 0) -> str:
    """Return what a model does not take as it is written: words and the ones on offer, denials, numbers."""
    lines = []
    for unknown in words:
        if (known := unknown.replacement) is not None:
            why = "read as" if unknown.reason == "typo" else "taken as"
            does = {"data_unknown": unknown.word, "data_known": known}
            offer = button(known, "md-offer", **does, title=f"Write {known} instead of {unknown.word}")
            lines.append(tag("li", tag("del", unknown.word), tag("span", why), offer))
    ignored = [each.word for each in words if each.replacement is None]
    # What is denied is painted where the model knows a word of it, articles apart.
    denied = [each for each in denials(caption) if set(tokenize(each)) - _SMALL_WORDS - {*ignored}]
    if denied:
        ignored = [word for word in ignored if word not in DENYING]
    struck = [part for word in ignored for part in (tag("del", word), " ")]
    if len(ignored) > FOLDED:
        summary = tag("summary", f"{len(ignored)} words are not in the vocabulary (ignored)")
        lines.append(tag("li", tag("details", summary, *struck)))
    elif ignored:
        lines.append(tag("li", *struck, tag("span", "not in the vocabulary (ignored)")))
    if truncated:
        words_ = f"Beyond the model's limit and left out: the last {counted(truncated, 'word')}."
        lines.append(tag("li", words_))
    if denied:
        lines.append(tag("li", f"This model cannot leave things out: it will paint {', '.join(denied)}."))
    if several(caption, kinds := state.paints()):
        lines.append(tag("li", f"This model paints one {kinds[0]} at a time."))
    return tag("ul", *lines, class_="md-unknown") if lines else ""


def _card(neighbour: Neighbour, retrieval: Retrieval, steering: Steering | None, spare: bool = False) -> str:
    """Return one reference: image, rank, matched caption, how well it fits, share of the mix, controls."""
    # One that was given by hand, from beyond the line, has a place in the mix but no rank.
    by_hand = steering is not None and steering.active and neighbour.percentile is None
    source = data_uri(neighbour.webp) if neighbour.webp else image_uri(neighbour.image)
    image = tag("img", src=source, alt=CARD_ALT.format_map(vars(neighbour)), width=96, height=96)
    facts = tag("span", "By hand" if by_hand else f"No. {neighbour.rank}", class_="md-rank")
    quote = mark_words(neighbour.caption, retrieval.words, neighbour.word_weights, state.common_words())
    if spare:
        lines = tag("span", facts + " " + quote, class_="md-quote")
        if steering is not None:
            controls = (card_action(act, neighbour, steering) for act in ("pin", "mask"))
            lines += tag("span", *controls, class_="md-steer")
        return tag("li", image + tag("div", lines), class_="md-spare", data_id=neighbour.id)
    if neighbour.class_name:
        facts += tag("span", neighbour.class_name, class_="md-class")
    if len(retrieval) > 1:
        facts += tag("span", f"{percent(neighbour.weight)} of the mix", class_="md-share")
    lines = tag("div", facts, class_="md-facts") + tag("p", quote, class_="md-quote")
    lines += _fit(neighbour, retrieval)
    if steering is not None:
        lines += card_buttons(neighbour, steering, len(retrieval))
    return tag("li", image + tag("div", lines), class_="md-card", data_id=neighbour.id)


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
) -> str:
    """Return a memory's caption with the query's words in `<mark>`, as strongly as each was matched.

    Small words are left alone, and those that most captions of the memory share, e.g. "bird".
    """
    shared, strengths = main_words(words, common), strengths or {}
    strongest, marked = max(strengths.values(), default=0.0), ""
    for piece in _PIECE.findall(caption):
        word = "".join(tokenize(piece))
        share = min(1.0, max(0.2, strengths.get(word, 0.0) / strongest)) if strongest > 0 else 1.0
        style = f"--strength:{share:.2f}"
        marked += tag("mark", piece, style=style) if word in shared else piece
    return marked


def _fit(neighbour: Neighbour, retrieval: Retrieval) -> str:
    """Return how many of the things that the words name a reference has, or else how many of the words."""
    bank, label, score = state.pipeline().bank, "has {} of the {} things you named", None
    if neighbour.id not in bank:  # an image of the visitor's own
        return ""
    has = carries(retrieval.named, bank.items[bank.index_of(neighbour.id)])
    if has is None:
        denied = {*DENYING, *tokenize(" ".join(denials(retrieval.caption)))}
        label, telling = "its caption has {} of your {} main words", main_words(retrieval.words) - denied
        has = len(telling.intersection(tokenize(neighbour.caption))), len(telling)
        if has[1] == 1:
            label = f"its caption {'has' if has[0] else 'lacks'} your main word"
        if neighbour.score is not None:
            score = f"score {neighbour.score:.3f} ({retrieval.strategy}); "
            score += "scores of two strategies cannot be compared"
    elif has[1] == 1:
        label = "has what you named" if has[0] else "lacks what you named"
    if not has[1]:
        return ""
    bar = tag("span", tag("span", style=f"width:{100 * has[0] / has[1]:.1f}%"), class_="md-bar")
    bar += tag("span", label.format(*has), class_="md-bar-label")
    return tag("div", bar, class_="md-score", title=score)
