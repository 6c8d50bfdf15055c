"""Which attributes of a bird a picture shows, and so a caption may name."""

from __future__ import annotations

NEEDED_SHARE: dict[str, float] = {
    "crown": 0.012,
    "head": 0.012,
    "throat": 0.010,
    "breast": 0.03,
    "belly": 0.03,
    "back": 0.03,
    "wing": 0.04,
    "tail": 0.012,
    "wing_bars": 0.006,
    "eye_ring": 0.0022,
    "eye_stripe": 0.0035,
    "beak_color": 0.005,
    "beak_shape": 0.008,
    "legs": 0.005,
    "crest": 0.02,
}
"""Share of the bird's pixels that a part must have to be named."""
_PART_OF = {"beak_color": "beak", "beak_shape": "beak", "crest": "crown"}


def visible_attributes(attributes: dict[str, str], shares: dict[str, float]) -> list[str]:
    """Attributes that the picture shows.

    attributes: all of them; shares: each part's share of the bird's pixels, from the part map.
    Markings that the bird does not have are never listed; kind, size, pose and place always are.
    """
    seen = []
    for name, value in attributes.items():
        if name in ("size", "body_plan", "pose", "background"):
            seen.append(name)
        elif value in ("none", "plain"):
            continue
        elif name == "pattern":
            if shares.get("breast", 0.0) + shares.get("belly", 0.0) > 0.10:
                seen.append(name)
        elif shares.get(_PART_OF.get(name, name), 0.0) >= NEEDED_SHARE[name]:
            seen.append(name)
    return seen
