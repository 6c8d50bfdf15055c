"""Every string of the interface, in one place: to read over, to translate, to test for.

Names are grouped by where they stand on the page. `{...}` fields are filled by `str.format`, and
what fills them is escaped where the HTML is made, never here.
"""

from __future__ import annotations

from typing import Final

TITLE: Final = "memdriven"
SUBTITLE: Final = "Pictures from words, with a memory you can look into"
EQUATION: Final = (
    ("text", "words"), ("", "+"), ("memory", "memory"), ("", "+"), ("noise", "noise"),
    ("", "\u2192"), ("picture", "picture"),
)  # fmt: skip
PAPER: Final = "After Li, Torr and Lukasiewicz, BMVC 2022"

SERVED: Final = "memdriven is at {address}  (Ctrl + C stops it)"

# Compose
WORDS: Final = "Words"
CAPTION_LABEL: Final = "Describe a bird"
CAPTION_PLACEHOLDER: Final = "a small red bird with black wings"
EXAMPLES_LABEL: Final = "Try one of these"
MEMORY: Final = "Memory"
SOURCE_LABEL: Final = "Where the reference comes from"
SOURCES: Final = (
    ("Retrieved", "retrieved"), ("Random", "random"), ("Own image", "oracle"), ("None", "none"),
)  # fmt: skip
SOURCE_HINTS: Final = {
    "retrieved": "The pictures in memory that fit the words best.",
    "random": "Control: any picture of the memory. What does a wrong memory do?",
    "oracle": "Control: the very picture that the caption was written for. "
    "Needs a caption from the memory.",
    "none": "Control: no reference at all, words and noise alone.",
}
STRATEGY_LABEL: Final = "Compare"
STRATEGIES: Final = (
    ("sentence with captions", "sentence-sentence"),
    ("words with captions", "words-words"),
    ("sentence with images", "sentence-image"),
    ("words with image regions", "words-image"),
    ("sentence with both", "sentence-both"),
    ("words with both", "words-both"),
    ("everything with everything", "all"),
)
K_LABEL: Final = "References mixed (k)"
NOISE: Final = "Noise"
SEED_LABEL: Final = "Seed"
SEED_PLACEHOLDER: Final = "random"
DICE: Final = "Random seed"
LOCK: Final = "Keep this seed"
LOCK_HINT: Final = "Off: a new random seed for every picture."
GENERATE: Final = "Generate"
GENERATE_HINT: Final = "Ctrl + Enter"
STOP: Final = "Stop"

# Words the model does not know
TYPO: Final = "read as"
SYNONYM: Final = "taken as"
UNKNOWN: Final = "not known, left out"
USE_WORD: Final = "Write {word} instead of {unknown}"
TRUNCATED: Final = "The last {count} words are beyond the model's limit and were left out."

# Memory panel
TAB_PICTURE: Final = "Picture"
TAB_DIVERSITY: Final = "Diversity"
MEMORY_TITLE: Final = "What the memory offers"
PICTURE_TITLE: Final = "Picture"
CARD_ALT: Final = "Memory image {rank}: {caption}"
RANK: Final = "No. {rank}"
PERCENTILE: Final = "closer than {percentile} of the memory"
SCORE: Final = "score {score} ({strategy}); scores of two strategies cannot be compared"
WEIGHT: Final = "{share} of the mix"
NEXT_TITLE: Final = "Next in line, not used"
MEMORY_EMPTY: Final = "Write a caption and the closest memories appear here while you type."
MEMORY_NONE: Final = "The memory is switched off: this picture comes from words and noise alone."
MEMORY_ERROR: Final = "No memories for this caption."

# Result
PICTURE_EMPTY: Final = "Your picture appears here."
PICTURE_ALT: Final = "Generated picture for the caption: {caption}"
PICTURE_BUSY: Final = "Painting\u2026"
STAGE_ALT: Final = "Stage of {side} pixels"
STAGE_LABEL: Final = "{side} px"
TIMES_TITLE: Final = "Time"
STEP_NAMES: Final = {
    "encode": "read words", "retrieve": "search memory", "features": "recall features",
    "total": "total",
}  # fmt: skip
STEP_STAGE: Final = "paint {side} px"
MILLISECONDS: Final = "{ms} ms"
RECIPE_TITLE: Final = "Recipe"
RECIPE_NOTE: Final = "Everything that makes this picture again. It also travels inside the PNG."
RECIPE_COPY: Final = "Copy recipe"
RECIPE_COPIED: Final = "Copied"
DOWNLOAD: Final = "Download PNG"
SEED_SHOWN: Final = "seed {seed}"

# Diversity
DIVERSITY_TITLE: Final = "Same words, same memory, nine noises"
DIVERSITY_NOTE: Final = (
    "Caption and references stay fixed; only the noise differs. Choose a picture to keep its seed."
)
DIVERSITY_MEMORY: Final = "The memory held fixed"
DIVERSITY_RUN: Final = "Make nine"
DIVERSITY_EMPTY: Final = "Nine pictures of one caption appear here, side by side."
TILE_ALT: Final = "Variation {number} with seed {seed}"
TILE_WAITING: Final = "Variation {number}, waiting"
TILE_USE: Final = "Keep seed {seed}"

# Status
READY: Final = "Ready."
RETRIEVING: Final = "Looking into the memory\u2026"
PAINTING: Final = "Painting: {done} of {count} stages."
DONE: Final = "Done in {ms} ms with seed {seed}."
GRID_PROGRESS: Final = "Painting variation {done} of {count}."
GRID_DONE: Final = "Nine variations in {seconds} s."
ADOPTED: Final = "Seed {seed} is kept: its picture is shown."
STOPPED: Final = "Stopped."
FOUND: Final = "Words read: {words}. Neighbours in use: {count}."
FOUND_NONE: Final = "Memory off."
ERROR_TITLE: Final = "That did not work"
ERROR_FOUND: Final = "Found: {found}"
ERROR_WANTED: Final = "Wanted: {wanted}"
ERROR_FIX: Final = "Try this: {fix}"
SEED_WANTED: Final = "a seed: a whole number from 0 to {largest}"
SEED_FIX: Final = "write digits only, or draw a random seed"
GRID_GONE_WANTED: Final = "a variation of a grid that is still there"
GRID_GONE_FOUND: Final = "none in this tab"
GRID_GONE_FIX: Final = "make nine new ones, then choose"
