"""Named settings, a block each: the paper's, and those of the phases of the shipped models.

What several blocks share stands above them, by section, once.
"""

from __future__ import annotations

from typing import Any

from memdriven.config import Config, from_dict
from memdriven.errors import ConfigError

Section = dict[str, Any]


def _preset(name: str, damsm: Section, generator: Section, discriminator: Section, **more: Section) -> Config:
    """Return the settings of that name; whatever a section leaves out is the default."""
    return from_dict(
        Config,
        {"preset": name, "damsm": damsm, "generator": generator, "discriminator": discriminator, **more},
    )


# ----------------------------------------------------------------------------------------------------
# The paper's sizes: three stages, 256 px, for GPUs

FULL_DAMSM = {"pixel_backbone": "vgg16", "pixel_size": 256, "batch_size": 48}
FULL = {"stages": 3, "width": 32, "residual_blocks": 2, "acm_before": True}
FULL_D = {"width": 64, "content": "average"}
FULL_LOOP = {"batch_size": 16, "learning_rate": 2e-4, "crop": 76 / 64}
OURS = {"fuse_early": True, "mirror": True}
SWAPPED = {"p_swap": 0.5, "swap_mix": 3, "p_fade": 0.1}

# The literal Eqs. 1-4 and Sec. 4 as they are written. What stays that the paper does not say: the family's
# conditioning augmentation with its KL term, its tiled mean word and second ACM; ours: spectral
# normalisation in place of BatchNorm in D (R1 wants it so), the pyramid of 128 channels, LayerNorm on v_G,
# biases in the ACM, R1 every 16 steps, the moving average, VGG under DAMSM's heads.
PAPER = _preset(
    "paper",
    damsm=FULL_DAMSM | {"epochs": 600},
    generator=FULL,
    discriminator=FULL_D,
    loss={"damsm_weight": 5.0, "damsm_stages": "all", "mismatched": False, "r1_gamma": 1.0},
    train=FULL_LOOP | {"steps": 330_000, "p_swap": 0.0},
)

# What the authors most likely ran, by the code of their earlier models: mismatched pairs, DAMSM on the last
# stage alone.
PAPER_FAMILY = _preset(
    "paper-family",
    damsm=FULL_DAMSM | {"epochs": 600},
    generator=FULL,
    discriminator=FULL_D,
    loss={"damsm_weight": 5.0, "damsm_stages": "last", "mismatched": True, "r1_gamma": 1.0},
    train=FULL_LOOP | {"steps": 330_000, "p_swap": 0.0},
)

# The paper's sizes with our safeguards; steps for the family's 600 epochs of CUB's 8,855 images ...
BIRD = _preset(
    "bird",
    damsm=FULL_DAMSM | {"epochs": 60},
    generator=FULL | OURS,
    discriminator=FULL_D,
    loss={"damsm_weight": 5.0, "damsm_stages": "all", "mismatched": True, "r1_gamma": 1.0},
    train=FULL_LOOP | SWAPPED | {"steps": 330_000},
)

# ... and its 120 epochs of COCO's 82,783.
COCO = _preset(
    "coco",
    damsm=FULL_DAMSM | {"epochs": 60},
    generator=FULL | OURS | {"width": 48, "residual_blocks": 3},
    discriminator=FULL_D | {"width": 96},
    loss={"damsm_weight": 50.0, "damsm_stages": "all", "mismatched": True, "r1_gamma": 1.0},
    train=FULL_LOOP | SWAPPED | {"steps": 620_000},
)

# ----------------------------------------------------------------------------------------------------
# Sizes for two CPU cores, and what the phases of one model have in common

SMALL_D = {"width": 32, "max_width": 256}
PROJECTED_D = SMALL_D | {"projected": True}
LOOP = {"decay_from": 0.5, "ema": 0.998, "swap_mix": 3, "crop": 1.0, "save_every": 500}
SMALL_LOOP = LOOP | {"batch_size": 16, "amp": False}

# Words and memory meet at 16 and 32 px, and what they make of each other is worked out there.
FUSED = {"fuse_early": True, "early_blocks": 1, "text_code": 128, "mirror": True}
SMALL = FUSED | {"width": 24, "acm_width": 32, "feature_width": 48}
ATTRIBUTES = 320
"""Aviary's 20 attributes of at most 16 values."""
NAMED = {"attribute_dim": ATTRIBUTES, "guidance": 0.5}
NOISY = {"noise_code": 64, "first_rank": 160}
SECOND = {"stages": 2, "residual_blocks": 1, "refine": True, "zoom": 0.08}

