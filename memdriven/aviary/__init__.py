"""Aviary: an embedded world of rendered birds, with captions that say what can be seen.

Two hundred invented species on sixteen body plans, ray-marched from signed-distance fields, each
picture drawn from (species, index, seed) alone. Names are loaded when first used, so that importing
this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memdriven.aviary.captions import describe
    from memdriven.aviary.prepare import prepare_aviary
    from memdriven.aviary.render import render_birds
    from memdriven.aviary.sheet import contact_sheet
    from memdriven.aviary.skin import PARTS
    from memdriven.aviary.species import ATTRIBUTES, TEST_SPECIES, TRAIN_SPECIES, Species, all_species
    from memdriven.aviary.specimen import BirdSpec, sample_bird
    from memdriven.aviary.visibility import visible_attributes

_HOME = {
    "ATTRIBUTES": "species",
    "BirdSpec": "specimen",
    "PARTS": "skin",
    "Species": "species",
    "TEST_SPECIES": "species",
    "TRAIN_SPECIES": "species",
    "all_species": "species",
    "contact_sheet": "sheet",
    "describe": "captions",
    "prepare_aviary": "prepare",
    "render_birds": "render",
    "sample_bird": "specimen",
    "visible_attributes": "visibility",
}

__all__ = [
    "ATTRIBUTES",
    "PARTS",
    "TEST_SPECIES",
    "TRAIN_SPECIES",
    "BirdSpec",
    "Species",
    "all_species",
    "contact_sheet",
    "describe",
    "prepare_aviary",
    "render_birds",
    "sample_bird",
    "visible_attributes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
