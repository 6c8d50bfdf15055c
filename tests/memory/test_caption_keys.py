"""Keys of captions: the right ones, in order, and not computed twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from memdriven.data.vocabulary import EncodedCaption
from memdriven.encoders.damsm import Damsm
from memdriven.memory import build as caption_keys
from memdriven.memory.bank import unit_keys
from memdriven.memory.build import Shards, fill_captions, sentence_keys
from tests.memory.conftest import World

TEXTS = ["a red disc", "this square is blue", "disc", "a green square is a square", "blue disc"]


def test_keys_come_in_the_captions_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_keys, "CAPTION_BATCH", 2)
    captions = [world.vocabulary.encode(text, 24) for text in TEXTS]
    together = sentence_keys(world.damsm, captions)
    for caption, s in zip(captions, together, strict=True):
        with torch.no_grad():
            alone = world.damsm.encode_captions([caption]).sentence[0]
        assert torch.allclose(s, alone, atol=1e-5)


def test_a_killed_run_goes_on(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_keys, "CAPTION_BLOCK", 2)
    encode, seen = Damsm.encode_captions, list[int]()

    def watched(self: Damsm, captions: list[EncodedCaption]):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(captions))
        return encode(self, captions)

    monkeypatch.setattr(Damsm, "encode_captions", watched)
    arguments = (world.damsm, world.vocabulary, TEXTS, 24, False)
    with pytest.raises(KeyboardInterrupt), Shards(tmp_path / "keys", {}) as shards:
        fill_captions(shards, *arguments)
    seen.clear()
    shards = Shards(tmp_path / "keys", {})
    fill_captions(shards, *arguments)
    assert seen == [1], "only the last block was missing"
    levels = np.frombuffer(b"".join(shards.blobs(3)), np.int8).reshape(len(TEXTS), -1)
    monkeypatch.undo()
    wanted = sentence_keys(world.damsm, [world.vocabulary.encode(text, 24) for text in TEXTS])
    cosines = torch.cosine_similarity(unit_keys(torch.tensor(levels)), wanted)
    assert float(cosines.min()) > 0.999
