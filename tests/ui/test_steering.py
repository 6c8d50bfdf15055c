from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memdriven.encoders.imagenet import Vgg16Features
from memdriven.errors import CheckpointError, RetrievalError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe, Request, UserImage, Variation
from memdriven.ui import references, state, steering
from memdriven.ui.references import memory_panel
from memdriven.ui.steering import MAX_FACTOR, MAX_IMAGES, MAX_MASKS, MAX_PINS, Steering, own_panel
from tests.pipeline.test_own_image import FakeNetwork

CAPTION = "a small red bird with black wings"

STRATEGY = "sentence-sentence"


def line_up(
    caption: str, strategy: str, k: int, seed: int, steering: Steering | None = None, tries: int = 1
) -> references.Selection:
    wanted = Request(caption=caption, strategy=strategy, k=k, seeds=(seed,), best_of=tries)
    return references.select(wanted, steering or Steering())


pytestmark = pytest.mark.usefixtures("loaded")


def guest(name: str = "own:a") -> UserImage:
    return UserImage(
        id=name, image=Image.new("RGB", (96, 96)), caption="mine", features=b"", shape=(512, 16, 16)
    )


def ids(steering: Steering, k: int = 2, caption: str = CAPTION) -> list[str]:
    return list(line_up(caption, STRATEGY, k, 0, steering).retrieval.ids)


def test_pins_stay_whatever_is_written_and_retrieval_fills_up() -> None:
    pinned = Steering().pin("bird-07")
    for caption in (CAPTION, "a green bird with brown wings"):
        free = ids(Steering(), 1, caption)
        assert ids(pinned, 2, caption) == ["bird-07", *free]
    assert ids(pinned, 1) == ["bird-07"]
    assert ids(pinned.pin("bird-07")) == ids(Steering())


def test_a_pin_moves_no_card_and_no_share_of_those_in_use(pipe: MemoryDrivenPipeline) -> None:
    free = line_up(CAPTION, STRATEGY, 3, 7, Steering())
    for name in free.retrieval.ids:
        pinned = line_up(CAPTION, STRATEGY, 3, 7, Steering().pin(name))
        assert pinned.retrieval.ids == free.retrieval.ids
        assert pinned.retrieval.weights == pytest.approx(free.retrieval.weights)
        assert [each.id for each in pinned.spare] == [each.id for each in free.spare]
    shown = pipe(CAPTION, STRATEGY, neighbours=["bird-05", "bird-02"], weights=[3, 1], seed=7)
    pinned = line_up(CAPTION, STRATEGY, 2, 7, Steering(shown=shown.recipe).pin("bird-02"))
    assert pipe(pinned.request).png() == shown.png()


def test_masked_memories_are_used_nowhere() -> None:
    first, second, third = ids(Steering(), 3)
    masked = Steering().mask(first)
    line = line_up(CAPTION, STRATEGY, 2, 0, masked)
    assert list(line.retrieval.ids) == [second, third]
    assert first not in [neighbour.id for neighbour in line.spare]
    assert Steering().pin(first).mask(first).pins == ()
    assert masked.pin(first).masks == ()
    assert masked.mask(first) == Steering()


def test_weights_multiply_shares_and_are_clamped() -> None:
    free = line_up(CAPTION, STRATEGY, 2, 0, Steering()).retrieval
    first, second = free.ids
    doubled = line_up(CAPTION, STRATEGY, 2, 0, Steering().weigh(first, "2")).retrieval
    ratio = doubled.weights[0] / doubled.weights[1]
    assert ratio == pytest.approx(2 * free.weights[0] / free.weights[1], rel=1e-5)
    assert Steering().weigh(first, 1e9).factors == {first: MAX_FACTOR}
    assert Steering().weigh(first, -3).factors == {first: 0.0}
    for odd in ("many", None, float("nan"), [1], {}):
        assert Steering().weigh(first, odd).factors == {}
    nothing = Steering().weigh(first, 0).weigh(second, 0)
    with pytest.raises(RetrievalError, match="zero"):
        line_up(CAPTION, STRATEGY, 2, 0, nothing)


def test_only_this_leaves_one_and_more_like_this_follows_the_image(pipe: MemoryDrivenPipeline) -> None:
    assert ids(Steering().only("bird-09"), 3) == ["bird-09"]
    alike = [neighbour.id for neighbour in pipe.alike("bird-09", 3)]
    assert ids(Steering().more_like("bird-09"), 3) == alike
    line = line_up(CAPTION, STRATEGY, 3, 0, Steering().more_like("bird-09"))
    assert all(neighbour.percentile is not None for neighbour in line.retrieval)


