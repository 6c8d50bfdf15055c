"""Batches for the GAN: images of every stage, a caption, and the memory's features (Sec. 4.3).

Each batch is a pure function of (seed, step), whatever the number of processes: `pick` draws all that is
random for the global batch, then `images`, `features` and `text` are computed from what was picked.
The order of epochs is a fresh permutation each.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.config import Config
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.data.vocabulary import IGNORED, label_ids
from memdriven.encoders.damsm import TrainedDamsm
from memdriven.encoders.readers import reader_of, where_silent
from memdriven.encoders.text import TextFeatures
from memdriven.errors import TrainingError, require
from memdriven.memory.build import features_of
from memdriven.models.early_fusion import BASE_SIZE
from memdriven.models.layers import Crop
from memdriven.models.noise import apply_view, cut_images, draw_windows
from memdriven.training.captions import EmbeddedCaptions
from memdriven.training.distributed import World

SWAP_NEIGHBOURS = 8
"""A swapped v is drawn from this many nearest neighbours of the caption [ours]."""
CHANGE = 0.2
"""Difference of a colour channel, in [-1, 1], that counts as a change."""
RESIDENT_BYTES = 12e9
"""Images and features up to this size are kept on the GPU."""
SUN_SIDE = 4
"""The number of z whose sign says on which side the sun stands: a mirrored picture has it negated."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one training step needs."""

    images: list[Tensor]
    """Real images of every stage, (b, 3, s, s) in [-1, 1]."""
    text: TextFeatures
    v: Tensor
    """Memory features (b, 512, 16, 16): the image's own, or neighbours' (p_swap), some weakened (p_fade)."""
    is_target: Tensor
    """(b,) bool: whether the image is what G should make of v, its own features in full strength."""
    class_ids: Tensor | None
    z: Tensor
    epsilon: Tensor
    labels: Tensor | None = None
    """(b, attributes) what the attribute loss asks for: what captions name, and what z alone asks."""
    pixel_weights: Tensor | None = None
    """(b, 1, s, s) weight of each pixel in the reconstruction loss, with `loss.change_weight`."""
    crop: Crop | None = None
    """The squares on which the last stage learns, in px of the stage before, with `train.crop` below 1."""

    @property
    def targets(self) -> list[Tensor]:
        """`images`, and of the last stage's those squares alone."""
        if self.crop is None:
            return self.images
        return [*self.images[:-1], self.crop.scaled(2).cut(self.images[-1])]


@dataclass(frozen=True, kw_only=True)
class Pick:
    """Everything random in a batch, drawn before anything is computed; one row a sample."""

    index: Tensor  # (b,) the images
    caption: Tensor  # (b,) a caption of each
    swapped: Tensor  # (b,) bool: v is neighbours'
    nearest: Tensor  # (b, m) which of the nearest neighbours, at most
    mixed: Tensor  # (b, 1) how many of these, from the first
    strength: Tensor  # (b,) factor on v: 1, or less with p_fade
    views: Tensor  # (b, 4) how image and memory are shown (`View`)
    corners: Tensor  # (b, 2) of the squares on which the last stage learns, in px of the stage before
    z: Tensor  # (b, z_dim)
    epsilon: Tensor  # (b, condition_dim)

    def part(self, world: World) -> "Pick":
        """Return the rows of one process; all processes' together are the batch."""
        return Pick(**{entry.name: world.mine(getattr(self, entry.name)) for entry in fields(self)})


