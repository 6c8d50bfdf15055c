"""Every string of the interface, in one place: to read over, to translate, to test for.

Names are grouped by where they stand on the page. `{...}` fields are filled by `str.format`, and
what fills them is escaped where the HTML is made, never here.
"""

from __future__ import annotations

from typing import Final

TITLE: Final = "memdriven"
SUBTITLE: Final = "Describe a bird. See what the model remembers, and what it paints."
EQUATION: Final = (
    ("text", "words"),
    ("", "+"),
    ("memory", "memory"),
    ("", "+"),
    ("noise", "noise"),
    ("", "\u2192"),
    ("picture", "picture"),
)
CREDIT: Final = "Paper: Li, Torr and Lukasiewicz, BMVC 2022"
CREDIT_LINK: Final = "https://arxiv.org/abs/2208.07022"

SERVED: Final = "memdriven is at {address}  (Ctrl + C stops it)"

# Compose
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
FADE_LABEL: Final = "How much of the memory is used"
FADE_ENDS: Final = ("words alone", "all of the memory")
SEED_PLACEHOLDER: Final = "random"

# Words the model does not know

# Memory panel
TAB_DIVERSITY: Final = "Diversity"
CARD_ALT: Final = "Memory image {rank}: {caption}"
RANK: Final = "No. {rank}"
WEIGHT: Final = "{share} of the mix"
MEMORY_EMPTY: Final = "Write a caption and the closest memories appear here while you type."

# Result
PICTURE_ALT: Final = "Generated picture for the caption: {caption}"
PICTURE_BUSY: Final = "Painting\u2026"
SEED_SHOWN: Final = "seed {seed}"

# What the words name

# Diversity
DIVERSITY_TITLE: Final = "Same words, memory and view, nine z"
DIVERSITY_NOTE: Final = (
    "Only z moves; caption, references, mirror and window stay. The picture itself is in the middle. "
    "Choose one to keep its z."
)
DIVERSITY_MEMORY: Final = "The memory held fixed"
DIVERSITY_RUN: Final = "Make nine"

# Status
READY: Final = "Ready."
GRID_PROGRESS: Final = "Painting variation {done} of {count}."
GRID_DONE: Final = "Nine pictures in {seconds} s."
ADOPTED: Final = "Seed {seed} is kept: its picture is shown."
STOPPED: Final = "Stopped."
GRID_GONE_WANTED: Final = "a variation of a grid that is still there"
GRID_GONE_FOUND: Final = "none in this tab"
GRID_GONE_FIX: Final = "make nine new ones, then choose"

# Checkpoints to switch between
SHELF_LABEL: Final = "Model and memory"
SHELF_ONE: Final = "{name}: {count} pictures in memory"
SHELF_NO_BANK: Final = "{name} (no memory yet)"
SHELF_LOADING: Final = "Opening {name}\u2026"
SHELF_USED: Final = "{name} is in use: {count} pictures in memory."

# Controls of the memory cards

# Own image
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

# Actions of a picture
VARIED: Final = "seed {seed}, step {count} away"

# Near-by noise and the distance of a grid
NEAR_RUN: Final = "Vary this picture"
NEAR_STRENGTH: Final = "How far from it"
NEAR_GONE_WANTED: Final = "a picture to vary"
NEAR_GONE_FIX: Final = "generate one first"
NEAR_ADOPTED: Final = "The variation is kept, with its noise."
DISTANCE_HINT: Final = (
    "How far two pictures differ on average when z alone changes, and when another reference does: mean "
    "absolute difference of the pixels at four resolutions, as a share of the full range."
)

# History and recipes
REMIX: Final = "Remix"
RESTORE: Final = "Restore"
REMIX_HINT: Final = "Take everything but the noise"
RESTORE_HINT: Final = "Take everything and show this picture"
ZIP: Final = "ZIP"
RESTORED: Final = "Restored: the same recipe, the same pixels."
GONE_WANTED: Final = "a recipe to use"
GONE_FOUND: Final = "none here"
GONE_FIX: Final = "inspect one in the list, or paste it"

