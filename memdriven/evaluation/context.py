"""What is evaluated, and by what protocol: captions, a model with its memory, a data set."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from memdriven.data.images import centre_square, to_bytes
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.encoders.image import resized
from memdriven.encoders.imagenet import SqueezeNet, Vgg16Features
from memdriven.encoders.text import TextFeatures
from memdriven.errors import EvaluationError
from memdriven.evaluation.judge import AttributeJudge, load_judge
from memdriven.files import sha256_of
from memdriven.memory.bank import HEADER, StoredWords
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

CONTROLS = ("retrieved", "real", "random", "none", "oracle")
"""Rows beside the model's that always cost little and say much."""
LEAST_SIDE = 128
"""VGG sees pictures at the model's size, but at least so large; SqueezeNet sees all in this size."""
BATCH = 32
"""Images a forward pass of a feature network."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How models are measured: by what, on which captions, beside what, and with which local files.

    A measure whose weights are neither here nor to be had is left out and named.
    """

    metrics: tuple[str, ...] = (
        *("attributes", "r_precision", "r_precision_judge", "fid_vgg", "kid_vgg"),
        *("diversity_seed", "diversity_z", "copy_check", "retrieval"),
    )
    """Which measures."""
    n: int = 1000
    """Captions, one image each (the paper: 30000)."""
    split: str = "test"
    """Whose captions are painted: test, or validation, to choose settings by."""
    controls: tuple[str, ...] = CONTROLS
    """Rows beside the model's; `evaluate --help` names them."""
    device: str = "auto"
    """Where to run: auto, cpu, cuda, cuda:1, ..."""
    batch: int = 16
    """Images a forward pass."""
    judge: Path | None = None
    """Folder of an attribute judge (train-judge)."""
    vgg: Path | None = None
    """VGG-16 weights; else $MEMDRIVEN_VGG16 or torchvision's download."""
    squeezenet: Path | None = None
    """SqueezeNet 1.1 weights; else $MEMDRIVEN_SQUEEZENET or torchvision's download."""
    inception_a: Path | None = None
    """torch-fidelity's weights of the 2015 Inception, for FID a and c and the score; else its download."""
    inception_b: Path | None = None
    """torchvision's Inception-v3 weights, for FID form b; else its download."""
    detector: Path | None = None
    """torchvision's fasterrcnn_resnet50_fpn_v2 weights, for SOA; else its download."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One caption of one image."""

    item: Item
    caption: str
    named: Mapping[str, Any] = field(default_factory=dict)
    """Attributes that the caption names, where the data set knows."""


def choose_prompts(dataset: PreparedDataset, split: str, n: int) -> list[Prompt]:
    """Return n captions of a split: every image's first caption, then every second one, ...

    Images come in the order of a hash of their ids, so that a small n sees all classes and a
    larger n holds the smaller one's captions. Fewer are returned when the split has fewer. A DataError says
    that there is no such split.
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


@dataclass(kw_only=True, eq=False)
class Extractor:
    """A feature space: images to vectors through one frozen network, once for the same pixels."""

    name: str
    """Names the space in a number's protocol, e.g. `vgg16 relu5_3 mean at 128 px`."""
    side: int
    """Images are resized (bilinear, antialiased) to this side in px first."""
    function: Callable[[Tensor], Tensor]
    """Float images (b, 3, side, side) in [0, 1] to vectors (b, d)."""
    device: str = "cpu"
    made: dict[str, Tensor] = field(default_factory=dict)
    """Features by the hash of their pixels."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 features (n, d), on the CPU, of uint8 images (n, 3, h, w)."""
        if (key := pixels_hash(images)) not in self.made:
            parts = []
            for chunk in tqdm(torch.split(images, BATCH), self.name):
                scaled = resized(chunk.to(self.device).float() / 255, self.side)
                parts.append(self.function(scaled).float().cpu())
            self.made[key] = torch.cat(parts)
        return self.made[key]


def pooled_maps(name: str, network: nn.Module, side: int, device: str = "cpu") -> Extractor:
    """Return the spatial mean of a network's maps (b, d, h, w); of the last ones where it has several."""

    def pooled(images: Tensor) -> Tensor:
        maps = network(images)
        last: Tensor = maps if isinstance(maps, Tensor) else maps[-1]
        return last.float().mean(dim=(2, 3))

    return Extractor(name=f"{name} mean at {side} px", side=side, function=pooled, device=device)


