"""Named settings, each a flat block that can be read alone: the paper's, and those of the shipped models."""

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

ATTRIBUTES = 320
"""Aviary's 20 attributes of at most 16 values."""

# ----------------------------------------------------------------------------------------------------
# The paper's sizes: three stages, 256 px, for GPUs

# The literal Eqs. 1-4 and Sec. 4 as they are written. What stays that the paper does not say: the family's
# conditioning augmentation with its KL term, its tiled mean word and second ACM; ours: spectral
# normalisation in place of BatchNorm in D (R1 wants it so), the pyramid of 128 channels, LayerNorm on v_G,
# biases in the ACM, R1 every 16 steps, the moving average, VGG under DAMSM's heads.
PAPER = Config(
    preset="paper",
    damsm=DamsmConfig(pixel_backbone="vgg16", pixel_size=256, batch_size=48, epochs=600),
    generator=GeneratorConfig(stages=3, width=32, residual_blocks=2, acm_before=True),
    discriminator=DiscriminatorConfig(width=64, content="average"),
    loss=LossConfig(damsm_weight=5.0, damsm_stages="all", mismatched=False, r1_gamma=1.0),
    train=TrainConfig(batch_size=16, steps=330_000, learning_rate=2e-4, p_swap=0.0, crop=76 / 64),
)

# What the authors most likely ran, by the code of their earlier models: mismatched pairs, DAMSM on the last
# stage alone.
PAPER_FAMILY = Config(
    preset="paper-family",
    damsm=DamsmConfig(pixel_backbone="vgg16", pixel_size=256, batch_size=48, epochs=600),
    generator=GeneratorConfig(stages=3, width=32, residual_blocks=2, acm_before=True),
    discriminator=DiscriminatorConfig(width=64, content="average"),
    loss=LossConfig(damsm_weight=5.0, damsm_stages="last", mismatched=True, r1_gamma=1.0),
    train=TrainConfig(batch_size=16, steps=330_000, learning_rate=2e-4, p_swap=0.0, crop=76 / 64),
)

# The paper's sizes with our safeguards; steps for the family's 600 epochs of CUB's 8,855 images ...
BIRD = Config(
    preset="bird",
    damsm=DamsmConfig(pixel_backbone="vgg16", pixel_size=256, batch_size=48, epochs=60),
    generator=GeneratorConfig(
        stages=3, width=32, residual_blocks=2, acm_before=True, fuse_early=True, mirror=True
    ),
    discriminator=DiscriminatorConfig(width=64, content="average"),
    loss=LossConfig(damsm_weight=5.0, damsm_stages="all", mismatched=True, r1_gamma=1.0),
    train=TrainConfig(batch_size=16, steps=330_000, learning_rate=2e-4, p_swap=0.5, swap_mix=3, p_fade=0.1),
)

# ... and its 120 epochs of COCO's 82,783.
COCO = Config(
    preset="coco",
    damsm=DamsmConfig(pixel_backbone="vgg16", pixel_size=256, batch_size=48, epochs=60),
    generator=GeneratorConfig(
        stages=3, width=48, residual_blocks=3, acm_before=True, fuse_early=True, mirror=True
    ),
    discriminator=DiscriminatorConfig(width=96, content="average"),
    loss=LossConfig(damsm_weight=50.0, damsm_stages="all", mismatched=True, r1_gamma=1.0),
    train=TrainConfig(batch_size=16, steps=620_000, learning_rate=2e-4, p_swap=0.5, swap_mix=3, p_fade=0.1),
)

# ----------------------------------------------------------------------------------------------------
# Aviary: rendered birds. Members of one species differ in colour, so they may compete as negatives of DAMSM.

# One stage, for an hour or two of two CPU cores. With recoloured targets (--extra) most pictures have one,
# which says more than DAMSM can.
AVIARY_64 = Config(
    preset="aviary-64",
    damsm=DamsmConfig(pixel_backbone="compact", pixel_size=64, epochs=40, mask_same_class=False),
    generator=GeneratorConfig(
        stages=1,
        width=24,
        acm_width=32,
        feature_width=48,
        fuse_early=True,
        early_blocks=1,
        text_code=128,
        mirror=True,
        zoom=0.15,
    ),
    discriminator=DiscriminatorConfig(width=32, max_width=256),
    loss=LossConfig(
        damsm_weight=0.1,
        damsm_disturbed=True,
        kl_weight=0.01,
        reconstruction_weight=12.0,
        change_weight=8.0,
        perceptual_weight=4.0,
        r1_gamma=0.2,
    ),
    train=TrainConfig(
        batch_size=16,
        learning_rate=4e-4,
        d_learning_rate=4e-4,
        decay_from=0.5,
        ema=0.998,
        p_swap=0.6,
        swap_mix=3,
        p_fade=0.15,
        crop=1.0,
        amp=False,
        save_every=500,
    ),
)

