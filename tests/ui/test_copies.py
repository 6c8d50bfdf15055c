from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from memdriven.errors import CaptionError, RetrievalError
from memdriven.memory.features import encode_v
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import UserImage, Variation
from memdriven.ui import copies, state
from memdriven.ui.html import image_uri
from memdriven.ui.state import ModelRegistry, find_checkpoints
from tests.ui.asking import CAPTION, EMPTY, QUERY

pytestmark = pytest.mark.usefixtures("loaded")


def test_the_check_shows_the_nearest_beside_the_result() -> None:
    *_, (made, line) = copies.check(None, *QUERY)
    assert made.count("data-id=") == copies.SHOWN
    assert made.count("data-level=") == 1
    assert "pose and place" in made
    assert made.count('class="md-mark"') == copies.SHOWN
    assert "seed 7" in line


def test_the_picture_on_the_page_is_checked(
    pipe: MemoryDrivenPipeline, fading: MemoryDrivenPipeline, tiny_checkpoint: Path, fading_checkpoint: Path
) -> None:
    state.use(ModelRegistry(find_checkpoints([tiny_checkpoint, fading_checkpoint]), "cpu"))
    step = Variation(seed=2, strength=0.5)
    for model in (pipe, fading):
        shown = model("a blue bird", k=2, seed=9, variations=[step])
        *_, (made, line) = copies.check(shown.recipe, *QUERY)
        assert image_uri(shown.images[0]) in made
        assert "seed 9" in line
    assert state.chosen() == "tiny"
    private = replace(shown.recipe, references=(("own:abc", 1.0),))
    with pytest.raises(RetrievalError, match="private image"):
        list(copies.check(private, *QUERY))


def test_a_copy_is_called_one(pipe: MemoryDrivenPipeline) -> None:
    output = pipe(CAPTION, k=1, seed=1)
    forged = replace(output, all_stages=((pipe.bank.thumbnail(0),),))
    made = copies.check_html(pipe, forged)
    assert 'data-level="copy"' in made
    assert "was its reference" in made
    assert "References that are not among the nearest" not in made


def test_own_images_are_compared_too(pipe: MemoryDrivenPipeline) -> None:
    like = pipe(CAPTION, seed=3).images[0]
    black = Image.new("RGB", (96, 96))
    for name, image, verdict in (("own:abc", like, "copy"), ("own:def", black, "")):
        guest = UserImage(
            id=name,
            image=image,
            caption="mine",
            shape=(512, 16, 16),
            features=encode_v(pipe.bank.v(3).numpy()),
        )
        output = pipe(CAPTION, neighbours=[name, "bird-03"], images=[guest], seed=1)
        forged = replace(output, all_stages=((like,),))
        made = copies.check_html(pipe, forged)
        assert ('data-level="copy"' in made) == (verdict == "copy")
        own = made.split("Your own images that it drew on")[1]
        assert image_uri(image) in own
        assert own.count("have a closer neighbour") == 1
        assert made.count('class="md-mark"') == copies.SHOWN + 1


def test_nothing_to_check_is_explained() -> None:
    with pytest.raises(CaptionError):
        list(copies.check(None, *EMPTY))
