from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from memdriven.aviary.render import render_birds
from memdriven.aviary.species import COLOURS, PLUMAGE, SRGB, sample_bird
from memdriven.data.prepared import Item
from memdriven.errors import EvaluationError
from memdriven.evaluation import attributes
from memdriven.evaluation.attributes import (
    PART_SIDE,
    fold_means,
    lab,
    mean_colours,
    measure_part_colours,
    mismatched_captions,
    part_means,
    r_precision,
)
from memdriven.evaluation.context import Prompt
from memdriven.evaluation.rows import Row
from memdriven.models.noise import Noise


def table_precision(table: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """R-precision by a table of scores (n images, n captions)."""
    return r_precision(table, torch.eye(table.shape[1]), chosen)


CLASSES = [i % 10 for i in range(300)]
CAPTIONS = [f"caption {i}" for i in range(300)]


def test_mismatched_captions_are_of_other_classes_and_differ() -> None:
    chosen = mismatched_captions(CLASSES, CAPTIONS, seed=3)
    assert chosen.shape == (300, 99)
    for i, row in enumerate(chosen.tolist()):
        assert len(set(row)) == 99
        assert all(CLASSES[j] != CLASSES[i] for j in row)
    assert torch.equal(chosen, mismatched_captions(CLASSES, CAPTIONS, seed=3))
    assert not torch.equal(chosen, mismatched_captions(CLASSES, CAPTIONS, seed=4))


@pytest.mark.parametrize(("pictures", "each"), [(20, 5), (150, 5), (1000, 2)])
def test_captions_of_the_same_picture_are_never_among_the_mismatched(pictures: int, each: int) -> None:
    """A judge that knows which picture a caption is of is right every time."""
    of = torch.arange(pictures).repeat(each)
    captions = [f"caption {i}" for i in range(len(of))]
    chosen = mismatched_captions(of.tolist(), captions)
    assert not (of[chosen] == of[:, None]).any()
    known = torch.nn.functional.one_hot(of, pictures).float()
    assert r_precision(known, known, chosen).mean() == 1


def test_a_caption_of_an_unknown_picture_is_refused() -> None:
    with pytest.raises(EvaluationError, match="class or picture"):
        mismatched_captions([1, 2, None], ["a", "b", "c"])


def test_the_same_words_are_kept_out() -> None:
    captions = ["same words"] * 5 + ["other words"] * 5
    chosen = mismatched_captions(range(10), captions, count=9)
    assert all(captions[j] != captions[i] for i, row in enumerate(chosen.tolist()) for j in row)


def test_captions_of_one_picture_are_refused() -> None:
    with pytest.raises(EvaluationError, match="two pictures"):
        mismatched_captions([1, 1], ["a", "b"])


@pytest.mark.parametrize(("n", "folds"), [(1, 1), (7, 7), (11, 10), (24, 10), (300, 10)])
def test_ten_folds_are_ten_and_of_fewer_images_as_many(n: int, folds: int) -> None:
    assert len(fold_means(torch.rand(n))) == folds


def test_folds_give_the_deviation() -> None:
    assert fold_means(torch.tensor([1.0] * 10 + [0.0] * 10), 2).tolist() == [1, 0]


def test_perfect_features_score_one_and_wrong_ones_zero() -> None:
    e = torch.eye(300)
    chosen = mismatched_captions(CLASSES, CAPTIONS)
    assert r_precision(e, e, chosen).mean() == 1
    assert table_precision(-e, chosen).mean() == 0


def test_random_features_score_one_in_a_hundred() -> None:
    images, captions = torch.randn(2, 3000, 8, generator=torch.Generator().manual_seed(0))
    chosen = mismatched_captions(CLASSES, CAPTIONS).repeat(10, 1)
    assert float(r_precision(images, captions, chosen).mean()) == pytest.approx(0.01, abs=0.006)


def test_ties_count_as_a_draw() -> None:
    chosen = mismatched_captions(CLASSES, CAPTIONS)
    assert table_precision(torch.zeros(300, 300), chosen).tolist() == pytest.approx([0.01] * 300)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, ...], expected: tuple[float, ...]) -> None:
    found = lab(torch.tensor(rgb, dtype=torch.float64)[:, None, None])
    assert found.flatten().tolist() == pytest.approx(expected, abs=0.02)


