"""Local weight files that measures may need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.checkpoint import Checkpoint
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.encoders.squeezenet import SqueezeNet
from memdriven.encoders.vgg import Vgg16Features
from memdriven.errors import EvaluationError
from memdriven.evaluation.features import Extractor, squeezenet_extractor, vgg_extractor
from memdriven.evaluation.judge import AttributeJudge, load_judge
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import (
    BEST,
    MODEL,
    ROWS,
    STRATEGY,
    TRIED,
    Neighbours,
    Painter,
    Prompt,
    Row,
    gather,
)
from memdriven.evaluation.soa import Detector, torchvision_detector
from memdriven.files import read_json, sha256_file
from memdriven.memory.bank import HEADER, MemoryBank
from memdriven.memory.retrieval import STRATEGIES, Match
from memdriven.pipeline.pipeline import MemoryDrivenPipeline


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
    """The 2015 TensorFlow Inception weights as torch-fidelity publishes them, for FID forms a and
    c and the Inception score; without it torch-fidelity's download."""
    inception_b: Path | None = None
    """torchvision's Inception-v3 weights, for FID form b; without it its download."""
    detector: Path | None = None
    """torchvision's fasterrcnn_resnet50_fpn_v2 weights, for SOA; without it its download."""


LEAST_SIDE = 128
"""VGG sees images at the model's size, but enlarged to this many px where that is smaller."""


