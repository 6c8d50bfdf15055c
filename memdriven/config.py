"""Every setting of the system and its default, as frozen dataclasses (presets: `presets.py`).

This is the only place with defaults. Settings marked [ours] are choices the paper leaves open,
[family] are those of the published AttnGAN family of code bases.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from memdriven.errors import ConfigError

Pooling = Literal["average", "max", "none"]
PixelBackbone = Literal["vgg16", "inception_v3", "compact"]
Strategy = Literal[
    "sentence-sentence",
    "words-words",
    "sentence-image",
    "words-image",
    "sentence-both",
    "words-both",
    "all",
    "random",
    "oracle",
    "none",
]

MAX_GUIDANCE = 4.0
"""The strongest guidance that is offered."""
FEATURE_CHANNELS = 512
"""Channels of VGG-16 relu5_3."""
FEATURE_GRID = 16
"""Height and width of v at a 256 x 256 input."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The bi-LSTM text encoder [family]."""

    embedding_dim: int = 300
    """Width of a word's learned input embedding."""
    dim: int = 256
    """d: width of word and sentence embeddings; half from each LSTM direction."""
    dropout: float = 0.5
    """Dropout on the input embeddings while DAMSM trains."""
    max_words: int = 24
    """Words beyond this are cut (and reported)."""
    min_count: int = 1
    """A word enters the vocabulary when the training captions hold it this often."""


