"""Every string of the interface, in one place: to read over, to translate, to test for.

Names are grouped by where they stand on the page. `{...}` fields are filled by `str.format`, and
what fills them is escaped where the HTML is made, never here.
"""

from __future__ import annotations

from typing import Final

TITLE: Final = "memdriven"
EQUATION: Final = (
    ("text", "words"),
    ("", "+"),
    ("memory", "memory"),
    ("", "+"),
    ("noise", "noise"),
    ("", "\u2192"),
    ("picture", "picture"),
)


# Compose
WORDS: Final = "Words"
CAPTION_LABEL: Final = "Describe a bird"
CAPTION_PLACEHOLDER: Final = "a small red bird with black wings"
EXAMPLES_LABEL: Final = "Try one of these"
MEMORY: Final = "Memory"
SOURCE_LABEL: Final = "Where the reference comes from"
SOURCES: Final = (("Retrieved", "retrieved"), ("Random", "random"), ("Oracle", "oracle"), ("None", "none"))
SOURCE_HINTS: Final = {
    "retrieved": "The pictures in memory that fit the words best.",
    "random": "Control: any picture of the memory. What does a wrong memory do?",
    "oracle": "Control: the very picture that the caption was written for. Needs a caption from the memory.",
    "none": "Control: no reference at all, words and noise alone.",
}
STRATEGY_LABEL: Final = "Match memories by"
STRATEGIES: Final = (
    ("whole caption vs. captions", "sentence-sentence"),
    ("words vs. captions", "words-words"),
    ("whole caption vs. images", "sentence-image"),
    ("words vs. image regions", "words-image"),
    ("whole caption vs. both", "sentence-both"),
    ("words vs. both", "words-both"),
    ("all combined", "all"),
)
K_LABEL: Final = "References blended (k)"
TRIES_LABEL: Final = "Try several references, keep the best"
TRYING: Final = "Painting with {count} references to choose from ..."
TRIED: Final = "Best of {count} references: its picture fits your words best."
GUIDANCE_LABEL: Final = "Caption strength"
GUIDANCE_HINT: Final = "Higher follows your words where the memory disagrees."
FADE_ENDS: Final = ("words alone", "all of the memory")
NOISE: Final = "Noise"
SEED_LABEL: Final = "Seed"
SEED_PLACEHOLDER: Final = "random"
DICE: Final = "Random seed"
LOCK: Final = "Keep this seed"
LOCK_HINT: Final = "Off: a new random seed for every picture."
GENERATE: Final = "Generate"
STOP: Final = "Stop"

# Words the model does not know
TYPO: Final = "read as"
SYNONYM: Final = "taken as"
UNKNOWN: Final = "not in the vocabulary (ignored)"
USE_WORD: Final = "Write {word} instead of {unknown}"
TRUNCATED: Final = "The last {count} words are beyond the model's limit and were left out."

# Memory panel
TAB_PICTURE: Final = "Picture"
MEMORY_TITLE: Final = "Memory: what it offers for the words"
PICTURE_TITLE: Final = "Picture"
CARD_ALT: Final = "Memory image {rank}: {caption}"
RANK: Final = "No. {rank}"
PERCENTILE: Final = "closer to your words than {percentile} of the memory"
SCORE: Final = "score {score} ({strategy}); scores of two strategies cannot be compared"
WEIGHT: Final = "{share} of the mix"
NEXT_TITLE: Final = "Runners-up (not used)"
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
    "encode": "read words",
    "retrieve": "search memory",
    "features": "recall features",
    "choose": "try and choose",
    "check": "look for what is named",
    "total": "total",
}
STEP_STAGE: Final = "paint {side} px"
MILLISECONDS: Final = "{ms} ms"
RECIPE_TITLE: Final = "Recipe"
RECIPE_NOTE: Final = "Everything that makes this picture again. It also travels inside the PNG."
RECIPE_COPY: Final = "Copy recipe"
RECIPE_COPIED: Final = "Copied"
COPY_BY_HAND: Final = "Selected for you to copy:"
DOWNLOAD: Final = "Download PNG"
SEED_SHOWN: Final = "seed {seed}"

# What the words name
CLAIMS_TITLE: Final = "From your words, visible: {right} of {count}"
CLAIMS_NOTE: Final = "Judged by the model's own checker, which also picked the reference. A hint, not proof."
CLAIMS_DENIED: Final = "This model cannot leave things out, and may paint what your words deny: {things}."
CLAIMS_IMPLIED: Final = "The model also expects, though no word says so: {things}."
CLAIM: Final = "{name}: {value}"
CLAIM_NAMES: Final = {
    "beak_color": "beak",
    "body_plan": "kind",
    "eye_ring": "eye ring",
    "wing_bars": "wing bars",
}
CLAIM_ABSENT: Final = "no"
CLAIM_INSTEAD: Final = "looks {value}"
CLAIM_INSTEAD_ABSENT: Final = "there is none"
CLAIM_MARKS: Final = ("\u2713", "\u2717")
CLAIM_SEEN: Final = "seen"
CLAIM_UNSEEN: Final = "not seen"
CLAIM_SURE: Final = "probability {share} %"