class Workbench:
    """One evaluation's material.

    Args:
        checkpoint: the model.
        dataset: its images and captions.
        prompts: the captions to draw.
        resources: local weight files.
        seed: of the first image's noise; also of every random choice of a measure.
        folder: where this model's rows of images are kept for a later run. Features of images and
            neighbours of captions, which other models share, are kept beside it.
        memory: a memory bank in place of the checkpoint's own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dataset: PreparedDataset,
        prompts: Sequence[Prompt],
        resources: Resources,
        *,
        split: str = "test",
        seed: int = 0,
        folder: Path,
        memory: Path | None = None,
        batch: int = 16,
        progress: bool = True,
    ) -> None:
        self.checkpoint, self.dataset, self.prompts = checkpoint, dataset, list(prompts)
        self.resources, self.split, self.seed, self.folder = resources, split, seed, folder
        self.memory, self.cache = memory or checkpoint.bank_path, folder.parent / "features"
        self.batch, self.progress = batch, progress
        self.device = str(checkpoint.damsm.device)
        self.size = checkpoint.generator.resolutions[-1]

    @property
    def model_name(self) -> str:
        """The checkpoint's folder; for RUN/checkpoint the run's."""
        path = self.checkpoint.path.resolve()
        return path.parent.name if path.name == "checkpoint" else path.name

    @cached_property
    def bank(self) -> MemoryBank:
        """The memory."""
        return MemoryBank.open(self.memory, self.checkpoint.damsm.hash())

    @cached_property
    def memory_hash(self) -> str:
        """Names the memory."""
        return sha256_file(self.memory / HEADER)[:12] if (self.memory / HEADER).exists() else ""

    @cached_property
    def finder(self) -> Neighbours:
        """Finds neighbours in it."""
        kept = self.folder.parent / "neighbours"
        return Neighbours(self.checkpoint, self.bank, kept, progress=self.progress)

    @cached_property
    def painter(self) -> Painter:
        """Makes the model's rows."""
        return Painter(
            self.checkpoint,
            self.finder,
            self.dataset,
            lambda: self.vgg,
            batch=self.batch,
            progress=self.progress,
        )

    @cached_property
    def pipe(self) -> MemoryDrivenPipeline:
        """The model as everybody uses it."""
        return MemoryDrivenPipeline(self.checkpoint, self.bank)

    @cached_property
    def held(self) -> frozenset[str]:
        """Ids of the memory's images."""
        return frozenset(self.bank.ids)

    @cached_property
    def judge(self) -> AttributeJudge:
        """The attribute judge.

        Raises:
            EvaluationError: none is given, or it is damaged.
        """
        if self.resources.judge is None:
            raise EvaluationError(
                wanted="an attribute judge",
                found="none given",
                fix="train one (train-judge) and give it by --judge",
            )
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

    def images_of(self, items: Sequence[Item], name: str) -> Tensor:
        """Return items' images, uint8 (n, 3, size, size), repeated ones decoded once.

        Those that would fill the memory are kept in a file of that name.
        """
        unique = list({item.id: item for item in items}.values())
        place = {item.id: i for i, item in enumerate(unique)}
        images = load_images(self.dataset, unique, self.size, self.progress)
        if len(unique) == len(items):
            return images
        rows = torch.tensor([place[item.id] for item in items])
        return gather(images, rows, self.folder / "rows" / f"{name}.npy")

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

    def training_sample(self, n: int) -> Tensor:
        """Return n of the training images (all, if fewer), evenly spread over them."""
        total = len(self.training_items)
        if total <= n:
            return self.training_images
        rows = torch.linspace(0, total - 1, n).round().long()
        return gather(self.training_images, rows, self.folder / "rows" / "training.npy")

    def row(self, name: str, prompts: Sequence[Prompt] | None = None, file: str = "") -> Row:
        """Make one row: `model`, one of `ROWS`, or `strategy NAME`.

        Args:
            name: of the row.
            prompts: other captions than the workbench's.
            file: under which name such other images are kept.

        Raises:
            EvaluationError: there is no such row, or it needs weights that are not here.
        """
        prompts = self.prompts if prompts is None else prompts
        retrieval = self.checkpoint.config.retrieval
        if name == "real":
            return Row(name=name, images=self.images_of([p.item for p in prompts], name))
        if name == "retrieved":
            return self.retrieved(
                self.finder.find(prompts, retrieval.strategy, 1, self.seed), retrieval.strategy
            )
        own = name in (MODEL, BEST)
        strategy = retrieval.strategy if own else name.removeprefix(STRATEGY)
        if strategy not in STRATEGIES:
            raise EvaluationError(
                wanted="rows among " + ", ".join((MODEL, *ROWS)), found=name, fix="choose of these"
            )
        choice = self.painter.choice(TRIED) if name == BEST else None
        matches = self.finder.find(prompts, strategy, retrieval.k, self.seed, choice)
        images = self.painter.row(
            prompts, matches, strategy, self.seed, self.folder / "rows", file or name.replace(" ", "-")
        )
        drew_on = [found[0].id if found else None for found in matches]
        return Row(
            name=name,
            images=images,
            strategy=strategy,
            seeds=range(self.seed, self.seed + len(prompts)),
            drew_on=drew_on if any(drew_on) else None,
        )

    def retrieved(self, matches: Sequence[Sequence[Match]], strategy: str) -> Row:
        """The first neighbours' own images; thumbnails where the data set lacks the originals."""
        if not all(matches):
            raise EvaluationError(
                wanted="neighbours for the row `retrieved`",
                found=f"strategy {strategy!r}, which has none",
                fix="leave the row out, or evaluate with another default strategy",
            )
        by_id = {item.id: item for item in self.dataset.items}
        ids = [found[0].id for found in matches]
        if all(item_id in by_id for item_id in ids):
            originals = self.images_of([by_id[item_id] for item_id in ids], "retrieved")
            return Row(name="retrieved", images=originals, drew_on=ids, strategy=strategy)
        from memdriven.data.images import centre_square, to_bytes

        unique = {found[0].id: found[0].index for found in matches}
        thumbnails = torch.stack(
            [to_bytes(centre_square(self.bank.thumbnail(index), self.size)) for index in unique.values()]
        )
        place = {item_id: i for i, item_id in enumerate(unique)}
        rows = torch.tensor([place[item_id] for item_id in ids])
        images = gather(thumbnails, rows, self.folder / "rows" / "retrieved.npy")
        return Row(
            name="retrieved", images=images, drew_on=ids, strategy=strategy, note="the bank's thumbnails"
        )

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


Measure = Callable[[Workbench, Row], list[Measurement]]
ModelMeasure = Callable[[Workbench], list[Measurement]]
