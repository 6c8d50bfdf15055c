"""What an evaluation is of: captions, a model with its memory, a data set, and the networks that judge."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memdriven.checkpoint import Checkpoint
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.encoders.squeezenet import SqueezeNet
from memdriven.encoders.text import TextFeatures
from memdriven.encoders.vgg import Vgg16Features
from memdriven.errors import EvaluationError
from memdriven.evaluation.features import Extractor, pooled_maps
from memdriven.evaluation.judge import AttributeJudge, load_judge
from memdriven.files import explain_disk_errors, read_json, sha256_file
from memdriven.memory.bank import HEADER, MemoryBank
from memdriven.memory.retrieval import Retriever
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

LEAST_SIDE = 128
"""VGG sees images at the model's size, but enlarged to this many px where that is smaller."""
SQUEEZENET_SIDE = 128
CACHED_CAPTIONS, CACHED_IMAGES = 60_000, 8_000
"""Word-level strategies compare each caption with 200 items, so an evaluation meets every item many
times: what it keeps of them covers a bank of some thousand images (0.7 and 0.3 GB at most)."""
CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One caption of one image."""

    item: Item
    caption: str
    named: Mapping[str, Any] = field(default_factory=dict)
    """Attributes that the caption names, where the data set knows."""


def prompts_hash(prompts: Sequence[Prompt]) -> str:
    """Return 12 hexadecimal digits that name a list of captions and their images' ids."""
    lines = "".join(f"{prompt.item.id}\0{prompt.caption}\n" for prompt in prompts)
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def choose_prompts(dataset: PreparedDataset, split: str, n: int) -> list[Prompt]:
    """Return n captions of a split: every image's first caption, then every second one, ...

    Images come in the order of a hash of their ids, so that a small n sees all classes and a
    larger n holds the smaller one's captions. Fewer are returned when the split has fewer.

    Raises:
        DataError: there is no such split.
    """
    items = sorted(dataset.split(split), key=lambda item: hashlib.sha256(item.id.encode()).digest())
    prompts: list[Prompt] = []
    for turn in range(max(len(item.captions) for item in items)):
        for item in items:
            if turn < len(item.captions) and len(prompts) < n:
                records = item.caption_attributes
                named = records[turn] if turn < len(records) else {}
                prompts.append(Prompt(item=item, caption=item.captions[turn], named=named))
    return prompts


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


