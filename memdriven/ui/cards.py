"""The memory panel as HTML: neighbour cards, marked words, words the model does not know."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set

from memdriven.data.vocabulary import UnknownWord, tokenize
from memdriven.errors import MemDrivenError
from memdriven.explore.compare import carries
from memdriven.pipeline.output import Neighbour, Retrieval
from memdriven.ui import state, strings
from memdriven.ui.card_controls import card_buttons, spare_buttons, steering_line
from memdriven.ui.html import image_uri, tag, text, webp_uri
from memdriven.ui.steering import Steering

_PIECE = re.compile(r"\w+|\W+")
_SMALL_WORDS = frozenset(
    (
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "by",
        "has",
        "have",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "that",
        "the",
        "this",
        "to",
        "which",
        "with",
    )
)
"""Shared by nearly every pair of captions, so marking them would say nothing."""


def mark_words(
    caption: str,
    words: Sequence[str],
    strengths: Mapping[str, float] | None = None,
    common: Set[str] = frozenset(),
) -> str:
    """Return a caption with the query's words in `<mark>`, small words left alone.

    Args:
        caption: a caption of the memory.
        words: the query's words as the model read them.
        strengths: how strongly each word was matched; the strongest is marked fully.
        common: words that most captions of this memory share, e.g. "bird"; not marked either.
    """
    shared = set(words) - _SMALL_WORDS - common
    strongest = max((strengths or {}).values(), default=0.0)
    pieces = []
    for piece in _PIECE.findall(caption):
        word = "".join(tokenize(piece))
        if word not in shared:
            pieces.append(text(piece))
            continue
        share = 1.0
        if strengths and strongest > 0:
            share = min(1.0, max(0.2, strengths.get(word, 0.0) / strongest))
        pieces.append(tag("mark", text(piece), style=f"--strength:{share:.2f}"))
    return "".join(pieces)


def neighbour_card(
    neighbour: Neighbour,
    retrieval: Retrieval,
    common: Set[str] = frozenset(),
    steering: Steering | None = None,
) -> str:
    """Return one neighbour: image, rank, matched caption, percentile bar, share of the mix.

    With a steering there are controls, too.
    """
    # One that was given by hand, from beyond the line, has a place in the mix but no rank.
    by_hand = steering is not None and steering.active and neighbour.percentile is None
    rank = strings.BY_HAND if by_hand else strings.RANK.format(rank=neighbour.rank)
    facts = [tag("span", text(rank), class_="md-rank")]
    if neighbour.class_name:
        facts.append(tag("span", text(neighbour.class_name), class_="md-class"))
    if len(retrieval) > 1:
        share = strings.WEIGHT.format(share=f"{neighbour.weight:.0%}")
        facts.append(tag("span", text(share), class_="md-share"))
    lines = [
        tag("div", "".join(facts), class_="md-facts"),
        tag("p", _quote(neighbour, retrieval, common), class_="md-quote"),
        _fit(neighbour, retrieval),
    ]
    if steering is not None:
        lines.append(card_buttons(neighbour, steering, len(retrieval)))
    return tag("li", _image(neighbour) + tag("div", "".join(lines)), class_="md-card", data_id=neighbour.id)


def memory_panel(
    retrieval: Retrieval,
    spare: Sequence[Neighbour] = (),
    common: Set[str] = frozenset(),
    steering: Steering | None = None,
) -> str:
    """Return the cards of the neighbours in use, then those next in line as a short list."""
    if retrieval.strategy == "none":
        return note(strings.MEMORY_NONE)
    cards = "".join(neighbour_card(neighbour, retrieval, common, steering) for neighbour in retrieval)
    panel = steering_line(steering, retrieval) if steering else ""
    if retrieval.tried:
        panel += tag("p", text(strings.TRIED.format(count=retrieval.tried)), class_="md-hint md-tried")
    panel += tag("ol", cards, class_="md-cards")
    if spare:
        rows = "".join(_spare_card(neighbour, retrieval, common, steering) for neighbour in spare)
        panel += tag("h3", text(strings.NEXT_TITLE), class_="md-small-title")
        panel += tag("ol", rows, class_="md-next")
    return panel


def unknown_words(words: Sequence[UnknownWord], truncated: int = 0) -> str:
    """Return the unknown words, struck through, each with a button for the word on offer."""
    lines = []
    for unknown in words:
        line = tag("del", text(unknown.word))
        if unknown.replacement is None:
            line += tag("span", text(strings.UNKNOWN))
        else:
            how = strings.TYPO if unknown.reason == "typo" else strings.SYNONYM
            line += tag("span", text(how)) + tag(
                "button",
                text(unknown.replacement),
                type="button",
                class_="md-offer",
                data_unknown=unknown.word,
                data_known=unknown.replacement,
                title=strings.USE_WORD.format(word=unknown.replacement, unknown=unknown.word),
            )
        lines.append(tag("li", line))
    if truncated:
        lines.append(tag("li", text(strings.TRUNCATED.format(count=truncated))))
    return tag("ul", "".join(lines), class_="md-unknown") if lines else ""


def note(message: str) -> str:
    """Return a quiet line for a panel that has nothing to show."""
    return tag("p", text(message), class_="md-note")


def _spare_card(
    neighbour: Neighbour, retrieval: Retrieval, common: Set[str], steering: Steering | None
) -> str:
    quote = _quote(neighbour, retrieval, common)
    rank = tag("span", text(strings.RANK.format(rank=neighbour.rank)), class_="md-rank")
    facts = tag("span", rank + " " + quote, class_="md-quote")
    controls = spare_buttons(neighbour, steering) if steering is not None else ""
    return tag(
        "li", _image(neighbour) + tag("div", facts + controls), class_="md-spare", data_id=neighbour.id
    )


def _quote(neighbour: Neighbour, retrieval: Retrieval, common: Set[str]) -> str:
    return mark_words(neighbour.caption, retrieval.words, neighbour.word_weights, common)


def _image(neighbour: Neighbour) -> str:
    alt = strings.CARD_ALT.format(rank=neighbour.rank, caption=neighbour.caption)
    source = webp_uri(neighbour.webp) if neighbour.webp else image_uri(neighbour.image)
    return tag("img", src=source, alt=alt, width=96, height=96)


def _fit(neighbour: Neighbour, retrieval: Retrieval) -> str:
    """Return how many of the named things a reference has; its percentile where nothing is known of them."""
    try:
        bank = state.pipeline().bank
        item = bank.item(bank.index_of(neighbour.id))
        has = carries(state.pipeline(), retrieval.caption, item)
    except MemDrivenError:  # an image of the visitor's own
        has = None
    if has is None:
        return _percentile_bar(neighbour, retrieval.strategy)
    label = f"has {has[0]} of the {has[1]} things you named"
    if has[1] == 1:
        label = "has what you named" if has[0] else "lacks what you named"
    bar = tag("span", tag("span", style=f"width:{100 * has[0] / has[1]:.0f}%"), class_="md-bar")
    return tag("div", bar + tag("span", text(label), class_="md-bar-label"), class_="md-score")


def _percentile_bar(neighbour: Neighbour, strategy: str) -> str:
    if neighbour.percentile is None:
        return ""
    percentile = min(100.0, max(0.0, neighbour.percentile))
    # Rounded down: nothing is closer than all of the memory, itself included.
    label = strings.PERCENTILE.format(percentile=f"{math.floor(percentile * 10) / 10:.1f} %")
    score = (
        ""
        if neighbour.score is None
        else strings.SCORE.format(score=f"{neighbour.score:.3f}", strategy=strategy)
    )
    bar = tag(
        "span", tag("span", style=f"width:{percentile:.1f}%"), class_="md-bar", role="img", aria_label=label
    )
    return tag(
        "div", bar + tag("span", text(label), class_="md-bar-label"), class_="md-score", title=score or None
    )
