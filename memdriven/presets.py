"""Named settings, a block each: those of the phases of the shipped models, and the paper's.

What several blocks share stands above them, by section, once.
"""

from __future__ import annotations

from typing import Any

from memdriven.config import Config, from_dict
from memdriven.errors import ConfigError

PRESETS: dict[str, Config] = {}
USES: dict[str, str] = {}
"""What each is for, and what it takes."""


def _preset(name: str, use: str, **sections: dict[str, Any]) -> None:
    """Add the settings of that name; whatever a section leaves out is the default."""
    PRESETS[name], USES[name] = from_dict(Config, {"preset": name, **sections}), use


# ----------------------------------------------------------------------------------------------------
# Sizes for two CPU cores, and what the phases of one model have in common

SMALL_D = {"width": 32, "max_width": 256}
PROJECTED_D = SMALL_D | {"projected": True}
LOOP = {"decay_from": 0.5, "ema": 0.998, "swap_mix": 3, "crop": 1.0, "save_every": 500, "amp": False}

# Words and memory meet at 16 and 32 px, and what they make of each other is worked out there.
FUSED = {"fuse_early": True, "early_blocks": 1, "text_code": 128, "mirror": True}
SMALL = FUSED | {"width": 24, "acm_width": 32, "feature_width": 48}
FIRST = SMALL | {"stages": 1, "zoom": 0.15}
CLOSER = {"stages": 1, "zoom": 0.08}
SECOND = {"stages": 2, "residual_blocks": 1, "refine": True, "zoom": 0.08}
NAMED = {"attribute_dim": 320, "guidance": 0.5}  # Aviary's 20 attributes of at most 16 values
NOISY = {"noise_code": 64, "first_rank": 160}

# G against its D's, and G by targets alone, which takes larger steps.
AGAINST = {"learning_rate": 4e-4, "d_learning_rate": 4e-4}
ALONE = {"learning_rate": 1e-3, "betas": [0.9, 0.99], "p_swap": 0.0}
STRANGERS = {"p_swap": 0.6, "p_fade": 0.15}
TARGETS = {"adversarial_weight": 0.0, "damsm_weight": 0.0, "kl_weight": 0.01, "reconstruction_weight": 12.0}
JUDGED = {"damsm_disturbed": True, "kl_weight": 0.01, "reconstruction_weight": 12.0, "perceptual_weight": 4.0}

# A second stage on a first one that is kept: it sharpens, which a projected D sees at once, and is
# convolutional, so that few pictures are many places. `--train.compile` makes 1.5 steps of one.
LATER = LOOP | {"batch_size": 6, "learning_rate": 7e-4, "d_learning_rate": 4e-4, "decay_from": 0.6}
SHARPER = {"kl_weight": 0.01, "reconstruction_weight": 6.0, "perceptual_weight": 2.0, "r1_gamma": 0.2}

# Members of one rendered species differ in colour, so they may compete as negatives of DAMSM.
RENDERED = {"pixel_backbone": "compact", "pixel_size": 64, "epochs": 40, "mask_same_class": False}
SHOT = {"pixel_backbone": "compact", "pixel_size": 64, "epochs": 60}

_preset(
    "tiny",
    "first pictures, one stage of 64 px; takes 12 minutes of two CPU cores",
    damsm=RENDERED | {"batch_size": 32, "epochs": 8},
    generator={"stages": 1, "width": 16, "acm_width": 32, "feature_width": 32}
    | {"fuse_early": True, "mirror": True},
    discriminator=SMALL_D,
    loss={"damsm_weight": 2.0, "damsm_disturbed": True, "kl_weight": 0.1}
    | {"reconstruction_weight": 20.0, "r1_gamma": 0.2},
    train=LOOP | AGAINST | STRANGERS | {"steps": 800, "ema": 0.995},
)

# ----------------------------------------------------------------------------------------------------
# Photographs are few and their classes look alike: D sees them augmented, and ImageNet's network knows what
# they show where DAMSM learns little.

AUGMENTED = LOOP | {"augment": "color,translation,cutout"}

_preset(
    "photo-64-shape",
    "photographs or drawings: a first phase without adversaries; takes 15 minutes of two CPU cores",
    damsm=SHOT,
    generator=FIRST | NOISY,
    discriminator=PROJECTED_D,
    loss=TARGETS | {"damsm_disturbed": True, "perceptual_weight": 4.0, "r1_gamma": 0.2},
    train=AUGMENTED | ALONE | {"d_learning_rate": 4e-4},
)
_preset(
    "photo-64",
    "the same, with adversaries, from the phase before; takes 20 minutes of two CPU cores",
    damsm=SHOT,
    generator=FIRST | NOISY,
    discriminator=PROJECTED_D,
    loss=JUDGED | {"damsm_weight": 0.2, "r1_gamma": 0.2},
    train=AUGMENTED | AGAINST | STRANGERS,
)
_preset(
    "photo-128",
    "their second stage, 128 px, from the phase before; takes 15 minutes of two CPU cores",
    damsm=SHOT,
    generator=SMALL | NOISY | SECOND,
    discriminator=PROJECTED_D,
    loss=SHARPER | {"damsm_weight": 0.2, "damsm_disturbed": True},
    train=AUGMENTED | LATER | {"p_swap": 0.3, "p_fade": 0.15, "frozen_stages": 1},
)

