"""What is named and what is seen, of readers whose answers are known beforehand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from memdriven.checkpoint import Checkpoint
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.readers import Attributes
from memdriven.pipeline.claims import Claim, claims, named_in
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request
from memdriven.ui.picture import claims_list, picture_panel
from tests.conftest import known_readers

CAPTION = "a small bird with a red crown, without a crest"


@pytest.fixture
def reading(pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    checkpoint = dataclasses.replace(pipe.checkpoint, attributes=known_readers())
    monkeypatch.setattr(pipe, "checkpoint", checkpoint)
    return checkpoint


def test_each_picture_has_its_claims_when_it_is_whole(
    pipe: MemoryDrivenPipeline, reading: Checkpoint
) -> None:
    parts = list(pipe.stream(CAPTION, seeds=[1, 2]))
    assert [len(part.claims) for part in parts] == [0, 0, 0, 1, 1, 1, 2]
    crown, crest = parts[-1].claims[0]
    share = torch.tensor([2.0, 0.0, 1.0]).softmax(0)[2]
    assert (crown.attribute, crown.wanted, crown.seen, crown.holds) == ("crown", "red", "blue", False)
    assert crown.probability == pytest.approx(float(share), abs=1e-5)
    assert (crest.attribute, crest.wanted, crest.said, crest.holds) == ("crest", "", "denied", False)
    assert "check" in parts[-1].timings
    panel = picture_panel(parts[-1], pipe.resolutions)
    assert "From your words, visible: 0 of 1" in panel
    assert ("This model cannot leave things out, and may paint what your words deny: crest.") in panel
    assert 'class="md-claims"' not in picture_panel(parts[2], pipe.resolutions)


def test_without_readers_nothing_is_claimed(pipe: MemoryDrivenPipeline, reading: Checkpoint) -> None:
    prepared = pipe.prepare(Request(caption=CAPTION))
    text, named = prepared.asked, named_in(reading, CAPTION)
    image = torch.zeros(1, 3, 64, 64)
    assert reading.attributes is not None
    assert len(claims(reading, named, text, image)) == 2
    implied = claims(reading, named_in(reading, "a bird"), text, image)
    assert [(claim.attribute, claim.said, claim.holds) for claim in implied] == [
        ("crown", "implied", False),
        ("crest", "implied", False),
    ]
    silent = dataclasses.replace(reading, attributes=Attributes(reading.attributes.head, None))
    assert [claim.said for claim in claims(silent, named, text, image)] == ["named", "denied"]
    assert claims(dataclasses.replace(reading, attributes=None), named, text, image) == ()
    settings = dataclasses.replace(reading.config.damsm, pixel_backbone="vgg16")
    with torch.random.fork_rng():
        blind = Damsm(len(reading.vocabulary), reading.config.text, settings).eval()
    assert claims(dataclasses.replace(reading, damsm=blind), named, text, image) == ()
    out = dataclasses.replace(pipe(CAPTION, seed=1), claims=((),))
    assert 'class="md-claims"' not in picture_panel(out, pipe.resolutions)


def test_the_list_says_what_is_seen_instead() -> None:
    made = claims_list(
        [
            Claim(attribute="wing_bars", wanted="white", seen="none", probability=0.2),
            Claim(attribute="crest", wanted="none", seen="none", probability=0.914),
            Claim(attribute="body_plan", wanted="<b>", seen="owl", probability=0.0),
        ]
    )
    assert "wing bars: white <i>" + "there is none" + "</i>" in made
    assert "crest: no</li>" in made
    assert 'title="probability 91 %"' in made
    assert "kind: &lt;b&gt;" in made
    assert "looks owl" in made
    assert "From your words, visible: 1 of 3" in made
