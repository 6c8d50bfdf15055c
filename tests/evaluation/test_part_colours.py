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
from memdriven.evaluation import part_colours
from memdriven.evaluation.context import Prompt
from memdriven.evaluation.part_colours import lab, measure_part_colours, part_means
from memdriven.evaluation.rows import Row
from memdriven.models.noise import Noise

SIDE = part_colours.SIDE


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
    mask = torch.zeros(len(PLUMAGE), SIDE, SIDE, dtype=torch.bool)
    mask[PLUMAGE.index("wing"), :, : SIDE // 2] = mask[PLUMAGE.index("belly"), :, SIDE // 2 :] = True
    plain = torch.tensor([SRGB[name] for name in COLOURS]).T[:, :, None] / 255  # (3, 14, 1)
    monkeypatch.setattr(part_colours, "_part_map", lambda *sighting: mask)
    monkeypatch.setattr(part_colours, "mean_colours", lambda: lab(plain)[:, 0].expand(len(PLUMAGE), -1, -1))


def painted(left: str, right: str) -> Tensor:
    image = torch.tensor(SRGB[left], dtype=torch.uint8)[None, :, None, None].repeat(1, 1, SIDE, SIDE)
    image[0, :, :, SIDE // 2 :] = torch.tensor(SRGB[right], dtype=torch.uint8)[:, None, None]
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

    monkeypatch.setattr(part_colours, "draw_noise", noise)
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
    monkeypatch.setattr(part_colours, "RENDERS", 40)
    part_colours.mean_colours.cache_clear()
    specs = [sample_bird(150 + 3 * i, i, 5) for i in range(8)]
    pictures, parts = render_birds(specs, SIDE)
    shown = part_colours.shown_colours(pictures, part_colours._masks(parts))
    part_colours.mean_colours.cache_clear()
    right = [spec.attributes[part] == name for spec, seen in zip(specs, shown) for part, name in seen.items()]
    assert len(right) > 30
    assert sum(right) / len(right) > 0.7
