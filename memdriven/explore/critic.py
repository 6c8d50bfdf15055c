"""What the discriminator is given: the content features of a picture, and D's answers where D is at hand.

The content features need no weights (Sec. 4.2), so that they can be shown of any picture. A generator does
without its D once it is trained, and most checkpoints come without; `CRITIC` beside a checkpoint's other
files is one of its stages' D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from memdriven.checkpoint import CRITIC, Checkpoint
from memdriven.config import DiscriminatorConfig, Pooling
from memdriven.data.images import to_tensor
from memdriven.encoders.weights import load_weights, read_weights
from memdriven.errors import CheckpointError
from memdriven.models.discriminator import Discriminator, content_pyramid
from memdriven.pipeline.output import to_picture


class Answers(NamedTuple):
    """D's probabilities, in 0..1."""

    real: float
    """Unconditional: that a picture is a real one."""
    fits: float
    """Conditional: that it is real and fits its caption."""
    fits_wrong: float
    """The same beside a wrong caption."""


@dataclass(frozen=True)
class Critic:
    """A trained D and the size of the pictures that it judges."""

    network: Discriminator
    size: int

    @torch.inference_mode()
    def judge(self, picture: Image.Image, sentence: Tensor, wrong: Tensor) -> Answers:
        """Return what D says of a picture beside sentences (d,) of a right and a wrong caption."""
        image = F.interpolate(2 * to_tensor(picture)[None] - 1, size=(self.size, self.size), mode="area")
        logits = self.network(image, sentence[None], wrong[None])
        return Answers(*(float(each.sigmoid()) for each in logits if each is not None))


def contents(picture: Image.Image) -> list[Image.Image]:
    """Return a picture's content features a_{s/2}, ..., a_4 as pictures."""
    return [to_picture(a) for a in content_pyramid(2 * to_tensor(picture)[None] - 1, "average")]


def load_critic(checkpoint: Checkpoint) -> Critic | None:
    """Return a checkpoint's D; None where it comes without.

    Raises:
        CheckpointError: the file does not hold one for this checkpoint's sentences.
    """
    path = checkpoint.path / CRITIC
    if not path.is_file():
        return None
    weights = read_weights(path)
    downs = [name for name in weights if name.startswith("downs.") and name.endswith(".weight")]
    size = 4 << len(downs)
    try:
        width, widest = len(weights["downs.0.weight"]), max(len(weights[name]) for name in downs)
        content: Pooling = "average" if weights["downs.1.weight"].shape[1] > width else "none"
        config = DiscriminatorConfig(width=width, max_width=widest, content=content, spectral_norm=False)
        network = Discriminator(config, size, checkpoint.config.text.dim)
        load_weights(network, weights, str(path))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            wanted=f"the weights of a discriminator in {path}",
            found=str(error)[:120],
            fix="remove the file, or put one there that was trained with these encoders",
        ) from None
    return Critic(network.eval().requires_grad_(False), size)
