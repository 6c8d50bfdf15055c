"""What the measures share: the captions, the rows of images, and the judges, loaded on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.checkpoint import Checkpoint
from memdriven.data.image_cache import load_images
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.encoders.vgg import Vgg16Features
from memdriven.errors import EvaluationError, MemDrivenError
from memdriven.evaluation.features import Extractor, vgg_extractor
from memdriven.evaluation.judge import AttributeJudge, load_judge
from memdriven.evaluation.painting import Painter
from memdriven.evaluation.prompts import Prompt
from memdriven.evaluation.soa import Detector, torchvision_detector
from memdriven.evaluation.squeezenet import SqueezeNet, squeezenet_extractor
from memdriven.files import read_json
from memdriven.memory.bank import MemoryBank
from memdriven.memory.matches import Match

MODEL = "model"
CONTROLS = ("retrieved", "real", "random", "none", "oracle")
LEAST_SIDE = 128
"""VGG sees images at the model's size, but enlarged to this many px where that is smaller."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Local files that measures may need; what is absent is left out and named."""

    judge: Path | None = None
    """Folder of an attribute judge (train-judge)."""
    vgg: Path | None = None
    """VGG-16 weights; without it $MEMDRIVEN_VGG16 or torchvision's download."""
    squeezenet: Path | None = None
    """SqueezeNet 1.1 weights; without it $MEMDRIVEN_SQUEEZENET or torchvision's download."""
    inception_a: Path | None = None
    """The 2015 TensorFlow Inception weights as torch-fidelity publishes them: FID forms a and c."""
    inception_b: Path | None = None
    """torchvision's Inception-v3 weights: FID form b and the Inception score."""
    detector: Path | None = None
    """torchvision's fasterrcnn_resnet50_fpn_v2 weights, for SOA; without it its download."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The images of one line of the table, one a caption."""

    name: str
    images: Tensor
    """uint8 (n, 3, size, size)."""
    drew_on: Sequence[str | None] | None = None
    """Id of the first neighbour each image drew on."""
    note: str = ""
    """What a reader must know of these images."""


