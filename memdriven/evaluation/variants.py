"""The rows of an ablation: one base configuration, each time with one thing changed (Sec. 5.2).

What is on in the base is switched off, and the other way round, so that any preset can be a base.
The last row, `paper`, is the preset of that name at the base's sizes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from memdriven.config import Config, GeneratorConfig, TrainConfig
from memdriven.errors import ConfigError
from memdriven.presets import PRESETS

BASE, PAPER, PAPER_FAMILY = "base", "paper", "paper-family"
TRAINED_SO = ("p_swap", "p_fade", "augment", "learning_rate", "d_learning_rate", "decay_from", "betas")
"""Settings of the loop that a preset's row takes over."""
SIZES = (
    "stages",
    "width",
    "residual_blocks",
    "z_dim",
    "condition_dim",
    "text_dim",
    "acm_width",
    "feature_width",
)
"""What the row `paper` keeps of the base's generator."""
SWAP = TrainConfig().p_swap
"""p_swap where it is switched on."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row."""

    name: str
    """Short, fit for a folder's name."""
    changes: dict[str, Any]
    """`section.field` -> its value in this row."""
    config: Config


def variants(base: Config) -> list[Variant]:
    """Return the base and its variants; those that equal the base are left out."""
    settings = base.discriminator
    on_off = {True: "on", False: "off"}
    swaps, mismatched = base.train.p_swap > 0, base.loss.mismatched
    table: dict[str, dict[str, Any]] = {
        "content-average": {"discriminator.content": "average"},
        "content-max": {"discriminator.content": "max"},
        "content-none": {"discriminator.content": "none"},
        "no-v": {"generator.use_v": False, "generator.use_v_global": False},
        "v-global-only": {"generator.use_v": False, "generator.use_v_global": True},
        f"fuse-early-{on_off[not base.generator.fuse_early]}": _early(base.generator),
        f"p-swap-{on_off[not swaps]}": {"train.p_swap": 0.0 if swaps else SWAP},
        f"spectral-norm-{on_off[not settings.spectral_norm]}": {
            "discriminator.spectral_norm": not settings.spectral_norm
        },
        f"mismatched-{on_off[not mismatched]}": {"loss.mismatched": not mismatched},
        PAPER: _as_preset(base, PAPER),
        PAPER_FAMILY: _as_preset(base, PAPER_FAMILY),
    }
    rows = [Variant(name=BASE, changes={}, config=base)]
    for name, changes in table.items():
        config = with_changes(base, changes)
        if config != base:
            rows.append(Variant(name=name, changes=changes, config=config))
    return rows


def _early(generator: GeneratorConfig) -> dict[str, Any]:
    """Return early fusion switched over, and off with all that is built on it."""
    if not generator.fuse_early:
        return {"generator.fuse_early": True}
    built_on = {"early_blocks": 0, "text_code": 0, "attribute_dim": 0, "noise_code": 0}
    more = {f"generator.{n}": v for n, v in built_on.items() if getattr(generator, n) != v}
    return {"generator.fuse_early": False, **more}


def _as_preset(base: Config, name: str) -> dict[str, Any]:
    """Return what makes a preset of a base, its learning rates too, but for its sizes and its budget."""
    literal = PRESETS[name]
    wanted = {
        "generator": {f: v for f, v in vars(literal.generator).items() if f not in SIZES},
        "discriminator": {"content": "average", "projected": False},
        "loss": vars(literal.loss),
        "train": {f: getattr(literal.train, f) for f in TRAINED_SO},
    }
    return {
        f"{section}.{name}": value
        for section, values in wanted.items()
        for name, value in values.items()
        if getattr(getattr(base, section), name) != value
    }


def with_changes(config: Config, changes: dict[str, Any]) -> Config:
    """Return a configuration with `section.field` values replaced.

    Raises:
        ConfigError: there is no such field, or the values cannot work together.
    """
    parts: dict[str, Any] = {}
    for path, value in changes.items():
        section, _, name = path.partition(".")
        part = parts.get(section, getattr(config, section, None))
        if part is None or not hasattr(part, name):
            raise ConfigError(wanted="a setting such as loss.mismatched", found=path, fix="see train --help")
        parts[section] = dataclasses.replace(part, **{name: value})
    return dataclasses.replace(config, **parts)


def chosen(rows: list[Variant], names: tuple[str, ...]) -> list[Variant]:
    """Return the rows of these names, the base always first; all without names.

    Raises:
        ConfigError: an unknown name.
    """
    known = [row.name for row in rows]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            wanted="rows among " + ", ".join(known), found=", ".join(unknown), fix="choose of these"
        )
    return [row for row in rows if not names or row.name in (BASE, *names)]


def place(name: str) -> tuple[int, str]:
    """Return where a row stands in tables: the base first, then families of rows."""
    families = (
        BASE,
        "content",
        "no-v",
        "v-global",
        "fuse-early",
        "p-swap",
        "spectral",
        "mismatched",
        PAPER,
        PAPER_FAMILY,
    )
    found = [number for number, family in enumerate(families) if name.startswith(family)]
    return (found[0] if found else len(families), name)
