"""Memory, words and noise meet at 16 and 32 px: each part begins as nothing, and then does what it says."""

import dataclasses

import torch
from torch.nn import functional as F

from memdriven.models.generator import Generator
from tests.models.small_generator import SMALL, inputs


def test_early_fusion_is_the_acm_at_16_and_32_px() -> None:
    torch.manual_seed(0)
    plain = Generator(SMALL)
    model = Generator(dataclasses.replace(SMALL, fuse_early=True))
    added = model.state_dict().keys() - plain.state_dict().keys()
    assert {name.split(".")[0] for name in added} == {"early", "pyramid"}
    z, sentence, words, v, epsilon = inputs()
    c, _, _ = model.augment(sentence, epsilon)
    early, (last, _) = model.pyramid(v)
    grid, double = early[16], early[32]
    assert [m.shape[-1] for m in (grid, double, last)] == [16, 32, 64]
    parts = [z, c, model.first.global_norm(v.mean(dim=(2, 3)))]
    h = F.glu(model.first.norm(model.first.linear(torch.cat(parts, 1))), 1)
    blocks = list(model.first.blocks)
    h = blocks[1](blocks[0](h.view(2, *model.first.shape)))
    assert h.shape[-1] == 16
    h = blocks[2](model.early.acm["16"](h, grid)[0])
    h = blocks[3](model.early.acm["32"](h, double)[0])
    image = torch.tanh(model.to_rgb[0](model.acm[0](h, last)[0]))
    output = model(z, sentence, words, v, epsilon)
    assert torch.equal(output.images[0], image)
    gates = [stage.gates for stage in model.stages(z, c, words, v)]
    assert [[gate.scale.shape[-1] for gate in each] for each in gates] == [[16, 32, 64], [128]]
    scale = model.early.acm["16"](torch.ones(2, 16, 16, 16), grid)[1].scale
    assert 0.5 < scale.detach().median().item() < 1.5, "a fresh module passes h through"


def test_early_blocks_begin_as_the_identity_and_follow_each_fusion() -> None:
    torch.manual_seed(0)
    plain = Generator(dataclasses.replace(SMALL, fuse_early=True))
    deeper = Generator(dataclasses.replace(SMALL, fuse_early=True, early_blocks=2))
    kept = deeper.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[0] for name in kept.missing_keys} == {"early"}
    assert {side: len(blocks) for side, blocks in deeper.early.residual.items()} == {"16": 2, "32": 2}
    wanted, found = plain(*inputs()).images, deeper(*inputs()).images
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    h = torch.randn(2, 4 * SMALL.width, 16, 16)
    last = deeper.early.residual["16"][1].body[4]
    torch.nn.init.ones_(last.weight)
    assert not torch.equal(deeper.early.residual["16"][1](h), h)
    assert not torch.equal(deeper(*inputs()).images[0], wanted[0])
    assert "early" in deeper.stage_parts(0)


def test_a_text_code_begins_as_nothing_and_then_scales_and_shifts_channels() -> None:
    torch.manual_seed(0)
    plain = Generator(dataclasses.replace(SMALL, fuse_early=True, early_blocks=1))
    model = Generator(dataclasses.replace(plain.config, text_code=6))
    for blocks in plain.early.residual.values():
        torch.nn.init.ones_(blocks[0].body[4].weight)
    kept = model.load_state_dict(plain.state_dict(), strict=False)
    assert {"text_code" in name or "modulate" in name for name in kept.missing_keys} == {True}
    before, same = plain(*inputs()).images[-1], model(*inputs()).images[-1]
    torch.testing.assert_close(same, before)

    block = model.early.residual["32"][0]
    torch.nn.init.normal_(block.modulate.weight)
    assert not torch.allclose(model(*inputs()).images[-1], before)
    x, code = torch.randn(2, 2 * SMALL.width, 32, 32), torch.randn(2, 6)
    factors = code @ block.modulate.weight.T + block.modulate.bias
    half = 4 * SMALL.width
    inner = F.batch_norm(
        F.conv2d(x, block.body[0].weight, padding=1),
        None,
        None,
        block.body[1].weight,
        block.body[1].bias,
        training=True,
    )
    inner = inner * (1 + factors[:, :half, None, None]) + factors[:, half:, None, None]
    torch.testing.assert_close(block(x, code), x + block.body[2:](inner), atol=1e-5, rtol=1e-4)


def test_what_is_named_adds_to_the_text_code() -> None:
    torch.manual_seed(0)
    plain = Generator(dataclasses.replace(SMALL, fuse_early=True, early_blocks=1, text_code=6))
    model = Generator(dataclasses.replace(plain.config, attribute_dim=5))
    for blocks in plain.early.residual.values():
        torch.nn.init.ones_(blocks[0].body[4].weight)
        torch.nn.init.normal_(blocks[0].modulate.weight)
    kept = model.load_state_dict(plain.state_dict(), strict=False)
    assert kept.missing_keys == ["early.text_code.attributes.weight"]
    z, sentence, words, v, epsilon = inputs()
    named = torch.rand(len(z), 5)
    told = torch.cat([words, named], dim=1)
    before = plain(z, sentence, words, v, epsilon).images
    for image, same in zip(before, model(z, sentence, told, v, epsilon).images, strict=True):
        torch.testing.assert_close(same, image)

    torch.nn.init.normal_(model.early.text_code.attributes.weight)
    assert not torch.allclose(model(z, sentence, told, v, epsilon).images[-1], before[-1])
    # The same as one wider first layer of the text code.
    own = plain.early.text_code.linear
    wide = torch.nn.Linear(own.in_features + 5, 6)
    wide.weight.data.copy_(torch.cat([own.weight, model.early.text_code.attributes.weight], dim=1))
    wide.bias.data.copy_(own.bias)
    seen = []
    model.early.residual["16"][0].register_forward_hook(lambda _, given, __: seen.append(given[1]))
    model(z, sentence, told, v, epsilon)
    c, *_ = model.augment(sentence, epsilon)
    torch.testing.assert_close(seen[0], F.leaky_relu(wide(torch.cat([c, told], dim=1)), 0.2))


def test_a_noise_code_begins_as_nothing_and_is_closed_by_what_is_named() -> None:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, fuse_early=True, early_blocks=1, text_code=6, attribute_dim=5)
    plain, model = Generator(settings).eval(), Generator(dataclasses.replace(settings, noise_code=7)).eval()
    kept = model.load_state_dict(plain.state_dict(), strict=False)
    assert all(name.startswith("early.text_code.noise.") for name in kept.missing_keys)
    z, sentence, words, v, epsilon = inputs()
    told = torch.cat([words, torch.zeros(len(z), 5)], dim=1)
    before = plain(z, sentence, told, v, epsilon).images
    for image, same in zip(before, model(z, sentence, told, v, epsilon).images, strict=True):
        assert torch.equal(same, image)

    noise = model.early.text_code.noise
    torch.nn.init.normal_(noise.direct.weight)
    torch.nn.init.normal_(noise.modulate[2].weight)
    assert not torch.allclose(model(z, sentence, told, v, epsilon).images[0], before[0])
    torch.nn.init.constant_(noise.gate.weight, -100.0)
    torch.testing.assert_close(noise(z, torch.ones(len(z), 5)), torch.zeros(len(z), 6))
    torch.testing.assert_close(noise(z, torch.zeros(len(z), 5)), z @ noise.direct.weight.T)