def test_release_keeps_only_own_images() -> None:
    busy = Steering().add_image(guest()).pin("bird-01").mask("bird-02").weigh("bird-03", 2)
    assert busy.release() == Steering(images=busy.images)
    assert not busy.release().active


def test_own_images_come_pinned_and_can_be_forgotten() -> None:
    come = Steering().add_image(guest())
    assert come.pins == ("own:a",)
    assert come.add_image(guest()) == come
    assert come.remove_image("own:a") == Steering()
    for number in range(MAX_IMAGES - 1):
        come = come.add_image(guest(f"own:{number}x"))
    with pytest.raises(RetrievalError, match="own images"):
        come.add_image(guest("own:last"))


def test_a_recipe_leaves_no_pin_but_its_references_for_its_words(pipe: MemoryDrivenPipeline) -> None:
    odd = pipe(CAPTION, STRATEGY, neighbours=["bird-05", "bird-02", "bird-01"], weights=[1, 2, 4])
    taken = Steering(shown=odd.recipe)
    assert not taken.active
    line = line_up(CAPTION, STRATEGY, 3, 1, taken)
    assert line.retrieval.ids == odd.recipe.neighbours
    assert line.retrieval.weights == odd.recipe.weights
    other = "a small blue bird with white wings"
    assert line_up(other, STRATEGY, 3, 1, taken).retrieval.ids == pipe.retrieve(other, STRATEGY, 3).ids
    assert line_up(CAPTION, "all", 3, 1, taken).retrieval.ids == pipe.retrieve(CAPTION, "all", 3).ids


def test_steering_begins_from_the_references_that_are_shown(pipe: MemoryDrivenPipeline) -> None:
    shown = pipe(CAPTION, STRATEGY, neighbours=["bird-05", "bird-02"], weights=[3, 1], seed=7)
    begun = Steering(shown=shown.recipe)
    unused = next(
        each for each in pipe.retrieve(CAPTION, STRATEGY, 3).ids if each not in shown.recipe.neighbours
    )
    masked = line_up(CAPTION, STRATEGY, 2, 7, begun.mask(unused))
    assert pipe(masked.request).png() == shown.png(), "what is not used changes nothing"
    heavier = line_up(CAPTION, STRATEGY, 2, 7, begun.weigh("bird-02", 2)).retrieval
    assert heavier.ids == shown.recipe.neighbours
    assert heavier.weights == pytest.approx((0.6, 0.4))
    assert "bird-05" not in line_up(CAPTION, STRATEGY, 2, 7, begun.mask("bird-05")).retrieval.ids


def test_steps_belong_to_their_seed() -> None:
    step = Variation(seed=3, strength=0.2)
    kept = Steering().step(7, [step])
    assert kept.steps_from(7, keep=True) == (step,)
    assert kept.steps_from(7, keep=False) == kept.steps_from(8, keep=True) == ()
    assert kept.step(7, ()) == Steering()
    assert not kept.active


FORGED: list[tuple[Any, Any, bool]] = [
    ("pin", "bird-99", False),
    ("pin", None, True),
    ("eval", "bird-01", True),
    (None, None, False),
    (["pin"], "bird-01", True),
    ({"act": "pin"}, "bird-01", True),
    ("only", {"a": 1}, True),
    ("weigh", "nobody", False),
]


@pytest.mark.parametrize(("act", "item", "known"), FORGED)
def test_forged_clicks_are_refused(act: Any, item: Any, known: bool) -> None:
    with pytest.raises(RetrievalError):
        Steering().after(act, item, None, known)


def test_counts_are_limited() -> None:
    steering = Steering()
    for number in range(MAX_PINS):
        steering = steering.after("pin", f"bird-{number:02d}", None, True)
    with pytest.raises(RetrievalError, match="pinned"):
        steering.after("pin", "bird-11", None, True)
    for number in range(MAX_MASKS):
        steering = steering.mask(f"x{number}")
    with pytest.raises(RetrievalError, match="excluded"):
        steering.mask("one more")


