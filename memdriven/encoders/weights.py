"""Weight files: reading, writing and hashing; safetensors, never pickle."""

import hashlib
import lzma
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from memdriven.errors import CheckpointError, require
from memdriven.files import atomic_write_bytes

SCALE, SCALE_STEPS = ".scale", 2**12
MOST = 2**28
"""Bytes that a compressed file may hold."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, packed or not, or of a `.pth`/`.pt` file of tensors alone.

    The former may be compressed (`.xz`). A CheckpointError says that a file is missing, truncated, or holds
    anything else.
    """
    require(path.is_file(), CheckpointError, f"the weight file {path}", "no such file", "check the path")
    try:
        if path.suffix in (".pth", ".pt"):
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            content = load(_opened(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes())
    except Exception as error:  # torch's reader of .pth raises all kinds on foreign bytes
        found = f"a damaged or foreign file ({type(error).__name__}: {error})"[:200]
        raise CheckpointError(f"weights in {path}", found, "fetch the file again") from error
    table = isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values())
    wanted, fix = f"a table of tensors in {path}", "give a state dict"
    require(table, CheckpointError, wanted, type(content).__name__, fix)
    return unpack(content)


def _opened(compressed: bytes) -> bytes:
    """Return what LZMA compressed, up to `MOST` bytes: a few kB can stand for any number."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(compressed, MOST)


def float_entries(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters and buffers that hold real numbers, in name order."""
    state = module.state_dict()
    return {key: state[key] for key in sorted(state) if state[key].is_floating_point()}


def write_weights(
    path: Path,
    module: nn.Module,
    metadata: Mapping[str, str],
    parts: Collection[str] = (),
    *,
    packed: bool = False,
) -> None:
    """Write a module's weights, or some parts', as float16 (or packed) safetensors, atomically.

    What float16 cannot hold, such as a large variance of v, is written as float32.
    """
    below = tuple(f"{part}." for part in parts)
    weights = {k: v for k, v in float_entries(module).items() if not parts or k.startswith(below)}
    _require_finite(weights, "numbers", str(path), "train again from the last good state")
    stored = pack(weights) if packed else {key: _stored(value) for key, value in weights.items()}
    atomic_write_bytes(path, save(stored, metadata=dict(metadata)))


def _stored(value: Tensor) -> Tensor:
    """Return numbers as they are written: float16, or float32 where one is too large for that."""
    value = value.detach().contiguous().cpu()
    half = value.half()
    return value.float() if (half.isinf() & value.isfinite()).any() else half


def pack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return matrices and kernels as int8 with a float32 `KEY.scale` (out, 1) each, all else as float16.

    A scale is a number of few bits, the next above the row's largest over 127, so that its products are
    exact: what was unpacked is packed to the same bits.
    """
    packed = {key: _stored(value) for key, value in weights.items()}
    for key, value in weights.items():
        if value.dim() > 1:
            rows = value.detach().float().cpu().flatten(1)
            least = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
            share, power = torch.frexp(least)
            scale = torch.ldexp((share * SCALE_STEPS).ceil() / SCALE_STEPS, power)
            packed[key], packed[key + SCALE] = (rows / scale).round().to(torch.int8).view_as(value), scale
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `pack` was given, each weight within half a 127th of its row's largest."""
    return {
        key: (value.flatten(1) * packed[key + SCALE]).view_as(value) if key + SCALE in packed else value
        for key, value in packed.items()
        if not key.endswith(SCALE)
    }


def _require_finite(state: Mapping[str, Tensor], kind: str, name: str, fix: str) -> None:
    for key, value in state.items():
        finite = bool(torch.isfinite(value).all())
        require(finite, CheckpointError, f"finite {kind} in {key} of {name}", "NaN or infinity", fix)


def load_weights(
    module: nn.Module,
    state: Mapping[str, Tensor],
    name: str,
    fix: str = "use the config.json and vocabulary.json that belong to these weights",
) -> None:
    """Copy tensors that come from `name` into a module; every real-valued entry must match, and no other be.

    A CheckpointError says which are missing, left over, of another shape, or not finite.
    """
    own = float_entries(module)
    missing, extra = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    wrong = [k for k in own if k in state and own[k].shape != state[k].shape]
    parts = (("missing", missing), ("unknown", extra), ("of another shape", wrong))
    found = "; ".join(f"{len(keys)} {what}, e.g. {keys[0]}" for what, keys in parts if keys)
    require(not found, CheckpointError, f"weights of this {type(module).__name__} in {name}", found, fix)
    _require_finite(state, "numbers", name, "restore the file from its source")
    module.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)


def weights_hash(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that name a module's weights as they are written, saved or not."""
    digest = hashlib.sha256()
    for key, value in float_entries(module).items():
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(_stored(value).numpy().tobytes())
    return digest.hexdigest()[:16]
