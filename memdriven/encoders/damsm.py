"""DAMSM: how well words and image regions, sentence and image, match; and the loss on it.

Deep attentional multimodal similarity model [family: AttnGAN, Sec. 3.2]. The retrieval's keys,
the generator's text-image loss and one R-precision judge are made of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memdriven.config import Config, DamsmConfig, TextConfig, from_dict, to_dict
from memdriven.data.vocabulary import EncodedCaption, Vocabulary
from memdriven.encoders.image import CompactBackbone, FeatureHeads, ImageFeatures, resized
from memdriven.encoders.imagenet import Vgg16Features
from memdriven.encoders.readers import Attributes, load_attributes
from memdriven.encoders.text import TextEncoder, TextFeatures
from memdriven.encoders.weights import load_weights, read_weights, weights_hash, write_weights
from memdriven.errors import CheckpointError, require
from memdriven.files import atomic_write_json, read_json, sealed
from memdriven.numbers import shown

_EPSILON = 1e-8
SENTENCE_BATCH = 256
GAMMA1, GAMMA2, GAMMA3 = 4.0, 5.0, 10.0
"""Sharpness of a word's attention over regions, of the soft maximum over words, and of the softmax over the
batch [family]."""


class DamsmLoss(NamedTuple):
    """The two parts of the DAMSM loss and their sum, each a scalar tensor."""

    words: Tensor
    sentence: Tensor
    total: Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosines of all rows of a (n, d) with all rows of b (m, d): (n, m)."""
    return F.normalize(a, dim=-1, eps=_EPSILON) @ F.normalize(b, dim=-1, eps=_EPSILON).T


def word_cosines(words: Tensor, mask: Tensor, regions: Tensor) -> Tensor:
    """Return cos(c_i, e_i) of each word with its region context, for all image-caption pairs.

    s = regions^T words; s is normalised by a softmax over the caption's words, then
    alpha = softmax over regions of gamma1 times that, and c_i = sum_r alpha_ir region_r.
    The contexts themselves are never formed: c_i . e_i = sum_r alpha_ir s_ir, and
    |c_i|^2 = alpha_i^T (regions regions^T) alpha_i, which is cheaper while r < d.

    Of words (b_txt, t, d), their mask (b_txt, t) and regions (b_img, r, d) it returns (b_img, b_txt, t),
    meaningless where the mask is false.
    """
    words, regions = words.float(), regions.float()
    texts, length, width = words.shape
    s = (regions @ words.reshape(texts * length, width).T).view(*regions.shape[:2], texts, length)
    over_words = s.masked_fill(~mask, -torch.inf).softmax(3)  # (b_img, r, b_txt, t)
    alpha = (GAMMA1 * over_words).softmax(1)
    gram = regions @ regions.transpose(1, 2)  # (b_img, r, r)
    weights = alpha.flatten(2)  # (b_img, r, b_txt*t)
    squared = ((gram @ weights) * weights).sum(1).view(-1, texts, length)
    norms = squared.clamp(min=_EPSILON**2).sqrt() * words.norm(dim=2).clamp(min=_EPSILON)
    return torch.div((alpha * s).sum(1), norms)


def matching_scores(words: Tensor, mask: Tensor, regions: Tensor) -> Tensor:
    """Return R = log (sum_i exp(gamma2 cos(c_i, e_i)))^(1/gamma2) of all image-caption pairs (b_img, b_txt).

    The power is as the papers write it; the family's code leaves it out. R grows with the number t of
    words; subtract log(t) / gamma2 to compare captions of different lengths. Arguments: as `word_cosines`.
    """
    with torch.autocast(words.device.type, enabled=False):
        cosines = word_cosines(words, mask, regions)
        return (GAMMA2 * cosines).masked_fill(~mask, -torch.inf).logsumexp(2) / GAMMA2


def damsm_loss(image: ImageFeatures, text: TextFeatures, class_ids: Tensor | None = None) -> DamsmLoss:
    """Return the cross-entropies that name each caption's image, and each image's caption.

    Logits are gamma3 R (words) and gamma3 cos(global, sentence), rows images, columns captions; pair i, i is
    right. Others of the same class (b,) are no negatives; a negative class id stands for "no class".
    """
    scores = matching_scores(text.words, text.mask, image.regions)
    with torch.autocast(scores.device.type, enabled=False):
        cosines = cosine(image.global_.float(), text.sentence.float())
    right = torch.arange(len(scores), device=scores.device)
    excluded = torch.zeros_like(scores, dtype=torch.bool)
    if class_ids is not None:
        same = (class_ids[:, None] == class_ids) & (class_ids >= 0)
        # A batch of one class alone would leave nothing to tell apart from.
        excluded = same.fill_diagonal_(False) & (same.sum() < len(scores) * (len(scores) - 1))

    def both_ways(table: Tensor) -> Tensor:
        logits = (GAMMA3 * table).masked_fill(excluded, -torch.inf)
        return F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)

    words, sentence = both_ways(scores), both_ways(cosines)
    return DamsmLoss(words, sentence, words + sentence)