def test_controls_and_the_line_of_what_was_done(pipe: MemoryDrivenPipeline) -> None:
    steering = Steering().pin("bird-01").mask("<b>").more_like("bird-03").mask('"x').mask("bird-02")
    line = line_up(CAPTION, STRATEGY, 2, 0, Steering().pin("bird-01"))
    made = memory_panel(line.retrieval, (), Steering().pin("bird-01"))
    assert 'data-act="pin" data-id="bird-01"' in made
    assert 'aria-pressed="true"' in made
    assert 'type="range"' in made
    alone = line_up(CAPTION, STRATEGY, 1, 0)
    assert 'type="range"' not in memory_panel(alone.retrieval, (), Steering())
    bank = pipe.bank
    said = memory_panel(line.retrieval, (), steering).split("</div>")[0]
    assert said.count('class="md-undo"') == 4
    assert "<b>" not in said
    caption = bank.items[bank.index_of("bird-02")].captions[0]
    assert f'alt="{caption}"' in said, "what is excluded is seen, and no id"
    assert "Excluded: bird-02" not in said
    assert "md-steered" not in memory_panel(line.retrieval, (), Steering())
    assert own_panel(Steering().add_image(guest())).count("<img") == 1


def test_what_reads_own_images_is_said_and_the_exact_one_offered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.delenv(Vgg16Features.VARIABLE, raising=False)
    monkeypatch.setattr(state, "alone", False)
    coarse, offer = "rounded to 2.3 bits each", "Fetch the exact weights (528 MB, once)"
    told = own_panel(Steering())
    assert coarse in told
    assert "name a file of exact weights in MEMDRIVEN_VGG16" in told
    assert "<button" not in told
    assert "<input" in told
    with pytest.raises(CheckpointError, match="ask whoever runs the page"):
        next(steering.fetch(Steering()))
    monkeypatch.setattr(state, "alone", True)
    assert offer in own_panel(Steering())
    assert "<input" in own_panel(Steering()), "an image can be read without them"
    monkeypatch.setenv(Vgg16Features.VARIABLE, str(tmp_path / "vgg.safetensors"))
    told = own_panel(Steering())
    assert "VGG-16 reads it, with torchvision’s weights." in told
    assert coarse not in told
    assert offer not in told
    assert "disabled" not in told


def test_weights_are_fetched_once_and_tell_how_far_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(state, "alone", True)
    monkeypatch.setattr(steering, "_FETCHED", type(steering._FETCHED)(most=1))
    monkeypatch.delenv(Vgg16Features.VARIABLE, raising=False)
    folder, go, loads = tmp_path / "checkpoints", threading.Event(), list[object]()
    folder.mkdir()

    def load(*given: object) -> type:
        loads.append(given)
        if len(loads) == 1:
            raise CheckpointError("VGG-16", "a failed download", "connect once")
        part = folder / "vgg16_features-amdegroot-88682ab5.pth.0a.partial"
        part.write_bytes(bytes(3_000_000))
        go.wait(60)
        part.rename(folder / "vgg16_features-amdegroot-88682ab5.pth")
        return FakeNetwork

    monkeypatch.setattr(Vgg16Features, "load", load)
    with pytest.raises(CheckpointError, match="failed download"):
        list(steering.fetch(Steering()))
    steps = steering.fetch(Steering())
    while "Fetching VGG-16: 3 of 528 MB." not in next(steps)["status"]:
        pass
    another = steering.fetch(Steering())
    assert "of 528 MB" in next(another)["status"]
    go.set()
    for each in (steps, another):
        *_, last = each
        assert "with torchvision’s weights" in last["own"]
    assert loads == [(), ()], "torchvision's own download, which checks its hash"


def test_controls_of_the_memory_work_with_pins_too() -> None:
    line = line_up(CAPTION, "random", 2, 5, Steering().pin("bird-03"))
    assert line.retrieval.ids[0] == "bird-03"
    assert len(line.retrieval) == 2
    off = line_up(CAPTION, "none", 2, 5, Steering().pin("bird-03"))
    assert len(off.retrieval) == 0


def test_recipe_of_a_steered_picture_says_it_all(pipe: MemoryDrivenPipeline) -> None:
    line = line_up(CAPTION, STRATEGY, 2, 0, Steering().pin("bird-07").weigh("bird-07", 3))
    out = pipe(CAPTION, STRATEGY, 2, 4, neighbours=line.retrieval.ids, weights=line.retrieval.weights)
    assert Recipe.from_json(out.recipe.to_json()).neighbours[0] == "bird-07"
    assert out.recipe.weights == pytest.approx((0.75, 0.25))
