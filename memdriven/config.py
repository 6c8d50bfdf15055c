"""Every setting of the system and its default, as frozen dataclasses (presets: `presets.py`).

This is the only place with defaults. Settings marked [ours] are choices the paper leaves open,
[family] are those of the published AttnGAN family of code bases.
"""

import dataclasses
import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from memdriven.errors import ConfigError, require
from memdriven.numbers import is_number, shown

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


class Range(NamedTuple):
    """Smallest and largest value of a number, and what divides it; a file from outside may hold any."""

    low: float
    high: float
    step: int = 0


Batch = Annotated[int, Range(2, 65536)]
Blocks = Annotated[int, Range(0, 32)]
Count = Annotated[int, Range(1, 1_000_000)]
Even = Annotated[int, Range(2, 4096, step=2)]
OptionalWidth = Annotated[int, Range(0, 4096)]
"""A width, or 0 for none."""
Share = Annotated[float, Range(0, 1)]
Steps = Annotated[int, Range(0, 1e12)]
Weight = Annotated[float, Range(0, 1e6)]
Beta = Annotated[float, Range(0, 0.9999)]
Width = Annotated[int, Range(1, 4096)]


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The bi-LSTM text encoder [family]."""

    embedding_dim: Width = 300
    """Width of a word's learned input embedding."""
    dim: Even = 256
    """d: width of word and sentence embeddings; half from each LSTM direction."""
    max_words: Annotated[int, Range(1, 256)] = 24
    """Words beyond this are cut (and reported)."""


