"""What is evaluated: captions, a model with its memory, a data set; and the rows of pictures of them.

A row is the model, a control, or another strategy, with one picture a caption. Noise is the pipeline's:
picture i of a row is drawn from seed + i, so any picture of a table can be made again alone. In a batch the
arithmetic may differ in the last bits. Rows are kept on disk as they are painted: a run that was cut short
goes on after its last whole batch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.checkpoint import RIVAL as RIVAL_FILE
from memdriven.checkpoint import load_rival
from memdriven.data.images import centre_square, to_bytes, to_tensor
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.encoders.imagenet import SqueezeNet, Vgg16Features
from memdriven.encoders.text import TextFeatures
from memdriven.errors import EvaluationError
from memdriven.evaluation.features import Extractor, pooled_maps
from memdriven.evaluation.judge import AttributeJudge, load_judge
from memdriven.files import atomic_write_json, explain_disk_errors, read_json, sha256_file
from memdriven.memory.bank import HEADER, StoredWords
from memdriven.pipeline.claims import score_pictures
from memdriven.pipeline.output import Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

MODEL, REAL, RETRIEVED = "model", "real", "retrieved"
TRIED = 8
BEST = f"best-of-{TRIED}"
"""The model, with the one of so many references whose picture fits the words best."""
RETRIEVED_BEST = f"retrieved-{BEST}"
"""Of so many references the one whose own image fits the words best, by the same reader: what is left of
`best-of-8` if nothing is painted."""
RIVAL = "rival"
"""A GAN without a memory, trained on the same pictures and captions."""
CONTROLS = (RETRIEVED, REAL, "random", "none", "oracle")
ROWS = (*CONTROLS, BEST, RETRIEVED_BEST, RIVAL)
"""What can stand beside the model; `best-of-8` costs a painting a reference."""
SETTING = re.compile(r"(best-of|k)-\d+|guidance-\d+(\.\d+)?")
"""Rows of the model with another setting, to choose one by: best-of-4, guidance-0.5, k-3."""
IMAGES = (REAL, RETRIEVED, RETRIEVED_BEST)
"""Rows of images that nobody painted."""
STRATEGY = "strategy "
"""Begins the name of a row whose references another strategy found."""
LEAST_SIDE = 128
"""VGG sees pictures at the model's size, but at least so large; SqueezeNet sees all in this size."""
SHOWN = 10
"""Pictures of a row that a report shows."""


# ------------------------------------------------------------------------------------------- captions


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


# -------------------------------------------------------------------------------------------- context


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

    pipe: MemoryDrivenPipeline
    dataset: PreparedDataset
    prompts: Sequence[Prompt]
    """The captions to paint."""
    folder: Path
    """Where this model's rows of pictures are kept for a later run."""
    resources: Resources = field(default_factory=Resources)
    split: str = "test"
    """Whose captions they are."""
    seed: int = 0
    """Of the first picture's noise; also of every random choice of a measure."""
    batch: int = 16
    """Pictures a forward pass."""
    progress: bool = True

    def __post_init__(self) -> None:
        """Name what is used everywhere."""
        self.checkpoint, self.bank = self.pipe.checkpoint, self.pipe.bank
        self.device = str(self.checkpoint.damsm.device)
        self.size = self.checkpoint.generator.resolutions[-1]
        self.items = {item.id: item for item in self.dataset.items}
        self._features: dict[tuple[str, str], Tensor] = {}
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
            "memory": sha256_file(self.bank.path / HEADER)[:12],
            "k": self.checkpoint.config.retrieval.k,
        }

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
            fix = "train one (train-judge) and give it by --judge"
            raise EvaluationError("an attribute judge", "none given", fix)
        return load_judge(self.resources.judge, self.device)

    @cached_property
    def vgg(self) -> Vgg16Features:
        """VGG-16, the memory's own network."""
        return Vgg16Features.load(self.resources.vgg, self.device)

    @cached_property
    def squeezenet(self) -> SqueezeNet:
        """The second feature network."""
        return SqueezeNet.load(self.resources.squeezenet, self.device)

    @cached_property
    def vgg_space(self) -> Extractor:
        """Pooled relu5_3."""
        return pooled_maps("vgg16 relu5_3", self.vgg, max(self.size, LEAST_SIDE), self.device)

    @cached_property
    def squeezenet_space(self) -> Extractor:
        """SqueezeNet's pooled last maps, a fortieth of VGG in time."""
        return pooled_maps("squeezenet1_1", self.squeezenet, LEAST_SIDE, self.device)

    def features(self, space: Extractor, images: Tensor) -> Tensor:
        """Return features (n, d) of uint8 images (n, 3, h, w), made once."""
        key = space.name, pixels_hash(images)
        if key not in self._features:
            self._features[key] = space(images, progress=self.progress)
        return self._features[key]

    @cached_property
    def remembers_others(self) -> bool:
        """Whether the memory holds images that the data set lacks: then its thumbnails stand for all."""
        return not self.items.keys() >= {item.id for item in self.bank.items}

    def image(self, item: Item, side: int) -> Tensor:
        """Return an image of the data set, uint8 (3, side, side)."""
        return to_bytes(centre_square(self.dataset.load_image(item), side))

    def remembered(self, item_id: str, side: int) -> Tensor:
        """Return an image of the memory, uint8 (3, side, side)."""
        if not self.remembers_others:
            return self.image(self.items[item_id], side)
        return to_bytes(centre_square(self.bank.thumbnail(self.bank.index_of(item_id)), side))

    @cached_property
    def reference_images(self) -> Tensor:
        """All images of the evaluated split: what distributions are compared with."""
        return load_images(self.dataset, self.dataset.split(self.split), self.size, self.progress)

    @cached_property
    def training_images(self) -> Tensor:
        """All images of the training split."""
        return load_images(self.dataset, self.dataset.split("train"), self.size, self.progress)

    def training_sample(self, n: int) -> Tensor:
        """Return n of the training images (all, if fewer), evenly spread over them."""
        items = self.dataset.split("train")
        rows = torch.linspace(0, len(items) - 1, min(n, len(items))).round().long().tolist()
        return load_images(self.dataset, [items[row] for row in rows], self.size, self.progress)


