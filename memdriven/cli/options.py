"""Option types and small decisions that several commands share."""

from __future__ import annotations

from memdriven.errors import ConfigError


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