@dataclass(frozen=True, kw_only=True)
class DamsmConfig:
    """Deep attentional multimodal similarity model: encoders' training and scores [family]."""

    pixel_backbone: PixelBackbone = "vgg16"
    """Network that scores generated pixels in G's loss: `vgg16`, whose features the memory has, or
    `compact`, a small CNN for CPUs [ours]. (The family's is Inception-v3.)"""
    pixel_size: Annotated[int, Range(16, 1024)] = 256
    """Side in px at which that network sees an image."""
    learning_rate: float = 2e-3
    """Of Adam."""
    batch_size: Batch = 48
    """Captioned images a step, over all processes."""
    epochs: Annotated[int, Range(1, 100_000)] = 60
    """Passes over the data, where no minutes are given."""
    mask_same_class: bool = True
    """Leave other captions of the same class out of the negatives when class ids exist."""


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The generator with image features (Sec. 4.1)."""

    stages: Annotated[int, Range(1, 5)] = 3
    """K: resolutions are 64, 128, 256, ... px."""
    width: Even = 32
    """g: channels of a stage's hidden features (32 bird, 48 COCO) [family]."""
    residual_blocks: Blocks = 2
    """R: residual blocks of each later stage (2 bird, 3 COCO) [family]."""
    z_dim: Width = 100
    """Width of the noise z."""
    condition_dim: Width = 100
    """Width of the conditioning-augmentation code c."""
    text_dim: Width = 256
    """d, as text.dim."""
    acm_width: Width = 128
    """Channels of the ACM's shared map u [family]."""
    feature_width: Width = 128
    """Channels to which v is projected before it is upsampled to a stage's size [ours]."""
    use_v_global: bool = True
    """Feed v_global = spatial mean of v to the first stage."""
    use_v: bool = True
    """Fuse v at every stage through an ACM."""
    fuse_early: bool = False
    """Fuse v into the first stage's maps of 16 px, v's own grid, and 32 px, too [ours]."""
    early_blocks: Blocks = 0
    """Residual blocks after each of these fusions, where a map is small and depth cheap [ours]."""
    text_code: OptionalWidth = 0
    """Width of a code of the text that scales and shifts these blocks' channels; 0 for none [ours]."""
    acm_before: bool = False
    """An ACM before a later stage's residual blocks, too, so that F_i sees where v has what [family]."""
    attribute_dim: OptionalWidth = 0
    """Size of one more input of that code: what the caption names, attributes x most values, as the encoders'
    reader's probabilities; 0 for none; in training any other gives way to theirs [ours]."""
    noise_code: OptionalWidth = 0
    """Hidden width of the code that takes z to `text_code`: what neither words nor memory settle (place,
    light, unnamed plumage) is z's; 0 for none [ours]."""
    z_asks: bool = False
    """Tell G the place and plumage that z asks for as if the caption named them, where it does not (Aviary:
    `memdriven.aviary.wishes`); wants `attribute_dim` [ours]."""
    first_rank: OptionalWidth = 0
    """Rank of the first stage's linear layer, the largest part of a small generator; 0 for full [ours]."""
    guidance: Annotated[float, Range(0, MAX_GUIDANCE)] = 0.0
    """How far the text is moved away from what the memory's own captions say before G reads it, at
    inference; see `memdriven.pipeline.guidance` [ours]."""
    refine: bool = False
    """A later stage adds to the enlarged image of the one before, beginning with nothing [ours]."""
    back_projection: Share = 0.0
    """How far a refining stage's image is drawn back to the one before: at 1, made small again, it is that
    one; colours stay those that the words gave the first stage [ours] (Irani and Peleg 1991)."""
    mirror: bool = False
    """The noise of a picture also says whether v is mirrored, as training's flips show both [ours]."""
    zoom: Annotated[float, Range(0, 0.99)] = 0.0
    """The noise also says how much of its memory a picture sees: a square whose side is 1 - zoom to 1 of
    the whole, anywhere. In training, images and their features are cut alike [ours]."""


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The content-aware discriminator (Sec. 4.2), one per stage."""

    width: Width = 64
    """df: channels after the first down-sampling convolution."""
    max_width: Annotated[int, Range(1, 8192)] = 512
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

    adversarial_weight: Weight = 1.0
    """Of Eq. 1's adversarial terms; 0 leaves the D's out, G learns by the rest [ours]."""
    damsm_weight: Weight = 5.0
    """lambda of Eq. 1: 5 bird; COCO 50 in AttnGAN and ControlGAN, 5 in ManiGAN [family]."""
    damsm_stages: Literal["all", "last"] = "all"
    """`all` is Eq. 2 to the letter, `last` scores only the final image [family]."""
    damsm_disturbed: bool = False
    """Score generated pictures moved, softened and noised a little, as DAMSM's own are in training: details
    too fine to survive that cannot please it [ours]."""
    attribute_weight: Weight = 0.0
    """Of the cross-entropy with which DAMSM's pixel network (after `train-pixels`) reads the caption's
    attributes off G's pictures, where the data has attribute records [ours]."""
    kl_weight: Weight = 1.0
    """Of the conditioning augmentation's KL term [family]."""
    reconstruction_weight: Weight = 0.0
    """Of |G(z, S, v) - I| where v is the image's own: a fast start for small budgets [ours]."""
    change_weight: Weight = 0.0
    """Extra weight of that loss on the pixels in which a recoloured target differs from the reference's own
    image; needs generator.zoom [ours]."""
    perceptual_weight: Weight = 0.0
    """Of the same difference in the maps of a frozen network, each as a share of the image's own size
    there [ours] (Johnson et al. 2016)."""
    r1_gamma: Weight = 1.0
    """gamma of R1 (Eq. 4)."""
    mismatched: bool = True
    """Show D real images with a wrong caption as fake [family]; off is the literal Eq. 3."""


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """How neighbours are found and mixed (Sec. 3.2)."""

    strategy: Strategy = "sentence-sentence"
    """Which embeddings of the caption are compared with which of the memory."""
    k: Count = 1
    """Neighbours whose features are mixed."""
    shortlist: Count = 200
    """Candidates of the sentence level that a word-level strategy re-ranks."""
    alpha: Share = 0.5
    """Weight of the text part in the `-both` and `all` strategies."""
    temperature: Annotated[float, Range(1e-6, 1e6)] = 0.1
    """Softmax temperature of the weights when k > 1."""
    index: Index = "exact"
    """How sentence-level candidates are found: `exact` compares every key, `annoy` searches trees, `milvus`
    asks that engine, embedded or a server ($MEMDRIVEN_MILVUS); see docs/memory.md."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop of the GAN (Sec. 4.3)."""

    batch_size: Batch = 16
    """Images a step, over all processes."""
    steps: Steps = 100_000
    """Stop after so many."""
    max_minutes: Annotated[float, Range(0, 1e9)] = 0.0
    """Stop cleanly after this many minutes; 0 means no limit."""
    learning_rate: Annotated[float, Range(0, 1e3)] = 2e-4
    """Of G's Adam; at 0 G stands still, in evaluation mode, and the D's learn alone [ours]."""
    d_learning_rate: Annotated[float, Range(0, 1e3)] = 2e-4
    """Of the D's Adam."""
    decay_from: Share = 1.0
    """Share of the budget (steps or minutes) after which both learning rates fall linearly to zero;
    1 keeps them constant [ours]."""
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    """Of both Adams."""
    ema: Share = 0.999
    """Decay of the generator's moving average, buffers included."""
    p_swap: Share = 0.5
    """Probability of training on v of a retrieved neighbour instead of the image's own [ours]. This name,
    `p_fade` and `swap_mix` are keys of published config.json files, and stay."""
    p_fade: Share = 0.0
    """Probability of training on v times a random strength in 0..1, so that a weakened memory means
    something to G at inference [ours]."""
    swap_mix: Annotated[int, Range(1, 8)] = 1
    """A swapped v is the weighted mean of one to this many, as k > 1 mixes at inference [ours]."""
    crop: Annotated[float, Range(0.0625, 4)] = 76 / 64
    """Images are resized to crop * size before the random crop [family]; 1 is no crop. Below 1, the last
    stage, all others frozen, learns on squares of this share of its picture's side [ours]."""
    amp: bool = True
    """bf16 autocast where the device has it: CUDA from compute capability 8.0."""
    compile: bool = False
    """Compile G and the D's: a minute or two, which no budget counts, for quicker steps."""
    frozen_stages: Annotated[int, Range(0, 4)] = 0
    """Stages of G, from the first, that keep their weights; only later ones and their D's learn [ours]."""
    frozen_parts: str = ""
    """Parts of G, by their names and separated by commas, that keep their weights: `first.linear`, say,
    three quarters of a small generator [ours]."""
    augment: str = ""
    """Differentiable augmentation of what D sees: any of `color,translation,cutout` [ours]."""
    log_every: Annotated[int, Range(1, 1e12)] = 50
    """Steps from one row of metrics to the next."""
    save_every: Steps = 1000
    """Steps from one saved state to the next, or five minutes, whichever comes first; 0 for those alone."""
    seed: Annotated[int, Range(0, 2**53)] = 0
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
        values: dict[str, Any] = {}
        for section in (entry.name for entry in dataclasses.fields(self) if entry.name != "preset"):
            settings = getattr(self, section)
            for name, hint in get_type_hints(type(settings), include_extras=True).items():
                values[f"{section}.{name}"] = getattr(settings, name)
                _check(f"{section}.{name}", values[f"{section}.{name}"], hint)
        g, loss, train = self.generator, self.loss, self.train
        whole, last_alone = train.crop >= 1, 0 < train.frozen_stages == g.stages - 1
        compact, pixels = self.damsm.pixel_backbone == "compact", self.damsm.pixel_size
        together = {
            "generator.fuse_early with generator.text_code": g.fuse_early or not g.text_code,
            "generator.early_blocks with generator.text_code": g.early_blocks or not g.text_code,
            "generator.text_code with generator.attribute_dim": g.text_code or not g.attribute_dim,
            "generator.text_code with generator.noise_code": g.text_code or not g.noise_code,
            "generator.attribute_dim with generator.z_asks": g.attribute_dim or not g.z_asks,
            "generator.refine with generator.back_projection": g.refine or not g.back_projection,
            "generator.zoom with loss.change_weight": g.zoom or not loss.change_weight,
            "generator.text_dim equal to text.dim": g.text_dim == self.text.dim,
            "train.frozen_stages below generator.stages": train.frozen_stages < g.stages,
            "all but one of generator.stages in train.frozen_stages with train.crop below 1": whole
            or last_alone,
            "loss.damsm_weight 0 with train.crop below 1": whole or not loss.damsm_weight,
            "loss.attribute_weight 0 with train.crop below 1": whole or not loss.attribute_weight,
            "damsm.pixel_size a multiple of 16 for damsm.pixel_backbone": not compact or not pixels % 16,
        }
        for wanted, holds in together.items():
            found = ", ".join(f"{name} {values[name]}" for name in re.findall(r"\w+\.\w+", wanted))
            require(holds, ConfigError, wanted, found, CHANGE)