# G against its D's, and G by targets alone, which takes larger steps.
AGAINST = {"learning_rate": 4e-4, "d_learning_rate": 4e-4}
ALONE = {"learning_rate": 1e-3, "betas": [0.9, 0.99], "p_swap": 0.0}
STRANGERS = {"p_swap": 0.6, "p_fade": 0.15}
TARGETS = {"adversarial_weight": 0.0, "damsm_weight": 0.0, "kl_weight": 0.01, "reconstruction_weight": 12.0}

# Members of one rendered species differ in colour, so they may compete as negatives of DAMSM.
RENDERED = {"pixel_backbone": "compact", "pixel_size": 64, "epochs": 40, "mask_same_class": False}

# First pictures on a laptop's CPU.
TINY = _preset(
    "tiny",
    damsm=RENDERED | {"batch_size": 32, "epochs": 8},
    generator={
        "stages": 1,
        "width": 16,
        "acm_width": 32,
        "feature_width": 32,
        "fuse_early": True,
        "mirror": True,
    },
    discriminator=SMALL_D,
    loss={
        "damsm_weight": 2.0,
        "damsm_disturbed": True,
        "kl_weight": 0.1,
        "reconstruction_weight": 20.0,
        "r1_gamma": 0.2,
    },
    train=SMALL_LOOP | AGAINST | STRANGERS | {"steps": 800, "ema": 0.995},
)

# ----------------------------------------------------------------------------------------------------
# Aviary: rendered birds

# One stage, for an hour or two of two CPU cores. With recoloured targets (--extra) most pictures have one,
# which says more than DAMSM can.
AVIARY_64 = _preset(
    "aviary-64",
    damsm=RENDERED,
    generator=SMALL | {"stages": 1, "zoom": 0.15},
    discriminator=SMALL_D,
    loss={
        "damsm_weight": 0.1,
        "damsm_disturbed": True,
        "kl_weight": 0.01,
        "reconstruction_weight": 12.0,
        "change_weight": 8.0,
        "perceptual_weight": 4.0,
        "r1_gamma": 0.2,
    },
    train=SMALL_LOOP | AGAINST | STRANGERS,
)

# A first phase of it on targets alone, before anything judges a picture; where words change the target, what
# they change comes first.
AVIARY_64_SHAPE = _preset(
    "aviary-64-shape",
    damsm=RENDERED,
    generator=SMALL | {"stages": 1, "zoom": 0.15},
    discriminator=SMALL_D,
    loss=TARGETS | {"change_weight": 10.0},
    train=SMALL_LOOP | ALONE,
)

# A later phase of G alone: targets, and the caption's attributes read off the picture. It goes on from
# trained networks, and wants encoders that `train-pixels` left a head with.
READ = {"damsm_disturbed": True, "attribute_weight": 1.5}
AVIARY_64_WORDS = _preset(
    "aviary-64-words",
    damsm=RENDERED,
    generator=SMALL | NAMED | {"stages": 1, "zoom": 0.08},
    discriminator=SMALL_D,
    loss=TARGETS | READ | {"change_weight": 8.0, "perceptual_weight": 4.0},
    train=SMALL_LOOP | ALONE | {"p_fade": 0.15},
)

# The phase in which z learns to say what words and memory leave open; wants `prepare resettings`.
AVIARY_64_NOISE = _preset(
    "aviary-64-noise",
    damsm=RENDERED,
    generator=SMALL | NAMED | NOISY | {"stages": 1, "zoom": 0.08},
    discriminator=SMALL_D,
    loss=TARGETS | READ | {"perceptual_weight": 4.0},
    train=SMALL_LOOP | ALONE | {"learning_rate": 7e-4, "p_fade": 0.1},
)

