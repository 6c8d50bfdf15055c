"""The named colours: what a caption may call a colour, and what light it reflects.

Each name stands for one region of colour space, kept apart from the others, so that a named colour
can be told from the picture alone. An individual bird varies a little around its name.
"""

from __future__ import annotations

import random

SRGB: dict[str, tuple[int, int, int]] = {
    "red": (206, 26, 30),
    "orange": (245, 126, 20),
    "yellow": (250, 214, 30),
    "olive": (128, 124, 42),
    "green": (44, 150, 58),
    "blue": (36, 92, 208),
    "purple": (112, 50, 158),
    "brown": (98, 64, 40),
    "rufous": (168, 76, 36),
    "buff": (226, 192, 136),
    "grey": (134, 138, 146),
    "black": (26, 26, 30),
    "white": (242, 242, 238),
    "pink": (240, 138, 164),
}
"""Name -> 8-bit sRGB, the middle of the colour's region."""

COLOURS: tuple[str, ...] = tuple(SRGB)
DARK = ("black", "brown", "purple", "blue", "rufous", "olive")
PALE = ("buff", "pink", "white", "yellow")
# Tuples, not sets: these are drawn from, and the order of a set of strings differs by process.
NEAR = frozenset(
    frozenset(pair)
    for pair in (
        ("brown", "rufous"),
        ("brown", "olive"),
        ("olive", "green"),
        ("orange", "rufous"),
        ("white", "buff"),
        ("brown", "black"),
        ("red", "rufous"),
        ("blue", "purple"),
    )
)
"""Pairs that read alike side by side: never put next to each other as a contrast."""


def srgb_to_linear(value: float) -> float:
    """One sRGB channel in [0, 1] to linear light (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def linear(name: str) -> tuple[float, float, float]:
    """Linear RGB reflectance of a named colour."""
    r, g, b = (srgb_to_linear(channel / 255) for channel in SRGB[name])
    return r, g, b


def individual(name: str, rng: random.Random) -> tuple[float, float, float]:
    """Linear RGB of one bird's version of a named colour: lighter or darker, warmer or cooler."""
    value = 2.0 ** rng.uniform(-0.16, 0.16)
    warmth = rng.uniform(-0.05, 0.05)
    r, g, b = linear(name)
    return (min(r * value * (1 + warmth), 1.0), min(g * value, 1.0), min(b * value * (1 - warmth), 1.0))


def contrast(one: str, other: str) -> bool:
    """Whether two names may stand next to each other as a marking that should be seen."""
    return one != other and frozenset((one, other)) not in NEAR