# A first phase of it on targets alone, before anything judges a picture; where words change the target, what
# they change comes first.
AVIARY_64_SHAPE = Config(
    preset="aviary-64-shape",
    damsm=AVIARY_64.damsm,
    generator=AVIARY_64.generator,
    discriminator=AVIARY_64.discriminator,
    loss=LossConfig(
        adversarial_weight=0.0,
        damsm_weight=0.0,
        kl_weight=0.01,
        reconstruction_weight=12.0,
        change_weight=10.0,
    ),
    train=TrainConfig(
        batch_size=16,
        learning_rate=1e-3,
        betas=(0.9, 0.99),
        decay_from=0.5,
        ema=0.998,
        p_swap=0.0,
        swap_mix=3,
        crop=1.0,
        amp=False,
        save_every=500,
    ),
)

# A later phase of G alone: targets, and the caption's attributes read off the picture. It goes on from
# trained networks, and wants encoders that `train-pixels` left a head with.
AVIARY_64_WORDS = Config(
    preset="aviary-64-words",
    damsm=AVIARY_64.damsm,
    generator=GeneratorConfig(
        stages=1,
        width=24,
        acm_width=32,
        feature_width=48,
        fuse_early=True,
        early_blocks=1,
        text_code=128,
        attribute_dim=ATTRIBUTES,
        guidance=0.5,
        mirror=True,
        zoom=0.08,
    ),
    discriminator=AVIARY_64.discriminator,
    loss=LossConfig(
        adversarial_weight=0.0,
        damsm_weight=0.0,
        damsm_disturbed=True,
        attribute_weight=1.5,
        kl_weight=0.01,
        reconstruction_weight=12.0,
        change_weight=8.0,
        perceptual_weight=4.0,
    ),
    train=TrainConfig(
        batch_size=16,
        learning_rate=1e-3,
        betas=(0.9, 0.99),
        decay_from=0.5,
        ema=0.998,
        p_swap=0.0,
        swap_mix=3,
        p_fade=0.15,
        crop=1.0,
        amp=False,
        save_every=500,
    ),
)

# The phase in which z learns to say what words and memory leave open; wants `prepare resettings`.
AVIARY_64_NOISE = Config(
    preset="aviary-64-noise",
    damsm=AVIARY_64.damsm,
    generator=GeneratorConfig(
        stages=1,
        width=24,
        acm_width=32,
        feature_width=48,
        fuse_early=True,
        early_blocks=1,
        text_code=128,
        attribute_dim=ATTRIBUTES,
        noise_code=64,
        first_rank=160,
        guidance=0.5,
        mirror=True,
        zoom=0.08,
    ),
    discriminator=AVIARY_64.discriminator,
    loss=LossConfig(
        adversarial_weight=0.0,
        damsm_weight=0.0,
        damsm_disturbed=True,
        attribute_weight=1.5,
        kl_weight=0.01,
        reconstruction_weight=12.0,
        perceptual_weight=4.0,
    ),
    train=TrainConfig(
        batch_size=16,
        learning_rate=7e-4,
        betas=(0.9, 0.99),
        decay_from=0.5,
        ema=0.998,
        p_swap=0.0,
        swap_mix=3,
        p_fade=0.1,
        crop=1.0,
        amp=False,
        save_every=500,
    ),
)

# A second stage on a first one that is kept: it sharpens, which a projected D sees at once, and is
# convolutional, so that few pictures are many places. `--train.compile` makes 1.5 steps of one.
AVIARY_128 = Config(
    preset="aviary-128",
    damsm=AVIARY_64.damsm,
    generator=GeneratorConfig(
        stages=2,
        width=24,
        residual_blocks=1,
        acm_width=32,
        feature_width=48,
        fuse_early=True,
        early_blocks=1,
        text_code=128,
        attribute_dim=ATTRIBUTES,
        noise_code=64,
        first_rank=160,
        guidance=0.5,
        refine=True,
        mirror=True,
        zoom=0.08,
    ),
    discriminator=DiscriminatorConfig(width=32, max_width=256, projected=True),
    loss=LossConfig(
        damsm_weight=0.1,
        damsm_disturbed=True,
        attribute_weight=1.5,
        kl_weight=0.01,
        reconstruction_weight=6.0,
        perceptual_weight=2.0,
        r1_gamma=0.2,
    ),
    train=TrainConfig(
        batch_size=6,
        learning_rate=7e-4,
        d_learning_rate=4e-4,
        decay_from=0.6,
        ema=0.998,
        p_swap=0.0,
        swap_mix=3,
        p_fade=0.1,
        crop=1.0,
        amp=False,
        frozen_stages=1,
        save_every=500,
    ),
)

