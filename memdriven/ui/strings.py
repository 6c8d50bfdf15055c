"""Texts that several files of the page share; what is said in one place alone stands there.

`{...}` fields are filled by `str.format`, and what fills them is escaped where the HTML is made, never here.
"""

from __future__ import annotations

from typing import Final

EQUATION: Final = (
    ("text", "words"),
    ("", "+"),
    ("memory", "memory"),
    ("", "+"),
    ("noise", "noise"),
    ("", "\u2192"),
    ("picture", "picture"),
)
CAPTION_PLACEHOLDER: Final = "a small red bird with black wings"
STRATEGIES: Final = (
    ("whole caption vs. captions", "sentence-sentence"),
    ("words vs. captions", "words-words"),
    ("whole caption vs. images", "sentence-image"),
    ("words vs. image regions", "words-image"),
    ("whole caption vs. both", "sentence-both"),
    ("words vs. both", "words-both"),
    ("all combined", "all"),
)
FADE_ENDS: Final = ("words alone", "all of the memory")
SEED_PLACEHOLDER: Final = "random"
CARD_ALT: Final = "Memory image {rank}: {caption}"
RANK: Final = "No. {rank}"
WEIGHT: Final = "{share} of the mix"
MEMORY_EMPTY: Final = "Write a caption and the closest memories appear here while you type."
PICTURE_ALT: Final = "Generated picture for the caption: {caption}"
PICTURE_BUSY: Final = "Painting\u2026"
SEED_SHOWN: Final = "seed {seed}"
DIVERSITY_MEMORY: Final = "The memory held fixed"
READY: Final = "Ready."
GRID_GONE_FOUND: Final = "none in this tab"
OWN_CAPTION: Final = "your own image"
OWN_ALT: Final = "Your own image {number}"
UPLOAD_WANTED: Final = "a picture: PNG, JPEG, WebP or another common format, up to 8 MB and 24 million pixels"
UPLOAD_LARGE: Final = "more than {megabytes} MB"
UPLOAD_KIND: Final = "another kind of file, a damaged one, or one with more pixels"
UPLOAD_FIX: Final = "save it as a JPEG of ordinary size and add that"
VGG_FIX: Final = (
    "set {variable} to a local weight file, or run once, connected: python -c "
    '"from memdriven.encoders.vgg import Vgg16Features; Vgg16Features.load()"'
)
VARIED: Final = "seed {seed}, step {count} away"
NEAR_GONE_FIX: Final = "generate one first"
REMIX: Final = "Remix"
RESTORE: Final = "Restore"
REMIX_HINT: Final = "Take everything but the noise"
RESTORE_HINT: Final = "Take everything and show this picture"
ZIP: Final = "ZIP"
RESTORED: Final = "Restored: the same recipe, the same pixels."
GONE_WANTED: Final = "a recipe to use"
GONE_FOUND: Final = "none here"
GONE_FIX: Final = "inspect one in the list, or paste it"
CONTROL_GONE: Final = "only for a caption of the memory"
COPY_PROGRESS: Final = "Describing the memory's pictures: {share}."
