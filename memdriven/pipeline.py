"""A caption becomes neighbours, their features, and pictures: the method end to end, with a trace.

    pipe = MemoryDrivenPipeline.from_pretrained("checkpoints/aviary")
    out = pipe("a small red bird with black wings", seed=7)
    out.images[0].save("bird.png")

One image at a time passes through the network, with noise from one CPU generator an image, so a
recipe's pixels never depend on what else was asked for beside it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from memdriven import __version__
from memdriven.checkpoint import Checkpoint, load_checkpoint
from memdriven.data.vocabulary import EncodedCaption
from memdriven.encoders.text import TextFeatures
from memdriven.errors import CheckpointError, ConfigError
from memdriven.files import sha256_file
from memdriven.lookup import Lookup
from memdriven.memory.bank import MemoryBank
from memdriven.recipe import MAX_SEED, Recipe
from memdriven.stages import draw_noise, mean_words, staged_images, to_picture
from memdriven.trace import PipelineOutput, Retrieval
