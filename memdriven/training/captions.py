"""What trains and measures: captions, embedded or beside their images, pictures and cached v, all in RAM.

Whatever is drawn at a step is a function of the seed and the step's number, so a resumed training
sees what it would have seen.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.config import Config
from memdriven.data.images import to_unit
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.data.vocabulary import EncodedCaption, Vocabulary, label_ids, what_is_not_read
from memdriven.encoders.damsm import Damsm, TrainedDamsm, cosine
from memdriven.encoders.readers import CaptionReader
from memdriven.encoders.text import TextFeatures
from memdriven.errors import CaptionError, DataError, require
from memdriven.memory.features import FeatureStore
from memdriven.training.augment import disturb
from memdriven.training.distributed import Chance, World

CHUNK = 512
"""Captions in one pass of the text encoder."""
HELD_OUT = 10
"""Every so many'th training item is held out, to choose an epoch by."""
LEAST_GALLERY = 20
"""Images among which recall decides something."""
GALLERY = 1000
"""Recall is measured among at most this many images."""
RECALL_AT = (1, 5, 10)
NO_CLASS = -1


def mixed_seed(*parts: int) -> int:
    """Return a 63-bit seed that depends on all of the parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def permuted_rows(count: int, batch: int, seed: int, step: int) -> Tensor:
    """Return the step's rows (batch,) of endless permutations of `count`, remainders dropped."""
    epoch, at = divmod(step, count // batch)
    chance = torch.Generator().manual_seed(mixed_seed(seed, epoch, 1))
    return torch.randperm(count, generator=chance)[at * batch : (at + 1) * batch]


class Captions:
    """The captions of items that have a known word; a DataError names an item that has none of them."""

    def __init__(self, items: Sequence[Item], vocabulary: Vocabulary, max_words: int) -> None:
        self.items = list(items)
        self.encoded: list[EncodedCaption] = []
        self.named: list[Mapping[str, Any]] = []
        """What each names; nothing where its data set is silent."""
        self.of: list[range] = []
        """The captions of each item."""
        for item in self.items:
            start = len(self.encoded)
            for caption, named in zip(item.captions, chain(item.caption_attributes, repeat({}))):
                with suppress(CaptionError):
                    self.encoded.append(vocabulary.encode(caption, max_words))
                    self.named.append(named)
            self.of.append(range(start, len(self.encoded)))
            wanted, found = f"a usable caption of item {item.id}", f"no known word in {item.captions!r:.80}"
            require(self.of[-1], DataError, wanted, found, "correct its captions, or drop that item")
        for line in what_is_not_read(self.encoded, max_words):
            tqdm.write(line)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def pick(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return a random caption (b,) of each item (b,)."""
        mine = [self.of[i] for i in index.tolist()]
        return torch.tensor([own[int(torch.randint(len(own), (), generator=generator))] for own in mine])


class EmbeddedCaptions(Captions):
    """The captions of training images, embedded once: the encoders are frozen, an LSTM slow on a CPU.

    They are labelled with `attributes` (those to name, and their values), and a `reader` says what they name.
    """

    def __init__(
        self,
        items: Sequence[Item],
        trained: TrainedDamsm,
        attributes: Mapping[str, Sequence[str]] | None = None,
        *,
        reader: CaptionReader | None = None,
    ) -> None:
        damsm, vocabulary, config, *_ = trained
        super().__init__(items, vocabulary, config.text.max_words)
        self.device = damsm.device
        ids, lengths = vocabulary.batch(self.encoded)
        self.words = torch.empty(*ids.shape, damsm.text.lstm.hidden_size * 2, dtype=torch.float16)
        self.mask = torch.empty(ids.shape, dtype=torch.bool)
        sentences, known = [], []
        with torch.no_grad():
            chunks = torch.split(torch.arange(len(ids)), CHUNK)
            for rows in tqdm(chunks, desc="captions"):
                text = damsm.text(ids[rows].to(self.device), lengths[rows].to(self.device))
                self.words[rows], self.mask[rows] = text.words.half().cpu(), text.mask.cpu()
                sentences.append(text.sentence)
                if reader is not None:
                    known.append(reader.attribute_probs(text).flatten(1).half())
        self.sentences = torch.cat(sentences)  # (m, d)
        self.probs = torch.cat(known) if known else None
        """(m, n) what each caption names, by the reader."""
        counts = torch.tensor([len(own) for own in self.of])
        self.owner = torch.arange(len(self)).repeat_interleave(counts).to(self.device)
        """(m,) the item of each caption."""
        self.labels = label_ids(self.named, attributes) if attributes else None
        """(m, attributes) what each caption names, by its record, where that was asked for."""

    def text(self, rows: Tensor) -> TextFeatures:
        """Return the features of captions (b,), cut to the longest of them."""
        length = int(self.mask[rows].sum(1).max())
        words, mask = self.words[rows, :length], self.mask[rows, :length]
        there = rows.to(self.device)
        return TextFeatures(
            words.to(self.device, non_blocking=True).float(),
            self.sentences[there],
            mask.to(self.device, non_blocking=True),
            None if self.probs is None else self.probs[there].float(),
        )


class Captioned(NamedTuple):
    """The captions of a batch, their numbers, and class ids (b,): members of one are no negatives."""

    captions: list[EncodedCaption]
    drawn: list[int]
    class_ids: Tensor


class CaptionedImages(Captions):
    """Captioned images of one or several data sets, on which encoders train or are measured.

    Args:
        sets: data sets, each with those of its items that are used; members of one class id in two sets
            do not share a class.
        vocabulary: of the encoders.
        config: says how long a caption is at most, and how large a picture.
        pictures: whether pictures are loaded, too.
        features: has the cached v of the first set's items, or of some.
        device: of the class ids.

    Raises:
        DataError: an image is unreadable, or none of an item's captions has a known word.
        BankError: the features are damaged.
    """

    def __init__(
        self,
        sets: Sequence[tuple[PreparedDataset, Sequence[Item]]],
        vocabulary: Vocabulary,
        config: Config,
        *,
        pictures: bool,
        features: FeatureStore | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        items = [item for _, chosen in sets for item in chosen]
        super().__init__(items, vocabulary, config.text.max_words)
        none = not config.damsm.mask_same_class
        classes = [
            NO_CLASS if none or item.class_id is None else 1_000_000 * number + item.class_id
            for number, (_, chosen) in enumerate(sets)
            for item in chosen
        ]
        self.class_ids = torch.tensor(classes, dtype=torch.long, device=device)  # (n,)
        self.pictures: Tensor | None = None
        """(n, 3, s, s) uint8."""
        if pictures and self.items:
            size = config.damsm.pixel_size
            self.pictures = torch.cat([load_images(*each, size) for each in sets if each[1]])
        stored = {} if features is None else {name: row for row, name in enumerate(features.ids)}
        known = {i: stored[item.id] for i, item in enumerate(sets[0][1]) if item.id in stored}
        self.featured = torch.tensor(list(known), dtype=torch.long)
        """The items with features (n',)."""
        if features is not None and known:
            self.levels, self.scale = features.load_all(list(known.values()))

    def key(self) -> str:
        """Return a short hash of the item ids, to recognise the same data on resuming."""
        text = "\0".join(item.id for item in self.items)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def captioned(self, rows: Tensor, generator: torch.Generator) -> Captioned:
        """Return a random caption of each item."""
        drawn = self.pick(rows, generator).tolist()
        return Captioned([self.encoded[caption] for caption in drawn], drawn, self.class_ids[rows])

    def v(self, rows: Tensor) -> Tensor:
        """Return features as float32 (b, 512, h, w), of rows of `featured`."""
        return self.levels[rows].float().mul_(self.scale[rows])

    def disturbed(self, rows: Tensor, generator: torch.Generator, world: World | None = None) -> Tensor:
        """Return this process's pictures as float32 (b, 3, s, s) in [0, 1], a little disturbed."""
        assert self.pictures is not None
        return disturb(to_unit(self.pictures[rows]), Chance(generator, world))


def split_items(dataset: PreparedDataset, store: FeatureStore) -> tuple[list[Item], list[Item], list[Item]]:
    """Split the items with features: those that train, that choose the epoch, and that measure the result.

    None choose where a tenth of the training items is too small a gallery to decide anything. The test
    split does not: what is measured on it later would be flattered. A DataError refuses fewer than four
    training items with features.
    """
    stored = set(store.ids)
    known = [item for item in dataset.items if item.id in stored]
    train, test = ([item for item in known if item.split == split] for split in ("train", "test"))
    wanted = f"four training images or more with features in {store.path}"
    found = f"{len(train)} of the {len(dataset.split('train'))} that {dataset.path} has"
    fix = "add pictures, or extract the features of this data set"
    require(len(train) >= 4, DataError, wanted, found, fix)
    held_out = train[1::HELD_OUT]
    if len(held_out) < LEAST_GALLERY:
        return train, [], test
    return [item for index, item in enumerate(train) if index % HELD_OUT != 1], held_out, test


def gallery(items: Sequence[Item], vocabulary: Vocabulary, max_words: int) -> list[Item]:
    """Return at most `GALLERY` of the items, evenly spread, without those that have no known word."""
    spread = items[:: max(1, math.ceil(len(items) / GALLERY))]
    return [item for item in spread if vocabulary.readable(item.captions, max_words)]


@torch.no_grad()
def recall(model: Damsm, data: CaptionedImages, chunk: int = 50) -> dict[str, float]:
    """Return Recall@1/5/10 of each item's first caption among the items' images, as parts of 1.

    A depth of more than half of the images is left out: there nearly all would be found by chance.

    The score is cos(sentence, global). Keys are `<side>_recall@<k>` with the sides `heads`, where there
    are features of all items, and `pixels`, where there are pictures and a network for them. Chance is
    k / n; a tie counts as a miss.
    """
    if not len(data):
        return {}
    was_training = model.training
    model.eval()
    sentences: list[Tensor] = []
    sides: dict[str, list[Tensor]] = {}
    for rows in torch.split(torch.arange(len(data)), chunk):
        first = [data.encoded[data.of[row].start] for row in rows.tolist()]
        sentences.append(model.encode_captions(first).sentence)
        if len(data.featured) == len(data):
            v = data.v(rows).to(model.device)
            sides.setdefault("heads", []).append(model.heads(v).global_)
        if model.pixels is not None and data.pictures is not None:
            images = to_unit(data.pictures[rows]).to(model.device)
            sides.setdefault("pixels", []).append(model.pixels(images).global_)
    model.train(was_training)
    result: dict[str, float] = {}
    for side, parts in sides.items():
        scores = cosine(torch.cat(sentences), torch.cat(parts))  # (n captions, n images)
        own = scores.diagonal()[:, None]
        ranks = len(scores) - 1 - (scores < own).sum(1)  # a tie, or NaN, counts as a miss
        for k in (depth for depth in RECALL_AT if 2 * depth <= len(scores)):
            result[f"{side}_recall@{k}"] = round(float((ranks < k).float().mean()), 4)
    return result
