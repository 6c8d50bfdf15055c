"""What the discriminator is given: the content features of a picture, and D's answers where D is at hand.

The content features need no weights (Sec. 4.2), so that they can be shown of any picture. A generator does
without its D once it is trained, and most checkpoints come without; `CRITIC` beside a checkpoint's other
files is one of its stages' D. The run that trained it has it.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrize

from memdriven.checkpoint import CRITIC, Checkpoint, load_facts, record_files
from memdriven.config import Config, DiscriminatorConfig, from_dict
from memdriven.data.images import to_tensor
from memdriven.encoders.weights import load_weights, read_weights, write_weights
from memdriven.errors import CheckpointError, explained, require
from memdriven.explore.inside import Inside, reference
from memdriven.files import read_json
from memdriven.models.discriminator import Discriminator, content_pyramid
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.training.run_directory import STATE, below, read_state

SIZE = 128
"""Side in px of the picture whose content features are shown where no D says which it judges."""


@dataclass(frozen=True)
class Critic:
    """A trained D and the size of the pictures that it judges."""

    network: Discriminator
    size: int

    @torch.inference_mode()
    def judge(self, picture: Image.Image, sentence: Tensor, wrong: Tensor) -> list[float]:
        """Return D's probabilities of a picture: that it is real; real and fits a caption; a wrong one.

        The captions are given by their sentence embeddings (d,).
        """
        image = F.interpolate(2 * to_tensor(picture)[None] - 1, size=(self.size, self.size), mode="area")
        logits = self.network(image, sentence[None], wrong[None])
        return [float(each.sigmoid()) for each in logits if each is not None]


def contents(picture: Image.Image) -> list[Image.Image]:
    """Return a picture's content features a_{s/2}, ..., a_4 as pictures."""
    return [to_picture(a) for a in content_pyramid(2 * to_tensor(picture)[None] - 1, "average")]


def load_critic(checkpoint: Checkpoint) -> Critic | None:
    """Return a checkpoint's D, None where it comes without (CheckpointError: not for its sentences)."""
    path = checkpoint.path / CRITIC
    if not path.is_file():
        return None
    weights, fix = read_weights(path), "remove the file, or put a fitting one there"
    foreign = KeyError, IndexError, ValueError, RuntimeError
    with explained(CheckpointError, f"a discriminator's weights in {path}", fix, *foreign):
        downs = [value for name, value in weights.items() if name.startswith("downs.") and value.dim() == 4]
        size, width = 4 << len(downs), len(weights["downs.0.weight"])
        config = DiscriminatorConfig(
            width=width,
            max_width=max(map(len, downs)),
            content="average" if weights["downs.1.weight"].shape[1] > width else "none",
            spectral_norm=False,
        )
        network = Discriminator(config, size, checkpoint.config.text.dim)
        load_weights(network, weights, str(path))
    return Critic(network.eval().requires_grad_(False), size)


def judged(pipe: MemoryDrivenPipeline, seen: Inside) -> tuple[Image.Image | None, Image.Image]:
    """Return the reference, as the noise saw it (None without one), and the picture, at the size D judges."""
    judge = load_critic(pipe.checkpoint)
    size = SIZE if judge is None else judge.size
    made = next((each for each in seen.pictures if each.width == size), seen.pictures[-1])
    real = reference(seen).resize(made.size, Image.Resampling.BICUBIC)
    return real if len(seen.prepared.retrieval) else None, made


def copy_critic(checkpoint: Path, *, run: Path) -> Path:
    """Lay the first D of a training run beside a checkpoint, packed, its spectral norm divided out.

    Args:
        checkpoint: folder of the checkpoint.
        run: run directory of the training.

    Raises:
        CheckpointError: the run has no D, one that judged cut-outs, or one of other encoders.
        ConfigError, DataError: a file cannot be read or written.
    """
    config = from_dict(Config, read_json(run / "config.json", CheckpointError))
    tensors, facts = read_state(run / STATE)
    weights = below(tensors, "module/discriminators/0.")
    wanted, fix = "a run whose first D judged whole pictures", "take the run that trained that stage"
    require(weights, CheckpointError, wanted, f"no D in {run}", fix)
    cut = config.train.crop < 1 and config.train.frozen_stages == config.generator.stages - 1
    require(not cut, CheckpointError, wanted, f"cut-outs (train.crop {config.train.crop})", fix)
    own, other = load_facts(checkpoint).get("damsm"), facts["identity"]["damsm"]
    require(own == other, CheckpointError, f"a D trained with the encoders {own}", other, fix)
    layers = sum(name.startswith("downs.") and name.endswith(".bias") for name in weights)
    network = Discriminator(config.discriminator, 4 << layers, config.text.dim).eval()
    network.load_state_dict(weights)
    for layer in network.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
    write_weights(checkpoint / CRITIC, network, {"schema": "memdriven.discriminator/1"}, packed=True)
    record_files(checkpoint)
    return checkpoint / CRITIC
