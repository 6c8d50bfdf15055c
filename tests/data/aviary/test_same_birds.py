"""The same birds, pictures and captions in every process, batch and thread count."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from memdriven.data.aviary import ATTRIBUTES, all_species, render_birds, sample_bird
from memdriven.data.aviary.species import TEST_SPECIES, TRAIN_SPECIES

DIGEST = """
import zlib
from memdriven.data.aviary import all_species, describe, sample_bird
from memdriven.data.aviary.species import stream
birds = [sample_bird(s, 1, 0) for s in range(0, 200, 5)]
said = [describe(b.attributes, ["crown", "wing", "back", "belly"], stream(b.species_id)) for b in birds]
print(zlib.crc32(repr((all_species(), birds, said)).encode()))
"""


def _digest(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_processes_with_different_string_hashes_agree() -> None:
    assert len({_digest("0"), _digest("1"), _digest("12345")}) == 1


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


def test_species_are_disjoint_and_test_values_occur_in_training() -> None:
    species = all_species()
    train, test = species[:TRAIN_SPECIES], species[TRAIN_SPECIES:]
    assert len(test) == TEST_SPECIES
    assert len({s.name for s in species}) == len(species)
    assert len({tuple(s.attributes().values()) for s in species}) == len(species)
    for name, values in ATTRIBUTES.items():
        if name in ("pose", "background"):
            continue
        trained = {getattr(s, name) for s in train}
        assert trained == set(values)
        assert {getattr(s, name) for s in test} <= trained
