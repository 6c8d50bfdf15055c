"""What G's pictures are told by frozen encoders: L_DAMSM (Eq. 2), and the attributes they show."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from memdriven.config import Config
from memdriven.encoders.attribute_files import Attributes
from memdriven.encoders.attribute_head import AttributeHead, attribute_loss
from memdriven.encoders.damsm import Damsm, damsm_loss
from memdriven.encoders.damsm_files import TrainedDamsm
from memdriven.encoders.image import CompactBackbone, ImageFeatures
from memdriven.encoders.vgg import Vgg16Features
from memdriven.errors import TrainingError
from memdriven.training.augment import disturb
from memdriven.training.batches import Batch


class TextLoss:
    """Scores generated pictures against the captions they were made for; nothing here is trained.

    Args:
        config: the run's settings.
        damsm: trained encoders.
        vgg: under DAMSM's heads, where `damsm.pixel_backbone` is `vgg16`.
        head: names attributes from the maps of the pixel network, for `loss.attribute_weight`.
    """

    def __init__(
        self,
        config: Config,
        damsm: Damsm,
        vgg: Vgg16Features | None = None,
        head: AttributeHead | None = None,
    ) -> None:
        self.config, self.damsm, self.vgg, self.head = config, damsm, vgg, head

    @classmethod
    def load(
        cls, config: Config, trained: TrainedDamsm, attributes: Attributes | None, vgg_weights: Path | None
    ) -> TextLoss:
        """Build it for a run, with what the encoders lack and the attributes they were taught.

        Raises:
            TrainingError: an attribute loss is wanted and the encoders have no attribute head.
            CheckpointError: a file is missing or damaged.
        """
        damsm = trained.damsm
        vgg = Vgg16Features.load(vgg_weights, damsm.device) if damsm.pixels is None else None
        if not config.loss.attribute_weight:
            return cls(config, damsm, vgg)
        if attributes is None or not isinstance(damsm.pixels, CompactBackbone):
            raise TrainingError(
                wanted="encoders with an attribute head, for loss.attribute_weight",
                found="encoders without one",
                fix="run train-pixels on data with attribute records, or set the weight to 0",
            )
        return cls(config, damsm, None, attributes.head.to(damsm.device))

    @property
    def attributes(self) -> dict[str, tuple[str, ...]]:
        """The attributes whose labels a batch must hold, with their values; empty without head."""
        return self.head.attributes if self.head is not None else {}

    def __call__(self, batch: Batch, images: list[Tensor], step: int) -> dict[str, Tensor]:
        """Return the losses of G's images of all stages, or of the last (`damsm_stages`).

        `damsm` (where it has a weight) is summed over the stages, `attributes` (where there is a
        head) is their mean.
        """
        scored = images if self.config.loss.damsm_stages == "all" else images[-1:]
        chance = torch.Generator().manual_seed(self.config.train.seed * 1_000_003 + step)
        classes = batch.class_ids if self.config.damsm.mask_same_class else None
        damsm = batch.v.new_zeros(())
        named = []
        for image in scored:
            seen = (image.float() + 1) / 2
            if self.config.loss.damsm_disturbed:
                seen = disturb(seen, chance)
            features, maps = self.damsm.look(seen, self.vgg)
            if self.config.loss.damsm_weight:
                features = ImageFeatures(*(part.float() for part in features))
                damsm = damsm + damsm_loss(features, batch.text, self.config.damsm, classes).total
            if self.head is not None and maps is not None and batch.labels is not None:
                named.append(attribute_loss(self.head(maps).float(), batch.labels))
        found = {"damsm": damsm} if self.config.loss.damsm_weight else {}
        if named:
            found["attributes"] = torch.stack(named).mean()
        return found