# A second stage on a first one that is kept: it sharpens, which a projected D sees at once, and is
# convolutional, so that few pictures are many places. `--train.compile` makes 1.5 steps of one.
LATER_LOOP = SMALL_LOOP | {"batch_size": 6, "learning_rate": 7e-4, "d_learning_rate": 4e-4, "decay_from": 0.6}
SHARPER = {"reconstruction_weight": 6.0, "perceptual_weight": 2.0, "r1_gamma": 0.2}
AVIARY_128 = _preset(
    "aviary-128",
    damsm=RENDERED,
    generator=SMALL | NAMED | NOISY | SECOND,
    discriminator=PROJECTED_D,
    loss=READ | SHARPER | {"damsm_weight": 0.1, "kl_weight": 0.01},
    train=LATER_LOOP | {"p_swap": 0.0, "p_fade": 0.1, "frozen_stages": 1},
)

# A third stage on these two, which are kept: it learns on squares of a quarter of the picture.
AVIARY_256 = _preset(
    "aviary-256",
    damsm=RENDERED,
    generator=SMALL | NAMED | NOISY | SECOND | {"stages": 3, "back_projection": 0.5},
    discriminator=PROJECTED_D,
    loss=SHARPER | {"damsm_weight": 0.0, "kl_weight": 0.0},
    train=LATER_LOOP | {"batch_size": 8, "p_swap": 0.0, "p_fade": 0.1, "frozen_stages": 2, "crop": 0.5},
)

# All of it at the paper's size and a GPU's batch, and its first phase.
LARGE = FUSED | NAMED | {"stages": 3, "width": 32, "residual_blocks": 2, "noise_code": 64, "zoom": 0.15}
AVIARY = _preset(
    "aviary",
    damsm=RENDERED | {"pixel_size": 128},
    generator=LARGE,
    discriminator={"width": 64, "projected": True},
    loss={
        "damsm_weight": 0.1,
        "damsm_disturbed": True,
        "attribute_weight": 1.0,
        "kl_weight": 0.01,
        "reconstruction_weight": 12.0,
        "change_weight": 8.0,
        "perceptual_weight": 4.0,
        "r1_gamma": 1.0,
    },
    train=LOOP | AGAINST | STRANGERS | {"batch_size": 64},
)
AVIARY_SHAPE = _preset(
    "aviary-shape",
    damsm=RENDERED | {"pixel_size": 128},
    generator=LARGE,
    discriminator={"width": 64, "projected": True},
    loss=TARGETS | {"change_weight": 10.0},
    train=LOOP | ALONE | {"batch_size": 64},
)

# ----------------------------------------------------------------------------------------------------
# Photographs are few and their classes look alike: D sees them augmented, and ImageNet's network knows what
# they show where DAMSM learns little.

SHOT = {"pixel_backbone": "compact", "pixel_size": 64, "epochs": 60}
AUGMENTED = {"augment": "color,translation,cutout"}

PHOTO_64 = _preset(
    "photo-64",
    damsm=SHOT,
    generator=SMALL | NOISY | {"stages": 1, "zoom": 0.15},
    discriminator=PROJECTED_D,
    loss={
        "damsm_weight": 0.2,
        "damsm_disturbed": True,
        "kl_weight": 0.01,
        "reconstruction_weight": 12.0,
        "perceptual_weight": 4.0,
        "r1_gamma": 0.2,
    },
    train=SMALL_LOOP | AUGMENTED | AGAINST | STRANGERS,
)
PHOTO_64_SHAPE = _preset(
    "photo-64-shape",
    damsm=SHOT,
    generator=SMALL | NOISY | {"stages": 1, "zoom": 0.15},
    discriminator=PROJECTED_D,
    loss=TARGETS | {"damsm_disturbed": True, "perceptual_weight": 4.0, "r1_gamma": 0.2},
    train=SMALL_LOOP | AUGMENTED | ALONE | {"d_learning_rate": 4e-4},
)
PHOTO_128 = _preset(
    "photo-128",
    damsm=SHOT,
    generator=SMALL | NOISY | SECOND,
    discriminator=PROJECTED_D,
    loss=SHARPER | {"damsm_weight": 0.2, "damsm_disturbed": True, "kl_weight": 0.01},
    train=LATER_LOOP | AUGMENTED | {"p_swap": 0.3, "p_fade": 0.15, "frozen_stages": 1},
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
            "a preset:\n" + "\n".join(lines),
            "none" if name is None else repr(name),
            "choose one of these by --preset",
        )
    return PRESETS[name]
