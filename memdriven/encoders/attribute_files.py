"""What reads attributes off pictures and captions, on disk beside the encoders it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import nn

from memdriven.encoders.attribute_head import AttributeHead
from memdriven.encoders.caption_reader import CaptionReader
from memdriven.encoders.weights import read_weights, take_weights, write_weights
from memdriven.errors import CheckpointError

SCHEMA = "memdriven.attributes/2"
FILE = "attributes.safetensors"
TOLD = "memdriven"
"""The file's one entry of metadata."""


class Attributes(nn.Module):
    """The readers of one pair of encoders, with the values of each attribute.

    Args:
        head: reads off the maps of DAMSM's pixel network what a picture shows.
        reader: reads off word embeddings what a caption names; None where captions' records were
            not to be had.
    """

    def __init__(self, head: AttributeHead, reader: CaptionReader | None) -> None:
        super().__init__()
        self.head, self.reader = head, reader

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        """Attribute -> its values, in label order."""
        return self.head.attributes


def reader_of(attributes: Attributes | None) -> CaptionReader:
    """Return the reader of captions that a generator with `generator.attribute_dim` needs.

    Raises:
        CheckpointError: there is none.
    """
    if attributes is None or attributes.reader is None:
        raise CheckpointError(
            wanted="encoders with a reader of captions, for generator.attribute_dim",
            found="encoders without one",
            fix="run train-pixels on data with attribute records, or set generator.attribute_dim 0",
        )
    return attributes.reader


def save_attributes(folder: Path, attributes: Attributes, damsm: str) -> None:
    """Write the readers into the folder of the encoders with hash `damsm`: float16, atomically.

    Raises:
        CheckpointError: a weight is not finite.
        DataError: the disk is full or refuses writing.
    """
    told = {"schema": SCHEMA, "damsm": damsm, "attributes": attributes.values}
    # One entry: safetensors writes several in any order, and a file's bytes are its hash.
    write_weights(folder / FILE, attributes, {TOLD: json.dumps(told)})


def load_attributes(folder: Path | str, damsm: str) -> Attributes | None:
    """Read the readers of the encoders with hash `damsm`; None where they have none.

    They come in evaluation mode and without gradients.

    Raises:
        CheckpointError: the file is damaged, or was trained with other encoders.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    state = read_weights(path)
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {}).get(TOLD, "{}"))
        if told.get("schema") != SCHEMA or told.get("damsm") != damsm:
            raise CheckpointError(
                wanted=f"the attributes (schema {SCHEMA}) of the encoders {damsm} in {path}",
                found=f"schema {told.get('schema')}, encoders {told.get('damsm')}",
                fix="restore the files of one and the same training, or run train-pixels again",
            )
        values: Mapping[str, Sequence[str]] = told["attributes"]
        head = AttributeHead(state["head.look.weight"].shape[1], values)
        words = state.get("reader.look.weight")
        reader = None if words is None else CaptionReader(words.shape[1], values)
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            wanted=f"attributes of schema {SCHEMA} in {path}",
            found=f"{type(error).__name__}: {error}"[:200],
            fix="run `memdriven train-pixels` again, or remove the file",
        ) from error
    attributes = Attributes(head, reader)
    take_weights(attributes, state, str(path))
    return attributes.eval().requires_grad_(False)
