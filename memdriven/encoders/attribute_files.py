"""The attribute head of DAMSM's pixel network on disk, beside the encoders it belongs to."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from memdriven.encoders.attribute_head import AttributeHead
from memdriven.encoders.weights import read_weights, take_weights, write_weights
from memdriven.errors import CheckpointError

SCHEMA = "memdriven.attributes/1"
FILE = "attributes.safetensors"


def save_head(folder: Path, head: AttributeHead, damsm: str) -> None:
    """Write a head into the folder of the encoders with hash `damsm`, as float16, atomically.

    Raises:
        CheckpointError: a weight is not finite.
        DataError: the disk is full or refuses writing.
    """
    values = json.dumps({name: list(some) for name, some in head.attributes.items()})
    write_weights(folder / FILE, head, {"schema": SCHEMA, "damsm": damsm, "attributes": values})


def load_head(folder: Path, damsm: str) -> AttributeHead | None:
    """Read the head of the encoders with hash `damsm`; None where they have none.

    It comes in evaluation mode and without gradients.

    Raises:
        CheckpointError: the file is damaged, or was trained with other encoders.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    state = read_weights(path)
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
        attributes = {name: tuple(some) for name, some in json.loads(told["attributes"]).items()}
        head = AttributeHead(state["look.weight"].shape[1], attributes)
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            wanted=f"an attribute head of schema {SCHEMA} in {path}",
            found=f"{type(error).__name__}: {error}"[:200],
            fix="run `memdriven train-pixels` again, or remove the file",
        ) from error
    if told.get("schema") != SCHEMA or told.get("damsm") != damsm:
        raise CheckpointError(
            wanted=f"the attribute head of the encoders {damsm} in {path}",
            found=f"one of {told.get('schema')}, encoders {told.get('damsm')}",
            fix="restore the files of one and the same training",
        )
    take_weights(head, state, str(path))
    return head.eval().requires_grad_(False)
