"""Every setting of the system and its default, as frozen dataclasses (presets: `presets.py`).

This is the only place with defaults. Settings marked [ours] are choices the paper leaves open,
[family] are those of the published AttnGAN family of code bases.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from memdriven.errors import ConfigError

Index = Literal["exact", "annoy", "milvus"]
Pooling = Literal["average", "max", "none"]
PixelBackbone = Literal["vgg16", "compact"]
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


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The bi-LSTM text encoder [family]."""

    embedding_dim: int = 300
    """Width of a word's learned input embedding."""
    dim: int = 256
    """d: width of word and sentence embeddings; half from each LSTM direction."""
    max_words: int = 24
    """Words beyond this are cut (and reported)."""


@dataclass(frozen=True, kw_only=True)
class DamsmConfig:
    """Deep attentional multimodal similarity model: encoders' training and scores [family]."""

    pixel_backbone: PixelBackbone = "vgg16"
    """Network that scores generated pixels in the generator's loss. `vgg16` shares the memory
    bank's features; `compact` is a small CNN for CPUs [ours]. (The family's is Inception-v3.)"""
    pixel_size: int = 256
    """Side in px at which the pixel backbone sees an image."""
    learning_rate: float = 2e-3
    """Of Adam."""
    batch_size: int = 48
    """Captioned images a step, over all processes."""
    epochs: int = 60
    """Passes over the data, where no minutes are given."""
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
    """Width of the noise z."""
    condition_dim: int = 100
    """Width of the conditioning-augmentation code c."""
    text_dim: int = 256
    """d, as text.dim."""
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
    acm_before: bool = False
    """An ACM before a later stage's residual blocks, too, so that F_i sees where v has what [family]."""
    attribute_dim: int = 0
    """Numbers (attributes x most values) in which the encoders' reader says what the caption names;
    that code is given them, too. 0 for none; in training any other gives way to theirs [ours]."""
    noise_code: int = 0
    """Hidden width of the code that takes z to `text_code`: what neither words nor memory settle (place,
    light, unnamed plumage) is z's; 0 for none [ours]."""
    first_rank: int = 0
    """Rank of the first stage's linear layer, the largest part of a small generator; 0 for full [ours]."""
    guidance: float = 0.0
    """How far the text is moved away from what the memory's own captions say before G reads it, at
    inference; see `memdriven.pipeline.guidance` [ours]."""
    refine: bool = False
    """Let a later stage add to the image of the one before, enlarged; it begins with adding nothing
    [ours]."""
    back_projection: float = 0.0
    """How far a refining stage's image is drawn back to the one before: at 1, made small again, it is that
    one; colours stay those that the words gave the first stage [ours] (Irani and Peleg 1991)."""
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
    """Channels of its deepest maps at most."""
    content: Pooling = "average"
    """Pooling that makes the content features a_128 ... a_4, or `none` to leave them out."""
    spectral_norm: bool = True
    """Spectral normalisation; the family has BatchNorm there [ours]."""
    projected: bool = False
    """Judge the last stage's images by maps of a frozen ImageNet network, too [ours]."""


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
    r1_gamma: float = 1.0
    """gamma of R1 (Eq. 4)."""
    mismatched: bool = True
    """Show D real images with a wrong caption as fake [family]; off is the literal Eq. 3."""


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """How neighbours are found and mixed (Sec. 3.2)."""

    strategy: Strategy = "sentence-sentence"
    """Which embeddings of the caption are compared with which of the memory."""
    k: int = 1
    """Neighbours whose features are mixed."""
    shortlist: int = 200
    """Candidates of the sentence level that a word-level strategy re-ranks."""
    alpha: float = 0.5
    """Weight of the text part in the `-both` and `all` strategies."""
    temperature: float = 0.1
    """Softmax temperature of the weights when k > 1."""
    index: Index = "exact"
    """How sentence-level candidates are found: `exact` compares every key, `annoy` searches trees, `milvus`
    asks that engine, embedded or a server ($MEMDRIVEN_MILVUS); see docs/memory.md."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop of the GAN (Sec. 4.3)."""

    batch_size: int = 16
    """Images a step, over all processes."""
    steps: int = 100_000
    """Stop after so many."""
    max_minutes: float = 0.0
    """Stop cleanly after this many minutes; 0 means no limit."""
    learning_rate: float = 2e-4
    """Of G's Adam."""
    d_learning_rate: float = 2e-4
    """Of the D's Adam."""
    decay_from: float = 1.0
    """Share of the budget (steps or minutes) after which both learning rates fall linearly to zero;
    1 keeps them constant [ours]."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Of both Adams."""
    ema: float = 0.999
    """Decay of the generator's moving average, buffers included."""
    p_swap: float = 0.5
    """Probability of training on v of a retrieved neighbour instead of the image's own [ours]."""
    p_fade: float = 0.0
    """Probability of training on v times a random strength in 0..1, so that a weakened memory, down
    to none, means something to G at inference [ours]."""
    swap_mix: int = 1
    """A swapped v is the weighted mean of one to this many of them, as k > 1 mixes at inference
    [ours]."""
    crop: float = 76 / 64
    """Images are resized to crop * size before the random crop [family]; 1 is no crop. Below 1, the last
    stage, all others frozen, learns on squares of this share of its picture's side [ours]."""
    amp: bool = True
    """bf16 autocast where the device has it: CUDA from compute capability 8.0."""
    compile: bool = False
    """Compile G and the D's: a minute or two, which no budget counts, for quicker steps."""
    frozen_stages: int = 0
    """Stages of G, from the first, that keep the weights they began with; only later ones and their
    D's are trained [ours]."""
    frozen_parts: str = ""
    """Parts of G, by their names and separated by commas, that keep the weights they began with:
    `first.linear`, say, three quarters of a small generator's weights [ours]."""
    augment: str = ""
    """Differentiable augmentation of what D sees: any of `color,translation,cutout` [ours]."""
    log_every: int = 50
    """Steps from one row of metrics to the next."""
    save_every: int = 1000
    """Steps from one saved state to the next; 0 for `save_minutes` alone."""
    save_minutes: float = 5.0
    """Minutes from one saved state to the next, whichever comes first."""
    seed: int = 0
    """Of first weights, order and noise."""

    @property
    def frozen_names(self) -> tuple[str, ...]:
        """`frozen_parts`, taken apart."""
        return tuple(name.strip() for name in self.frozen_parts.split(",") if name.strip())


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole system: one of these is frozen into each run directory and checkpoint."""

    preset: str = "bird"
    """The name of the settings that others change."""
    text: TextConfig = field(default_factory=TextConfig)
    damsm: DamsmConfig = field(default_factory=DamsmConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Refuse settings that cannot be, by name, or cannot work together."""
        for section, ranges in RANGES.items():
            for name, (low, high) in ranges.items():
                value = getattr(getattr(self, section), name)
                # NaN compares with nothing, and is refused by that.
                _require(low <= value <= high, f"{section}.{name} in {low:g}..{high:g}", value)
        g, loss, train = self.generator, self.loss, self.train
        _require(
            train.frozen_stages < g.stages, "train.frozen_stages < generator.stages", train.frozen_stages
        )
        _require(
            not g.text_code or (g.fuse_early and g.early_blocks > 0),
            "generator.fuse_early and generator.early_blocks above 0 with generator.text_code",
            g.text_code,
        )
        _require(
            not g.attribute_dim or g.text_code > 0,
            "generator.text_code above 0 with generator.attribute_dim",
            g.text_code,
        )
        _require(
            not g.noise_code or g.text_code > 0,
            "generator.text_code above 0 with generator.noise_code",
            g.text_code,
        )
        _require(
            not loss.change_weight or g.zoom > 0, "generator.zoom above 0 with loss.change_weight", g.zoom
        )
        _require(
            not g.back_projection or g.refine, "generator.refine with generator.back_projection", g.refine
        )
        _require(
            train.crop >= 1 or 0 < train.frozen_stages == g.stages - 1,
            "train.frozen_stages == generator.stages - 1, above 0, with train.crop below 1",
            train.frozen_stages,
        )
        _require(
            train.crop >= 1 or not (loss.damsm_weight or loss.attribute_weight),
            "loss.damsm_weight and loss.attribute_weight of 0, which read whole pictures, below a crop of 1",
            (loss.damsm_weight, loss.attribute_weight),
        )
        _require(g.width % 2 == 0, "an even generator.width", g.width)
        _require(self.text.dim % 2 == 0, "an even text.dim", self.text.dim)
        _require(self.text.dim == g.text_dim, "text.dim == generator.text_dim", (self.text.dim, g.text_dim))
        _require(
            self.damsm.pixel_backbone != "compact" or self.damsm.pixel_size % 16 == 0,
            "damsm.pixel_size a multiple of 16 for the compact network",
            self.damsm.pixel_size,
        )
        for section, choices in CHOICES.items():
            for name, allowed in choices.items():
                value = getattr(getattr(self, section), name)
                _require(value in allowed, f"{section}.{name}: one of {', '.join(allowed)}", value)