CHANGE = "change that setting"


def _check(label: str, value: Any, hint: Any) -> None:
    """Refuse what is not of the annotated type, out of its range, or none of the words that it lists."""
    kind, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if get_origin(kind) is Literal:
        good, wanted = value in get_args(kind), f"one of {', '.join(get_args(kind))}"
    elif get_origin(kind) is tuple:
        parts = get_args(kind)
        good, wanted = isinstance(value, tuple) and len(value) == len(parts), f"{len(parts)} numbers"
        for each, part in zip(value, parts, strict=True) if good else ():
            _check(label, each, part)
    else:
        good, wanted = type(value) in (kind, int if kind is float else kind), kind.__name__
    for low, high, step in limits if good else ():  # NaN compares with nothing, and is refused by that
        good = low <= value <= high and not (step and value % step)
        wanted = f"{kind.__name__} in {low:g}..{high:g}" + (f", a multiple of {step}" if step else "")
    require(good, ConfigError, f"{label}: {wanted}", shown(value), CHANGE)


T = TypeVar("T")
RENAMED = {"generator.named_width": "attribute_dim"}
"""Settings of earlier files: their names now."""
RETIRED = tomllib.loads(Path(__file__).with_name("retired.toml").read_text(encoding="utf-8"))
"""Settings that are no more, by section, with the values that a file may still hold."""


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config dataclass as plain JSON-ready values (tuples become lists)."""
    return dict(json.loads(json.dumps(dataclasses.asdict(config))))


def from_dict(cls: type[T], values: Any) -> T:
    """Rebuild a `Config` from `to_dict`'s values; absent fields take their default.

    A ConfigError names a field that is unknown to `cls`, or a value that it cannot have.
    """
    restore = "restore config.json from its source"
    require(isinstance(values, dict), ConfigError, f"an object for {cls.__name__}", shown(values), restore)
    section, template, rebuilt = cls.__name__.removesuffix("Config").lower(), cls(), {}
    for name, value in values.items():
        label = f"{section}.{name}"
        if (allowed := RETIRED.get(section, {}).get(name)) is not None:
            wanted = f"{label} as it is done now: {', '.join(map(str, allowed))}"
            require(not allowed or value in allowed, ConfigError, wanted, shown(value), CHANGE)
            continue
        name = RENAMED.get(label, name)
        fix = "use the version of memdriven that wrote this file, or remove the field"
        known = name in cls.__dataclass_fields__  # type: ignore[attr-defined]
        require(known, ConfigError, f"fields of {cls.__name__}", shown(name), fix)
        default = getattr(template, name)
        if dataclasses.is_dataclass(default):
            value = from_dict(type(default), value)
        elif isinstance(default, tuple) and isinstance(value, list):
            value = tuple(float(each) if is_number(each) else each for each in value)
        elif isinstance(default, float) and is_number(value):
            value = float(value)
        rebuilt[name] = value
    return cls(**rebuilt)
