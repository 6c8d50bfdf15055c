"""What G is told beside the caption [ours]: not what the references' captions say, but what z asks.

    t' = t + w (t - t_m)
    a' = a + (1 - |a|) g(z)           of each attribute that G reads

t is the text that G reads (the sentence, the mean word and the attribute vector), t_m the mean of the
same over the captions of the references. A generator trained on a reconstruction loss does less than it
is asked wherever it is unsure, so that a reference's colours shine through; w exaggerates what the words
change, and leaves alone what they share with the reference. It is to a reference what classifier-free
guidance (Ho & Salimans 2022) is to noise, but costs no second pass.

a is what the caption names of an attribute, as probabilities of its values, g(z) the values that z asks
for (`generator.z_asks`): whatever words leave open is z's, and nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from memdriven.aviary.species import BACKGROUNDS, possible_places
from memdriven.aviary.wishes import NUMBERS, asked
from memdriven.aviary.world import PLANS
from memdriven.checkpoint import Checkpoint
from memdriven.encoders.readers import where_silent
from memdriven.encoders.text import TextFeatures
from memdriven.memory.bank import MemoryBank

_CACHED = 4096
"""Items whose captions' mean is remembered: 8 MB of 256 numbers twice."""


class TextCondition(NamedTuple):
    """All that G reads of a caption."""

    sentence: Tensor
    """s: (b, d), into the conditioning augmentation."""
    condition: Tensor
    """The masked mean of the word embeddings and, behind it, the attribute vector (b, d + n)."""

    @classmethod
    def of(cls, text: TextFeatures) -> Self:
        """Return what G reads of embeddings that are not guided."""
        return cls(text.sentence, text.condition)


class Guidance:
    """Moves captions away from what the captions of a bank's items say."""

    def __init__(self, checkpoint: Checkpoint, bank: MemoryBank) -> None:
        self.checkpoint, self.bank = checkpoint, bank
        self._mean = lru_cache(maxsize=_CACHED)(self._encode)

    @torch.inference_mode()
    def _encode(self, row: int) -> Tensor | None:
        """Return t_m of one item (2 d + n,); None if no caption is usable."""
        captions, most = self.bank.items[row].captions, self.checkpoint.config.text.max_words
        encoded = [code for _, code in self.checkpoint.vocabulary.readable(captions, most)]
        if not encoded:
            return None
        return torch.cat(TextCondition.of(self.checkpoint.encode_captions(encoded)), dim=1).mean(0)

    @torch.inference_mode()
    def guide(
        self, text: TextFeatures, references: Iterable[tuple[str, float]], strength: float
    ) -> TextCondition:
        """Return a caption's t' beside a mix of items; at strength 0, or without items, t itself.

        What the bank does not hold, and what is missing to 1, counts as saying what the caption says.
        """
        t = TextCondition.of(text)
        found = [(id_, share) for id_, share in references if strength and id_ in self.bank]
        means = [(self._mean(self.bank.index_of(id_)), share) for id_, share in found]
        known = [(mean, share) for mean, share in means if mean is not None]
        if not known:
            return t
        asked, d = torch.cat(t, dim=1)[0], text.sentence.shape[1]
        shift = strength * torch.stack([share * (asked - mean) for mean, share in known]).sum(0)
        # Each word moves alike, so that their mean does; padding stays zero.
        words = text.words + shift[d : 2 * d] * text.mask[..., None]
        named = None if text.attributes is None else text.attributes + shift[2 * d :]
        return TextCondition.of(TextFeatures(words, text.sentence + shift[:d], text.mask, named))

    def with_asks(self, condition: Tensor, named: Tensor, z: Tensor, record: Mapping[str, Any]) -> Tensor:
        """Return a text condition (1, d + n) with what z (1, z_dim) asks for where the caption is silent.

        Args:
            condition: what G would read without.
            named: what the caption names (1, n), not guided.
            z: of one picture.
            record: the attributes of the bird that is remembered, whose pose leaves some places open.
        """
        attributes, wanted = self.checkpoint.attributes, asked(z[0, :NUMBERS].tolist(), places(record))
        values = attributes.values if attributes else {}
        weights = named.new_zeros(len(values), named.shape[1] // len(values))
        for row, (attribute, known) in enumerate(values.items()):
            for value, weight in wanted.get(attribute, {}).items():
                weights[row, known.index(value)] = weight
        added = where_silent(named, weights[None])
        return torch.cat([condition[:, : -added.shape[1]], condition[:, -added.shape[1] :] + added], dim=1)


def places(record: Mapping[str, Any]) -> Sequence[str]:
    """Return the backgrounds that a remembered bird's pose leaves open, all where nothing is known of it."""
    plan, pose = record.get("body_plan"), record.get("pose")
    return possible_places(plan, pose) if plan in PLANS and pose is not None else BACKGROUNDS
