"""Option types and small decisions that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from memdriven.errors import ConfigError

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
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(wanted="a device: auto, cpu, cuda, cuda:1, ...", found=repr(name),
                          fix="use one of these") from None  # fmt: skip
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(wanted=f"the GPU {name}", found=f"{torch.cuda.device_count()} GPUs",
                          fix="use --device cpu or auto")  # fmt: skip
    return name
