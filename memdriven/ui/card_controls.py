"""What one can do with a memory: buttons of a card, the line of what was done, own images."""

from __future__ import annotations

from memdriven.encoders.vgg import WEIGHTS_VARIABLE
from memdriven.pipeline.output import Neighbour, Retrieval
from memdriven.ui import strings
from memdriven.ui.html import image_uri, tag, text
from memdriven.ui.own_image import weight_file
from memdriven.ui.steering import MAX_FACTOR, MAX_GUESTS, Steering


def card_buttons(neighbour: Neighbour, steering: Steering, count: int) -> str:
    """Return a used neighbour's buttons, and its weight where there is a mix of `count`."""
    pinned = neighbour.id in steering.pins
    own = any(guest.id == neighbour.id for guest in steering.guests)
    buttons = [
        _button(
            "pin", neighbour, strings.PINNED if pinned else strings.PIN, strings.PIN_HINT, pressed=pinned
        ),
        "" if own else _button("mask", neighbour, strings.MASK, strings.MASK_HINT),
        _button("only", neighbour, strings.ONLY, strings.ONLY_HINT) if count > 1 else "",
        _button(
            "like",
            neighbour,
            strings.LIKE,
            strings.LIKE_HINT,
            pressed=True if steering.like == neighbour.id else None,
        ),
    ]
    if not own:
        buttons.append(
            tag(
                "button",
                text("Use this caption"),
                type="button",
                class_="md-steer-button",
                data_words=neighbour.caption,
                title="Write it as your words: the Oracle then finds this very picture",
            )
        )
    if count > 1:
        buttons.append(_weight(neighbour, steering.factors.get(neighbour.id, 1.0)))
    return tag("div", "".join(buttons), class_="md-steer")


def spare_buttons(neighbour: Neighbour, steering: Steering) -> str:
    """Return the buttons of a memory that is next in line."""
    buttons = _button("pin", neighbour, strings.PIN, strings.PIN_HINT)
    if neighbour.id not in steering.masks:
        buttons += _button("mask", neighbour, strings.MASK, strings.MASK_HINT)
    return tag("span", buttons, class_="md-steer")


def steering_line(steering: Steering, retrieval: Retrieval) -> str:
    """Return what was done by hand, each with a way back; nothing when nothing was."""
    held = steering.held(retrieval.caption, retrieval.strategy, len(retrieval))
    if not (steering.active or held):
        return ""
    parts = [tag("strong", text(strings.STEERED if steering.active else "Kept for these words"))]
    if steering.like is not None:
        parts.append(_undo("unlike", "", strings.LIKE_ON, strings.LIKE_OFF))
    parts += [
        _undo("mask", masked, strings.MASKED.format(id=masked), strings.UNMASK.format(id=masked))
        for masked in steering.masks
    ]
    parts.append(tag("button", text(strings.RELEASE), type="button", class_="md-link", data_act="release"))
    return tag("div", "".join(parts), class_="md-steered")


def own_panel(steering: Steering) -> str:
    """Return the tab's own images and the way to add one."""
    cells = []
    for number, guest in enumerate(steering.guests, start=1):
        used = guest.id in steering.pins
        picture = tag(
            "img", src=image_uri(guest.image), width=48, height=48, alt=strings.OWN_ALT.format(number=number)
        )
        pin = tag(
            "button",
            picture,
            type="button",
            class_="md-mine-pin",
            data_act="pin",
            data_id=guest.id,
            aria_pressed=str(used).lower(),
            title=strings.OWN_USE.format(number=number),
        )
        forget = tag(
            "button",
            text(strings.OWN_FORGET),
            type="button",
            class_="md-link",
            data_act="dismiss",
            data_id=guest.id,
        )
        cells.append(tag("li", pin + forget))
    choose = tag(
        "input",
        type="file",
        accept="image/png,image/jpeg,image/webp",
        class_="md-file",
        aria_describedby="md-mine-hint",
        disabled=len(steering.guests) >= MAX_GUESTS,
    )
    add = tag("label", text(strings.OWN_ADD) + choose, class_="md-action md-mine-add")
    images = tag("ul", "".join(cells), class_="md-mine-images") if cells else ""
    return tag("div", images + add + _own_hint(), class_="md-mine")


def _own_hint() -> str:
    """Return what becomes of an own image, or what it takes to read one."""
    if weight_file() is not None:
        return tag("span", text(strings.OWN_HINT), class_="md-hint", id="md-mine-hint")
    fix = strings.VGG_FIX.format(variable=WEIGHTS_VARIABLE)
    words = tag("summary", text(strings.OWN_ABSENT)) + tag("span", text(fix))
    return tag("details", words, class_="md-hint", id="md-mine-hint")


def _button(act: str, neighbour: Neighbour, label: str, hint: str, pressed: bool | None = None) -> str:
    if act == "pin":
        pressed = bool(pressed)
    return tag(
        "button",
        text(label),
        type="button",
        class_="md-steer-button",
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
        aria_label=strings.WEIGHT_LABEL.format(rank=neighbour.rank),
    )
    value = tag("output", text(f"\u00d7{factor:g}"))
    return tag("label", tag("span", text(strings.WEIGHT_SHORT)) + slider + value, class_="md-weight")


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