@dataclass(kw_only=True, eq=False)
class Context:
    """One evaluation's material; whatever is slow to load is loaded when it is first asked for."""

    pipe: MemoryDrivenPipeline
    dataset: PreparedDataset
    prompts: Sequence[Prompt]
    """The captions to paint."""
    folder: Path
    """Where this model's rows of pictures are kept for a later run."""
    protocol: Protocol = field(default_factory=Protocol)
    seed: int = 0
    """Of the first picture's noise; also of every random choice of a measure."""

    def __post_init__(self) -> None:
        self.checkpoint, self.bank = self.pipe.checkpoint, self.pipe.bank
        self.device = str(self.checkpoint.damsm.device)
        self.split, self.batch = self.protocol.split, self.protocol.batch
        self.size = self.checkpoint.generator.resolutions[-1]
        self.items = {item.id: item for item in self.dataset.items}
        self.loaded: dict[str, Tensor] = {}
        # Word-level strategies compare each caption with 200 items, and meet every item many times: what is
        # kept covers a bank of some thousand images (0.7 and 0.3 GB at most).
        found = self.pipe.retriever
        found.stored = StoredWords(self.bank, found.damsm, found.vocabulary, 60_000, 8_000)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a number of this evaluation depends on, beside its row and metric."""
        lines = "".join(f"{prompt.item.id}\0{prompt.caption}\n" for prompt in self.prompts)
        return {
            "checkpoint_hash": self.checkpoint.hash,
            "dataset": f"{self.dataset.name}/{self.split}",
            "seed": self.seed,
            "prompts": hashlib.sha256(lines.encode()).hexdigest()[:12],
            "memory": sha256_of(self.bank.path / HEADER)[:12],
            "k": self.checkpoint.config.retrieval.k,
        }

    def request(self, prompt: Prompt, seed: int, **fields: Any) -> Request:
        """Return what is asked for a caption; its own image is left out where the memory holds it."""
        own = (prompt.item.id,) if self.is_remembered(prompt.item.id) else ()
        return Request(caption=prompt.caption, seeds=(seed,), exclude=own, **fields)

    def is_remembered(self, item_id: str) -> bool:
        """Whether an id names the same image in data set and memory, where it has the same captions."""
        if item_id not in self.items or item_id not in self.bank:
            return False
        return {*self.bank.items[self.bank.index_of(item_id)].captions} <= {*self.items[item_id].captions}

    def encode(self, captions: Sequence[str]) -> TextFeatures:
        """Return captions as the generator reads them."""
        limit = self.checkpoint.config.text.max_words
        encoded = [self.checkpoint.vocabulary.encode(caption, limit) for caption in captions]
        return self.checkpoint.encode_captions(encoded)

    @cached_property
    def judge(self) -> AttributeJudge:
        """The attribute judge, where one is given."""
        if self.protocol.judge is None:
            fix = "train one (train-judge) and give it by --judge"
            raise EvaluationError("an attribute judge", "none given", fix)
        return load_judge(self.protocol.judge, self.device)

    @cached_property
    def vgg(self) -> Vgg16Features:
        """VGG-16, the memory's own network."""
        return Vgg16Features.load(self.protocol.vgg, self.device)

    @cached_property
    def squeezenet(self) -> SqueezeNet:
        """The second feature network."""
        return SqueezeNet.load(self.protocol.squeezenet, self.device)

    @cached_property
    def vgg_space(self) -> Extractor:
        """Pooled relu5_3."""
        return pooled_maps("vgg16 relu5_3", self.vgg, max(self.size, LEAST_SIDE), self.device)

    @cached_property
    def squeezenet_space(self) -> Extractor:
        """SqueezeNet's pooled last maps, a fortieth of VGG in time."""
        return pooled_maps("squeezenet1_1", self.squeezenet, LEAST_SIDE, self.device)

    @cached_property
    def remembers_others(self) -> bool:
        """Whether the memory holds images that the data set lacks: then its thumbnails stand for all."""
        return not all(map(self.is_remembered, self.bank.ids))

    def remembered(self, item_id: str, side: int) -> Tensor:
        """Return an image of the memory, uint8 (3, side, side)."""
        if not self.remembers_others:
            return self.dataset.pixels(self.items[item_id], side)
        return to_bytes(centre_square(self.bank.thumbnail(self.bank.index_of(item_id)), side))

    def images_of(self, split: str) -> Tensor:
        """Return all images of a split; distributions are compared with those of the evaluated one."""
        if split not in self.loaded:
            self.loaded[split] = load_images(self.dataset, self.dataset.split(split), self.size)
        return self.loaded[split]

    @cached_property
    def other_split(self) -> str:
        """A split beside the evaluated one, whose images show how near real ones are; "" where none is."""
        others = {*self.dataset.header["counts"]} - {self.split}
        return next((split for split in ("train", "test", "validation") if split in others), "")


@lru_cache(maxsize=8)
def pixels_hash(images: Tensor) -> str:
    """Return 12 hexadecimal digits that name the pixels of uint8 images (n, 3, h, w)."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for chunk in torch.split(images, 512):
        digest.update(chunk.contiguous().numpy().data)
    return digest.hexdigest()[:12]


def quantised(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8, on the CPU; what is uint8 stays as it is."""
    if images.dtype == torch.uint8:
        return images
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()
