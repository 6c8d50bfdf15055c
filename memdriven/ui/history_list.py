"""The list of past pictures on the History tab, each with its actions."""

from __future__ import annotations

from memdriven.pipeline.recipe import Recipe
from memdriven.ui import cards, strings
from memdriven.ui.html import tag, text
from memdriven.ui.moment import MOST, Moment, history


def panel_html(stored: object) -> str:
    """Return the list, newest first, each with its actions."""
    moments = history(stored)
    if not moments:
        return cards.note(strings.HISTORY_EMPTY)
    items = "".join(_item(place, each) for place, each in enumerate(moments))
    tools = [
        tag("button", text(label), type="button", class_="md-action", data_export=kind)
        for kind, label in (("sheet", strings.SHEET), ("zip", strings.ZIP))
    ]
    if any(each.get("star") for each in moments):
        tools.append(
            tag("button", text("Select favourites"), type="button", class_="md-action", data_tick="star")
        )
    tools.append(tag("button", text(strings.CLEAR), type="button", class_="md-link", data_act="clear"))
    note = tag("p", text(strings.HISTORY_NOTE.format(most=MOST)), class_="md-hint")
    actions = tag("div", "".join(tools), class_="md-actions")
    return note + actions + tag("ol", items, class_="md-history")


def _item(place: int, each: Moment) -> str:
    recipe, star = Recipe.from_json(each["recipe"]), bool(each.get("star"))
    label = strings.HISTORY_CHOOSE.format(number=place + 1, caption=recipe.caption)
    box = tag("input", type="checkbox", value=place, aria_label=label, data_star=star)
    picture = tag(
        "img", src=each["image"], width=72, height=72, alt=strings.PICTURE_ALT.format(caption=recipe.caption)
    )
    seen = tag(
        "button",
        picture,
        type="button",
        class_="md-history-picture",
        data_act="inspect",
        data_place=place,
        title=strings.INSPECT_HINT,
    )
    words = strings.VARIED if recipe.variations else strings.SEED_SHOWN
    seed = words.format(seed=recipe.seed, count=len(recipe.variations))
    facts = (
        tag("p", text(recipe.caption), class_="md-history-words")
        + tag("span", text(strings.RANK.format(rank=place + 1)), class_="md-history-number")
        + tag("span", text(seed), class_="md-seed")
    )
    buttons = "".join(
        tag(
            "button",
            text(name),
            type="button",
            class_="md-steer-button",
            data_act=kind,
            data_place=place,
            title=hint,
            aria_label=f"{name}: {recipe.caption}",
        )
        for kind, name, hint in (
            ("inspect", strings.INSPECT, strings.INSPECT_HINT),
            ("remix", strings.REMIX, strings.REMIX_HINT),
            ("restore", strings.RESTORE, strings.RESTORE_HINT),
            ("forget", strings.FORGET, None),
        )
    )
    buttons += tag(
        "button",
        text("\u2605 Favourite" if star else "\u2606 Favourite"),
        type="button",
        class_="md-steer-button",
        data_act="star",
        data_place=place,
        data_focus=f"star {place}",
        aria_pressed=str(star).lower(),
        title="Favourites stay when newer pictures push the others out",
        aria_label=f"Favourite: {recipe.caption}",
    )
    controls = tag("div", buttons, class_="md-steer")
    return tag("li", box + seen + tag("div", facts + controls), class_="md-moment")
