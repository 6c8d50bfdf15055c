"""Batches for the GAN: images of every stage, a caption, and the memory's features.

Each batch is a pure function of (seed, step, rank), so a resumed run sees what it would have
seen, and the order of epochs is a fresh permutation each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.config import Config
from memdriven.data.image_cache import load_images
from memdriven.data.prepared import PreparedDataset
from memdriven.data.vocabulary import EncodedCaption, Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.text import TextFeatures
from memdriven.errors import TrainingError
from memdriven.memory.feature_store import FeatureStore
from memdriven.models.generator import BASE_SIZE

RESIDENT_BYTES = 12e9
"""Images and features up to this size are kept on the GPU."""


@dataclass(frozen=True)
class Batch:
    """What one training step needs."""

    images: list[Tensor]
    """Real images of every stage, (b, 3, s, s) in [-1, 1]."""
    text: TextFeatures
    v: Tensor
    """Memory features (b, 512, 16, 16): the image's own, or neighbours' (p_swap), some of them
    weakened (p_fade)."""
    own: Tensor
    """(b,) bool: whether v is the image's own, in full strength."""
    class_ids: Tensor | None
    z: Tensor
    epsilon: Tensor

    @property
    def words(self) -> Tensor:
        """Masked mean of the word embeddings (b, d)."""
        return self.text.words_mean


