"""Forty pictures of the shipped models, kept from before the code was rearranged.

`pictures.json` holds what was asked and, of each picture, its SHA-256 and itself reduced to 16 x 16.
Floating-point kernels differ between processors, so another machine may be a grey level away: the
reduced picture is what must agree everywhere, the SHA-256 on a machine such as the file names.
`python -m tests.pipeline.test_same_pixels` writes the file again, after a model has changed on purpose.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from memdriven.checkpoint import load_checkpoint
from memdriven.memory.bank import MemoryBank
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Variation

torch.set_num_threads(1)  # sums are split among threads: two give other last bits
ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("pictures.json")
SIDE = 16
BIRDS = (
    "a small red bird with black wings",
    "a green bird with a yellow breast and a red crown",
    "a large grey bird swimming on the water, with a long orange bill",
    "a white owl on a branch at night",
)
FLOWERS = ("a white flower with thin petals and a yellow center", "this flower is pink with round petals")


def asked() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a checkpoint's name and what is asked of it, forty times."""
    red, green, grey, owl = BIRDS
    owl = owl.replace(
        "night", "light"
    )  # as Aviary's model, which knows no night, read it when these were kept
    shared: list[dict[str, Any]] = [
        {"caption": red, "seed": 0},
        {"caption": green, "seed": 1, "k": 3},
        {"caption": grey, "seed": 2, "best_of": 8},
        {"caption": owl, "seed": 3, "strategy": "none"},
    ]
    for name in ("sentence-sentence", "words-words", "sentence-image", "words-image", "sentence-both"):
        yield "aviary", {"caption": green, "seed": 4, "strategy": name}
        yield "aviary", {"caption": grey, "seed": 6, "strategy": name, "k": 2}
    for name in ("words-both", "all", "random"):
        yield "aviary", {"caption": red, "seed": 5, "strategy": name, "k": 4}
    for each in shared:
        yield "aviary", each
    yield "aviary", {"caption": red, "seed": 7, "best_of": 16, "k": 2}
    yield "aviary", {"caption": red, "seed": 8, "guidance": 0.0}
    yield "aviary", {"caption": green, "seed": 9, "guidance": 2.0}
    yield "aviary", {"caption": green, "seed": 10, "memory": 0.5}
    yield "aviary", {"caption": red, "seed": 11, "places": [5, 700, 3000], "weights": [0.5, 0.3, 0.2]}
    yield "aviary", {"caption": owl, "seed": 12, "places": [42]}
    yield "aviary", {"caption": red, "seed": 13, "variations": [[99, 0.4]]}
    yield "aviary", {"caption": grey, "seed": 14, "variations": [[1, 0.2], [2, 1.0]], "k": 2}
    # No bank of the other two is shipped: they are given places of Aviary's.
    for name, captions in (("birds", BIRDS), ("flowers", FLOWERS * 2)):
        yield name, {"caption": captions[0], "seed": 20, "strategy": "none"}
        yield name, {"caption": captions[1], "seed": 21, "places": [17]}
        yield name, {"caption": captions[2], "seed": 22, "places": [1234, 2345], "weights": [0.7, 0.3]}
        yield name, {"caption": captions[3], "seed": 23, "places": [2222], "memory": 0.4}
        yield name, {"caption": captions[0], "seed": 24, "places": [3333], "variations": [[5, 0.5]]}
        yield name, {"caption": captions[1], "seed": 25, "places": [9], "guidance": 1.0}
    yield "birds", {"caption": BIRDS[0], "seed": 26, "places": [800]}
    yield "birds", {"caption": BIRDS[2], "seed": 27, "places": [801, 802, 803]}
    yield "flowers", {"caption": FLOWERS[0], "seed": 28, "places": [4000], "memory": 0.8}


@cache
def pipe(name: str) -> MemoryDrivenPipeline:
    """Return a shipped checkpoint beside Aviary's memory bank."""
    checkpoint, memory = load_checkpoint(ROOT / "checkpoints" / name), ROOT / "checkpoints/aviary/memory"
    folder = Path(mkdtemp()) / name
    folder.mkdir()
    (folder / "memory").symlink_to(memory)
    return MemoryDrivenPipeline(dataclasses.replace(checkpoint, path=folder), MemoryBank(memory))


def paint(name: str, request: dict[str, Any]) -> Image.Image:
    """Return the picture that a checkpoint gives for what is asked."""
    model, given = pipe(name), dict(request)
    if "places" in given:
        given["neighbours"] = [model.bank.ids[place] for place in given.pop("places")]
    given["variations"] = [Variation(seed=s, strength=w) for s, w in given.get("variations", ())]
    return model(**given).images[0]


def reduced(picture: Image.Image) -> np.ndarray:
    """Return a picture's means over a grid of 16 x 16, uint8 (16, 16, 3)."""
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def made_again() -> Iterator[dict[str, Any]]:
    """Yield what is asked with each picture's SHA-256 and its reduced form."""
    for name, request in asked():
        picture = paint(name, request)
        yield {
            "checkpoint": name,
            "request": request,
            "sha256": hashlib.sha256(np.asarray(picture).tobytes()).hexdigest(),
            "reduced": base64.b64encode(reduced(picture).tobytes()).decode(),
        }


def machine() -> str:
    """Name what the last bits hang on: processor, its instructions, torch."""
    try:
        about = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        about = ""
    found = dict(re.findall(r"^(cpu family|model|model name)\s*: (.+)$", about, re.MULTILINE))
    return ", ".join([*found.values(), torch.backends.cpu.get_cpu_capability(), torch.__version__])


WRITTEN: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}
KEPT: list[dict[str, Any]] = WRITTEN.get("pictures", [])


def test_what_is_asked_is_what_was_kept() -> None:
    """The file is of these forty requests."""
    assert [(each["checkpoint"], each["request"]) for each in KEPT] == list(asked())
    assert len(KEPT) == 40


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: f"{kept['checkpoint']}-{kept['request']['seed']}")
def test_the_picture_is_the_one_that_was_kept(kept: dict[str, Any]) -> None:
    """Everywhere alike as far as kernels allow; on a machine of the same kind to the bit."""
    picture = paint(kept["checkpoint"], kept["request"])
    found = reduced(picture).astype(int)
    wanted = np.frombuffer(base64.b64decode(kept["reduced"]), np.uint8).reshape(found.shape)
    assert abs(found - wanted).max() <= 2
    if machine() == WRITTEN["machine"]:
        assert hashlib.sha256(np.asarray(picture).tobytes()).hexdigest() == kept["sha256"]


if __name__ == "__main__":
    rows = (json.dumps(each, separators=(",", ":")) for each in made_again())
    head = f'{{"machine": {json.dumps(machine())}, "pictures": [\n'
    FILE.write_text(head + ",\n".join(rows) + "\n]}\n", "utf-8")