class GanData:
    """The training split in memory, and the batches drawn from it.

    Args:
        dataset: a prepared data set.
        features: its feature store (relu5_3 of every training image).
        trained: encoders, whose readers say which attributes have labels, where they have a loss, and what
            captions name, where G is told it; batches come to their device.
        config: the run's settings.
        extra: more data sets, whose training images have no features of their own: their v is that
            of the memory they name, or else always neighbours' [ours].
    """

    def __init__(
        self,
        dataset: Path,
        features: Path,
        trained: TrainedDamsm,
        config: Config,
        *,
        extra: Sequence[Path] = (),
    ) -> None:
        self.config, self.device = config, trained.damsm.device
        sets = [PreparedDataset.open(folder) for folder in (dataset, *extra)]
        splits = [prepared.split("train") for prepared in sets]
        self.name = " + ".join(prepared.name for prepared in sets)
        self.items, self.featured = [item for split in splits for item in split], len(splits[0])

        # Images: stored larger than G's where parts of them are shown; none are ever enlarged.
        self.size = BASE_SIZE << (config.generator.stages - 1)
        zoom, crop = config.generator.zoom, config.train.crop
        smallest = min(sets, key=lambda prepared: prepared.image_size)
        least = smallest.image_size
        wanted, found = f"pictures of {self.size} px or more, as G makes", f"{least} px in {smallest.name}"
        fix = "prepare that data set again with --image-size, or choose a preset of fewer stages"
        require(least >= self.size, TrainingError, wanted, found, fix)
        self.square = round(self.size * min(crop, 1)) // 2
        """Side in px of the squares on which the last stage learns, in px of the stage before."""
        asked = 2 * self.size if zoom else max(self.size, round(self.size * crop))
        side = min(asked, least)
        if asked > side and not zoom:
            room = f"{side - self.size} px of room for crops"
            print(f"train.crop wants {asked} px, the pictures are {side} px: {room}")
        images = [load_images(*of, side) for of in zip(sets, splits)]
        self.images = torch.cat(images) if extra else images[0]

        # Features, and whose each image is painted from: its own, those of a named memory, or none.
        store = features_of(sets[0], features)
        position = {name: i for i, name in enumerate(store.ids)}
        needed = [item.memory if i >= self.featured else item.id for i, item in enumerate(self.items)]
        missing = [name for name in needed if name and name not in position]
        wanted = f"features of all training images, and of what they name, in {features}"
        found = f"{len(missing)} without, e.g. {''.join(missing[:1])}"
        require(not missing, TrainingError, wanted, found, "run extract-features on this data set again")
        self.rows = torch.tensor([position[name] if name else -1 for name in needed])
        """(n,) row of the features of each image, -1 where it has none."""
        first = {name: i for i, name in enumerate(needed[: self.featured])}
        self.painted_from = torch.tensor([first.get(name, i) for i, name in enumerate(needed)])
        """(n,) the image whose features each image is painted from to begin with."""
        self.named_memories = {item.id: item for item in self.items[: self.featured]}
        self.features, self.feature_scale = store.load_all()
        if self.device.type == "cuda" and self.images.nbytes + self.features.nbytes < RESIDENT_BYTES:
            self.images, self.features = self.images.to(self.device), self.features.to(self.device)

        # The z that asks for an image; with such targets these alone are shown, as others say nothing of z.
        numbers = max((len(item.noise) for item in self.items), default=0)
        rows = [item.noise or (None,) * numbers for item in self.items]
        self.noise = torch.tensor([[torch.nan if n is None else n for n in row] for row in rows])
        """(n, numbers) the first numbers of each image's z; NaN where it depends on none."""
        noisy = [i for i, item in enumerate(self.items) if item.noise]
        self.drawn_from = torch.tensor(noisy or range(len(self.items)))

        # Captions; those of images that others may be given the features of.
        classes = [item.class_id for item in self.items]
        self.class_ids = None if None in classes else torch.tensor(classes)
        reader = reader_of(trained.attributes) if config.generator.attribute_dim else None
        named = trained.attributes.values if trained.attributes and config.loss.attribute_weight else None
        self.captions = EmbeddedCaptions(self.items, trained, named, reader=reader)
        self.asked = (
            None if reader is None else label_ids([*map(self.asked_of, self.items)], reader.attributes)
        )
        """(n, attributes) what z alone asks of each image."""
        known = self.captions.owner < self.featured
        self.owner, self.keys = self.captions.owner[known], F.normalize(self.captions.sentences[known], dim=1)
        content = repr([(item.id, tuple(item.captions)) for item in self.items])
        self.identity = {
            "vgg": str(store.header["encoder"]),
            "items": hashlib.sha256(content.encode()).hexdigest()[:16],
        }
        """Names the data: a run resumes with no other."""

    def __len__(self) -> int:
        """Return the number of training images."""
        return len(self.items)

    def batch(self, step: int, world: World | None = None) -> Batch:
        """Return this process's part of the batch of a step."""
        pick = self.pick(step).part(world or World())
        text = self.text_of(pick)
        sources, shares = self.sources(pick, text.sentence)
        images = self.images_of(pick.index, pick)
        crop = Crop(self._there(pick.corners), self.square) if 2 * self.square < self.size else None
        weights = None
        if self.config.loss.change_weight:
            before = self.images_of(self.painted_from[pick.index], pick)
            weights = 1 + self.config.loss.change_weight * changed(before, images)
            weights = weights if crop is None else crop.scaled(2).cut(weights)
        return Batch(
            images=pyramid(images, self.config.generator.stages),
            text=text,
            v=self.features_of(sources, shares * pick.strength[:, None], pick),
            is_target=self._there((sources[:, 0] == pick.index) & (pick.strength == 1)),
            class_ids=None if self.class_ids is None else self._there(self.class_ids[pick.index]),
            z=self._there(self.z_of(pick)),
            epsilon=self._there(pick.epsilon),
            labels=self.labels_of(pick),
            pixel_weights=weights,
            crop=crop,
        )

    def pick(self, step: int) -> Pick:
        """Draw all that is random in the global batch of a step."""
        settings, train = self.config.generator, self.config.train
        generator = torch.Generator().manual_seed(train.seed * 1_000_003 + step)
        own = torch.Generator().manual_seed(train.seed * 7_368_787 + step)  # whole pictures need no corners
        index, (width, mix) = self._indices(step), self._widths()
        count = len(index)
        swapped = torch.rand(count, generator=generator) < train.p_swap
        faded = torch.rand(count, generator=generator) < train.p_fade
        return Pick(
            index=index,
            # An image made for a memory keeps it; one without any is always a stranger.
            swapped=swapped & (index < self.featured) | (self.rows[index] < 0),
            nearest=torch.rand(count, width, generator=generator).argsort(1)[:, :mix],
            mixed=torch.randint(1, mix + 1, (count, 1), generator=generator),
            strength=torch.where(faded, torch.rand(count, generator=generator), 1.0),
            caption=self.captions.pick(index, generator),
            views=self._views(count, generator),
            corners=torch.randint(self.size // 2 - self.square + 1, (count, 2), generator=own),
            z=torch.randn(count, settings.z_dim, generator=generator),
            epsilon=torch.randn(count, settings.condition_dim, generator=generator),
        )

    def _views(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw which part of image and memory is shown, any of `generator.zoom` or a crop of G's size."""
        if self.config.generator.zoom:
            windows = draw_windows(count, self.config.generator.zoom, generator)
        else:
            side = self.images.shape[-1]
            corners = torch.randint(side - self.size + 1, (count, 2), generator=generator)
            windows = torch.cat([corners, torch.full((count, 1), self.size)], dim=1) / side
        mirrored = torch.rand(count, generator=generator) < 0.5
        return torch.cat([windows, mirrored[:, None]], dim=1)

    def images_of(self, index: Tensor, pick: Pick) -> Tensor:
        """Return images as they are shown, (b, 3, size, size) in [-1, 1]."""
        full = self.images[index.to(self.images.device)]
        return self._there(cut_images(full, pick.views, self.size)).float() / 127.5 - 1

    def features_of(self, sources: Tensor, shares: Tensor, pick: Pick) -> Tensor:
        """Return the mix (b, 512, 16, 16) of images' features, by shares (b, m), seen as the images are."""
        rows = self.rows[sources]
        v = self._there(self.features[rows.to(self.features.device)]).float()  # (b, m, 512, 16, 16)
        v = (v * self._there(self.feature_scale[rows] * shares[..., None, None, None])).sum(1)
        return apply_view(v, pick.views)

    def sources(self, pick: Pick, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """Return whose features each image gets (b, m), and their shares (b, m), which sum to 1 [ours].

        They are the image's own (or its memory's), as in the paper, which at inference has a stranger's; or
        with p_swap neighbours': 1 to m = swap_mix of them, weighted as retrieval weights them. Neighbours are
        those of `sentence-sentence` for the caption that the image is shown with, whose `sentence` is (b, d),
        the image itself and its whole class left out: what an unseen caption would meet.
        """
        width, mix = self._widths()
        sources = pick.index[:, None].repeat(1, mix)
        shares = F.one_hot(torch.zeros(len(sources), dtype=torch.long), mix).float()
        swapped = pick.swapped
        if swapped.any():
            asked = sentence[swapped.to(sentence.device)]
            scores, nearest = self._neighbours(pick.index[swapped], asked, width)
            places = pick.nearest[swapped]
            sources[swapped] = nearest.gather(1, places)
            logits = scores.gather(1, places) / self.config.retrieval.temperature
            unused = torch.arange(mix) >= pick.mixed[swapped]
            shares[swapped] = logits.masked_fill(unused, -float("inf")).softmax(1)
        return sources, shares

    def _widths(self) -> tuple[int, int]:
        """Return how many nearest neighbours a swapped v is drawn from, and how many are mixed at most."""
        width = min(SWAP_NEIGHBOURS, self.featured - 1)
        return width, min(self.config.train.swap_mix, width)

    def _neighbours(self, own: Tensor, sentence: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return scores and images (b', width) nearest to captions (b', d) of images (b',)."""
        scores = F.normalize(sentence, dim=1) @ self.keys.T
        best = scores.new_full((len(scores), self.featured), -2.0)
        best.scatter_reduce_(1, self.owner.expand(len(scores), -1), scores, "amax")
        mine = own < self.featured
        best[torch.arange(len(own))[mine], own[mine]] = -torch.inf
        if self.class_ids is not None:
            same = self.class_ids[own][:, None] == self.class_ids[None, : self.featured]  # (b', n)
            # Behind every stranger, not out of reach: there may be too few strangers.
            best -= 4.0 * same.to(best.device)
        found = best.topk(width, dim=1)
        return found.values.cpu(), found.indices.cpu()

    def z_of(self, pick: Pick) -> Tensor:
        """Return z (b, z_dim): as drawn, but for the numbers that ask for the image."""
        z, asked = pick.z.clone(), self.noise[pick.index]
        if asked.shape[1]:
            first = z[:, : asked.shape[1]]
            first.copy_(torch.where(asked.isnan(), first, asked))
            turned = pick.views[:, 3] > 0
            z[turned, SUN_SIDE] = -z[turned, SUN_SIDE]
        return z

    def asked_of(self, item: Item) -> dict[str, Any]:
        """Return what z alone asks of an image: where it is not as its memory is, and no caption says so."""
        memory = self.named_memories.get(item.memory) if item.noise else None
        if memory is None:
            return {}
        told = {name for each in item.caption_attributes for name in each}
        return {k: v for k, v in item.attributes.items() if v != memory.attributes[k] and k not in told}

    def text_of(self, pick: Pick) -> TextFeatures:
        """Return the captions' features; where z asks for something, G is told so as if they named it."""
        text = self.captions.text(pick.caption)
        if self.asked is None or text.attributes is None:
            return text
        asked = self._there(self.asked[pick.index])
        values = text.attributes.shape[1] // asked.shape[1]
        weights = F.one_hot(asked.clamp(min=0), values) * (asked != IGNORED)[..., None]
        return text._replace(attributes=text.attributes + where_silent(text.attributes, weights))

    def labels_of(self, pick: Pick) -> Tensor | None:
        """Return what the attribute loss asks for (b, attributes): what words name, else what z asks."""
        if self.captions.labels is None:
            return None
        labels = self.captions.labels[pick.caption]
        if self.asked is not None:
            labels = torch.where(labels == IGNORED, self.asked[pick.index], labels)
        return self._there(labels)

    def _there(self, tensor: Tensor) -> Tensor:
        """Move a tensor to the networks' device, beside the step that is still running there."""
        if self.device.type == "cuda" and tensor.device.type == "cpu":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def _indices(self, position: int) -> Tensor:
        """Return the `position`-th batch of an endless run of permutations."""
        size, n = self.config.train.batch_size, len(self.drawn_from)
        first, last = position * size // n, (position * size + size - 1) // n
        seeds = [self.config.train.seed * 7919 + epoch for epoch in range(first, last + 1)]
        order = [torch.randperm(n, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        start = position * size - first * n
        return self.drawn_from[torch.cat(order)[start : start + size]]


def changed(before: Tensor, after: Tensor) -> Tensor:
    """Return where images in [-1, 1] differ visibly, and next to it: (b, 1, s, s) of 0 and 1."""
    difference = (after - before).abs().amax(dim=1, keepdim=True) > CHANGE
    return F.max_pool2d(difference.float(), 3, stride=1, padding=1)


def pyramid(images: Tensor, stages: int) -> list[Tensor]:
    """Return the images at every stage's size, smallest first, each the mean of 2x2 pixels."""
    sizes = [images]
    while len(sizes) < stages:
        sizes.insert(0, F.avg_pool2d(sizes[0], 2))
    return sizes
