"""The rows of an ablation: one base configuration, each time with one thing changed (Sec. 5.2).

What is on in the base is switched off, and the other way round, so that any preset can be a base.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from memdriven.config import Config, TrainConfig
from memdriven.errors import ConfigError

BASE = "base"
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
        f"fuse-early-{on_off[not base.generator.fuse_early]}": {
            "generator.fuse_early": not base.generator.fuse_early
        },
        f"p-swap-{on_off[not swaps]}": {"train.p_swap": 0.0 if swaps else SWAP},
        f"spectral-norm-{on_off[not settings.spectral_norm]}": {
            "discriminator.spectral_norm": not settings.spectral_norm
        },
        f"mismatched-{on_off[not mismatched]}": {"loss.mismatched": not mismatched},
    }
    rows = [Variant(name=BASE, changes={}, config=base)]
    for name, changes in table.items():
        config = with_changes(base, changes)
        if config != base:
            rows.append(Variant(name=name, changes=changes, config=config))
    return rows


def with_changes(config: Config, changes: dict[str, Any]) -> Config:
    """Return a configuration with `section.field` values replaced.

    Raises:
        ConfigError: there is no such field, or the values cannot work together.
    """
    for path, value in changes.items():
        section, _, name = path.partition(".")
        part = getattr(config, section, None)
        if part is None or not hasattr(part, name):
            raise ConfigError(wanted="a setting such as loss.mismatched", found=path,
                              fix="see train --help")  # fmt: skip
        config = dataclasses.replace(
            config, **{section: dataclasses.replace(part, **{name: value})}
        )
    return config


def chosen(rows: list[Variant], names: tuple[str, ...]) -> list[Variant]:
    """Return the rows of these names, the base always first; all without names.

    Raises:
        ConfigError: an unknown name.
    """
    known = [row.name for row in rows]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(wanted="rows among " + ", ".join(known), found=", ".join(unknown),
                          fix="choose of these")  # fmt: skip
    return [row for row in rows if not names or row.name in (BASE, *names)]


def place(name: str) -> tuple[int, str]:
    """Return where a row stands in tables: the base first, then families of rows."""
    families = (
        BASE, "content", "no-v", "v-global", "fuse-early", "p-swap", "spectral", "mismatched",
    )  # fmt: skip
    found = [number for number, family in enumerate(families) if name.startswith(family)]
    return (found[0] if found else len(families), name)
