"""The same birds, pictures and captions in every process, batch and thread count."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from memdriven.aviary import render_birds, sample_bird

DIGEST = """
import zlib
from memdriven.aviary import all_species, describe, sample_bird
from memdriven.aviary.species import stream
birds = [sample_bird(s, 1, 0) for s in range(0, 200, 5)]
seen = ["crown", "wing", "back", "belly"]
said = [describe(b.attributes, seen, stream(b.species_id)) for b in birds]
print(zlib.crc32(repr((all_species(), birds, said)).encode()))
"""


def _digest(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_processes_with_different_string_hashes_agree() -> None:
    assert _digest("0") == _digest("12345")


def test_pixels_do_not_depend_on_batch_or_threads() -> None:
    birds = [sample_bird(s, 2, 0) for s in (0, 37, 163)]
    together, parts = render_birds(birds, 64)
    for k, bird in enumerate(birds):
        alone, part = render_birds([bird], 64)
        assert torch.equal(alone[0], together[k])
        assert torch.equal(part[0], parts[k])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    again, _ = render_birds(birds, 64)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert torch.equal(again, together)
