"""Losses of G beside Eq. 1's adversarial terms: captions and targets, compared by frozen networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.config import Config
from memdriven.data.vocabulary import IGNORED
from memdriven.encoders.damsm import Damsm, TrainedDamsm, damsm_loss
from memdriven.encoders.image import ImageFeatures
from memdriven.encoders.imagenet import SqueezeNet, Vgg16Features
from memdriven.encoders.readers import AttributeHead, attribute_loss
from memdriven.encoders.text import TextFeatures
from memdriven.errors import TrainingError
from memdriven.training.augment import disturb
from memdriven.training.data import Batch
from memdriven.training.distributed import Chance, World

PERCEPTUAL_DEPTHS = (1, 4, 7, 12)
"""Which of SqueezeNet 1.1's layers a target is compared in: the last of each scale."""


@dataclass(frozen=True)
class Teachers:
    """The frozen networks that look at G's pictures; nothing here is trained."""

    damsm: Damsm
    vgg: Vgg16Features | None = None
    """Under DAMSM's heads, where `damsm.pixel_backbone` is `vgg16`."""
    head: AttributeHead | None = None
    """Names attributes from the maps of the pixel network, for `loss.attribute_weight`."""
    squeezenet: SqueezeNet | None = None
    """For `loss.perceptual_weight` and `discriminator.projected`."""

    @classmethod
    def load(
        cls, config: Config, trained: TrainedDamsm, vgg: Path | None = None, squeezenet: Path | None = None
    ) -> "Teachers":
        """Load what a run needs beside its encoders, and take their head where attributes have a loss.

        A TrainingError says that an attribute loss is wanted and the encoders have no attribute head, a
        CheckpointError that a file is missing or damaged.
        """
        damsm, loss, head, squeeze = trained.damsm, config.loss, None, None
        network = Vgg16Features.load(vgg, damsm.device) if damsm.pixels is None else None
        if loss.attribute_weight:
            if trained.attributes is None or damsm.pixels is None:
                wanted = "encoders with an attribute head, for loss.attribute_weight"
                fix = "run train-pixels on data with attribute records, or set the weight to 0"
                raise TrainingError(wanted, "encoders without one", fix)
            head = trained.attributes.head
        if loss.perceptual_weight or (config.discriminator.projected and loss.adversarial_weight):
            squeeze = SqueezeNet.load(squeezenet, damsm.device).to(memory_format=torch.channels_last)
        return cls(damsm, network, head, squeeze)


def text_losses(
    config: Config, teachers: Teachers, batch: Batch, images: Sequence[Tensor], chance: Chance
) -> dict[str, Tensor]:
    """Return L_DAMSM (Eq. 2) and the attributes that G's images of all stages, or of the last, show [ours].

    `damsm` (where it has a weight) is summed over the stages, `attributes` (where there is a head)
    are their mean.
    """
    loss, world, text, classes = config.loss, chance.world, batch.text, None
    if loss.damsm_weight:  # the captions of all processes compete
        text = _gathered(batch.text, world)
        if config.damsm.mask_same_class and batch.class_ids is not None:
            classes = world.gather(batch.class_ids)
    damsm, named = batch.v.new_zeros(()), []
    for image in images if loss.damsm_stages == "all" else images[-1:]:
        seen = (image.float() + 1) / 2
        if loss.damsm_disturbed:
            seen = disturb(seen, chance)
        features, maps = teachers.damsm.encode_images(seen, teachers.vgg)
        if loss.damsm_weight:
            features = ImageFeatures(*(world.gather(part.float()) for part in features))
            damsm = damsm + damsm_loss(features, text, classes).total
        if teachers.head is not None and maps is not None and batch.labels is not None:
            balance = world.balance((batch.labels != IGNORED).sum())
            named.append(attribute_loss(teachers.head(maps).float(), batch.labels) * balance)
    found = {"damsm": damsm} if loss.damsm_weight else {}
    return found | ({"attributes": torch.stack(named).mean()} if named else {})


def _gathered(text: TextFeatures, world: World) -> TextFeatures:
    """Return the captions of all processes, padded to the longest."""
    if world.size == 1:
        return text
    length = text.mask.shape[1]
    more = int(world.maximum(length)[0]) - length
    mask = world.gather(F.pad(text.mask, (0, more)).float()) > 0
    return TextFeatures(world.gather(F.pad(text.words, (0, 0, 0, more))), world.gather(text.sentence), mask)


def perceptual_distance(
    network: SqueezeNet, fake: Tensor, real: Tensor, is_target: Tensor, world: World
) -> Tensor:
    """Return the mean distance in a frozen network's maps, where the target is known (Johnson et al. 2016).

    Each map's distance is a share of the real picture's own size there, so that fine and coarse
    ones count alike. Pictures, (b, 3, s, s) in [-1, 1], are seen at their own size: reduced, a later stage's
    details would not count. `is_target` (b,) says whether `real` is what `fake` should be.
    Measures by SqueezeNet are flattered.
    """
    with torch.no_grad():
        wanted = network((real + 1) / 2, PERCEPTUAL_DEPTHS)
    found = network((fake + 1) / 2, PERCEPTUAL_DEPTHS)
    distances = [
        (a - b).abs().mean(dim=(1, 2, 3)) / world.mean(b.abs().mean()) for a, b in zip(found, wanted)
    ]
    return (torch.stack(distances).mean(dim=0) * is_target).sum() / is_target.sum().clamp(min=1)
