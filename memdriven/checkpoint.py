"""Checkpoints: a folder of safetensors and JSON that is all the pipeline needs.

config.json            schema, settings, training facts, SHA-256 of each file below
vocabulary.json
damsm.safetensors      text encoder and image heads, float16
generator.safetensors  moving average of G, float16
memory/                the memory bank
README.md              the model card
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from memdriven.config import Config, from_dict, to_dict
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.errors import CheckpointError
from memdriven.files import (
    atomic_folder,
    atomic_write_bytes,
    atomic_write_json,
    read_json,
    sha256_file,
)
from memdriven.models.generator import Generator

SCHEMA = "memdriven.checkpoint/1"
FILES = ("vocabulary.json", "damsm.safetensors", "generator.safetensors")
MEMORY = "memory"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A loaded model, in evaluation mode."""

    path: Path
    config: Config
    vocabulary: Vocabulary
    damsm: Damsm
    generator: Generator
    facts: dict[str, Any]
    """What was trained: steps, images, minutes, device, data set."""
    hash: str
    """Short id: of the SHA-256 of all weights."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def bank_path(self) -> Path:
        """Where the memory bank lies."""
        return self.path / MEMORY


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's weights atomically, floating-point ones as float16."""
    tensors = {
        key: (value.half() if value.is_floating_point() else value).cpu().contiguous().clone()
        for key, value in module.state_dict().items()
    }
    atomic_write_bytes(path, safetensors.torch.save(tensors))


def load_weights(path: Path, module: nn.Module) -> None:
    """Fill a module from a float16 file, in place.

    Raises:
        CheckpointError: the file is missing, truncated, or of another network.
    """
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
        module.load_state_dict(
            {
                key: value.float() if value.is_floating_point() else value
                for key, value in tensors.items()
            }
        )
    except FileNotFoundError:
        raise CheckpointError(
            wanted=f"the weights {path}",
            found="no such file",
            fix="check the path, or train and save again",
        ) from None
    except (safetensors.SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(
            wanted=f"weights of {type(module).__name__} in {path}",
            found=str(error)[:400],
            fix="restore the file from its source: it is damaged or of another model",
        ) from error
    if not all(value.isfinite().all() for value in module.state_dict().values()):
        raise CheckpointError(
            wanted=f"finite weights in {path}",
            found="NaN or infinity",
            fix="restore an earlier checkpoint",
        )


def load_damsm(folder: Path, device: torch.device | str) -> tuple[Damsm, Vocabulary]:
    """Return the encoders and vocabulary that `train-damsm` wrote, in evaluation mode."""
    folder = Path(folder)
    content = read_json(folder / "config.json", CheckpointError)
    config = from_dict(Config, content.get("config", content))
    return _encoders(folder, config, device)


def _encoders(folder: Path, config: Config, device: torch.device | str) -> tuple[Damsm, Vocabulary]:
    vocabulary = Vocabulary.from_json(read_json(folder / "vocabulary.json", CheckpointError))
    damsm = Damsm(len(vocabulary), config)
    load_weights(folder / "damsm.safetensors", damsm)
    return damsm.to(device).eval().requires_grad_(False), vocabulary


def save_checkpoint(
    path: Path,
    config: Config,
    vocabulary: Vocabulary,
    damsm: Damsm,
    generator: Generator,
    facts: Mapping[str, Any],
) -> None:
    """Write a checkpoint folder, whole or not at all; a memory bank is added by `build_memory`."""
    with atomic_folder(path) as folder:
        atomic_write_json(folder / "vocabulary.json", vocabulary.to_json())
        save_weights(folder / "damsm.safetensors", damsm)
        save_weights(folder / "generator.safetensors", generator)
        atomic_write_json(
            folder / "config.json",
            {
                "schema": SCHEMA,
                "config": to_dict(config),
                "facts": dict(facts),
                "files": {name: sha256_file(folder / name) for name in FILES},
            },
        )


def load_checkpoint(
    path: Path | str, device: torch.device | str = "cpu", *, verify: bool = True
) -> Checkpoint:
    """Load a checkpoint's networks; its bank is opened by the pipeline.

    Args:
        path: the checkpoint's folder.
        device: where the networks go.
        verify: compare the files with the SHA-256 that config.json records.

    Raises:
        CheckpointError: missing, truncated, of another schema, or not as recorded.
    """
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(
            wanted=f"a checkpoint folder at {path}",
            found="no such folder",
            fix="check the path; checkpoints/aviary comes with the repository",
        )
    content = read_json(path / "config.json", CheckpointError)
    if content.get("schema") != SCHEMA:
        raise CheckpointError(
            wanted=f"schema {SCHEMA} in {path / 'config.json'}",
            found=repr(content.get("schema")),
            fix="load it with the version of memdriven that wrote it",
        )
    files = content.get("files")
    if not isinstance(files, dict) or set(files) != set(FILES):
        raise CheckpointError(
            wanted="the hashes of " + ", ".join(FILES),
            found=repr(files)[:200],
            fix="restore config.json from its source",
        )
    for name, expected in files.items():
        if not (path / name).is_file():
            raise CheckpointError(
                wanted=f"the file {path / name}",
                found="no such file",
                fix="restore it from its source",
            )
        if verify and (found := sha256_file(path / name)) != expected:
            raise CheckpointError(
                wanted=f"{path / name} with SHA-256 {str(expected)[:12]}",
                found=found[:12],
                fix="the file is damaged or was exchanged: restore it from its source",
            )
    config = from_dict(Config, content.get("config", {}))
    damsm, vocabulary = _encoders(path, config, device)
    generator = Generator(config.generator)
    load_weights(path / "generator.safetensors", generator)
    return Checkpoint(
        path,
        config,
        vocabulary,
        damsm,
        generator.to(device).eval().requires_grad_(False),
        content.get("facts", {}),
        _short_hash(files),
    )


def _short_hash(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