# ----------------------------------------------------------------------------------------------------
# Aviary: rendered birds. First on targets alone, before anything judges a picture: where words change the
# target, what they change comes first. With recoloured targets (--extra) most pictures have one, which says
# more than DAMSM can.

_preset(
    "aviary-64-shape",
    "Aviary: a first phase on recoloured targets; takes an hour of two CPU cores",
    damsm=RENDERED,
    generator=FIRST,
    discriminator=SMALL_D,
    loss=TARGETS | {"change_weight": 10.0},
    train=LOOP | ALONE,
)
_preset(
    "aviary-64",
    "Aviary, one stage of 64 px; takes an hour of two CPU cores",
    damsm=RENDERED,
    generator=FIRST,
    discriminator=SMALL_D,
    loss=JUDGED | {"damsm_weight": 0.1, "change_weight": 8.0, "r1_gamma": 0.2},
    train=LOOP | AGAINST | STRANGERS,
)

# G alone: targets, and the caption's attributes read off the picture. It goes on from trained networks, and
# wants encoders that `train-pixels` left a head with. Then z learns to say what words and memory leave open;
# that wants `prepare resettings`.
READ = {"damsm_disturbed": True, "attribute_weight": 1.5}

_preset(
    "aviary-64-words",
    "Aviary: what the caption names; takes 40 minutes of two CPU cores",
    damsm=RENDERED,
    generator=SMALL | NAMED | CLOSER,
    discriminator=SMALL_D,
    loss=TARGETS | READ | {"change_weight": 8.0, "perceptual_weight": 4.0},
    train=LOOP | ALONE | {"p_fade": 0.15},
)
_preset(
    "aviary-64-noise",
    "Aviary: what z says; takes 50 minutes of two CPU cores",
    damsm=RENDERED,
    generator=SMALL | NAMED | NOISY | CLOSER,
    discriminator=SMALL_D,
    loss=TARGETS | READ | {"perceptual_weight": 4.0},
    train=LOOP | ALONE | {"learning_rate": 7e-4, "p_fade": 0.1},
)
_preset(
    "aviary-128",
    "Aviary's second stage, 128 px; takes an hour of two CPU cores",
    damsm=RENDERED,
    generator=SMALL | NAMED | NOISY | SECOND,
    discriminator=PROJECTED_D,
    loss=READ | SHARPER | {"damsm_weight": 0.1},
    train=LATER | {"p_swap": 0.0, "p_fade": 0.1, "frozen_stages": 1},
)
_preset(
    "aviary-256",  # the third stage learns on squares of a quarter of the picture
    "Aviary's third stage, 256 px; takes an hour of two CPU cores",
    damsm=RENDERED,
    generator=SMALL | NAMED | NOISY | SECOND | {"stages": 3, "back_projection": 0.5},
    discriminator=PROJECTED_D,
    loss=SHARPER | {"damsm_weight": 0.0, "kl_weight": 0.0},
    train=LATER | {"batch_size": 8, "p_swap": 0.0, "p_fade": 0.1, "frozen_stages": 2, "crop": 0.5},
)

# ----------------------------------------------------------------------------------------------------
# The paper's sizes, the defaults: three stages, 256 px, for GPUs. Steps for the family's 600 epochs of CUB's
# 8,855 images, and its 120 of COCO's 82,783; first with our safeguards.

FULL = {"acm_before": True}
OURS = FULL | {"fuse_early": True, "mirror": True}
SWAPPED = {"p_swap": 0.5, "swap_mix": 3, "p_fade": 0.1}
HOURS = "; takes 7 to 8 hours of a large GPU (estimated)"

_preset(
    "bird",
    "CUB at 256 px, three stages, with our safeguards" + HOURS,
    generator=OURS,
    train=SWAPPED | {"steps": 330_000},
)
_preset(
    "coco",
    "COCO at 256 px; takes 15 to 20 hours of a large GPU (estimated)",
    generator=OURS | {"width": 48, "residual_blocks": 3},
    discriminator={"width": 96},
    loss={"damsm_weight": 50.0},
    train=SWAPPED | {"steps": 620_000},
)

# The literal Eqs. 1-4 and Sec. 4 as they are written. What stays that the paper does not say: the family's
# conditioning augmentation with its KL term, its tiled mean word and second ACM; ours: spectral
# normalisation in place of BatchNorm in D (R1 wants it so), the pyramid of 128 channels, LayerNorm on v_G,
# biases in the ACM, R1 every 16 steps, the moving average, VGG under DAMSM's heads.
_preset(
    "paper",
    "the paper's literal equations" + HOURS,
    damsm={"epochs": 600},
    generator=FULL,
    loss={"damsm_stages": "all", "mismatched": False},
    train={"steps": 330_000, "p_swap": 0.0},
)

# By the code of their earlier models: mismatched pairs, DAMSM on the last stage alone.
_preset(
    "paper-family",
    "what its authors most likely ran" + HOURS,
    damsm={"epochs": 600},
    generator=FULL,
    loss={"damsm_stages": "last", "mismatched": True},
    train={"steps": 330_000, "p_swap": 0.0},
)


def preset(name: str | None) -> Config:
    """Return a preset by name; None has none, and is told which there are.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        lines = [f"  {known:16} {use}" for known, use in USES.items()]
        found = "none" if name is None else repr(name)
        raise ConfigError("a preset:\n" + "\n".join(lines), found, "choose one of these by --preset")
    return PRESETS[name]