class Damsm(nn.Module):
    """Text encoder and image sides that share one space.

    `text` embeds captions, `heads` embeds the bank's v (the retrieval's image keys), and
    `pixels`, where the config has one, embeds pictures for the generator's loss.
    """

    def __init__(self, vocabulary_size: int, text: TextConfig, damsm: DamsmConfig) -> None:
        super().__init__()
        self.config = damsm
        self.text = TextEncoder(vocabulary_size, text)
        self.heads = FeatureHeads(text.dim)
        self.pixels: CompactBackbone | None = None
        if damsm.pixel_backbone == "compact":
            self.pixels = CompactBackbone(text.dim, damsm.pixel_size)

    def encode_captions(self, captions: Sequence[EncodedCaption]) -> TextFeatures:
        """Embed captions, on the model's device."""
        features: TextFeatures = self.text(*Vocabulary.batch(captions))
        return features

    @torch.no_grad()
    def sentences(self, captions: Sequence[EncodedCaption]) -> Tensor:
        """Return s of many captions (m, d), on the CPU, encoding those of like length together."""
        order = sorted(range(len(captions)), key=lambda row: len(captions[row].ids))
        parts = []
        for start in range(0, len(order), SENTENCE_BATCH):
            batch = [captions[row] for row in order[start : start + SENTENCE_BATCH]]
            parts.append(self.encode_captions(batch).sentence.float().cpu())
        return torch.cat(parts)[torch.argsort(torch.tensor(order))]

    def encode_images(
        self, images: Tensor, vgg: Vgg16Features | None = None
    ) -> tuple[ImageFeatures, Tensor | None]:
        """Embed pictures (b, 3, h, w) in [0, 1], differentiably, for the generator's loss.

        Without a pixel network of its own (`pixel_backbone` vgg16) they go through `vgg`, which must be
        given then, and `heads` at `pixel_size` px. The second value is the compact network's maps, off which
        attributes are read.
        """
        if self.pixels is not None:
            maps = self.pixels.maps(images)
            return self.pixels.embed(maps), maps
        if vgg is None:
            raise ValueError("pixel_backbone 'vgg16' embeds pictures through Vgg16Features")
        return self.heads(vgg(resized(images, self.config.pixel_size))), None

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.text.embedding.weight.device

    def hash(self) -> str:
        """16 hexadecimal digits that name the float16 weights; a memory bank records them."""
        return weights_hash(self)


SCHEMA = "memdriven.damsm/1"
OF_CHECKPOINT = "memdriven.checkpoint/1"
"""Schema of a generator's checkpoint, whose encoders lie in files of the same names."""
WEIGHTS, VOCABULARY, CONFIG = "damsm.safetensors", "vocabulary.json", "config.json"


class TrainedDamsm(NamedTuple):
    """What a DAMSM folder holds."""

    damsm: Damsm
    vocabulary: Vocabulary
    config: Config
    facts: dict[str, Any]
    """config.json beside `config`: hashes, training facts."""
    attributes: Attributes | None = None
    """Readers of what captions name and pictures show, where the encoders were taught it."""


def save_damsm(
    folder: Path, damsm: Damsm, vocabulary: Vocabulary, config: Config, facts: dict[str, Any]
) -> None:
    """Write a DAMSM folder; each file is whole or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_json(folder / VOCABULARY, sealed(vocabulary.to_json()))
    content = {"schema": SCHEMA, "hash": damsm.hash(), **facts, "config": to_dict(config)}
    atomic_write_json(folder / CONFIG, sealed(content))
    write_weights(folder / WEIGHTS, damsm, {"schema": SCHEMA})


def read_config(folder: Path, *schemas: str) -> dict[str, Any]:
    """Return the config.json of a folder of encoders or of a checkpoint, as the schemas say.

    A CheckpointError says what else the folder is.
    """
    content, run = read_json(folder / CONFIG, CheckpointError), folder / "checkpoint"
    schema = content.get("schema")
    found, fix = f"schema {shown(schema)}", "use the version of memdriven that wrote it"
    if (run / CONFIG).is_file():
        found, fix = "the folder of a training", f"give {run}"
    elif schema == SCHEMA:
        found, fix = "a folder of encoders alone", "train a generator with them, and give its checkpoint"
    wanted = f"schema {' or '.join(schemas)} in {folder}"
    require(schema in schemas, CheckpointError, wanted, found, fix)
    return content


def load_damsm(folder: Path | str, device: torch.device | str = "cpu") -> TrainedDamsm:
    """Read a DAMSM folder, or the encoders of a checkpoint: evaluation mode, no gradients.

    The caller's random state stays as it is. A CheckpointError says that a file is missing, damaged, or does
    not belong to the others.
    """
    folder = Path(folder)
    facts = read_config(folder, SCHEMA, OF_CHECKPOINT)
    config = from_dict(Config, facts.pop("config", {}))
    vocabulary = Vocabulary.from_json(read_json(folder / VOCABULARY, CheckpointError))
    with torch.random.fork_rng(devices=[]):
        damsm = Damsm(len(vocabulary), config.text, config.damsm)
    load_weights(damsm, read_weights(folder / WEIGHTS), str(folder / WEIGHTS))
    found = damsm.hash()
    if facts["schema"] == OF_CHECKPOINT:
        made = facts.get("facts")
        facts = {"hash": made.get("damsm", found) if isinstance(made, dict) else None}
    wanted = f"the DAMSM weights {facts.get('hash')} in {folder / WEIGHTS}"
    fix = "restore the files of one and the same training"
    require(found == facts.get("hash"), CheckpointError, wanted, f"weights {found}", fix)
    attributes = load_attributes(folder, found)
    damsm = damsm.to(device).eval().requires_grad_(False)
    return TrainedDamsm(damsm, vocabulary, config, facts, attributes and attributes.to(device))
