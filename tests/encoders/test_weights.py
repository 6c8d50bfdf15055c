"""Packed weights come back within what eight bits a row can say."""

import torch

from memdriven.encoders.weights import SCALE, pack, unpack


def test_packed_weights_are_within_half_a_level_of_their_rows() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(8, 4, 3, 3) * torch.logspace(-6, 3, 8).view(8, 1, 1, 1)
    kernel[3] = 0
    given = {"a.weight": kernel.half().float(), "a.bias": torch.randn(8)}
    packed = pack(given)
    assert packed["a.weight"].dtype == torch.int8
    assert set(packed) == {"a.weight", "a.bias", "a.weight" + SCALE}
    found = unpack(packed)
    assert found.keys() == given.keys()
    assert torch.equal(found["a.bias"], given["a.bias"])
    error = (found["a.weight"] - given["a.weight"]).flatten(1).abs().amax(1)
    assert (error <= given["a.weight"].flatten(1).abs().amax(1) / 127 * 0.5001).all()


def test_weights_that_were_never_packed_stay_as_they_are() -> None:
    half = {"a.weight": torch.randn(3, 2).half()}
    assert torch.equal(unpack(half)["a.weight"], half["a.weight"])
