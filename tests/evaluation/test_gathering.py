from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from memdriven.evaluation import gathering
from memdriven.evaluation.gathering import gather

IMAGES = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
ROWS = torch.tensor([4, 0, 0, 3, 4, 1, 2])


def test_few_stay_in_memory_and_many_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows" / "real.npy"
    assert torch.equal(gather(IMAGES, ROWS, path), IMAGES[ROWS])
    assert not path.exists()
    kept = gather(IMAGES, ROWS, path, in_memory=10)
    assert torch.equal(kept, IMAGES[ROWS])
    assert np.load(path).shape == (7, 3, 4, 4)


def test_a_file_is_used_again_only_for_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "CHUNK", 2)
    path = tmp_path / "real.npy"
    gather(IMAGES, ROWS, path, in_memory=0)
    written = path.stat().st_mtime_ns
    gather(IMAGES, ROWS, path, in_memory=0)
    assert path.stat().st_mtime_ns == written
    assert torch.equal(gather(255 - IMAGES, ROWS, path, in_memory=0), 255 - IMAGES[ROWS])
    path.with_suffix(".json").unlink()  # as a kill before the last line leaves it
    assert torch.equal(gather(IMAGES, ROWS.flip(0), path, in_memory=0), IMAGES[ROWS.flip(0)])
