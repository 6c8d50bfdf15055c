"""Named settings: the paper's sizes, its literal equations, and sizes for CPUs."""

from __future__ import annotations

from dataclasses import replace

from memdriven.config import (
    Config,
    DamsmConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    TrainConfig,
)
from memdriven.errors import ConfigError

_EARLY = GeneratorConfig(fuse_early=True, mirror=True)
_TINY = replace(_EARLY, stages=1, width=16, acm_width=32, feature_width=32)
_COMPACT = replace(_TINY, width=24, feature_width=48, early_blocks=1, text_code=128, zoom=0.15)
_NAMED = 320  # Aviary's 20 attributes of at most 16 values
_COMPACT_D = DiscriminatorConfig(width=32, max_width=256)
_PHOTO_DAMSM = DamsmConfig(pixel_backbone="compact", pixel_size=64, epochs=60)
# Members of one Aviary species differ in colour, so they may compete as negatives.
_AVIARY_DAMSM = replace(_PHOTO_DAMSM, epochs=40, mask_same_class=False)
_COMPACT_LOSS = LossConfig(
    damsm_weight=2.0, damsm_disturbed=True, kl_weight=0.1, reconstruction_weight=20.0, r1_gamma=0.2
)
# With recoloured targets (--extra) most pictures have one, which says more than DAMSM can.
_AVIARY_LOSS = replace(
    _COMPACT_LOSS,
    damsm_weight=0.1,
    kl_weight=0.01,
    reconstruction_weight=12.0,
    change_weight=8.0,
    perceptual_weight=4.0,
)
# DAMSM learns little from so few photographs; ImageNet's network knows what they show.
_PHOTO_LOSS = replace(_AVIARY_LOSS, change_weight=0.0, damsm_weight=0.2, perceptual_network="squeezenet")
_COMPACT_TRAIN = TrainConfig(
    batch_size=16,
    crop=1.0,
    learning_rate=4e-4,
    d_learning_rate=4e-4,
    decay_from=0.5,
    p_swap=0.6,
    swap_mix=3,
    p_fade=0.15,
    ema=0.998,
    amp=False,
    sample_every=500,
    save_every=500,
)


def _shape(config: Config) -> Config:
    """A first phase, on targets alone, before anything judges a picture.

    Where words change the target, what they change comes first.
    """
    loss = replace(config.loss, adversarial_weight=0.0, damsm_weight=0.0)
    if config.loss.change_weight:
        loss = replace(loss, perceptual_weight=0.0, change_weight=10.0)
    train = replace(config.train, p_swap=0.0, p_fade=0.0, learning_rate=1e-3, betas=(0.9, 0.99))
    return replace(config, preset=f"{config.preset}-shape", loss=loss, train=train)


def _words(config: Config) -> Config:
    """A last phase of G alone: targets, and the caption's attributes read off the picture.

    It goes on from trained networks, and wants encoders that `train-pixels` left a head with.
    """
    loss = replace(
        config.loss,
        adversarial_weight=0.0,
        damsm_weight=0.0,
        attribute_weight=1.0,
        perceptual_network="squeezenet",
    )
    train = replace(config.train, p_swap=0.0, learning_rate=1e-3, betas=(0.9, 0.99), optimiser="muon")
    generator = replace(config.generator, zoom=0.08, guidance=0.5, named_width=_NAMED)
    return replace(config, preset=f"{config.preset}-words", generator=generator, loss=loss, train=train)


# A second stage on a first one that is kept: it sharpens, which a projected D sees at once, and is
# convolutional, so that few pictures are many places. `--train.compile` makes 1.5 steps of one.
_SECOND = replace(_COMPACT, stages=2, refine=True, residual_blocks=1, zoom=0.08)
_SECOND_D = replace(_COMPACT_D, projected=True)
_SECOND_TRAIN = replace(
    _COMPACT_TRAIN, frozen_stages=1, batch_size=6, p_swap=0.3, learning_rate=7e-4, decay_from=0.6
)