# Diversity
DIVERSITY_MEMORY: Final = "The memory held fixed"
DIVERSITY_EMPTY: Final = "Nine pictures of one caption appear here, side by side."
TILE_WAITING: Final = "Variation {number}, waiting"

# Status
READY: Final = "Ready."
IN_LINE: Final = "In line: {count} before you."
RETRIEVING: Final = "Looking into the memory\u2026"
PAINTING: Final = "Painting: {done} of {count} stages."
DONE: Final = "Done in {ms} ms with seed {seed}."
FOUND: Final = "Words read: {words}. References in use: {count}."
FOUND_NONE: Final = "Memory off."
FOUND_NO_WORD: Final = "No known word yet."
ERROR_TITLE: Final = "That did not work"
ERROR_FOUND: Final = "Found: {found}"
ERROR_WANTED: Final = "Wanted: {wanted}"
ERROR_FIX: Final = "Try this: {fix}"
SEED_WANTED: Final = "a seed: a whole number from 0 to {largest}"
SEED_FIX: Final = "write digits only, or draw a random seed"
GRID_GONE_FOUND: Final = "none in this tab"

# Checkpoints to switch between
SHELF_WANTED: Final = "a checkpoint of this page"
NO_BANK_WANTED: Final = "the memory bank of {name}"
NO_BANK_FOUND: Final = "a checkpoint without one"
NO_BANK_FIX: Final = (
    "build it: python -m memdriven build-memory --checkpoint checkpoints/{path} "
    "--dataset DATASET --features FEATURES"
)

# Controls of the memory cards
PIN: Final = "Pin"
PINNED: Final = "Pinned"
MASK: Final = "Exclude"
ONLY: Final = "Only this"
LIKE: Final = "More like this"
BY_HAND: Final = "By hand"
PIN_HINT: Final = "Keep this reference whatever you type"
MASK_HINT: Final = "Never use this reference"
ONLY_HINT: Final = "Use this memory alone"
LIKE_HINT: Final = "Memories that look like this one, instead of those that fit the words"
WEIGHT_LABEL: Final = "Weight of memory {rank}"
WEIGHT_SHORT: Final = "weight"
STEERED: Final = "Steered by hand"
RELEASE: Final = "Back to retrieval"
LIKE_ON: Final = "Look-alikes of one memory"
LIKE_OFF: Final = "back to the words"
MASKED: Final = "Excluded: {id}"
UNMASK: Final = "Allow {id} again"
CARD_WANTED: Final = "an action on a card of this memory"
CARD_FIX: Final = "choose again on a card that is shown"
PINS_WANTED: Final = "at most {most} pinned references"
MASKS_WANTED: Final = "at most {most} excluded references"
GUESTS_WANTED: Final = "at most {most} own images in one tab"
ONE_MORE: Final = "one more"
RELEASE_FIX: Final = "release one first"
STEERED_STATUS: Final = "References in use: {count}, {pins} pinned, {masks} excluded."

# Own image
OWN_ADD: Final = "Add your own image"
OWN_HINT: Final = "PNG, JPEG or WebP up to 8 MB. Only this tab sees it; it is gone when the tab is closed."
OWN_ABSENT: Final = "Needs VGG-16, whose weights are not on this computer yet."
OWN_CAPTION: Final = "your own image"
OWN_ALT: Final = "Your own image {number}"
OWN_FORGET: Final = "Forget"
OWN_USE: Final = "Pin own image {number}"
OWN_DONE: Final = "Your image is pinned. Generate paints with it."
OWN_BUSY: Final = "Reading the image\u2026"
UPLOAD_WANTED: Final = "a picture: PNG, JPEG, WebP or another common format, up to 8 MB and 24 million pixels"
UPLOAD_LARGE: Final = "more than {megabytes} MB"
UPLOAD_KIND: Final = "another kind of file, a damaged one, or one with more pixels"
UPLOAD_FIX: Final = "save it as a JPEG of ordinary size and add that"
VGG_WANTED: Final = "the feature network (VGG-16) that reads own images"
VGG_FOUND: Final = "no weights on this computer, and the page downloads nothing by itself"
VGG_FIX: Final = (
    "set {variable} to a local weight file, or run once, connected: python -c "
    '"from memdriven.encoders.vgg import Vgg16Features; Vgg16Features.load()"'
)
VGG_OTHER_WANTED: Final = "the feature network that made this memory"
VGG_OTHER_FIX: Final = "give the weights that the memory bank was built with"

# Actions of a picture
KEEP_SEED: Final = "Keep this seed"
NEARBY: Final = "Vary this picture"
COMPARE_IT: Final = "Compare memories"
CHECK_IT: Final = "Is it a copy?"
LINK: Final = "Copy link"
PRIVATE_NOTE: Final = "Made with your own image: only this tab, while it is open, can make it again."
VARIED: Final = "seed {seed}, step {count} away"
STEADY: Final = "Reset to the original seed"
KEEP_GONE_WANTED: Final = "a picture whose noise can be kept"
KEPT: Final = "The noise of this picture is kept: seed {seed}."

