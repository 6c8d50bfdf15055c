"""The words of the captions: what people call the colours, parts, shapes, poses and places."""

from __future__ import annotations

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "bright red", "scarlet", "crimson"),
    "orange": ("orange", "orange", "bright orange", "vivid orange"),
    "yellow": ("yellow", "yellow", "bright yellow", "golden yellow"),
    "olive": ("olive", "olive", "olive colored", "dull olive"),
    "green": ("green", "green", "bright green", "vivid green"),
    "blue": ("blue", "blue", "bright blue", "deep blue"),
    "purple": ("purple", "purple", "violet", "deep purple"),
    "brown": ("brown", "brown", "dark brown"),
    "rufous": ("rufous", "rufous", "rusty", "chestnut"),
    "buff": ("buff", "buff", "tan", "pale buff"),
    "grey": ("grey", "gray", "grey", "slate gray"),
    "black": ("black", "black", "jet black", "solid black"),
    "white": ("white", "white", "bright white", "snowy white"),
    "pink": ("pink", "pink", "light pink", "rosy pink"),
}
"""Words for each named colour; the plain name most often."""

PART_WORDS: dict[str, tuple[str, ...]] = {
    "crown": ("crown", "crown", "cap"),
    "head": ("face", "face", "cheeks"),
    "throat": ("throat", "throat", "chin"),
    "breast": ("breast", "breast", "chest"),
    "belly": ("belly", "belly", "abdomen", "underside"),
    "back": ("back", "back", "mantle"),
    "wing": ("wings", "wings", "wing feathers"),
    "tail": ("tail", "tail", "tail feathers"),
    "wing_bars": ("wing bars", "wingbars", "bars on its wings"),
    "eye_ring": ("eye ring", "eyering", "ring around its eye"),
    "eye_stripe": ("eye stripe", "stripe through its eye", "eyebrow line"),
    "legs": ("legs", "legs", "feet"),
}

BEAK_WORDS = ("beak", "beak", "bill")

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "short": ("short", "tiny", "small"),
    "thick": ("thick", "stout", "heavy"),
    "pointed": ("pointed", "sharp", "pointy"),
    "long": ("long", "very long", "long thin"),
    "curved": ("curved", "downcurved", "long curved"),
    "hooked": ("hooked", "hooked"),
    "flat": ("flat", "wide flat", "broad flat"),
}

PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "streaked": ("streaked", "streaky"),
    "spotted": ("spotted", "speckled"),
    "barred": ("barred", "striped"),
}

SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium sized", "mid-sized"),
    "large": ("large", "big"),
}

POSE_WORDS: dict[str, tuple[str, ...]] = {
    "perched": ("perched on a branch", "sitting on a branch", "resting on a twig"),
    "standing": ("standing", "on its feet"),
    "swimming": ("swimming", "floating", "paddling"),
    "flying": ("flying", "in flight", "with its wings spread"),
    "clinging": ("clinging to a tree trunk", "climbing a tree trunk", "on a tree trunk"),
}

PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "foliage": ("in front of green leaves", "among green foliage", "in the woods"),
    "water": ("on the water", "over the water", "by the water"),
    "grass": ("on the grass", "in a green meadow", "on a lawn"),
    "snow": ("in the snow", "on a snowy day", "in winter"),
    "sand": ("on the sand", "on a sandy beach", "at the beach"),
    "rock": ("on a rock", "on grey stones", "among the rocks"),
    "dusk": ("at dusk", "at sunset", "under an evening sky"),
    "sky": ("against the blue sky", "under a blue sky", "against a bright sky"),
}

PLURAL = frozenset(
    {
        "wings",
        "wing feathers",
        "tail feathers",
        "cheeks",
        "legs",
        "feet",
        "wing bars",
        "wingbars",
        "bars on its wings",
    }
)
"""Names of parts that take "are"."""
