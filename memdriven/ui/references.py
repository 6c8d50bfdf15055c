"""The references of a caption, found once, and the panel that shows them: cards, marked words, controls."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from memdriven.data.vocabulary import UnknownWord, tokenize
from memdriven.errors import CaptionError, MemDrivenError, RetrievalError, WordlessCaptionError
from memdriven.explore.compare import carries
from memdriven.pipeline.output import Neighbour, PipelineOutput, Prepared, Retrieval, Tried
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference, Request, Variation, sums_to_one
from memdriven.ui import state
from memdriven.ui.html import CARD_ALT, READY, button, failure, image_uri, status, tag, text, webp_uri
from memdriven.ui.steering import MAX_FACTOR, MAX_GUESTS, MAX_PINS, VGG_FIX, Steering, weight_file

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
        return note(MEMORY_EMPTY), "", status(READY)
    try:
        strategy = state.read_strategy(source, comparison)
        number = state.read_seed(seed, keep) if strategy == "random" else 0
        request = Request(caption=caption, strategy=strategy, k=state.read_k(k), seeds=(number,))
        line = line_up(request, steering)
    except WordlessCaptionError:  # no failure yet: the first word may be half written
        unknown = unknown_words(state.pipeline().checkpoint.vocabulary.unknown(caption))
        return note(MEMORY_ERROR), unknown, status("No known word yet.")
    except MemDrivenError as error:
        return note(MEMORY_ERROR), "", failure(error)
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
        memory_panel(retrieval, line.spare, state.common_words(), line.steering),
        unknown_words(retrieval.unknown_words, retrieval.truncated),
    )


def _found(line: LineUp) -> str:
    retrieval = line.retrieval
    if retrieval.strategy == "none":
        return "Memory off."
    if line.steered:
        pins, masks = len(line.steering.pins), len(line.steering.masks)
        return f"References in use: {len(retrieval)}, {pins} pinned, {masks} excluded."
    return f"Words read: {len(retrieval.words)}. References in use: {len(retrieval)}."


MEMORY_EMPTY = "Write a caption and the closest references appear here while you type."

PIN = "Pin"
MASK = "Exclude"
PIN_HINT = "Keep this reference whatever you type"
MASK_HINT = "Never use this reference"

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
    rank = "By hand" if by_hand else f"No. {neighbour.rank}"
    facts = [tag("span", text(rank), class_="md-rank")]
    if neighbour.class_name:
        facts.append(tag("span", text(neighbour.class_name), class_="md-class"))
    if len(retrieval) > 1:
        facts.append(tag("span", text(f"{neighbour.weight:.0%} of the mix"), class_="md-share"))
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
        return note("The memory is switched off: this picture comes from words and noise alone.")
    cards = "".join(neighbour_card(neighbour, retrieval, common, steering) for neighbour in retrieval)
    panel = steering_line(steering, retrieval) if steering else ""
    if retrieval.tried:
        panel += tag(
            "p",
            text(f"Best of {retrieval.tried} references: its picture fits your words best."),
            class_="md-hint md-tried",
        )
    panel += tag("ol", cards, class_="md-cards")
    if spare:
        rows = "".join(_spare_card(neighbour, retrieval, common, steering) for neighbour in spare)
        panel += tag("h3", text("Runners-up (not used)"), class_="md-small-title")
        panel += tag("ol", rows, class_="md-next")
    return panel


def unknown_words(words: Sequence[UnknownWord], truncated: int = 0) -> str:
    """Return the unknown words, struck through, each with a button for the word on offer."""
    lines = []
    for unknown in words:
        line = tag("del", text(unknown.word))
        if unknown.replacement is None:
            line += tag("span", text("not in the vocabulary (ignored)"))
        else:
            how = "read as" if unknown.reason == "typo" else "taken as"
            line += tag("span", text(how)) + button(
                unknown.replacement,
                "md-offer",
                data_unknown=unknown.word,
                data_known=unknown.replacement,
                title=f"Write {unknown.replacement} instead of {unknown.word}",
            )
        lines.append(tag("li", line))
    if truncated:
        lines.append(
            tag("li", text(f"The last {truncated} words are beyond the model's limit and were left out."))
        )
    return tag("ul", "".join(lines), class_="md-unknown") if lines else ""


def note(message: str) -> str:
    """Return a quiet line for a panel that has nothing to show."""
    return tag("p", text(message), class_="md-note")


def _spare_card(
    neighbour: Neighbour, retrieval: Retrieval, common: Set[str], steering: Steering | None
) -> str:
    quote = _quote(neighbour, retrieval, common)
    rank = tag("span", text(f"No. {neighbour.rank}"), class_="md-rank")
    facts = tag("span", rank + " " + quote, class_="md-quote")
    controls = spare_buttons(neighbour, steering) if steering is not None else ""
    return tag(
        "li", _image(neighbour) + tag("div", facts + controls), class_="md-spare", data_id=neighbour.id
    )


def _quote(neighbour: Neighbour, retrieval: Retrieval, common: Set[str]) -> str:
    return mark_words(neighbour.caption, retrieval.words, neighbour.word_weights, common)


def _image(neighbour: Neighbour) -> str:
    alt = CARD_ALT.format(rank=neighbour.rank, caption=neighbour.caption)
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
    label = ("closer to your words than {percentile} of the memory").format(
        percentile=f"{math.floor(percentile * 10) / 10:.1f} %"
    )
    score = (
        ""
        if neighbour.score is None
        else (f"score {neighbour.score:.3f} ({strategy}); scores of two strategies cannot be compared")
    )
    bar = tag(
        "span", tag("span", style=f"width:{percentile:.1f}%"), class_="md-bar", role="img", aria_label=label
    )
    return tag(
        "div", bar + tag("span", text(label), class_="md-bar-label"), class_="md-score", title=score or None
    )


def card_buttons(neighbour: Neighbour, steering: Steering, count: int) -> str:
    """Return a used neighbour's buttons, and its weight where there is a mix of `count`."""
    pinned = neighbour.id in steering.pins
    own = any(guest.id == neighbour.id for guest in steering.guests)
    buttons = [
        _button("pin", neighbour, "Pinned" if pinned else PIN, PIN_HINT, pressed=pinned),
        "" if own else _button("mask", neighbour, MASK, MASK_HINT),
        _button("only", neighbour, "Only this", "Use this reference alone") if count > 1 else "",
        _button(
            "like",
            neighbour,
            "More like this",
            "References that look like this one, instead of those that fit the words",
            pressed=True if steering.like == neighbour.id else None,
        ),
    ]
    if not own:
        buttons.append(
            button(
                "Use this caption",
                "md-steer-button",
                data_words=neighbour.caption,
                title="Write it as your words: the Oracle then finds this very picture",
            )
        )
    if count > 1:
        buttons.append(_weight(neighbour, steering.factors.get(neighbour.id, 1.0)))
    return tag("div", "".join(buttons), class_="md-steer")


