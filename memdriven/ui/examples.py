"""What the page begins with: captions to try, the words a model knows, and how many references are tried.

Captions and tries are a checkpoint's own, in examples.json; without it, captions of its memory and one
reference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from memdriven.errors import DataError
from memdriven.files import read_json
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_TRIED
from memdriven.ui import state, strings
from memdriven.ui.html import tag, text
from memdriven.ui.status import failure

FILE = "examples.json"
COUNT = 4


def read_examples(pipe: MemoryDrivenPipeline) -> list[str]:
    """Return captions that a model knows the words of.

    They are those in examples.json of its folder; without one, the shortest captions of some
    items of its memory.

    Raises:
        DataError: the file holds something else.
    """
    path = pipe.checkpoint.path / FILE
    if not path.is_file():
        items = pipe.bank.items[:: max(1, pipe.bank.n // COUNT)][:COUNT]
        return list(dict.fromkeys(min(item.captions, key=len) for item in items))
    captions = read_json(path, DataError).get("captions")
    if not isinstance(captions, list) or not all(isinstance(each, str) for each in captions):
        raise DataError(
            wanted=f"a list of captions in {path}", found=json.dumps(captions)[:80], fix="restore the file"
        )
    return captions


def read_tries(pipe: MemoryDrivenPipeline) -> int:
    """Return how many references a model's page begins by trying (`references_tried`).

    Raises:
        DataError: the file holds something else.
    """
    path = pipe.checkpoint.path / FILE
    told = read_json(path, DataError).get("references_tried", 1) if path.is_file() else 1
    if type(told) is not int or not 1 <= told <= MAX_TRIED:
        raise DataError(
            wanted=f"references_tried in 1..{MAX_TRIED} in {path}",
            found=json.dumps(told)[:80],
            fix="restore the file",
        )
    return told


def example_chips(captions: Sequence[str]) -> str:
    """Return example captions as buttons; page.js writes a clicked one into the box."""
    chips = "".join(
        tag("li", tag("button", text(each), type="button", class_="md-chip", data_caption=each))
        for each in captions
    )
    return tag("ul", chips, class_="md-chips", aria_label=strings.EXAMPLES_LABEL)


def known_words() -> str:
    """Return how many words the visitor's model knows and what about; all of them when unfolded."""
    words = sorted(word for word in state.pipeline().vocabulary if word.isalpha())
    about = f" about {subject}s" if (subject := state.subject()) else ""
    buttons = "".join(
        tag("button", text(word), type="button", class_="md-word", data_word=word) for word in words
    )
    return tag(
        "details",
        tag("summary", text(f"Knows {len(words)} words{about}"))
        + tag("p", text("Choose one to add it to yours."), class_="md-hint")
        + tag("div", buttons, class_="md-words", tabindex=0, role="group", aria_label="Known words"),
        class_="md-known",
    )


def batch() -> str:
    """Return the place for several captions, which are painted one after the other (`words.js`)."""
    box = tag("textarea", rows=5, aria_label="Captions, one a line", placeholder="a red bird\na blue bird")
    run = tag("button", text("Paint all"), type="button", class_="md-action", id="batch-run")
    return tag(
        "details",
        tag("summary", text("Batch"))
        + tag("p", text("One a line; each becomes a picture of the History. Stop ends it."), class_="md-hint")
        + box
        + run
        + tag("p", class_="md-hint", role="status"),
        class_="md-known",
    )


def chips() -> str:
    """Return the buttons for the visitor's model, or what is wrong with its file."""
    try:
        pipe = state.pipeline()
        read_tries(pipe)
        return example_chips(read_examples(pipe))
    except DataError as error:
        return failure(error)