_MEMORY = TrainConfig(swap_mix=3, p_fade=0.1)

PRESETS: dict[str, Config] = {
    "bird": Config(preset="bird", generator=_EARLY, train=_MEMORY),
    "coco": Config(
        preset="coco",
        generator=replace(_EARLY, width=48, residual_blocks=3),
        loss=LossConfig(damsm_weight=50.0),
        train=_MEMORY,
    ),
    "paper": Config(preset="paper", loss=LossConfig(mismatched=False), train=TrainConfig(p_swap=0.0)),
    "aviary-64": Config(
        preset="aviary-64",
        damsm=_AVIARY_DAMSM,
        generator=_COMPACT,
        discriminator=_COMPACT_D,
        loss=_AVIARY_LOSS,
        train=_COMPACT_TRAIN,
    ),
    "aviary-128": Config(
        preset="aviary-128",
        damsm=_AVIARY_DAMSM,
        generator=replace(_SECOND, named_width=_NAMED),
        discriminator=_SECOND_D,
        loss=replace(_AVIARY_LOSS, reconstruction_weight=6.0, change_weight=2.0, perceptual_weight=1.0),
        train=_SECOND_TRAIN,
    ),
    # What the shipped model was taught, at the paper's size and a GPU's batch.
    "aviary": Config(
        preset="aviary",
        damsm=DamsmConfig(pixel_backbone="compact", pixel_size=128, epochs=40, mask_same_class=False),
        generator=replace(_EARLY, early_blocks=1, text_code=128, zoom=0.15, named_width=_NAMED),
        loss=replace(_AVIARY_LOSS, r1_gamma=1.0, attribute_weight=1.0),
        train=replace(_COMPACT_TRAIN, batch_size=64, amp=True),
    ),
    # Photos are few and their classes look alike: D sees them augmented.
    "photo-64": Config(
        preset="photo-64",
        damsm=_PHOTO_DAMSM,
        generator=_COMPACT,
        discriminator=_SECOND_D,
        loss=_PHOTO_LOSS,
        train=replace(_COMPACT_TRAIN, augment="color,translation,cutout"),
    ),
    "photo-128": Config(
        preset="photo-128",
        damsm=_PHOTO_DAMSM,
        generator=_SECOND,
        discriminator=_SECOND_D,
        loss=replace(_PHOTO_LOSS, reconstruction_weight=6.0, perceptual_weight=2.0),
        train=replace(_SECOND_TRAIN, augment="color,translation,cutout"),
    ),
    "tiny": Config(
        preset="tiny",
        damsm=DamsmConfig(
            pixel_backbone="compact", pixel_size=64, epochs=8, batch_size=32, mask_same_class=False
        ),
        generator=_TINY,
        discriminator=_COMPACT_D,
        loss=_COMPACT_LOSS,
        train=replace(_COMPACT_TRAIN, ema=0.995, steps=800),
    ),
}
PRESETS |= {f"{name}-shape": _shape(PRESETS[name]) for name in ("aviary-64", "aviary", "photo-64")}
PRESETS["aviary-64-words"] = _words(PRESETS["aviary-64"])
"""`bird`, `coco`: the paper's sizes with our safeguards; `paper`: the literal Eqs. 1-4, no
neighbour swap, no early fusion; `aviary-64`, `photo-64`: one stage, for an hour or two of two CPU
cores; `aviary-128`, `photo-128`: a second stage on such a one (`--start-from`), which is kept;
`aviary`: three stages with all that the shipped model was taught, for a GPU; `aviary-64-shape`,
`aviary-shape`, `photo-64-shape`: a first phase of these without adversaries, of birds on recoloured
targets (`--extra`); `aviary-64-words`: a last one, for what the caption names;
`tiny`: first pictures on a laptop's CPU."""


def preset(name: str) -> Config:
    """Return a preset by name.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(
            wanted="a preset: " + ", ".join(PRESETS), found=repr(name), fix="choose one of these"
        )
    return PRESETS[name]