def test_a_part_of_few_pixels_has_no_colour() -> None:
    masks = torch.zeros(1, len(PLUMAGE), 8, 8, dtype=torch.bool)
    masks[0, 0, :2] = masks[0, 1, 0, :3] = True
    means = part_means(torch.ones(1, 3, 8, 8), masks)
    assert means[0, 0].tolist() == pytest.approx([100, 0, 0], abs=0.01)
    assert means[0, 1:].isnan().all()


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory whose wing is the left half and whose belly the right one, in plain colours."""
    mask = torch.zeros(len(PLUMAGE), PART_SIDE, PART_SIDE, dtype=torch.bool)
    mask[PLUMAGE.index("wing"), :, : PART_SIDE // 2] = mask[PLUMAGE.index("belly"), :, PART_SIDE // 2 :] = (
        True
    )
    plain = torch.tensor([SRGB[name] for name in COLOURS]).T[:, :, None] / 255  # (3, 14, 1)
    monkeypatch.setattr(attributes, "_part_map", lambda *sighting: mask)
    monkeypatch.setattr(attributes, "mean_colours", lambda: lab(plain)[:, 0].expand(len(PLUMAGE), -1, -1))


def painted(left: str, right: str) -> Tensor:
    image = torch.tensor(SRGB[left], dtype=torch.uint8)[None, :, None, None].repeat(
        1, 1, PART_SIDE, PART_SIDE
    )
    image[0, :, :, PART_SIDE // 2 :] = torch.tensor(SRGB[right], dtype=torch.uint8)[:, None, None]
    return image


def measured(
    image: Tensor, mirror: float | None, name: str = "aviary", reference: str = "aviary-0001-0002"
) -> Any:
    item = Item(id="x", split="test", captions=("a bird",))
    context = SimpleNamespace(
        prompts=[
            Prompt(item=item, caption="a bird", named={"wing": "red", "belly": "blue", "size": "small"})
        ],
        dataset=SimpleNamespace(header={"seed": 0}, name=name),
        checkpoint=SimpleNamespace(generator=None),
    )
    row = Row(name="model", images=image, drew_on=[reference], seeds=None if mirror is None else range(7, 8))
    return measure_part_colours(context, row)  # type: ignore[arg-type]


@pytest.mark.usefixtures("halves")
def test_a_parts_colour_is_looked_for_where_the_noise_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(seed: int, generator: Any) -> Noise:
        return Noise(torch.zeros(1, 1), torch.zeros(1, 1), mirror=1.0)

    monkeypatch.setattr(attributes, "draw_noise", noise)
    (plain,) = measured(painted("red", "blue"), None)
    assert (plain.value, plain.details) == (
        1.0,
        {"wing": {"right": 1, "count": 1}, "belly": {"right": 1, "count": 1}},
    )
    assert measured(painted("blue", "red"), None)[0].value == 0
    assert measured(painted("blue", "red"), 1.0)[0].value == 1, "mirrored"
    assert measured(painted("red", "white"), None)[0].value == 0.5


@pytest.mark.usefixtures("halves")
def test_other_memories_are_refused() -> None:
    for given in ({"name": "cub"}, {"reference": "own-1"}):
        with pytest.raises(EvaluationError, match="from Aviary"):
            measured(painted("red", "blue"), None, **given)


def test_renders_of_unseen_species_are_read_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "RENDERS", 12)
    mean_colours.cache_clear()
    specs = [sample_bird(150 + 3 * i, i, 5) for i in range(3)]
    pictures, parts = render_birds(specs, PART_SIDE)
    shown = attributes.shown_colours(pictures, attributes._masks(parts))
    mean_colours.cache_clear()
    right = [spec.attributes[part] == name for spec, seen in zip(specs, shown) for part, name in seen.items()]
    assert len(right) > 12
    assert sum(right) / len(right) > 0.7