class Workbench:
    """One evaluation's material.

    Args:
        checkpoint: the model.
        dataset: its images and captions.
        prompts: the captions to draw.
        resources: local weight files.
        seed: of the first image's noise; also of every random choice of a measure.
        folder: where rows and features are kept for a later run.
    """

    def __init__(
        self, checkpoint: Checkpoint, dataset: PreparedDataset, prompts: Sequence[Prompt],
        resources: Resources, *, split: str = "test", seed: int = 0, folder: Path,
        batch: int = 16, progress: bool = True,
    ) -> None:  # fmt: skip
        self.checkpoint, self.dataset, self.prompts = checkpoint, dataset, list(prompts)
        self.resources, self.split, self.seed, self.folder = resources, split, seed, folder
        self.batch, self.progress = batch, progress
        self.device = str(checkpoint.damsm.device)
        self.size = checkpoint.generator.resolutions[-1]

    @cached_property
    def bank(self) -> MemoryBank:
        """The checkpoint's memory."""
        return MemoryBank.open(self.checkpoint.bank_path, self.checkpoint.damsm.hash())

    @cached_property
    def painter(self) -> Painter:
        """Makes the model's rows."""
        try:
            vgg: Vgg16Features | None = self.vgg
        except MemDrivenError:
            vgg = None
        return Painter(
            self.checkpoint, self.bank, self.dataset, vgg, batch=self.batch, progress=self.progress
        )

    @cached_property
    def judge(self) -> AttributeJudge:
        """The attribute judge.

        Raises:
            EvaluationError: none is given, or it is damaged.
        """
        if self.resources.judge is None:
            raise EvaluationError(wanted="an attribute judge", found="none given",
                                  fix="train one (train-judge) and give it by --judge")  # fmt: skip
        return load_judge(self.resources.judge, self.device)

    @cached_property
    def judge_hash(self) -> str:
        """Names the judge's weights; "" without a judge."""
        if self.resources.judge is None:
            return ""
        header = read_json(self.resources.judge / "judge.json", EvaluationError)
        return str(header.get("sha256", ""))[:12]

    @cached_property
    def vgg(self) -> Vgg16Features:
        """VGG-16, the memory's own network."""
        return Vgg16Features.load(self.resources.vgg, self.device)

    @cached_property
    def vgg_space(self) -> Extractor:
        """Pooled relu5_3."""
        return vgg_extractor(self.vgg, max(self.size, LEAST_SIDE), self.device)

    @cached_property
    def squeezenet(self) -> SqueezeNet:
        """The second feature network."""
        return SqueezeNet.load(self.resources.squeezenet, self.device)

    @cached_property
    def squeezenet_space(self) -> Extractor:
        """SqueezeNet's pooled last maps."""
        return squeezenet_extractor(self.squeezenet, device=self.device)

    @cached_property
    def detector(self) -> tuple[Detector, list[str]]:
        """What finds objects for SOA, and the names that it knows."""
        return torchvision_detector(self.resources.detector, device=self.device)

    def images_of(self, items: Sequence[Item]) -> Tensor:
        """Return items' images, uint8 (n, 3, size, size), repeated ones decoded once."""
        unique = list({item.id: item for item in items}.values())
        place = {item.id: i for i, item in enumerate(unique)}
        images = load_images(self.dataset, unique, self.size, self.progress)
        if len(unique) == len(items):
            return images
        return images[torch.tensor([place[item.id] for item in items])]

    @cached_property
    def reference_images(self) -> Tensor:
        """All images of the evaluated split: what distributions are compared with."""
        return load_images(self.dataset, self.dataset.split(self.split), self.size, self.progress)

    @cached_property
    def training_items(self) -> list[Item]:
        """The items of the training split."""
        return self.dataset.split("train")

    @cached_property
    def training_images(self) -> Tensor:
        """All images of the training split."""
        return load_images(self.dataset, self.training_items, self.size, self.progress)

    def spread(self, images: Tensor, n: int) -> Tensor:
        """Return n of the images (all, if fewer), evenly spread over them."""
        if len(images) <= n:
            return images
        return images[torch.linspace(0, len(images) - 1, n).round().long()]

    def row(self, name: str, prompts: Sequence[Prompt] | None = None, file: str = "") -> Row:
        """Make one row: `model` or one of `CONTROLS`.

        Args:
            name: of the row.
            prompts: other captions than the workbench's.
            file: under which name such other images are kept.

        Raises:
            EvaluationError: there is no such row, or it needs weights that are not here.
        """
        prompts = self.prompts if prompts is None else prompts
        if name == "real":
            return Row(name=name, images=self.images_of([p.item for p in prompts]))
        retrieval = self.checkpoint.config.retrieval
        if name == "retrieved":
            return self._retrieved(
                self.painter.neighbours(prompts, retrieval.strategy, 1, self.seed)
            )
        if name not in (MODEL, *CONTROLS):
            raise EvaluationError(wanted="rows among " + ", ".join((MODEL, *CONTROLS)),
                                  found=name, fix="choose of these")  # fmt: skip
        strategy = retrieval.strategy if name == MODEL else name
        matches = self.painter.neighbours(prompts, strategy, retrieval.k, self.seed)
        images = self.painter.row(
            prompts, matches, strategy, self.seed, self.folder / "rows", file or name
        )
        drew_on = [found[0].id if found else None for found in matches]
        return Row(name=name, images=images, drew_on=drew_on if any(drew_on) else None)

    def _retrieved(self, matches: Sequence[Sequence[Match]]) -> Row:
        """The first neighbours' own images; thumbnails where the data set lacks the originals."""
        by_id = {item.id: item for item in self.dataset.items}
        ids = [found[0].id for found in matches]
        if all(item_id in by_id for item_id in ids):
            return Row(name="retrieved", images=self.images_of([by_id[i] for i in ids]),
                       drew_on=ids)  # fmt: skip
        from memdriven.data.transforms import centre_square, to_bytes

        thumbnails = {
            found[0].id: to_bytes(centre_square(self.bank.thumbnail(found[0].index), self.size))
            for found in matches
        }
        images = torch.stack([thumbnails[item_id] for item_id in ids])
        return Row(name="retrieved", images=images, drew_on=ids, note="the bank's thumbnails")

    @torch.no_grad()
    def damsm_images(self, images: Tensor) -> Tensor:
        """Return DAMSM's global features (n, d) of uint8 images: the generator's own judge."""
        damsm = self.checkpoint.damsm
        vgg = None if damsm.pixels is not None else self.vgg
        parts = [
            damsm.encode_images(chunk.to(self.device).float() / 255, vgg).global_.float().cpu()
            for chunk in torch.split(images, 64)
        ]
        return F.normalize(torch.cat(parts), dim=1)

    @torch.no_grad()
    def damsm_sentences(self) -> Tensor:
        """Return the captions' sentence embeddings (n, d)."""
        checkpoint = self.checkpoint
        limit = checkpoint.config.text.max_words
        parts = []
        for start in range(0, len(self.prompts), 256):
            encoded = [
                checkpoint.vocabulary.encode(prompt.caption, limit)
                for prompt in self.prompts[start : start + 256]
            ]
            parts.append(checkpoint.damsm.encode_captions(encoded).sentence.float().cpu())
        return torch.cat(parts)
