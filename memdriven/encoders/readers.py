"""Readers of attributes: what a picture shows, what a caption names, and both on disk [ours].

    a_(i,r)   = softmax_r(q_i . f_r)                   where attribute i looks on a map of features f_r
    p(y_i)    = softmax(W_i sum_r a_(i,r) f_r)         one softmax per attribute over its values

A caption's words e_t are read in the same way, with "not named" as one more value.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.data.vocabulary import IGNORED
from memdriven.encoders.text import TextFeatures
from memdriven.encoders.weights import load_weights, read_weights, write_weights
from memdriven.errors import CheckpointError, explained, require

FLOOR = -3.0
"""No value counts as less likely (as a logarithm): what a picture cannot show must not outweigh the rest."""
SCHEMA, FILE = "memdriven.attributes/2", "attributes.safetensors"
METADATA = "memdriven"
"""The file's one entry of metadata: safetensors writes several in any order, and bytes are its hash."""


class _Reader(nn.Module):
    """One softmax per attribute over its values and `further` answers, read where its own query looks.

    `look` maps places' features, of width `dim`, to a score of each place for each attribute.
    """

    used: Tensor

    def __init__(
        self, look: nn.Module, dim: int, attributes: Mapping[str, Sequence[str]], further: int = 0
    ) -> None:
        super().__init__()
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        counts = torch.tensor([len(values) for values in attributes.values()])
        count, most = len(attributes), max(map(len, attributes.values()))
        self.look = look
        self.weight = nn.Parameter(torch.randn(count, most + further, dim) * dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(count, most + further))
        answers = torch.arange(most + further)
        self.register_buffer("used", (answers < counts[:, None]) | (answers >= most), persistent=False)

    def answer(self, attention: Tensor, places: Tensor) -> Tensor:
        """Return logits (b, a, values) of places (b, p, d) with attention (b, a, p); unused ones are -inf."""
        pooled = torch.einsum("bap,bpd->bad", attention, places)
        logits = torch.einsum("bad,avd->bav", pooled, self.weight) + self.bias
        return logits.masked_fill(~self.used, float("-inf"))


class AttributeHead(_Reader):
    """Reads off a map of image features (b, channels, h, w) what a picture shows."""

    def __init__(self, channels: int, attributes: Mapping[str, Sequence[str]]) -> None:
        super().__init__(nn.Conv2d(channels, len(attributes), 1), channels, attributes)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (b, attributes, most values) of features (b, c, h, w)."""
        attention = self.look(features).flatten(2).softmax(dim=2)  # (b, a, r)
        return self.answer(attention, features.flatten(2).transpose(1, 2))


class CaptionReader(_Reader):
    """Reads off word embeddings of width `dim` what a caption names; its last answer is "not named"."""

    def __init__(self, dim: int, attributes: Mapping[str, Sequence[str]]) -> None:
        super().__init__(nn.Linear(dim, len(attributes), bias=False), dim, attributes, further=1)

    @property
    def width(self) -> int:
        """Numbers in which `read` says what a caption names."""
        return self.weight.shape[0] * (self.weight.shape[1] - 1)

    def forward(self, text: TextFeatures) -> Tensor:
        """Return logits (b, attributes, most values + 1) of captions."""
        scores = self.look(text.words).masked_fill(~text.mask[..., None], float("-inf"))  # (b, t, a)
        return self.answer(scores.softmax(dim=1).transpose(1, 2), text.words)

    def attribute_probs(self, text: TextFeatures) -> Tensor:
        """Return the probabilities (b, attributes, most values) that captions name a value."""
        probabilities: Tensor = self(text).softmax(dim=2)
        return probabilities[..., :-1]

    def read(self, text: TextFeatures) -> TextFeatures:
        """Return captions' embeddings with what they name beside them, for the generator."""
        return text._replace(attributes=self.attribute_probs(text).flatten(1))


def attribute_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labels (b, attributes) that are not `IGNORED`; 0 where all are."""
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def reading_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over labels (b, attributes); `IGNORED` is "not named" here."""
    wanted = torch.where(labels == IGNORED, logits.shape[2] - 1, labels)
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def where_silent(named: Tensor, asked: Tensor) -> Tensor:
    """Return what is asked beside captions, as far as they are silent: (b, attributes x values).

        (1 - sum_v p(y_i = v)) a_(i,v)

    Added to what they name, p or `named` (b, attributes x values), it lets words win. `asked` is a, weights
    (b or 1, attributes, values) of at most 1 an attribute.
    """
    probs = named.view(len(named), *asked.shape[1:])
    return ((1 - probs.sum(2, keepdim=True)).clamp(min=0) * asked).flatten(1)


def agreement(named: Tensor, shown: Tensor) -> Tensor:
    """Return how far pictures show what a caption names (n,).

        sum_i sum_v  p(y_i = v | caption) max(log p(y_i = v | picture), FLOOR)

    The caption's p is `named` (attributes, values), the pictures' that of an `AttributeHead`'s logits
    `shown` (n, attributes, values).
    """
    return (named * shown.log_softmax(dim=2).clamp_min(FLOOR)).sum(dim=(1, 2))


class Attributes(nn.Module):
    """The readers of one pair of encoders; none of captions where their records were not to be had."""

    def __init__(self, head: AttributeHead, reader: CaptionReader | None) -> None:
        super().__init__()
        self.head, self.reader = head, reader

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        """Attribute -> its values, in label order."""
        return self.head.attributes


def reader_of(attributes: Attributes | None) -> CaptionReader:
    """Return the reader of captions that a generator with `generator.attribute_dim` needs."""
    if attributes is None or attributes.reader is None:
        wanted = "encoders with a reader of captions, for generator.attribute_dim"
        fix = "run train-pixels on data with attribute records, or set generator.attribute_dim 0"
        raise CheckpointError(wanted, "encoders without one", fix)
    return attributes.reader


def save_attributes(folder: Path, attributes: Attributes, damsm: str) -> None:
    """Write the readers into the folder of the encoders with hash `damsm`: float16, atomically."""
    facts = {"schema": SCHEMA, "damsm": damsm, "attributes": attributes.values}
    write_weights(folder / FILE, attributes, {METADATA: json.dumps(facts)})


def load_attributes(folder: Path | str, damsm: str) -> Attributes | None:
    """Read the readers of the encoders with hash `damsm`, in evaluation mode; None where they have none.

    A CheckpointError says that the file is damaged, or was trained with other encoders.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    state, fix = read_weights(path), "run `memdriven train-pixels` again, or restore the file"
    damaged = OSError, SafetensorError, KeyError, ValueError, AttributeError, IndexError
    with explained(CheckpointError, f"attributes of schema {SCHEMA} in {path}", fix, *damaged):
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get(METADATA, "{}"))
        found = f"schema {facts.get('schema')}, encoders {facts.get('damsm')}"
        wanted = f"the attributes (schema {SCHEMA}) of the encoders {damsm} in {path}"
        require(found == f"schema {SCHEMA}, encoders {damsm}", CheckpointError, wanted, found, fix)
        values: Mapping[str, Sequence[str]] = facts["attributes"]
        head = AttributeHead(state["head.look.weight"].shape[1], values)
        words = state.get("reader.look.weight")
        attributes = Attributes(head, None if words is None else CaptionReader(words.shape[1], values))
    load_weights(attributes, state, str(path))
    return attributes.eval().requires_grad_(False)
