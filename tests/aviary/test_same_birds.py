"""The same birds, pictures and captions in every process, batch, thread count and version.

`birds.json` holds each picture reduced to 16 x 16, which must agree everywhere within two grey levels.
`python -m tests.aviary.test_same_birds` writes the file again, after the renderer has changed on
purpose (then raise `RENDERER`, too).
"""

from __future__ import annotations

import base64
import inspect
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from memdriven.aviary.render import render_birds
from memdriven.aviary.species import PLUMAGE, BirdSpec, sample_bird
from memdriven.aviary.wishes import recolouring, resetting

FILE = Path(__file__).with_name("birds.json")
SEEN = (*PLUMAGE, "beak_color", "size", "pose", "background")


def digest() -> int:
    """Return a sum of all species, and of some sightings with their captions."""
    import zlib

    from memdriven.aviary.captions import describe
    from memdriven.aviary.species import all_species, sample_bird, stream

    birds = [sample_bird(s, 1, 0) for s in range(0, 200, 5)]
    seen = ["crown", "wing", "back", "belly"]
    said = [describe(b.attributes, seen, stream(b.species_id)) for b in birds]
    return zlib.crc32(repr((all_species(), birds, said)).encode())


def test_processes_with_different_string_hashes_agree() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
    script = inspect.getsource(digest) + "print(digest())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == digest()


def test_pixels_do_not_depend_on_batch_or_threads() -> None:
    birds = [sample_bird(s, 2, 0) for s in (0, 37, 163)]
    together, parts = render_birds(birds, 32)
    for k, bird in enumerate(birds):
        alone, part = render_birds([bird], 32)
        assert torch.equal(alone[0], together[k])
        assert torch.equal(part[0], parts[k])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    again, _ = render_birds(birds, 32)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert torch.equal(again, together)


def birds() -> Iterator[tuple[str, BirdSpec]]:
    """Name a bird of each pose, one recoloured and one in another setting."""
    for pose in ("perched", "standing", "swimming", "flying", "clinging"):
        found = (sample_bird(number, 0, 0) for number in range(200))
        yield pose, next(bird for bird in found if bird.attributes["pose"] == pose)
    yield "recoloured", recolouring(sample_bird(41, 3, 0), SEEN, random.Random(1)).specimen
    yield "resetting", resetting(sample_bird(60, 2, 0), SEEN, random.Random(2)).specimen


def reduced(bird: BirdSpec) -> np.ndarray:
    """Render a bird; return its means over a grid of 16 x 16, uint8 (16, 16, 3)."""
    rgb, _ = render_birds([bird], 64)
    picture = Image.fromarray(rgb[0].permute(1, 2, 0).numpy())
    return np.asarray(picture.resize((16, 16), Image.Resampling.BOX))


KEPT: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}


@pytest.mark.parametrize(("name", "bird"), [pytest.param(*each, id=each[0]) for each in birds()])
def test_the_picture_is_the_one_that_was_kept(name: str, bird: BirdSpec) -> None:
    wanted = np.frombuffer(base64.b64decode(KEPT[name]), np.uint8).reshape(16, 16, 3)
    assert abs(reduced(bird).astype(int) - wanted).max() <= 2


if __name__ == "__main__":
    kept = {name: base64.b64encode(reduced(bird).tobytes()).decode() for name, bird in birds()}
    FILE.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
