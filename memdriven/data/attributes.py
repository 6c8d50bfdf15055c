"""Attribute records of items (colour of the wing, pose, ...) as labels for a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from memdriven.data.prepared import Item

IGNORED = -1
"""Label of an attribute that an image lacks or does not show."""
ABSENT = ("none", "plain")
"""Values that say that a marking is not there."""


def attribute_values(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return each attribute's values in the records, sorted; one-valued ones are left out."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.items():
            plain = _plain(value)
            if plain is not None and not isinstance(value, list | dict):
                found.setdefault(name, set()).add(plain)
    return {name: tuple(sorted(values)) for name, values in found.items() if len(values) > 1}


def visible_record(item: Item) -> dict[str, Any]:
    """Return the attributes that an item's picture shows (all of them if it does not say).

    What a picture lacks (`ABSENT`) can be seen in it too, so that a classifier learns to say so.
    """
    return {
        name: value
        for name, value in item.attributes.items()
        if not item.visible or name in item.visible or value in ABSENT
    }


def label_ids(records: Sequence[Mapping[str, Any]], attributes: Mapping[str, Sequence[str]]) -> Tensor:
    """Return label ids (n, attributes) of records; `IGNORED` where a value is absent."""
    tables = [
        dict[str | None, int]((value, i) for i, value in enumerate(values)) for values in attributes.values()
    ]
    rows = [
        [table.get(_plain(record.get(name)), IGNORED) for name, table in zip(attributes, tables, strict=True)]
        for record in records
    ]
    return torch.tensor(rows, dtype=torch.long).view(len(rows), len(attributes))


def _plain(value: Any) -> str | None:
    """An attribute's value as the text that a label stands for; None stays None."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