def spare_buttons(neighbour: Neighbour, steering: Steering) -> str:
    """Return the buttons of a memory that is next in line."""
    buttons = _button("pin", neighbour, PIN, PIN_HINT)
    if neighbour.id not in steering.masks:
        buttons += _button("mask", neighbour, MASK, MASK_HINT)
    return tag("span", buttons, class_="md-steer")


def steering_line(steering: Steering, retrieval: Retrieval) -> str:
    """Return what was done by hand, each with a way back; nothing when nothing was."""
    held = steering.held(retrieval.caption, retrieval.strategy, len(retrieval))
    if not (steering.active or held):
        return ""
    parts = [tag("strong", text("Steered by hand" if steering.active else "Kept for these words"))]
    if steering.like is not None:
        parts.append(_undo("unlike", "", "Look-alikes of one reference", "back to the words"))
    parts += [
        _undo("mask", masked, f"Excluded: {masked}", f"Allow {masked} again") for masked in steering.masks
    ]
    parts.append(button("Back to retrieval", "md-link", data_act="release"))
    return tag("div", "".join(parts), class_="md-steered")


def own_panel(steering: Steering) -> str:
    """Return the tab's own images and the way to add one."""
    cells = []
    for number, guest in enumerate(steering.guests, start=1):
        used = guest.id in steering.pins
        picture = tag("img", src=image_uri(guest.image), width=48, height=48, alt=f"Your own image {number}")
        pin = tag(
            "button",
            picture,
            type="button",
            class_="md-mine-pin",
            data_act="pin",
            data_id=guest.id,
            aria_pressed=str(used).lower(),
            title=f"Pin own image {number}",
        )
        forget = button("Forget", "md-link", data_act="dismiss", data_id=guest.id)
        cells.append(tag("li", pin + forget))
    choose = tag(
        "input",
        type="file",
        accept="image/png,image/jpeg,image/webp",
        class_="md-file",
        aria_describedby="md-mine-hint",
        disabled=len(steering.guests) >= MAX_GUESTS,
    )
    add = tag("label", text("Add your own image") + choose, class_="md-action md-mine-add")
    images = tag("ul", "".join(cells), class_="md-mine-images") if cells else ""
    return tag("div", images + add + _own_hint(), class_="md-mine")


def _own_hint() -> str:
    """Return what becomes of an own image, or what it takes to read one."""
    if weight_file() is not None:
        return tag(
            "span",
            text("PNG, JPEG or WebP up to 8 MB. Only this tab sees it; it is gone when the tab is closed."),
            class_="md-hint",
            id="md-mine-hint",
        )
    words = tag("summary", text("Needs VGG-16, whose weights are not on this computer yet.")) + tag(
        "span", text(VGG_FIX)
    )
    return tag("details", words, class_="md-hint", id="md-mine-hint")


def _button(act: str, neighbour: Neighbour, label: str, hint: str, pressed: bool | None = None) -> str:
    if act == "pin":
        pressed = bool(pressed)
    return button(
        label,
        "md-steer-button",
        data_act=act,
        data_id=neighbour.id,
        data_focus=f"{act} {neighbour.id}",
        title=hint,
        aria_pressed=None if pressed is None else str(pressed).lower(),
        aria_label=f"{label}: {neighbour.caption}",
    )


def _weight(neighbour: Neighbour, factor: float) -> str:
    slider = tag(
        "input",
        type="range",
        min=0,
        max=f"{MAX_FACTOR:g}",
        step=0.1,
        value=f"{factor:g}",
        data_act="weigh",
        data_id=neighbour.id,
        data_focus=f"weigh {neighbour.id}",
        aria_label=f"Weight of reference {neighbour.rank}",
    )
    value = tag("output", text(f"\u00d7{factor:g}"))
    return tag("label", tag("span", text("weight")) + slider + value, class_="md-weight")


def _undo(act: str, item: str, label: str, hint: str) -> str:
    return tag(
        "button",
        text(label) + tag("span", "\u00d7", aria_hidden="true"),
        type="button",
        class_="md-undo",
        data_act=act,
        data_id=item,
        title=hint,
        aria_label=f"{label}: {hint}",
    )