class GanData:
    """The training split in memory, and the batches drawn from it.

    Args:
        dataset: a prepared data set.
        features: its feature store (relu5_3 of every training image).
        damsm: trained encoders, on `device`.
        vocabulary: of the encoders.
    """

    def __init__(
        self,
        dataset: Path,
        features: Path,
        damsm: Damsm,
        vocabulary: Vocabulary,
        config: Config,
        device: torch.device,
        *,
        progress: bool = True,
    ) -> None:
        self.config, self.device, self.damsm = config, device, damsm
        self.vocabulary = vocabulary
        prepared = PreparedDataset.open(dataset)
        self.items = prepared.split("train")
        self.size = BASE_SIZE << (config.generator.stages - 1)
        self.images = load_images(
            prepared, self.items, round(self.size * config.train.crop), progress=progress
        )
        store = FeatureStore.open(features)
        position = {identifier: i for i, identifier in enumerate(store.ids)}
        missing = [item.id for item in self.items if item.id not in position]
        if missing:
            raise TrainingError(
                wanted=f"features of all {len(self.items)} training images in {features}",
                found=f"{len(missing)} without, e.g. {missing[0]}",
                fix="run extract-features on this data set again",
            )
        self.rows = torch.tensor([position[item.id] for item in self.items])
        self.features, self.feature_scale = store.load_all(progress=progress)
        if device.type == "cuda" and self.images.nbytes + self.features.nbytes < RESIDENT_BYTES:
            self.images, self.features = self.images.to(device), self.features.to(device)
        classes = [item.class_id for item in self.items]
        self.class_ids = None if None in classes else torch.tensor(classes)
        self._encode_captions()

    def _encode_captions(self) -> None:
        """Encode every caption once: the encoders are frozen, and an LSTM is slow on a CPU."""
        limit = self.config.text.max_words
        encoded: list[EncodedCaption] = []
        owner: list[int] = []
        self.captions_of: list[range] = []
        for index, item in enumerate(self.items):
            start = len(encoded)
            encoded.extend(self.vocabulary.encode(text, limit) for text in item.captions)
            owner.extend([index] * len(item.captions))
            self.captions_of.append(range(start, len(encoded)))
        ids, lengths = self.vocabulary.batch(encoded)
        self.owner = torch.tensor(owner, device=self.device)
        self.words = torch.empty(*ids.shape, self.config.text.dim, dtype=torch.float16)
        self.mask = torch.empty(ids.shape, dtype=torch.bool)
        sentences = []
        with torch.no_grad():
            for rows in torch.split(torch.arange(len(ids)), 512):
                text = self.damsm.text(ids[rows].to(self.device), lengths[rows].to(self.device))
                self.words[rows], self.mask[rows] = text.words.half().cpu(), text.mask.cpu()
                sentences.append(text.sentence)
        self.sentences = torch.cat(sentences)  # (m, d)
        self.sentence_keys = F.normalize(self.sentences, dim=1)

    def _text(self, rows: Tensor) -> TextFeatures:
        """Return the features of captions (b,), cut to the longest of them."""
        length = int(self.mask[rows].sum(1).max())
        words, mask = self.words[rows, :length], self.mask[rows, :length]
        return TextFeatures(
            words.to(self.device, non_blocking=True).float(),
            self.sentences[rows.to(self.device)],
            mask.to(self.device, non_blocking=True),
        )

    def __len__(self) -> int:
        """Return the number of training images."""
        return len(self.items)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """Return the batch of this step and process."""
        config = self.config.train
        generator = torch.Generator().manual_seed((config.seed * 1_000_003 + step) * 512 + rank)
        index = self._indices(step * world + rank)
        chosen = torch.tensor(
            [
                self.captions_of[i][
                    int(torch.randint(len(self.captions_of[i]), (), generator=generator))
                ]
                for i in index.tolist()
            ]
        )
        with torch.no_grad():
            text = self._text(chosen)
            sources, shares = self._swap(index, text.sentence, generator)
        flips = torch.rand(len(index), generator=generator) < (0.5 if config.flip else 0.0)
        rows = self.rows[sources].to(self.features.device)
        v = self.features[rows].to(self.device, non_blocking=True).float()
        v = (
            v * (self.feature_scale[rows.cpu()] * shares[..., None, None, None]).to(self.device)
        ).sum(1)
        flips = flips.to(self.device)[:, None, None, None]
        v = torch.where(flips, v.flip(3), v)
        images = self._crop(index, generator)
        images = torch.where(flips, images.flip(3), images).float() / 127.5 - 1
        shape = (len(index), self.config.generator.z_dim)
        z = torch.randn(shape, generator=generator)
        epsilon = torch.randn(len(index), self.config.generator.condition_dim, generator=generator)
        classes = None if self.class_ids is None else self.class_ids[index].to(self.device)
        strength = self._strength(len(index), generator)
        return Batch(
            pyramid(images, self.config.generator.stages),
            text,
            v * strength.to(self.device)[:, None, None, None],
            ((sources[:, 0] == index) & (strength == 1)).to(self.device),
            classes,
            z.to(self.device),
            epsilon.to(self.device),
        )

    def _indices(self, position: int) -> Tensor:
        """Return the `position`-th batch of an endless run of permutations."""
        size, n = self.config.train.batch_size, len(self)
        found: list[Tensor] = []
        start, wanted = position * size, size
        while wanted:
            epoch, offset = divmod(start, n)
            order = torch.randperm(
                n, generator=torch.Generator().manual_seed(self.config.train.seed * 7919 + epoch)
            )
            found.append(order[offset : offset + wanted])
            start += len(found[-1])
            wanted -= len(found[-1])
        return torch.cat(found)

    def _crop(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images' random crops, uint8 (b, 3, size, size)."""
        full = self.images[index.to(self.images.device)]
        room = full.shape[-1] - self.size
        if not room:
            return full.to(self.device, non_blocking=True)
        corners = torch.randint(room + 1, (len(index), 2), generator=generator).tolist()
        crops = [
            image[:, y : y + self.size, x : x + self.size] for image, (y, x) in zip(full, corners)
        ]
        return torch.stack(crops).to(self.device, non_blocking=True)

    def _strength(self, count: int, generator: torch.Generator) -> Tensor:
        """Return each item's factor on v (b,): 1, or uniform in 0..1 with p_fade [ours]."""
        p = self.config.train.p_fade
        if not p:
            return torch.ones(count)
        faded = torch.rand(count, generator=generator) < p
        return torch.where(faded, torch.rand(count, generator=generator), 1.0)

    def _swap(
        self, index: Tensor, sentence: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return whose features each image gets (b, m), and their shares (b, m), which sum to 1.

        It is the image's own, or with p_swap neighbours': 1 to m = swap_mix of them, weighted as
        retrieval weights them [ours]. Neighbours are those of `sentence-sentence`, the image itself
        (and by default its whole class) left out: what an unseen caption would meet.
        """
        config, count = self.config.train, len(index)
        width = min(config.swap_neighbours, len(self) - 1)
        mix = min(config.swap_mix, width)
        swapped = torch.rand(count, generator=generator) < config.p_swap
        places = torch.rand(count, width, generator=generator).argsort(1)[:, :mix]
        used = torch.randint(1, mix + 1, (count, 1), generator=generator)
        sources = index[:, None].repeat(1, mix)
        shares = F.one_hot(torch.zeros(count, dtype=torch.long), mix).float()
        if not swapped.any():
            return sources, shares
        scores = F.normalize(sentence[swapped.to(self.device)], dim=1) @ self.sentence_keys.T
        best = scores.new_full((len(scores), len(self)), -2.0)
        best.scatter_reduce_(1, self.owner.expand(len(scores), -1), scores, "amax")
        own = index[swapped]
        best[torch.arange(len(own)), own] = -2.0
        if config.swap_other_class and self.class_ids is not None:
            same = self.class_ids[own][:, None] == self.class_ids[None]  # (b', n)
            best.masked_fill_(same.to(self.device), -2.0)
        nearest = best.topk(width, dim=1)
        places = places[swapped]
        sources[swapped] = nearest.indices.cpu().gather(1, places)
        scores = nearest.values.cpu().gather(1, places) / self.config.retrieval.temperature
        unused = torch.arange(mix) >= used[swapped]
        shares[swapped] = scores.masked_fill(unused, -float("inf")).softmax(1)
        return sources, shares


def pyramid(images: Tensor, stages: int) -> list[Tensor]:
    """Return the images at every stage's size, smallest first, each the mean of 2x2 pixels."""
    sizes = [images]
    for _ in range(stages - 1):
        sizes.append(F.avg_pool2d(sizes[-1], 2))
    return sizes[::-1]