# Shared by the tabs of experiments

# Compare

# How it works
TAB_INSIDE: Final = "How it works"
INSIDE_TITLE: Final = "From your words to the picture, step by step"
INSIDE_NOTE: Final = "Figure 2 of the paper, with the numbers of this very picture. Choose a step."
INSIDE_RUN: Final = "Show my picture"
INSIDE_EMPTY: Final = "The way from the words to the picture appears here."
INSIDE_MIXED: Final = (
    "{count} memories took part, mixed into one v, shown over the image of No. 1, which weighs {share:.0%}."
)
INSIDE_MIRRORED: Final = "This seed mirrors the memory; it is shown mirrored here."
INSIDE_PART: Final = "This seed crops the memory; the same crop is shown here."
INSIDE_DONE: Final = "Inside the picture of seed {seed}."
FADE_TITLE: Final = "From words alone to all of the memory"
FADE_NOTE: Final = "Same words, neighbours and noise; only the strength of the features differs."
FADE_ALT: Final = "The picture with {share} of the memory"
FADE_PROGRESS: Final = "Strength {done} of {count}."
CONTROLS_TITLE: Final = "Swap the memory"
CONTROLS_NOTE: Final = "Same words, same noise. Whatever differs was the memory's doing."
CONTROLS_RUN: Final = "Swap the memory"
CONTROLS_EMPTY: Final = "Your caption with the best, no, the worst, a random and its own memory."
CONTROLS_PROGRESS: Final = "Control {done} of {count}."
CONTROL_NAMES: Final = {
    "retrieved": ("Fitting memory", "what retrieval found"),
    "none": ("No memory", "all features zero"),
    "wrong": ("Worst match", "least like the words"),
    "random": ("Random memory", "drawn by the seed"),
    "oracle": ("Oracle", "the one the caption was written for"),
}
CONTROL_GONE: Final = "only for a caption of the memory"

# Morph
TAB_MORPH: Final = "Morph"
MORPH_TITLE: Final = "From this picture to another"
MORPH_NOTE: Final = (
    "Starts at the words and noise on the left. Choose what moves; the rest stays as it is there. "
    "z is interpolated on a sphere, all else linearly."
)
MORPH_MOVING: Final = "What moves"
MORPH_WORDS: Final = "Words at the end"
MORPH_WORDS_EMPTY: Final = "the same words"
MORPH_SEED: Final = "Seed at the end"
MORPH_COUNT: Final = "Pictures"
MORPH_RUN: Final = "Morph"
MORPH_EMPTY: Final = "The pictures between two appear here, to move through by hand."
MORPH_PROGRESS: Final = "Painting: {done} of {count} pictures."
MORPH_DONE: Final = "{count} pictures. Move through them with the slider or the arrow keys."
MORPH_ALT: Final = "Picture {number} on the way"
MORPH_SLIDER: Final = "Place between the first and the last picture"
MORPH_PLAY: Final = "Play"
MORPH_STEPS: Final = "Change per step ({sum} in total)."
MORPH_SAVE: Final = "Save {kind}"
FORMAT_NAMES: Final = {"GIF": "GIF", "WEBP": "animated WebP"}

