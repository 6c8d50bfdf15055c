"""Which device a model runs on, and how."""

import threading
from contextlib import AbstractContextManager

import torch

from memdriven.errors import ConfigError
from memdriven.numbers import counted


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device of that name; `auto` is CUDA where there is one, else the CPU.

    A ConfigError says that this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"the device {name!r}",
            str(error).splitlines()[0][:120],
            "use auto, cpu, or cuda on a machine with a CUDA device",
        ) from None
    return device


def repeatable() -> AbstractContextManager[None]:
    """Return a context in which cuDNN picks the same algorithm each time, in full float32."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def device_name(device: torch.device | str) -> str:
    """Return what computes, for a model card or a result."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {counted(torch.get_num_threads(), 'thread')}"


class Turn:
    """A lock that threads get in turn: whoever gives it up and wants it again comes after those who wait.

    A thread that holds it may take it again. `threading.RLock` would go to that thread each time, which is
    awake, and keep the others out until it has painted all that it was asked for.
    """

    def __init__(self) -> None:
        self._door, self._inside = threading.Lock(), threading.Lock()
        self._holder, self._depth = 0, 0

    def __enter__(self) -> None:
        if self._holder != threading.get_ident():
            with self._door:  # held by whoever is next
                self._inside.acquire()
            self._holder = threading.get_ident()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._holder = 0
            self._inside.release()