@dataclass(frozen=True, kw_only=True)
class DamsmConfig:
    """Deep attentional multimodal similarity model: encoders' training and scores [family]."""

    pixel_backbone: PixelBackbone = "vgg16"
    """Network that scores generated pixels in the generator's loss. `vgg16` shares the memory
    bank's features; `compact` is a small CNN for CPUs [ours]; `inception_v3` is the family's."""
    pixel_size: int = 256
    """Side in px at which the pixel backbone sees an image."""
    gamma1: float = 4.0
    """Sharpness of a word's attention over image regions."""
    gamma2: float = 5.0
    """Sharpness of the soft maximum over words."""
    gamma3: float = 10.0
    """Sharpness of the softmax over the batch."""
    score: Literal["literal", "family"] = "literal"
    """`literal` keeps the 1/gamma2 power of R as the paper writes it, `family` leaves it out."""
    learning_rate: float = 2e-3
    lr_decay: float = 0.98
    """Factor on the learning rate after each epoch."""
    betas: tuple[float, float] = (0.5, 0.999)
    gradient_clip: float = 0.25
    """Norm to which the text encoder's gradient is clipped."""
    batch_size: int = 48
    epochs: int = 60
    mask_same_class: bool = True
    """Leave other captions of the same class out of the negatives when class ids exist."""


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The generator with image features (Sec. 4.1)."""

    stages: int = 3
    """K: resolutions are 64, 128, 256, ... px."""
    width: int = 32
    """g: channels of a stage's hidden features (32 bird, 48 COCO) [family]."""
    residual_blocks: int = 2
    """R: residual blocks of each later stage (2 bird, 3 COCO) [family]."""
    z_dim: int = 100
    condition_dim: int = 100
    """Width of the conditioning-augmentation code c."""
    text_dim: int = 256
    acm_width: int = 128
    """Channels of the ACM's shared map u [family]."""
    feature_width: int = 128
    """Channels to which v is projected before it is upsampled to a stage's size [ours]."""
    use_v_global: bool = True
    """Feed v_global = spatial mean of v to the first stage."""
    use_v: bool = True
    """Fuse v at every stage through an ACM."""
    fuse_early: bool = False
    """Fuse v into the first stage's maps of 16 px, v's own grid, and 32 px, too [ours]."""
    early_blocks: int = 0
    """Residual blocks after each of these fusions, which work out what words and memory make of
    each other where a map is small and depth cheap [ours]."""
    text_code: int = 0
    """Width of a code of the text that scales and shifts these blocks' channels, so that the words
    meet the memory where it is fused; 0 for none [ours]."""
    named_width: int = 0
    """Numbers (attributes x most values) in which the encoders' reader says what the caption names;
    that code is given them, too. 0 for none; in training any other gives way to theirs [ours]."""
    guidance: float = 0.0
    """How far the text is moved away from what the memory's own captions say before G reads it, at
    inference; see `memdriven.pipeline.guidance` [ours]."""
    refine: bool = False
    """Let a later stage add to the image of the one before, enlarged; it begins with adding nothing
    [ours]."""
    mirror: bool = False
    """Let the noise of a picture also say which way its memory faces: v as it is, or mirrored left
    to right, as training's flips show both [ours]."""
    zoom: float = 0.0
    """Let the noise also say how much of its memory a picture sees: a square whose side is 1 - zoom
    to 1 of the whole, anywhere. In training, images and their features are cut alike [ours]."""


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The content-aware discriminator (Sec. 4.2), one per stage."""

    width: int = 64
    """df: channels after the first down-sampling convolution."""
    max_width: int = 512
    content: Pooling = "average"
    """Pooling that makes the content features a_128 ... a_4, or `none` to leave them out."""
    spectral_norm: bool = True
    """Spectral normalisation in place of BatchNorm [ours]."""
    projected: bool = False
    """Judge the last stage's images by maps of a frozen ImageNet network, too [ours]."""
    minibatch_std: bool = False
    """Append the batch's standard deviation to the last map, against mode collapse [ours]."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the losses (Eqs. 1-4)."""

    adversarial_weight: float = 1.0
    """Weight of Eq. 1's adversarial terms; 0 leaves the D's out, G learns by the rest [ours]."""
    damsm_weight: float = 5.0
    """lambda of Eq. 1: 5 bird, 50 COCO [family]."""
    damsm_stages: Literal["all", "last"] = "all"
    """`all` is Eq. 2 to the letter, `last` scores only the final image [family]."""
    damsm_disturbed: bool = False
    """Score generated pictures moved, softened and noised a little, as DAMSM's own pictures are in
    training: details too fine to survive that cannot please it [ours]."""
    attribute_weight: float = 0.0
    """Weight of the cross-entropy with which DAMSM's pixel network (after `train-pixels`) reads the
    caption's attributes off G's pictures, where the data has attribute records [ours]."""
    kl_weight: float = 1.0
    """Weight of the conditioning augmentation's KL term [family]."""
    reconstruction_weight: float = 0.0
    """Weight of |G(z, S, v) - I| where v is the image's own: a fast start for small budgets; the
    paper has none [ours]."""
    change_weight: float = 0.0
    """How much more it counts where an image made for a memory differs from the memory's own, for
    what the words changed is a small part of a picture; needs generator.zoom [ours]."""
    perceptual_weight: float = 0.0
    """Weight of the same difference in the maps of a frozen network, each as a share of the image's
    own size there [ours] (Johnson et al. 2016)."""
    perceptual_network: Literal["damsm", "squeezenet"] = "damsm"
    """That network: DAMSM's pixel network, or SqueezeNet 1.1 of ImageNet, for data on which the
    first had too few pictures to learn from [ours]."""
    diversity_weight: float = 0.0
    """Weight of the difference that z makes between two pictures of one caption and memory [ours]
    (Yang et al. 2019)."""
    diversity_limit: float = 0.1
    """The difference, in units of pixels in [-1, 1] over units of z, that is enough."""
    diversity_every: int = 8
    """Steps from one look at it to the next; its weight is scaled by them."""
    r1_gamma: float = 1.0
    """gamma of R1 (Eq. 4)."""
    r1_every: int = 16
    """R1 is computed every this many steps and scaled by it [ours]."""
    mismatched: bool = True
    """Show D real images with a wrong caption as fake [family]; off is the literal Eq. 3."""


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """How neighbours are found and mixed (Sec. 3.2)."""

    strategy: Strategy = "sentence-sentence"
    k: int = 1
    shortlist: int = 200
    """Candidates of the sentence level that a word-level strategy re-ranks."""
    alpha: float = 0.5
    """Weight of the text part in the `-both` and `all` strategies."""
    fusion: Literal["z-score", "reciprocal-rank"] = "z-score"
    caption_pool: Literal["max", "mean", "mean-caption"] = "max"
    """How the scores of an item's several captions become one."""
    temperature: float = 0.1
    """Softmax temperature of the weights when k > 1."""
    mmr: float = 1.0
    """Trade-off of maximal marginal relevance: 1 is relevance alone."""
    index: Literal["exact", "annoy"] = "exact"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop of the GAN (Sec. 4.3)."""

    batch_size: int = 16
    steps: int = 100_000
    max_minutes: float = 0.0
    """Stop cleanly after this many minutes; 0 means no limit."""
    learning_rate: float = 2e-4
    d_learning_rate: float = 2e-4
    decay_from: float = 1.0
    """Share of the budget (steps or minutes) after which both learning rates fall linearly to zero;
    1 keeps them constant [ours]."""
    betas: tuple[float, float] = (0.5, 0.999)
    optimiser: Literal["adam", "muon"] = "adam"
    """What moves G's weights: Adam, or Muon for those that are matrices or convolutions of middling
    size, and Adam for the rest [ours]. The D's have Adam."""
    momentum: float = 0.95
    """Muon's."""
    ema: float = 0.999
    """Decay of the generator's moving average, buffers included."""
    ema_warmup: bool = True
    """Let the average's horizon grow with the step t: min(ema, (1 + t) / (10 + t)) [ours]."""
    p_swap: float = 0.5
    """Probability of training on v of a retrieved neighbour instead of the image's own [ours]."""
    p_fade: float = 0.0
    """Probability of training on v times a random strength in 0..1, so that a weakened memory, down
    to none, means something to G at inference [ours]."""
    swap_neighbours: int = 8
    """A swapped v is drawn from this many nearest neighbours of the caption [ours]."""
    swap_mix: int = 1
    """A swapped v is the weighted mean of one to this many of them, as k > 1 mixes at inference
    [ours]."""
    swap_other_class: bool = True
    """Never swap within a class, as an unseen caption meets no image of its own class [ours]."""
    crop: float = 76 / 64
    """Images are resized to crop * size before the random crop [family]; 1 is no crop."""
    flip: bool = True
    workers: int = 0
    amp: bool = True
    """bf16 autocast where the device has it (never on the CPU)."""
    channels_last: bool = True
    compile: bool = False
    frozen_stages: int = 0
    """Stages of G, from the first, that keep the weights they began with; only later ones and their
    D's are trained [ours]."""
    frozen_parts: str = ""
    """Parts of G, by their names and separated by commas, that keep the weights they began with:
    `first.linear`, say, three quarters of a small generator's weights [ours]."""
    augment: str = ""
    """Differentiable augmentation of what D sees: any of `color,translation,cutout` [ours]."""
    log_every: int = 50
    sample_every: int = 1000
    """Steps from one grid of samples to the next; 0 for `sample_minutes` alone."""
    sample_minutes: float = 5.0
    """Minutes from one grid to the next, whichever comes first; the first comes within one."""
    save_every: int = 1000
    """Steps from one saved state to the next; 0 for `save_minutes` alone."""
    save_minutes: float = 5.0
    """Minutes from one saved state to the next, whichever comes first."""
    seed: int = 0

    @property
    def frozen_names(self) -> tuple[str, ...]:
        """`frozen_parts`, taken apart."""
        return tuple(name.strip() for name in self.frozen_parts.split(",") if name.strip())


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole system: one of these is frozen into each run directory and checkpoint."""

    preset: str = "bird"
    text: TextConfig = field(default_factory=TextConfig)
    damsm: DamsmConfig = field(default_factory=DamsmConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Refuse settings that cannot work together."""
        checks = (
            (1 <= self.generator.stages <= 5, "generator.stages in 1..5", self.generator.stages),
            (
                0 <= self.train.frozen_stages < self.generator.stages,
                "0 <= train.frozen_stages < generator.stages",
                (self.train.frozen_stages, self.generator.stages),
            ),
            (
                not self.generator.text_code
                or (self.generator.fuse_early and self.generator.early_blocks > 0),
                "generator.fuse_early and generator.early_blocks above 0 with generator.text_code",
                (self.generator.fuse_early, self.generator.early_blocks),
            ),
            (
                not self.generator.named_width or self.generator.text_code > 0,
                "generator.text_code above 0 with generator.named_width",
                self.generator.text_code,
            ),
            (
                0 <= self.generator.guidance <= MAX_GUIDANCE,
                f"0 <= generator.guidance <= {MAX_GUIDANCE:g}",
                self.generator.guidance,
            ),
            (0 <= self.generator.zoom < 1, "0 <= generator.zoom < 1", self.generator.zoom),
            (
                not self.loss.change_weight or self.generator.zoom > 0,
                "generator.zoom above 0 with loss.change_weight",
                self.generator.zoom,
            ),
            (self.text.dim % 2 == 0, "an even text.dim", self.text.dim),
            (
                self.text.dim == self.generator.text_dim,
                "text.dim == generator.text_dim",
                (self.text.dim, self.generator.text_dim),
            ),
            (0.0 <= self.train.p_swap <= 1.0, "train.p_swap in 0..1", self.train.p_swap),
            (
                1 <= self.train.swap_mix <= self.train.swap_neighbours,
                "1 <= train.swap_mix <= train.swap_neighbours",
                (self.train.swap_mix, self.train.swap_neighbours),
            ),
            (0.0 <= self.retrieval.alpha <= 1.0, "retrieval.alpha in 0..1", self.retrieval.alpha),
            (self.retrieval.temperature > 0, "retrieval.temperature > 0", self.retrieval.temperature),
            (self.retrieval.k >= 1, "retrieval.k >= 1", self.retrieval.k),
            (self.train.batch_size >= 2, "train.batch_size >= 2", self.train.batch_size),
            (0.0 <= self.train.decay_from <= 1.0, "train.decay_from in 0..1", self.train.decay_from),
            (self.loss.r1_every >= 1, "loss.r1_every >= 1", self.loss.r1_every),
            (self.loss.diversity_every >= 1, "loss.diversity_every >= 1", self.loss.diversity_every),
            (self.generator.width % 2 == 0, "an even generator.width", self.generator.width),
            (
                self.damsm.pixel_backbone != "compact" or self.damsm.pixel_size % 16 == 0,
                "damsm.pixel_size a multiple of 16 for the compact network",
                self.damsm.pixel_size,
            ),
        )
        for holds, wanted, found in checks:
            if not holds:
                raise ConfigError(wanted=wanted, found=str(found), fix="change that setting")


T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config dataclass as plain JSON-ready values (tuples become lists)."""
    plain: dict[str, Any] = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        plain[entry.name] = list(value) if isinstance(value, tuple) else value
    return plain


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """Rebuild a config dataclass from `to_dict`'s values.

    Fields that are absent take their default; an unknown field is an error.

    Raises:
        ConfigError: a field of `values` is unknown to `cls`, or a value has the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(
            wanted=f"an object for {cls.__name__}",
            found=repr(values)[:80],
            fix="restore config.json from its source",
        )
    template = cls()
    known = {entry.name: entry for entry in dataclasses.fields(template)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            wanted=f"fields of {cls.__name__}",
            found=", ".join(unknown),
            fix="use the version of memdriven that wrote this file, or remove the fields",
        )
    rebuilt: dict[str, Any] = {}
    for name, value in values.items():
        default = getattr(template, name)
        if dataclasses.is_dataclass(default):
            value = from_dict(type(default), value)
        elif isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            raise ConfigError(
                wanted=f"{type(default).__name__} for {cls.__name__}.{name}",
                found=repr(value)[:80],
                fix="correct the value",
            )
        rebuilt[name] = value
    return cls(**rebuilt)
