"""A small Aviary, rendered once."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdriven.aviary.prepare import Rendering, prepare_aviary


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_aviary(
        tmp_path_factory.mktemp("base") / "birds",
        Rendering(image_size=64, workers=0),
        train_per_species=2,
        test_per_species=1,
        validation_per_species=0,
        species_limit=2,
    )
