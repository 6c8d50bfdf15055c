from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from memdriven.config import Config, DamsmConfig, GeneratorConfig, TextConfig
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders import damsm as damsm_module
from memdriven.encoders.damsm import (
    Damsm,
    cosine,
    damsm_loss,
    load_damsm,
    matching_scores,
    save_damsm,
    word_cosines,
)
from memdriven.encoders.image import ImageFeatures
from memdriven.encoders.imagenet import Vgg16Features
from memdriven.encoders.text import TextFeatures
from memdriven.encoders.weights import read_weights, write_weights
from memdriven.errors import CheckpointError

CONFIG = Config(
    text=TextConfig(embedding_dim=12, dim=16),
    damsm=DamsmConfig(pixel_backbone="compact", pixel_size=64),
    generator=GeneratorConfig(text_dim=16),
)
VOCABULARY = Vocabulary(["a", "red", "bird", "blue", "small"])


def _example(seed: int = 0, images: int = 3, texts: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([5, 1, 3, 2])[:texts]
    mask = torch.arange(5)[None] < lengths[:, None]
    words = torch.randn(texts, 5, 6, generator=generator)
    regions = torch.randn(images, 7, 6, generator=generator)
    return words, mask, regions


def _slow_word_cosines(words: Tensor, regions: Tensor) -> list[float]:
    """AttnGAN's equations 7 to 9 for one caption without padding and one image, in loops."""
    s = [[float(e @ r) for r in regions] for e in words]
    by_word = [
        [math.exp(s[i][j]) / sum(math.exp(s[k][j]) for k in range(len(words))) for j in range(len(regions))]
        for i in range(len(words))
    ]
    cosines = []
    for i, e in enumerate(words):
        weights = [math.exp(4.0 * value) for value in by_word[i]]
        context = sum(w / sum(weights) * r for w, r in zip(weights, regions, strict=True))
        assert isinstance(context, Tensor)
        cosines.append(float(F.cosine_similarity(context, e, dim=0)))
    return cosines


def test_scores_equal_the_equations_in_loops() -> None:
    words, mask, regions = _example()
    found = matching_scores(words, mask, regions)
    assert found.shape == (3, 4)
    for image in range(3):
        for text in range(4):
            own = words[text][mask[text]].double()
            cosines = _slow_word_cosines(own, regions[image].double())
            wanted = math.log(sum(math.exp(5.0 * value) for value in cosines) ** (1 / 5.0))
            assert float(found[image, text]) == pytest.approx(wanted, abs=1e-4)
            pairs = word_cosines(words, mask, regions)[image, text][mask[text]]
            assert pairs.tolist() == pytest.approx(cosines, abs=1e-4)


def test_padding_changes_nothing() -> None:
    words, mask, regions = _example()
    scores = matching_scores(words, mask, regions)
    padded = F.pad(words, (0, 0, 0, 3), value=50.0)
    assert torch.allclose(matching_scores(padded, F.pad(mask, (0, 3)), regions), scores, atol=1e-5)
    loud = torch.where(mask[..., None], words, torch.tensor(1e3))
    assert torch.allclose(matching_scores(loud, mask, regions), scores, atol=1e-5)


def test_gradients_are_finite_even_for_empty_regions() -> None:
    words, mask, regions = _example()
    regions[1] = 0
    words.requires_grad_()
    regions.requires_grad_()
    matching_scores(words, mask, regions).sum().backward()
    for tensor in (words, regions):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
    assert words.grad is not None
    assert not words.grad[~mask].any()


def test_cosine_of_rows() -> None:
    a, b = torch.randn(3, 6), torch.randn(4, 6)
    wanted = F.cosine_similarity(a[:, None], b[None], dim=2)
    assert torch.allclose(cosine(a, b), wanted, atol=1e-6)
    assert not cosine(torch.zeros(1, 6), b).any()


def _loss(class_ids: Tensor | None) -> tuple[float, float, float]:
    words, mask, regions = _example(images=4)
    generator = torch.Generator().manual_seed(5)
    global_ = torch.randn(4, 6, generator=generator)
    sentence = torch.randn(4, 6, generator=generator)
    found = damsm_loss(ImageFeatures(regions, global_), TextFeatures(words, sentence, mask), class_ids)
    return float(found.words), float(found.sentence), float(found.total)


def _slow_loss(class_ids: list[int] | None) -> tuple[float, float]:
    """Eqs. 10 to 13 of AttnGAN: negative log posteriors in loops."""
    words, mask, regions = _example(images=4)
    generator = torch.Generator().manual_seed(5)
    global_ = torch.randn(4, 6, generator=generator)
    sentence = torch.randn(4, 6, generator=generator)
    if class_ids is not None and len(set(class_ids)) == 1 and class_ids[0] >= 0:
        class_ids = None  # a batch of one class alone competes with itself
    tables = (
        matching_scores(words, mask, regions),
        F.cosine_similarity(global_[:, None], sentence[None], dim=2),
    )
    losses = []
    for table in tables:
        loss = 0.0
        for scores in (table, table.T):
            for i in range(4):
                rivals = [
                    j
                    for j in range(4)
                    if j == i or class_ids is None or class_ids[j] < 0 or class_ids[i] != class_ids[j]
                ]
                total = sum(math.exp(10.0 * float(scores[i, j])) for j in rivals)
                loss -= (10.0 * float(scores[i, i]) - math.log(total)) / 4
        losses.append(loss)
    return losses[0], losses[1]


@pytest.mark.parametrize("classes", [None, [1, 2, 1, 3], [0, 0, 0, 0], [-1, -1, 2, 2]])
def test_the_loss_equals_the_equations(classes: list[int] | None) -> None:
    ids = None if classes is None else torch.tensor(classes)
    words, sentence, total = _loss(ids)
    wanted = _slow_loss(classes)
    assert (words, sentence) == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert total == pytest.approx(words + sentence, rel=1e-5)


def _damsm(backbone: str = "compact") -> Damsm:
    torch.manual_seed(0)
    config = DamsmConfig(pixel_backbone="compact" if backbone == "compact" else "vgg16", pixel_size=64)
    return Damsm(len(VOCABULARY), CONFIG.text, config).eval()


def test_captions_are_embedded_alike_alone_and_together() -> None:
    damsm = _damsm()
    captions = [VOCABULARY.encode(text, 9) for text in ("a red bird", "a small blue bird")]
    together = damsm.encode_captions(captions)
    alone = damsm.encode_captions(captions[:1])
    assert torch.allclose(together.sentence[:1], alone.sentence, atol=1e-6)
    assert together.words.shape == (2, 4, 16)


def test_pictures_are_embedded_by_the_pixel_network_or_through_v() -> None:
    images = torch.rand(2, 3, 96, 96, requires_grad=True)
    assert _damsm().encode_images(images)[0].regions.shape == (2, 64, 16)
    shared = _damsm("vgg16")
    assert shared.pixels is None
    with pytest.raises(ValueError, match="Vgg16Features"):
        shared.encode_images(images)[0]
    features = shared.encode_images(images, Vgg16Features())[0]
    assert features.regions.shape == (2, 4, 16)  # 64 px -> v 4 x 4 -> regions 2 x 2


def test_saving_and_loading_keep_the_hash_and_the_answers(tmp_path: Path) -> None:
    damsm = _damsm()
    damsm.heads.fit_spread(torch.rand(2, 512, 4, 4))
    save_damsm(tmp_path / "d", damsm, VOCABULARY, CONFIG, {"note": "a test"})
    found = load_damsm(tmp_path / "d")
    assert found.damsm.hash() == damsm.hash()
    assert found.vocabulary.words == VOCABULARY.words
    assert found.config == CONFIG
    assert found.facts["note"] == "a test"
    assert not found.damsm.training
    assert not any(p.requires_grad for p in found.damsm.parameters())
    caption = [VOCABULARY.encode("a red bird", 9)]
    assert torch.allclose(
        found.damsm.encode_captions(caption).sentence, damsm.encode_captions(caption).sentence, atol=1e-3
    )
    again = tmp_path / "again"
    save_damsm(again, found.damsm, found.vocabulary, found.config, {"note": "a test"})
    for name in ("damsm.safetensors", "vocabulary.json", "config.json"):
        assert (again / name).read_bytes() == (tmp_path / "d" / name).read_bytes()
    with torch.no_grad():
        damsm.heads.spread[0] += 1
    assert damsm.hash() != found.damsm.hash()


def test_damaged_foreign_and_mixed_folders_are_refused(tmp_path: Path) -> None:
    damsm = _damsm()
    folder = tmp_path / "d"
    save_damsm(folder, damsm, VOCABULARY, CONFIG, {})
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_damsm(tmp_path / "none")
    weights = (folder / "damsm.safetensors").read_bytes()
    (folder / "damsm.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_damsm(folder)
    write_weights(folder / "damsm.safetensors", _damsm("vgg16"), {})
    with pytest.raises(CheckpointError, match="missing"):
        load_damsm(folder)
    longer = Damsm(9, CONFIG.text, CONFIG.damsm)
    write_weights(folder / "damsm.safetensors", longer, {})
    with pytest.raises(CheckpointError, match="another shape"):
        load_damsm(folder)
    torch.manual_seed(1)
    write_weights(folder / "damsm.safetensors", Damsm(6, CONFIG.text, CONFIG.damsm), {})
    with pytest.raises(CheckpointError, match="one and the same"):
        load_damsm(folder)
    with torch.no_grad():
        damsm.heads.spread[0] = float("inf")
    with pytest.raises(CheckpointError, match="finite numbers"):
        write_weights(folder / "damsm.safetensors", damsm, {})
    (folder / "config.json").write_text('{"schema": "other/1"}')
    with pytest.raises(CheckpointError, match="other/1"):
        load_damsm(folder)


def test_a_file_with_nan_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    damsm = _damsm()
    save_damsm(tmp_path, damsm, VOCABULARY, CONFIG, {})
    state = read_weights(tmp_path / "damsm.safetensors")
    state["heads.spread"][3] = torch.nan
    save_file(state, tmp_path / "damsm.safetensors")
    with pytest.raises(CheckpointError, match="NaN"):
        load_damsm(tmp_path)


def test_sentences_come_in_the_captions_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damsm_module, "SENTENCE_BATCH", 2)
    damsm = Damsm(len(VOCABULARY), CONFIG.text, CONFIG.damsm).eval()
    texts = ["a red bird", "a small blue bird is a bird", "bird", "a red red bird", "blue bird"]
    captions = [VOCABULARY.encode(text, 24) for text in texts]
    together = damsm.sentences(captions)
    for caption, s in zip(captions, together, strict=True):
        with torch.no_grad():
            alone = damsm.encode_captions([caption]).sentence[0]
        torch.testing.assert_close(s, alone, atol=1e-5, rtol=1e-4)
