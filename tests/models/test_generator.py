"""The generator's shapes, gradients and independence, and its layers against slow references."""

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from memdriven.config import GeneratorConfig
from memdriven.models.generator import Generator
from memdriven.models.layers import Crop
from tests.models.small_generator import SMALL, first_map, inputs


def test_each_stage_doubles_the_image() -> None:
    model = Generator(SMALL)
    output = model(*inputs())
    assert [tuple(i.shape) for i in output.images] == [(2, 3, 64, 64), (2, 3, 128, 128)]
    assert model.resolutions == [64, 128]
    assert all(i.abs().max() <= 1 for i in output.images)
    assert output.mu.shape == output.logvar.shape == (2, 100)
    z, sentence, words, v, epsilon = inputs()
    stages = list(model.stages(z, model.augment(sentence, epsilon)[0], words, v))
    assert [len(stage.gates) for stage in stages] == [1, 1]
    assert stages[1].gates[0].scale.shape == (2, 4, 128, 128)
    assert len(model(*inputs(), stages=1).images) == 1


def test_every_parameter_gets_a_finite_gradient() -> None:
    model = Generator(SMALL)
    output = model(*inputs())
    loss = sum(i.square().mean() for i in output.images) + output.mu.mean() + output.logvar.mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("index", "name"), [(0, "z"), (1, "sentence"), (2, "words"), (3, "v"), (4, "epsilon")]
)
def test_every_input_moves_the_picture(index: int, name: str) -> None:
    model = Generator(SMALL).eval()
    with torch.no_grad():
        before = model(*inputs()).images[-1]
        changed = list(inputs())
        changed[index] = inputs(seed=1)[index]
        after = model(*changed).images[-1]
    assert (before - after).abs().max() > 1e-5, name


def test_a_picture_does_not_depend_on_its_batch() -> None:
    model = Generator(SMALL).eval()
    with torch.no_grad():
        both = model(*inputs()).images[-1]
        alone = model(*(x[1:] for x in inputs())).images[-1]
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)


def test_switches_remove_the_memory() -> None:
    model = Generator(
        GeneratorConfig(stages=1, width=4, acm_width=8, feature_width=8, use_v=False, use_v_global=False)
    ).eval()
    with torch.no_grad():
        first = model(*inputs())
        other = list(inputs())
        other[3] = torch.zeros_like(other[3])
        z, sentence, words, v, epsilon = inputs()
        (stage,) = model.stages(z, model.augment(sentence, epsilon)[0], words, v)
        assert stage.gates == ()
        assert torch.equal(first.images[0], model(*other).images[0])


def test_stages_can_be_taken_one_at_a_time() -> None:
    model = Generator(SMALL).eval()
    z, sentence, words, v, epsilon = inputs()
    with torch.no_grad():
        whole = model(z, sentence, words, v, epsilon)
        c, _, _ = model.augment(sentence, epsilon)
        stages = model.stages(z, c, words, v)
        for image in whole.images:
            assert torch.equal(next(stages).image, image)
        assert next(stages, None) is None
        assert len(list(model.stages(z, c, words, v, count=1))) == 1


def test_forward_is_bit_equal_to_the_equations_written_out() -> None:
    torch.manual_seed(0)
    model = Generator(SMALL)
    z, sentence, words, v, epsilon = inputs()
    made = model(z, sentence, words, v, epsilon)
    made.images[-1].sum().backward()
    slopes = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    c, _, _ = model.augment(sentence, epsilon)
    early, (first, second) = model.pyramid(v)
    assert not early
    h = first_map(model, z, c, v)
    h = model.later[0](h, words)
    image = torch.tanh(model.to_rgb[1](model.acm[1](h, second)[0]))
    assert torch.equal(made.images[1], image)
    assert first.shape[-1] == 64
    image.sum().backward()
    for before, parameter in zip(slopes, model.parameters(), strict=True):
        if before is not None:
            assert torch.equal(before, parameter.grad)


