"""The captions that an evaluation draws, always the same ones in the same order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memdriven.data.prepared import Item, PreparedDataset


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One caption of one image."""

    item: Item
    caption: str
    named: Mapping[str, Any] = field(default_factory=dict)
    """Attributes that the caption names, where the data set knows."""


def prompts_hash(prompts: Sequence[Prompt]) -> str:
    """Return 12 hexadecimal digits that name a list of captions and their images' ids."""
    lines = "".join(f"{prompt.item.id}\0{prompt.caption}\n" for prompt in prompts)
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def choose_prompts(dataset: PreparedDataset, split: str, n: int) -> list[Prompt]:
    """Return n captions of a split: every image's first caption, then every second one, ...

    Images come in the order of a hash of their ids, so that a small n sees all classes and a
    larger n holds the smaller one's captions. Fewer are returned when the split has fewer.

    Raises:
        DataError: there is no such split.
    """
    items = sorted(dataset.split(split), key=lambda item: hashlib.sha256(item.id.encode()).digest())
    prompts: list[Prompt] = []
    for turn in range(max(len(item.captions) for item in items)):
        for item in items:
            if turn < len(item.captions) and len(prompts) < n:
                records = item.caption_attributes
                named = records[turn] if turn < len(records) else {}
                prompts.append(Prompt(item=item, caption=item.captions[turn], named=named))
    return prompts