# A third stage on these two, which are kept: it learns on squares of a quarter of the picture.
AVIARY_256 = replace(
    AVIARY_128,
    preset="aviary-256",
    generator=replace(AVIARY_128.generator, stages=3),
    loss=LossConfig(
        damsm_weight=0.0, kl_weight=0.0, reconstruction_weight=6.0, perceptual_weight=2.0, r1_gamma=0.2
    ),
    train=replace(AVIARY_128.train, batch_size=8, frozen_stages=2, crop=0.5),
)

# All of it at the paper's size and a GPU's batch.
AVIARY = Config(
    preset="aviary",
    damsm=DamsmConfig(pixel_backbone="compact", pixel_size=128, epochs=40, mask_same_class=False),
    generator=GeneratorConfig(
        stages=3,
        width=32,
        residual_blocks=2,
        fuse_early=True,
        early_blocks=1,
        text_code=128,
        attribute_dim=ATTRIBUTES,
        noise_code=64,
        guidance=0.5,
        mirror=True,
        zoom=0.15,
    ),
    discriminator=DiscriminatorConfig(width=64, projected=True),
    loss=LossConfig(
        damsm_weight=0.1,
        damsm_disturbed=True,
        attribute_weight=1.0,
        kl_weight=0.01,
        reconstruction_weight=12.0,
        change_weight=8.0,
        perceptual_weight=4.0,
        r1_gamma=1.0,
    ),
    train=TrainConfig(
        batch_size=64,
        learning_rate=4e-4,
        d_learning_rate=4e-4,
        decay_from=0.5,
        ema=0.998,
        p_swap=0.6,
        swap_mix=3,
        p_fade=0.15,
        crop=1.0,
        save_every=500,
    ),
)
AVIARY_SHAPE = replace(
    AVIARY,
    preset="aviary-shape",
    loss=LossConfig(
        adversarial_weight=0.0,
        damsm_weight=0.0,
        kl_weight=0.01,
        reconstruction_weight=12.0,
        change_weight=10.0,
    ),
    train=TrainConfig(
        batch_size=64,
        learning_rate=1e-3,
        betas=(0.9, 0.99),
        decay_from=0.5,
        ema=0.998,
        p_swap=0.0,
        swap_mix=3,
        crop=1.0,
        save_every=500,
    ),
)

# ----------------------------------------------------------------------------------------------------
# Photographs are few and their classes look alike: D sees them augmented, and ImageNet's network knows what
# they show where DAMSM learns little.

PHOTO_64 = Config(
    preset="photo-64",
    damsm=DamsmConfig(pixel_backbone="compact", pixel_size=64, epochs=60),
    generator=replace(AVIARY_64.generator, noise_code=64, first_rank=160),
    discriminator=DiscriminatorConfig(width=32, max_width=256, projected=True),
    loss=LossConfig(
        damsm_weight=0.2,
        damsm_disturbed=True,
        kl_weight=0.01,
        reconstruction_weight=12.0,
        perceptual_weight=4.0,
        r1_gamma=0.2,
    ),
    train=TrainConfig(
        batch_size=16,
        learning_rate=4e-4,
        d_learning_rate=4e-4,
        decay_from=0.5,
        ema=0.998,
        p_swap=0.6,
        swap_mix=3,
        p_fade=0.15,
        crop=1.0,
        amp=False,
        augment="color,translation,cutout",
        save_every=500,
    ),
)
PHOTO_64_SHAPE = Config(
    preset="photo-64-shape",
    damsm=PHOTO_64.damsm,
    generator=PHOTO_64.generator,
    discriminator=PHOTO_64.discriminator,
    loss=LossConfig(
        adversarial_weight=0.0,
        damsm_weight=0.0,
        damsm_disturbed=True,
        kl_weight=0.01,
        reconstruction_weight=12.0,
        perceptual_weight=4.0,
        r1_gamma=0.2,
    ),
    train=TrainConfig(
        batch_size=16,
        learning_rate=1e-3,
        d_learning_rate=4e-4,
        betas=(0.9, 0.99),
        decay_from=0.5,
        ema=0.998,
        p_swap=0.0,
        swap_mix=3,
        crop=1.0,
        amp=False,
        augment="color,translation,cutout",
        save_every=500,
    ),
)
PHOTO_128 = Config(
    preset="photo-128",
    damsm=PHOTO_64.damsm,
    generator=GeneratorConfig(
        stages=2,
        width=24,
        residual_blocks=1,
        acm_width=32,
        feature_width=48,
        fuse_early=True,
        early_blocks=1,
        text_code=128,
        noise_code=64,
        first_rank=160,
        refine=True,
        mirror=True,
        zoom=0.08,
    ),
    discriminator=DiscriminatorConfig(width=32, max_width=256, projected=True),
    loss=LossConfig(
        damsm_weight=0.2,
        damsm_disturbed=True,
        kl_weight=0.01,
        reconstruction_weight=6.0,
        perceptual_weight=2.0,
        r1_gamma=0.2,
    ),
    train=TrainConfig(
        batch_size=6,
        learning_rate=7e-4,
        d_learning_rate=4e-4,
        decay_from=0.6,
        ema=0.998,
        p_swap=0.3,
        swap_mix=3,
        p_fade=0.15,
        crop=1.0,
        amp=False,
        frozen_stages=1,
        augment="color,translation,cutout",
        save_every=500,
    ),
)