# Near-by noise and the distance of a grid
NEAR_TILE: Final = "Variation {number}"
NEAR_CENTRE: Final = "The picture itself"
NEAR_GONE_FIX: Final = "generate one first"

# History and recipes
TAB_HISTORY: Final = "History"
HISTORY_TITLE: Final = "Your pictures, saved in this browser"
HISTORY_EMPTY: Final = "Every finished picture is listed here. The list stays in this browser."
HISTORY_NOTE: Final = "The last {most} pictures, newest first. Select some, or export all."
HISTORY_CHOOSE: Final = "Choose picture {number}: {caption}"
INSPECT: Final = "Inspect"
REMIX: Final = "Remix"
RESTORE: Final = "Restore"
SIMILAR: Final = "Paint something similar"
FORGET: Final = "Forget"
INSPECT_HINT: Final = "Look at its settings; mine stay as they are"
REMIX_HINT: Final = "Take everything but the noise"
RESTORE_HINT: Final = "Take everything and show this picture"
SIMILAR_HINT: Final = "The same settings and seed, with the model and the memories that are here"
SHEET: Final = "Contact sheet"
ZIP: Final = "ZIP"
CLEAR: Final = "Forget all"
CLEAR_UNDO: Final = "Bring them back"
SAVE_SHEET: Final = "Save the contact sheet ({count})"
SAVE_ZIP: Final = "Save the ZIP ({count})"
EXPORTING: Final = "Painting picture {done} of {count} again."
EXPORTED: Final = "{count} pictures are ready to save."
EXPORTED_PART: Final = "Ready to save: {count}. This page cannot make these again: {numbers}."
EXPORT_NONE: Final = "no picture in the list"
RECIPE_PANEL: Final = "Recipe"
RECIPE_EMPTY: Final = "Inspect a picture, drop one that memdriven saved, or paste a recipe."
RECIPE_DROP: Final = "Drop a PNG here to restore it, or choose one"
RECIPE_PASTE: Final = "Recipe (JSON) or link"
RECIPE_READ: Final = "Inspect"
RECIPE_FIELDS: Final = {
    "caption": "Words",
    "strategy": "Matched by",
    "k": "References blended (k)",
    "seed": "Seed",
    "variations": "Variations",
    "memory": "Memory used",
    "guidance": "Caption strength",
    "checkpoint": "Model",
    "version": "Version",
}
RECIPE_MEMORY: Final = "Memories"
RECIPE_ELSEWHERE: Final = "Made with a model or memory that this page does not have now."
RECIPE_PRIVATE: Final = "Needs a private image, which only the tab that had it can use."
REMIXED: Final = "Settings taken, noise left free. Generate paints anew."
RESTORED: Final = "Restored: the same recipe, the same pixels."
SIMILAR_DONE: Final = "Painted from that recipe with another model or memory: alike, not the same."
GONE_WANTED: Final = "a recipe to use"
GONE_FOUND: Final = "none here"
GONE_FIX: Final = "inspect one in the list, or paste it"

# Shared by the tabs of experiments
NO_WORDS_WANTED: Final = "words to start from"
NO_WORDS_FOUND: Final = "an empty box"
NO_WORDS_FIX: Final = "write a caption on the left, or take an example"
NO_MEMORY: Final = "no memory"
SLIDE_LABEL: Final = "How much of the first picture is shown"

# Compare
TAB_COMPARE: Final = "Compare"
COMPARE_TITLE: Final = "Same caption and seed, different references"
COMPARE_NOTE: Final = "Each matching rule finds its own references."
COMPARE_STRATEGIES: Final = "Matching rules"
COMPARE_CONTROLS: Final = (("random memory", "random"), ("oracle", "oracle"), ("no memory", "none"))
COMPARE_SEEDS: Final = "Noises side by side"
COMPARE_RUN: Final = "Compare"
COMPARE_EMPTY: Final = "A picture for each matching rule, with the references that it found."
COMPARE_PICK: Final = "Choose two pictures to lay them over each other."
COMPARE_LABEL: Final = "{strategy}, {noise}"
COMPARE_PROGRESS: Final = "Painting: {done} of {count} pictures."
COMPARE_DONE: Final = "Compared."
EDIT_TITLE: Final = "Another word, same noise, same memory"
EDIT_NOTE: Final = "Noise and references stay those of the caption on the left. What did the word do?"
EDIT_LABEL: Final = "Change one word"
EDIT_PLACEHOLDER: Final = "a small blue bird with black wings"
EDIT_TAKE: Final = "Copy my caption"
EDIT_RUN: Final = "Show the difference"
EDIT_EMPTY: Final = "Both pictures and their difference appear here."
EDIT_BEFORE: Final = "before"
EDIT_AFTER: Final = "after"
EDIT_GAP: Final = "difference: {share} on average"
EDIT_GAP_ALT: Final = "Map of where the two pictures differ"
EDIT_DONE: Final = "Same noise (seed {seed}), same references, other words."

# How it works
CONTROL_GONE: Final = "only for a caption of the memory"

# Morph

# Copy check
COPY_PROGRESS: Final = "Describing the memory's pictures: {share}."

# Memory map

# Programming interface

# Learn

# Paper
