"""A trained DAMSM on disk: float16 weights, vocabulary and config in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from memdriven.config import Config, DamsmConfig, TextConfig, from_dict, to_dict
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.weights import read_weights, take_weights, write_weights
from memdriven.errors import CheckpointError
from memdriven.files import atomic_write_json, read_json

SCHEMA = "memdriven.damsm/1"
OF_CHECKPOINT = "memdriven.checkpoint/1"
"""Schema of a generator's checkpoint, whose encoders lie in files of the same names."""
WEIGHTS, VOCABULARY, CONFIG = "damsm.safetensors", "vocabulary.json", "config.json"


class TrainedDamsm(NamedTuple):
    """What a DAMSM folder holds."""

    damsm: Damsm
    vocabulary: Vocabulary
    config: Config
    facts: dict[str, Any]
    """config.json beside `config`: hashes, training facts."""


def save_damsm(
    folder: Path, damsm: Damsm, vocabulary: Vocabulary, config: Config, facts: dict[str, Any]
) -> None:
    """Write a DAMSM folder; each file is whole or absent.

    Raises:
        CheckpointError: a weight is not finite.
        DataError: the disk is full or refuses writing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_json(folder / VOCABULARY, vocabulary.to_json())
    content = {"schema": SCHEMA, "hash": damsm.hash(), **facts, "config": to_dict(config)}
    atomic_write_json(folder / CONFIG, content)
    write_weights(folder / WEIGHTS, damsm, {"schema": SCHEMA})


def load_damsm(folder: Path | str, device: torch.device | str = "cpu") -> TrainedDamsm:
    """Read a DAMSM folder, or the encoders of a checkpoint: evaluation mode, no gradients.

    Raises:
        CheckpointError: a file is missing, damaged, or does not belong to the others.
        ConfigError: the config has unknown settings.
    """
    folder = Path(folder)
    content = read_json(folder / CONFIG, CheckpointError)
    if content.get("schema") == OF_CHECKPOINT:
        made = content.get("facts")
        content = {
            "hash": made.get("damsm") if isinstance(made, dict) else None,
            "config": content.get("config", {}),
        }
    elif content.get("schema") != SCHEMA:
        raise CheckpointError(
            wanted=f"a DAMSM folder of schema {SCHEMA} in {folder}",
            found=f"schema {content.get('schema')!r}",
            fix="run `memdriven train-damsm`",
        )
    config = from_dict(Config, content.get("config", {}))
    vocabulary = Vocabulary.from_json(read_json(folder / VOCABULARY, CheckpointError))
    damsm = load_damsm_weights(folder / WEIGHTS, len(vocabulary), config.text, config.damsm)
    if damsm.hash() != content.get("hash"):
        raise CheckpointError(
            wanted=f"the DAMSM weights {content.get('hash')} in {folder / WEIGHTS}",
            found=f"weights {damsm.hash()}",
            fix="restore the files of one and the same training",
        )
    facts = {key: value for key, value in content.items() if key != "config"}
    return TrainedDamsm(damsm.to(device), vocabulary, config, facts)


def load_damsm_weights(path: Path, vocabulary_size: int, text: TextConfig, damsm: DamsmConfig) -> Damsm:
    """Build a DAMSM and fill it from a weight file; evaluation mode, no gradients.

    The caller's random state stays as it is.

    Raises:
        CheckpointError: the file is missing, truncated, or of another shape.
    """
    with torch.random.fork_rng(devices=[]):
        model = Damsm(vocabulary_size, text, damsm)
    take_weights(model, read_weights(path), str(path))
    return model.eval().requires_grad_(False)