# First pictures on a laptop's CPU.
TINY = Config(
    preset="tiny",
    damsm=DamsmConfig(
        pixel_backbone="compact", pixel_size=64, batch_size=32, epochs=8, mask_same_class=False
    ),
    generator=GeneratorConfig(
        stages=1, width=16, acm_width=32, feature_width=32, fuse_early=True, mirror=True
    ),
    discriminator=DiscriminatorConfig(width=32, max_width=256),
    loss=LossConfig(
        damsm_weight=2.0, damsm_disturbed=True, kl_weight=0.1, reconstruction_weight=20.0, r1_gamma=0.2
    ),
    train=TrainConfig(
        batch_size=16,
        steps=800,
        learning_rate=4e-4,
        d_learning_rate=4e-4,
        decay_from=0.5,
        ema=0.995,
        p_swap=0.6,
        swap_mix=3,
        p_fade=0.15,
        crop=1.0,
        amp=False,
        save_every=500,
    ),
)

CHOICE: tuple[tuple[Config, str, str], ...] = (
    (TINY, "first pictures, one stage of 64 px", "12 minutes of two CPU cores"),
    (
        PHOTO_64_SHAPE,
        "photographs or drawings: a first phase without adversaries",
        "15 minutes of two CPU cores",
    ),
    (PHOTO_64, "the same, with adversaries, from the phase before", "20 minutes of two CPU cores"),
    (PHOTO_128, "their second stage, 128 px, from the phase before", "15 minutes of two CPU cores"),
    (AVIARY_64_SHAPE, "Aviary: a first phase on recoloured targets", "an hour of two CPU cores"),
    (AVIARY_64, "Aviary, one stage of 64 px", "an hour of two CPU cores"),
    (AVIARY_64_WORDS, "Aviary: what the caption names", "40 minutes of two CPU cores"),
    (AVIARY_64_NOISE, "Aviary: what z says", "50 minutes of two CPU cores"),
    (AVIARY_128, "Aviary's second stage, 128 px", "an hour of two CPU cores"),
    (AVIARY_256, "Aviary's third stage, 256 px", "an hour of two CPU cores"),
    (AVIARY_SHAPE, "Aviary at 256 px: a first phase", "a GPU"),
    (AVIARY, "Aviary at 256 px, three stages", "a GPU"),
    (BIRD, "CUB at 256 px, three stages, with our safeguards", "7 to 8 hours of a large GPU (estimated)"),
    (COCO, "COCO at 256 px", "15 to 20 hours of a large GPU (estimated)"),
    (PAPER, "the paper's literal equations", "7 to 8 hours of a large GPU (estimated)"),
    (PAPER_FAMILY, "what its authors most likely ran", "7 to 8 hours of a large GPU (estimated)"),
)
"""Every preset, what it is for, and what it takes."""
PRESETS: dict[str, Config] = {config.preset: config for config, _, _ in CHOICE}


def preset(name: str | None) -> Config:
    """Return a preset by name; None has none, and is told which there are.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        lines = [f"  {config.preset:16} {use}; takes {cost}" for config, use, cost in CHOICE]
        raise ConfigError(
            wanted="a preset:\n" + "\n".join(lines),
            found="none" if name is None else repr(name),
            fix="choose one of these by --preset",
        )
    return PRESETS[name]
