"""Option types and small decisions that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

# Options that may be left out: their help shows the type alone, not `{None}|PATH (default: None)`.
PathOption = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
IntOption = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
FloatOption = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]
TextOption = Annotated[str | None, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]
CheckpointFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
Caption = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTION")]


def choose_device(name: str) -> str:
    """Return the device to use: `auto` takes a GPU where there is one.

    Raises:
        ConfigError: an unknown device, or a GPU that is not there.
    """
    from memdriven import devices

    return str(devices.choose_device(name))