# Copy check
TAB_COPIES: Final = "Copy check"
COPY_TITLE: Final = "Is it a copy?"
COPY_NOTE: Final = (
    "Looks for the pictures of the memory that are nearest to the result, by their pixels and not "
    "by the features that the model was given."
)
COPY_RUN: Final = "Check this picture"
COPY_EMPTY: Final = "The picture and its nearest in memory appear here, side by side."
COPY_BUSY: Final = "Looking through the memory\u2026"
COPY_PREPARING: Final = "Describing every picture of the memory, once."
COPY_PROGRESS: Final = "Describing the memory's pictures: {share}."
COPY_DONE: Final = "Checked the picture of seed {seed}."
COPY_PICTURE: Final = "the result"
COPY_STANDING: Final = "{percentile} % of the memory's own pictures have a closer neighbour than this one."
COPY_REFERENCE: Final = "was its reference"
COPY_OTHERS: Final = "References that are not among the nearest"
COPY_OWN: Final = "Your own images that it drew on"
COPY_SCALE: Final = ("a copy", "entirely new")
COPY_SPACE: Final = (
    "Compared by colours at 4, 8 and 16 px and by edges in eight directions, mirrored or not; "
    "no network takes part. A blurred picture lies far from everything, so look as well."
)

# Memory map
TAB_MAP: Final = "Memory map"
MAP_TITLE: Final = "Everything it remembers"
MAP_NOTE: Final = (
    "Each point is a picture of the memory in its own colour; similar captions lie close together. "
    "The star is where your words belong."
)
MAP_EMPTY: Final = "The map is drawn when this tab is opened."
MAP_PROGRESS: Final = "Drawing the map: {share}."
MAP_ALT: Final = "Map of {count} pictures. Arrow keys go from point to point, Enter uses one."
MAP_SEARCH: Final = "Search the captions"
MAP_FOUND: Final = "{count} found"
MAP_ZOOM: Final = (("+", "in", "Closer"), ("\u2212", "out", "Farther"), ("\u25a2", "all", "All"))
MAP_QUERY: Final = "The star marks your words; lines lead to the neighbours in use ({count})."
MAP_NO_QUERY: Final = "Write a caption on the left to see where it belongs."
MAP_FIND: Final = "Show my words"
MAP_SHOWN: Final = "Your words are on the map."
MAP_CHOOSE: Final = "Choose a point to pin it: your words are painted with that memory."
MAP_CHOSEN: Final = "Pinned, and painted with it"
MAP_RELEASED: Final = "Released, and painted without it"
MAP_PINNED: Final = "The chosen memory is pinned. Painted with seed {seed}."
MAP_FREED: Final = "The memory is released. Painted with seed {seed}."
MAP_ITEM_WANTED: Final = "a point of the map"
MAP_ITEM_FIX: Final = "choose a point again"

# Programming interface
API_SEEDS_WANTED: Final = "a list of 1 to {most} seeds"
API_SEEDS_FIX: Final = "ask for the others in another call"
API_IDS_WANTED: Final = "a list of at most {most} ids, and as many weights"
API_IDS_FIX: Final = "name fewer neighbours"

# Learn
TAB_LEARN: Final = "Learn"
LEARN_LESSONS: Final = "Lessons"
LEARN_PREDICT: Final = "Predict first"
LEARN_RUN: Final = "Run"
LEARN_EMPTY: Final = "Predict, then run. What happens appears here."
LEARN_RUNNING: Final = "Running the experiment\u2026"
LEARN_RAN: Final = "That is what happened. Reveal tells why."
LEARN_REVEAL: Final = "Reveal"
LEARN_SAID: Final = "Your prediction:"
LEARN_NO_ANSWER: Final = "none"
LESSON_WANTED: Final = "a lesson: {names}"
LESSON_FIX: Final = "choose one above"
LESSON_GONE: Final = "There is no lesson of that name. Choose one below."

# Paper
TAB_PAPER: Final = "Paper"
PAPER_NOTE: Final = (
    "What \u201cMemory-Driven Text-to-Image Generation\u201d says, and whether it holds here; below, its "
    "figures, drawn now by the model that is loaded, for your words and the examples."
)
PAPER_FIGURE: Final = "Figure"
PAPER_RUN: Final = "Draw the figure"
PAPER_EMPTY: Final = "The figure is drawn here."
PAPER_DRAWING: Final = "Drawing the figure\u2026"
PAPER_DONE: Final = "Drawn with seed {seed}."
PAPER_NUMBER: Final = "Figure {number}:"