@dataclass(kw_only=True, eq=False)
class Context:
    """One evaluation's material; whatever is slow to load is loaded when it is first asked for."""

    checkpoint: Checkpoint
    dataset: PreparedDataset
    prompts: Sequence[Prompt]
    """The captions to paint."""
    resources: Resources = field(default_factory=Resources)
    split: str = "test"
    """Whose captions they are."""
    seed: int = 0
    """Of the first picture's noise; also of every random choice of a measure."""
    folder: Path
    """Where this model's rows of pictures are kept for a later run. Features of images, which other models
    share, are kept beside it."""
    memory: Path | None = None
    """A memory bank in place of the checkpoint's own."""
    batch: int = 16
    """Pictures a forward pass."""
    progress: bool = True

    def __post_init__(self) -> None:
        """Derive what is used everywhere."""
        self.memory_path = self.memory or self.checkpoint.bank_path
        self.cache = self.folder.parent / "features"
        self.device = str(self.checkpoint.damsm.device)
        self.size = self.checkpoint.generator.resolutions[-1]

    @property
    def identity(self) -> dict[str, Any]:
        """What a number of this evaluation depends on, beside its row and metric."""
        return {
            "checkpoint_hash": self.checkpoint.hash,
            "dataset": f"{self.dataset.name}/{self.split}",
            "seed": self.seed,
            "prompts": prompts_hash(self.prompts),
            "memory": self.memory_hash,
            "k": self.checkpoint.config.retrieval.k,
        }

    @cached_property
    def bank(self) -> MemoryBank:
        """The memory."""
        return MemoryBank(self.memory_path, self.checkpoint.damsm.hash())

    @cached_property
    def memory_hash(self) -> str:
        """Names the memory."""
        header = self.memory_path / HEADER
        return sha256_file(header)[:12] if header.exists() else ""

    @cached_property
    def pipe(self) -> MemoryDrivenPipeline:
        """The model as everybody uses it."""
        pipe = MemoryDrivenPipeline(self.checkpoint, self.bank)
        pipe.retriever = Retriever(
            self.bank,
            self.checkpoint.damsm,
            self.checkpoint.vocabulary,
            self.checkpoint.config.retrieval,
            cached_captions=CACHED_CAPTIONS,
            cached_images=CACHED_IMAGES,
        )
        return pipe

    def request(self, prompt: Prompt, seed: int, **fields: Any) -> Request:
        """Return what is asked for a caption; its own image is left out where the memory holds it."""
        own = (prompt.item.id,) if prompt.item.id in self.bank else ()
        return Request(caption=prompt.caption, seeds=(seed,), exclude=own, **fields)

    def encode(self, captions: Sequence[str]) -> TextFeatures:
        """Return captions as the generator reads them."""
        limit = self.checkpoint.config.text.max_words
        encoded = [self.checkpoint.vocabulary.encode(caption, limit) for caption in captions]
        return self.checkpoint.encode_captions(encoded)

    @cached_property
    def judge(self) -> AttributeJudge:
        """The attribute judge, where one is given."""
        if self.resources.judge is None:
            raise EvaluationError(
                "an attribute judge", "none given", "train one (train-judge) and give it by --judge"
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
        return pooled_maps("vgg16 relu5_3", self.vgg, max(self.size, LEAST_SIDE), self.device)

    @cached_property
    def squeezenet(self) -> SqueezeNet:
        """The second feature network."""
        return SqueezeNet.load(self.resources.squeezenet, self.device)

    @cached_property
    def squeezenet_space(self) -> Extractor:
        """SqueezeNet's pooled last maps, a fortieth of VGG in time."""
        return pooled_maps("squeezenet1_1", self.squeezenet, SQUEEZENET_SIDE, self.device)

    def features(self, space: Extractor, images: Tensor) -> Tensor:
        """Return features (n, d) of uint8 images (n, 3, h, w), kept for a later run."""
        return space(images, self.cache, progress=self.progress)

    @cached_property
    def items(self) -> dict[str, Item]:
        """The data set's items by id."""
        return {item.id: item for item in self.dataset.items}

    def images_of(self, items: Sequence[Item], side: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the distinct images of items, uint8 (m, 3, side, side), and each item's place among them."""
        unique = list({item.id: item for item in items}.values())
        place = {item.id: i for i, item in enumerate(unique)}
        images = load_images(self.dataset, unique, side or self.size, self.progress)
        return images, torch.tensor([place[item.id] for item in items])

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

    @cached_property
    def reference_pixels(self) -> str:
        """Names the split's images by their pixels."""
        return pixels_hash(self.reference_images)

    @cached_property
    def training_pixels(self) -> str:
        """Names the training images by their pixels."""
        return pixels_hash(self.training_images)

    def training_sample(self, n: int) -> Tensor:
        """Return n of the training images (all, if fewer), evenly spread over them."""
        total = len(self.training_items)
        if total <= n:
            return self.training_images
        rows = torch.linspace(0, total - 1, n).round().long()
        return self.fill("training", n, lambda chosen: self.training_images[rows[chosen]])

    def fill(self, name: str, n: int, images: Callable[[slice], Tensor]) -> Tensor:
        """Write n images, uint8 (n, 3, size, size), to a file of this name, part by part, and map it."""
        path = self.folder / "rows" / f"{name}.npy"
        shape = (n, 3, self.size, self.size)
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            for start in range(0, n, CHUNK):
                chosen = slice(start, min(start + CHUNK, n))
                rows[chosen] = images(chosen).numpy()
            rows.flush()
        return torch.from_numpy(rows)


def pixels_hash(images: Tensor) -> str:
    """Return 12 hexadecimal digits that name the pixels of uint8 images (n, 3, h, w)."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for chunk in torch.split(images, CHUNK):
        digest.update(chunk.contiguous().numpy().data)
    return digest.hexdigest()[:12]
