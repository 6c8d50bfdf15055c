"""Near synonyms of bird, flower and colour words: what a caption's unknown word may stand for.

The table is ours and small on purpose: a replacement is always reported, and must be one that
a reader would accept. It serves a word that the vocabulary lacks, and only when the vocabulary
has one of the candidates, which are tried from left to right.
"""

from __future__ import annotations

NEAR_SYNONYMS: dict[str, tuple[str, ...]] = {
    # colours
    "crimson": ("red",), "scarlet": ("red",), "ruby": ("red",), "vermilion": ("red",),
    "cherry": ("red",), "burgundy": ("maroon", "red"), "maroon": ("red", "brown"),
    "rufous": ("rust", "chestnut", "brown"), "rust": ("rufous", "chestnut", "brown"),
    "rusty": ("rufous", "rust", "brown"), "chestnut": ("brown",), "chocolate": ("brown",),
    "umber": ("brown",), "brownish": ("brown",), "bronze": ("brown",), "coffee": ("brown",),
    "golden": ("yellow",), "gold": ("golden", "yellow"), "lemon": ("yellow",),
    "amber": ("orange", "yellow"), "saffron": ("yellow", "orange"), "blond": ("buff", "yellow"),
    "tangerine": ("orange",), "apricot": ("orange",), "peach": ("orange", "pink"),
    "azure": ("blue",), "navy": ("blue",), "cobalt": ("blue",), "sapphire": ("blue",),
    "cerulean": ("blue",), "indigo": ("blue", "purple"), "cyan": ("turquoise", "teal", "blue"),
    "aqua": ("turquoise", "teal", "blue"), "turquoise": ("teal", "blue"),
    "teal": ("turquoise", "green", "blue"), "emerald": ("green",), "lime": ("green",),
    "olive": ("green",), "mint": ("green",), "jade": ("green",),
    "violet": ("purple",), "lilac": ("purple", "violet"), "lavender": ("purple", "violet"),
    "mauve": ("purple",), "magenta": ("pink", "purple"), "rose": ("pink",), "rosy": ("pink",),
    "salmon": ("pink", "orange"), "fuchsia": ("pink", "purple"), "purple": ("violet",),
    "gray": ("grey",), "grey": ("gray",), "ash": ("grey", "gray"), "ashy": ("grey", "gray"),
    "slate": ("grey", "gray"), "silver": ("grey", "gray"), "silvery": ("grey", "gray"),
    "charcoal": ("black", "grey", "gray"), "ebony": ("black",), "jet": ("black",),
    "inky": ("black",), "ivory": ("white", "cream"), "snowy": ("white",), "cream": ("white",),
    "creamy": ("cream", "white"), "beige": ("buff", "tan", "cream"), "tan": ("buff", "brown"),
    "buff": ("tan", "beige", "cream"), "sandy": ("tan", "buff"), "tawny": ("tan", "brown"),
    "khaki": ("tan", "olive"), "multicolored": ("colorful", "colourful"),
    "multicoloured": ("colourful", "colorful"), "colorful": ("colourful",),
    "colourful": ("colorful",), "colored": ("coloured",), "coloured": ("colored",),
    "pale": ("light",), "light": ("pale",), "vivid": ("bright",), "brilliant": ("bright",),
    "bright": ("vivid",), "dull": ("pale",), "deep": ("dark",),
    # parts
    "bill": ("beak",), "beak": ("bill",), "bills": ("beaks", "beak"), "beaks": ("bills", "bill"),
    "chest": ("breast",), "breast": ("chest",), "stomach": ("belly",), "tummy": ("belly",),
    "abdomen": ("belly",), "underside": ("belly", "underparts"), "underparts": ("belly",),
    "belly": ("stomach", "abdomen"), "cap": ("crown",), "crown": ("cap",), "crest": ("crown",),
    "neck": ("throat", "nape"), "throat": ("neck",), "nape": ("neck",), "mantle": ("back",),
    "feet": ("legs", "tarsus"), "foot": ("leg", "legs"), "leg": ("legs",), "legs": ("feet",),
    "claws": ("feet", "legs"), "talons": ("feet", "legs"), "tarsus": ("legs", "feet"),
    "eyering": ("eye",), "wingbar": ("wingbars", "bars"), "wingbars": ("wingbar", "bars"),
    "plumage": ("feathers",), "feathers": ("plumage",), "flanks": ("sides", "side"),
    "face": ("head",), "forehead": ("crown", "head"),
    # shape, pattern, size
    "tiny": ("small", "little"), "little": ("small", "tiny"), "small": ("little", "tiny"),
    "miniature": ("tiny", "small"), "petite": ("small",), "mini": ("tiny", "small"),
    "big": ("large",), "large": ("big",), "huge": ("large", "big"), "giant": ("large", "big"),
    "enormous": ("large", "big"), "lengthy": ("long",), "elongated": ("long",),
    "stubby": ("short",), "stumpy": ("short",), "pointy": ("pointed", "sharp"),
    "pointed": ("pointy", "sharp"), "sharp": ("pointed", "pointy"), "bent": ("curved",),
    "curvy": ("curved",), "downturned": ("curved",), "crooked": ("hooked", "curved"),
    "stout": ("thick",), "heavy": ("thick",), "chunky": ("thick", "plump"), "fat": ("plump",),
    "chubby": ("plump", "round"), "plump": ("round",), "slim": ("slender", "thin"),
    "skinny": ("thin", "slender"), "slender": ("thin", "slim"), "thin": ("slender",),
    "spots": ("spotted", "speckles"), "spotty": ("spotted",), "dotted": ("spotted",),
    "speckled": ("spotted",), "speckles": ("spots",), "freckled": ("spotted", "speckled"),
    "streaky": ("streaked",), "streaks": ("streaked", "stripes"), "stripy": ("striped",),
    "striped": ("stripes", "streaked", "barred"), "stripes": ("striped", "streaks", "bars"),
    "barred": ("striped", "bars"), "banded": ("striped", "barred"), "mottled": ("speckled",),
    # scenes and verbs
    "sitting": ("perched", "perching"), "seated": ("perched",), "resting": ("perched", "sitting"),
    "perching": ("perched",), "perched": ("sitting",), "soaring": ("flying",),
    "gliding": ("flying",), "flight": ("flying",), "airborne": ("flying",),
    "floating": ("swimming",), "paddling": ("swimming",), "twig": ("branch",),
    "limb": ("branch",), "bough": ("branch",), "tree": ("branch", "leaves"),
    "leaf": ("leaves", "foliage"), "foliage": ("leaves",), "leaves": ("foliage", "petals"),
    "lake": ("water",), "pond": ("water",), "sea": ("water",), "ocean": ("water",),
    "river": ("water",), "lawn": ("grass",), "meadow": ("grass",), "field": ("grass",),
    "beach": ("sand",), "shore": ("sand", "water"), "desert": ("sand",), "stone": ("rock",),
    "boulder": ("rock",), "cliff": ("rock",), "sunset": ("dusk",), "twilight": ("dusk",),
    "evening": ("dusk",), "ice": ("snow",), "winter": ("snow",),
    # kinds
    "avian": ("bird",), "birdie": ("bird",), "fowl": ("bird",), "seagull": ("gull",),
    "mallard": ("duck",), "goose": ("duck",), "egret": ("heron",), "raven": ("crow",),
    "macaw": ("parrot",), "parakeet": ("parrot",), "sparrow": ("finch",), "swift": ("swallow",),
    # flowers
    "blossom": ("flower",), "bloom": ("flower",), "petal": ("petals",), "stamens": ("stamen",),
    "stem": ("stalk", "pedicel"), "stalk": ("stem",), "sepals": ("sepal", "petals"),
}  # fmt: skip
"""Unknown word -> candidates, the nearest in meaning first."""

_ENDINGS = (
    ("ies", "y"), ("es", ""), ("s", ""), ("ish", "e"), ("ish", ""), ("dish", ""), ("ly", ""),
    ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("y", ""), ("er", ""), ("est", ""),
)  # fmt: skip
_SHORTEST_STEM = 3


def near_synonyms(word: str) -> list[str]:
    """Return the words that may stand for `word`, the best first.

    After the table come the word's own inflections (`yellowish` -> `yellow`, `wing` -> `wings`),
    then the table's entries for those (`goldish` -> `gold` -> `yellow`).
    """
    stems = [
        word[: len(word) - len(ending)] + rest
        for ending, rest in _ENDINGS
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM
    ]
    related = [*stems, word + "s", word + "ed"]
    through = [synonym for stem in stems for synonym in NEAR_SYNONYMS.get(stem, ())]
    return list(dict.fromkeys([*NEAR_SYNONYMS.get(word, ()), *related, *through]))