@lru_cache(maxsize=8)
def pixels_hash(images: Tensor) -> str:
    """Return 12 hexadecimal digits that name the pixels of uint8 images (n, 3, h, w)."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for chunk in torch.split(images, 512):
        digest.update(chunk.contiguous().numpy().data)
    return digest.hexdigest()[:12]


# ----------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, kw_only=True)
class Row:
    """The images of one line of the table, one a caption."""

    name: str
    images: Tensor
    """uint8 (n, 3, size, size)."""
    drew_on: Sequence[str | None] | None = None
    """Id of the first reference that each image drew on."""
    seeds: range | None = None
    """Of each image's noise, where G painted it."""
    strategy: str = ""
    """By which the references were found."""
    note: str = ""
    """What a reader must know of these images."""


def setting(row: str) -> dict[str, Any]:
    """Return the fields of a request that the name of a row sets."""
    name, _, number = row.rpartition("-")
    if SETTING.fullmatch(row) is None:
        return {}
    return {name.replace("-", "_"): float(number) if name == "guidance" else int(number)}


def make_row(context: Context, name: str, prompts: Sequence[Prompt] | None = None, file: str = "") -> Row:
    """Make one row: `model`, one of `ROWS`, one with another `SETTING`, or `strategy NAME`.

    Args:
        context: the evaluation's material.
        name: of the row.
        prompts: other captions than the evaluation's.
        file: under which name such other pictures are kept.

    Raises:
        EvaluationError: it needs what is not here.
    """
    prompts = context.prompts if prompts is None else prompts
    seeds = range(context.seed, context.seed + len(prompts))
    if name == REAL:

        def copy(at: slice) -> Made:
            shown = [context.image(prompt.item, context.size) for prompt in prompts[at]]
            return torch.stack(shown), [None] * len(shown)

        return Row(name=name, images=_kept(context, name, prompts, copy)[0])
    if name in (RETRIEVED, RETRIEVED_BEST):
        strategy, ids = _retrieved(context, name, prompts)

        def recall(at: slice) -> Made:
            return torch.stack([context.remembered(each, context.size) for each in ids[at]]), ids[at]

        images, drew_on = _kept(context, name, prompts, recall)
        note = "the bank's thumbnails" if context.remembers_others else ""
        return Row(name=name, images=images, drew_on=drew_on, strategy=strategy, note=note)
    if name == RIVAL:
        rival, note = _rivals(context, prompts, seeds)
        return Row(name=name, images=_kept(context, name, prompts, rival)[0], note=note)

    config = context.checkpoint.config
    strategy = config.retrieval.strategy if name == MODEL or setting(name) else name.removeprefix(STRATEGY)
    fields = {"strategy": strategy, "k": config.retrieval.k, **setting(name)}
    own = strategy == "oracle"
    if own:  # the memory need not hold the caption's own image
        fields["strategy"] = "none"
    requests = [context.request(prompt, seed, **fields) for prompt, seed in zip(prompts, seeds)]

    def paint(at: slice) -> Made:
        prepared = [context.pipe.prepare(request) for request in requests[at]]
        if own:
            prepared = [
                replace(each, v=_features_of(context, prompt)) for each, prompt in zip(prepared, prompts[at])
            ]
        painted = context.pipe.paint_many(prepared, seeds[at])[-1]
        return painted, [each.retrieval.ids[0] if each.retrieval.ids else None for each in prepared]

    key = [context.identity["checkpoint_hash"], context.identity["memory"], config, requests]
    key += [sha256_file(context.dataset.image_path(prompt.item)) for prompt in prompts if own]
    images, drew_on = _kept(context, file or name.replace(" ", "-"), prompts, paint, key)
    drew = drew_on if any(drew_on) else None
    return Row(name=name, images=images, drew_on=drew, seeds=seeds, strategy=strategy)