def test_a_refining_stage_adds_to_the_enlarged_image_before() -> None:
    torch.manual_seed(0)
    model = Generator(dataclasses.replace(SMALL, refine=True)).eval()
    z, sentence, words, v, epsilon = inputs()

    def enlarged(image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(image.atanh(), scale_factor=2, mode="bilinear")

    with torch.no_grad():
        small, large = model(z, sentence, words, v, epsilon).images
        torch.testing.assert_close(large, enlarged(small).tanh(), atol=1e-4, rtol=1e-3)
        model.to_rgb[1].weight.normal_(std=0.1)
        small, large = model(z, sentence, words, v, epsilon).images
        _, maps = model.pyramid(v)
        c, _, _ = model.augment(sentence, epsilon)
        first = first_map(model, z, c, v)
        # What is to be refined must be known: it reads the features that the image was made of.
        h = model.later[0](model.acm[0](first, maps[0])[0], words)
        wanted = enlarged(small) + model.to_rgb[1](model.acm[1](h, maps[1])[0])
        torch.testing.assert_close(large, wanted.tanh(), atol=1e-4, rtol=1e-3)


def test_a_stage_that_is_drawn_back_shows_the_image_before_when_it_is_made_small() -> None:
    def distance(share: float) -> float:
        torch.manual_seed(0)
        model = Generator(dataclasses.replace(SMALL, stages=3, refine=True, back_projection=share)).eval()
        with torch.no_grad():
            for last in model.to_rgb[1:]:
                last.weight.normal_(std=0.05)
            _, middle, large = model(*inputs()).images
        return float((F.avg_pool2d(large.atanh(), 2) - middle.atanh()).abs().mean())

    free, half, whole = distance(0.0), distance(0.5), distance(1.0)
    # Enlarging is bilinear, so that made small again it is a little softer than it was.
    assert whole < 0.35 * free
    assert whole < half < 0.75 * free


def test_a_first_layer_of_low_rank_is_near_the_full_one() -> None:
    from memdriven.training.gan import of_rank

    full = torch.randn(40, 3) @ torch.randn(3, 30)
    two = of_rank(full, 3)
    torch.testing.assert_close(two["first.linear.1.weight"] @ two["first.linear.0.weight"], full)
    model = Generator(dataclasses.replace(SMALL, first_rank=3))
    assert [tuple(layer.weight.shape) for layer in model.first.linear] == [(3, 712), (2048, 3)]


def test_later_stages_see_where_v_has_what_only_by_an_acm_before_their_blocks() -> None:
    """ManiGAN's second ACM: without it h_1 depends on v through its mean alone."""
    torch.manual_seed(0)
    z, sentence, words, v, epsilon = inputs()
    moved = v.roll(3, dims=3)  # the same mean, other places
    for before in (False, True):
        model = Generator(dataclasses.replace(SMALL, acm_before=before)).eval()
        seen: list[torch.Tensor] = []
        model.later[0].register_forward_hook(lambda _, __, h, seen=seen: seen.append(h))
        with torch.no_grad():
            for memory in (v, moved):
                model(z, sentence, words, memory, epsilon)
        assert torch.allclose(seen[0], seen[1], atol=1e-5) != before


@pytest.mark.parametrize(
    "further", [{}, {"acm_before": True}, {"back_projection": 0.5}], ids=["plain", "acm_before", "drawn back"]
)
def test_squares_of_the_last_stage_are_the_whole_pictures_squares(further: dict[str, Any]) -> None:
    model = Generator(dataclasses.replace(SMALL, stages=3, refine=True, **further)).eval()
    torch.nn.init.normal_(model.to_rgb[2].weight)
    z, s, words, v, epsilon = inputs(4)
    # A corner, two borders, and the middle, where a square lies in a rim on all sides.
    crop = Crop(torch.tensor([[0, 0], [96, 40], [33, 96], [51, 47]]), 32)
    whole = model(z, s, words, v, epsilon).images[2]
    squares = model(z, s, words, v, epsilon, crop=crop).images
    assert [i.shape[-1] for i in squares] == [64, 128, 64]
    for made, picture, (x, y) in zip(squares[2], whole, crop.corners.tolist(), strict=True):
        torch.testing.assert_close(
            made, picture[:, 2 * y : 2 * y + 64, 2 * x : 2 * x + 64], atol=1e-5, rtol=0
        )