def _require(holds: bool, wanted: str, found: object) -> None:
    if not holds:
        raise ConfigError(wanted=wanted, found=str(found)[:80], fix="change that setting")


RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "text": {"embedding_dim": (1, 4096), "dim": (2, 4096), "max_words": (1, 256)},
    "damsm": {"pixel_size": (16, 1024), "batch_size": (2, 65536), "epochs": (1, 100_000)},
    "generator": {
        **dict.fromkeys(
            ("width", "acm_width", "feature_width", "z_dim", "condition_dim", "text_dim"), (1, 4096)
        ),
        **dict.fromkeys(("attribute_dim", "text_code", "noise_code", "first_rank"), (0, 4096)),
        "stages": (1, 5),
        "residual_blocks": (0, 32),
        "early_blocks": (0, 32),
        "guidance": (0, MAX_GUIDANCE),
        "zoom": (0, 0.99),
        "back_projection": (0, 1),
    },
    "discriminator": {"width": (1, 4096), "max_width": (1, 8192)},
    "loss": {
        **dict.fromkeys(("adversarial_weight", "damsm_weight", "attribute_weight", "kl_weight"), (0, 1e6)),
        **dict.fromkeys(("reconstruction_weight", "change_weight", "perceptual_weight"), (0, 1e6)),
        "r1_gamma": (0, 1e6),
    },
    "retrieval": {
        "k": (1, 1_000_000),
        "shortlist": (1, 1_000_000),
        "alpha": (0, 1),
        "temperature": (1e-6, 1e6),
    },
    "train": {
        **dict.fromkeys(("p_swap", "p_fade", "decay_from"), (0, 1)),
        **dict.fromkeys(("learning_rate", "d_learning_rate"), (0, 1e3)),
        **dict.fromkeys(("max_minutes", "save_minutes"), (0, 1e9)),
        **dict.fromkeys(("save_every",), (0, 1e12)),
        "batch_size": (2, 65536),
        "steps": (0, 1e12),
        "ema": (0, 1),
        "crop": (0.0625, 4),
        "log_every": (1, 1e12),
        "swap_mix": (1, 8),
        "frozen_stages": (0, 4),
        "seed": (0, 2**53),
    },
}
"""Smallest and largest value of each number; a file from outside may hold any."""
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "damsm": {"pixel_backbone": get_args(PixelBackbone)},
    "discriminator": {"content": get_args(Pooling)},
    "loss": {"damsm_stages": ("all", "last")},
    "retrieval": {"strategy": get_args(Strategy), "index": get_args(Index)},
}
"""What each setting that is a word may be."""
RENAMED = {"generator": {"named_width": "attribute_dim"}}
"""Settings of earlier files by section: their names then and now."""
RETIRED: dict[str, dict[str, Container[Any] | None]] = {
    "text": {"min_count": (1,), "dropout": (0.5,)},
    "damsm": {
        "score": ("literal",),
        "gamma1": (4.0,),
        "gamma2": (5.0,),
        "gamma3": (10.0,),
        "lr_decay": (0.98,),
        "betas": ([0.5, 0.999],),
        "gradient_clip": (0.25,),
    },
    "discriminator": {"minibatch_std": (False,)},
    "loss": {
        "diversity_weight": (0.0,),
        "diversity_limit": (0.1,),
        "diversity_every": (8,),
        "perceptual_network": ("squeezenet", "damsm"),
        "r1_every": (16,),
    },
    "retrieval": {"fusion": ("z-score",), "caption_pool": ("max",), "mmr": (1.0,)},
    "train": {
        "optimiser": ("adam", "muon"),
        "momentum": (0.95,),
        "ema_warmup": (True,),
        "swap_other_class": (True,),
        "flip": (True,),
        "workers": (0,),
        "channels_last": (True,),
        "sample_every": None,
        "sample_minutes": None,
        "swap_neighbours": (8,),
    },
}
"""Settings that are no more, with the values that a file may still hold: those that do as is done now, or
were of a training that is over; None for any. Any other value asks for what is not there."""


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
    section = cls.__name__.removesuffix("Config").lower()
    values = {RENAMED.get(section, {}).get(name, name): value for name, value in values.items()}
    for name, allowed in RETIRED.get(section, {}).items():
        if name in values:
            found = values.pop(name)
            _require(
                allowed is None or found in allowed, f"{section}.{name} as it is done now: {allowed}", found
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