Made = tuple[Tensor, Sequence[str | None]]
"""Pictures in [-1, 1] or as uint8, (b, 3, size, size), and the first reference of each."""


def _kept(
    context: Context, name: str, prompts: Sequence[Prompt], make: Callable[[slice], Made], key: object = None
) -> tuple[Tensor, list[str | None]]:
    """Return pictures that are made batch by batch, mapped from a file, and the first reference of each.

    Where the file was begun under the same key, it is gone on with.
    """
    path = context.folder / "rows" / f"{name}.npy"
    mark, shape = path.with_suffix(".json"), (len(prompts), 3, context.size, context.size)
    facts = {
        "key": hashlib.sha256(repr((key, shape)).encode()).hexdigest(),
        "captions": [prompt.caption for prompt in prompts[:SHOWN]],
    }
    drew_on: list[str | None] = []
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if key is not None and path.is_file() and mark.is_file():
            before = read_json(mark, EvaluationError)
            drew_on = before["drew_on"] if facts.items() <= before.items() else []
        if not drew_on:
            mark.unlink(missing_ok=True)
        images = np.lib.format.open_memmap(path, "r+" if drew_on else "w+", dtype=np.uint8, shape=shape)
        starts = range(len(drew_on), len(prompts), context.batch)
        for start in tqdm(starts, f"pictures ({name})", disable=not context.progress):
            at = slice(start, start + context.batch)
            made, references = make(at)
            images[at] = quantised(made).numpy()
            images.flush()
            drew_on += references
            atomic_write_json(mark, {**facts, "drew_on": drew_on})
    return torch.from_numpy(images), drew_on


def quantised(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8, on the CPU; what is uint8 stays as it is."""
    if images.dtype == torch.uint8:
        return images
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


@torch.no_grad()
def _features_of(context: Context, prompt: Prompt) -> Tensor:
    """Return v (1, 512, 16, 16) of a caption's own image."""
    image = to_tensor(centre_square(context.dataset.load_image(prompt.item), 256))
    return context.vgg(image[None].to(context.device)).float()  # type: ignore[no-any-return]


def _rivals(context: Context, prompts: Sequence[Prompt], seeds: range) -> tuple[Callable[[slice], Made], str]:
    """Return what paints the rival's pictures, enlarged where they are smaller, and what to say of them."""
    rival = load_rival(context.checkpoint)
    if rival is None:
        place = context.checkpoint.path / RIVAL_FILE
        fix = "train one (train-rival) and lay it there, or leave the row out"
        raise EvaluationError(f"a rival in {place}", "no such file", fix)

    @torch.inference_mode()
    def paint(at: slice) -> Made:
        chances = [torch.Generator().manual_seed(seed) for seed in seeds[at]]
        z = torch.stack([torch.randn(rival.z_dim, generator=chance) for chance in chances])
        sentences = context.encode([prompt.caption for prompt in prompts[at]]).sentence
        made = rival(z.to(context.device), sentences)
        if rival.size != context.size:
            made = F.interpolate(made, (context.size,) * 2, mode="bicubic", antialias=True)
        return made, [None] * len(z)

    return paint, "" if rival.size == context.size else f"painted at {rival.size} px"


def _retrieved(context: Context, name: str, prompts: Sequence[Prompt]) -> tuple[str, list[str]]:
    """Return the strategy, and the id of each caption's nearest, or best of the nearest, reference."""
    strategy = context.checkpoint.config.retrieval.strategy
    if strategy in ("none", "oracle"):
        fix = "leave the row out, or evaluate with another default strategy"
        raise EvaluationError(
            f"references for the row `{name}`", f"strategy {strategy!r}, which has none", fix
        )
    k = 1 if name == RETRIEVED else min(TRIED, context.bank.n - 1)
    ids = []
    for i, prompt in enumerate(tqdm(prompts, f"references ({name})", disable=not context.progress)):
        found = context.pipe.retrieve(context.request(prompt, context.seed + i, strategy=strategy, k=k))
        ids.append(found.ids[0] if name == RETRIEVED else _best_image(context, found))
    return strategy, ids


@torch.inference_mode()
def _best_image(context: Context, found: Retrieval) -> str:
    """Return which of a caption's references' own images fits the words best."""
    checkpoint = context.checkpoint
    side = checkpoint.config.damsm.pixel_size
    images = torch.stack([context.remembered(each, side) for each in found.ids]).to(context.device)
    asked = context.encode([found.caption])
    return found.ids[int(score_pictures(checkpoint, found.named, asked, images.float() / 127.5 - 1).argmax())]
