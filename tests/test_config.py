"""Settings survive JSON, refuse strangers, and the presets are what they say."""

import dataclasses
import json

import pytest

from memdriven.config import Config, GeneratorConfig, TrainConfig, from_dict, to_dict
from memdriven.errors import ConfigError
from memdriven.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = preset(name)
    assert config.preset == name
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_absent_fields_take_their_default() -> None:
    assert from_dict(Config, {"train": {"batch_size": 7}}).train == TrainConfig(batch_size=7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trian": {}}, "trian"),
        ({"train": {"batchsize": 3}}, "batchsize"),
        ({"train": {"batch_size": "many"}}, "batch_size"),
        ({"train": {"flip": False}}, "train.flip"),
        ({"train": {"compile": 1}}, "compile"),
        ({"generator": {"width": 10**9}}, "generator.width"),
        ({"generator": {"width": -2}}, "generator.width"),
        ({"generator": {"zoom": float("nan")}}, "generator.zoom"),
        ({"generator": {"noise_code": 8}}, "noise_code"),
        ({"generator": {"z_asks": True}}, "attribute_dim"),
        ({"retrieval": {"shortlist": 0}}, "shortlist"),
        ({"retrieval": {"index": "zzz"}}, "retrieval.index"),
        ({"retrieval": {"mmr": 7.0}}, "retrieval.mmr"),
        ({"damsm": {"gamma1": 9.0}}, "damsm.gamma1"),
        ({"damsm": {"pixel_size": 0}}, "pixel_size"),
        ({"text": {"embedding_dim": -3}}, "embedding_dim"),
        ({"train": 3}, "object"),
        ({"train": {"frozen_names": []}}, "frozen_names"),
        ({"train": {"betas": [0.5]}}, "betas"),
        ({"train": {"betas": [0.5, 1.0]}}, "betas: float in 0..0.9999"),
        ({"train": {"betas": [-1, 0.9]}}, "betas"),
        ({"train": {"betas": ["x", None]}}, "betas"),
        ({"train": {"learning_rate": 10**400}}, "learning_rate"),
        ({"train": {"p_swap": 1.5}}, "p_swap"),
        ({"generator": {"text_dim": 128}}, "text_dim"),
        ({"generator": {"stages": 0}}, "stages"),
        ({"generator": {"zoom": 1.0}}, "generator.zoom"),
        ({"loss": {"change_weight": 2.0}}, "change_weight"),
        ({"generator": {"back_projection": 0.5}}, "generator.refine"),
        ({"generator": {"text_code": 8}}, "text_code"),
        ({"generator": {"attribute_dim": 8}}, "attribute_dim"),
        ({"generator": {"guidance": 5.0}}, "guidance"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(Config, values)


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="tiny"):
        preset("huge")


def test_paper_preset_is_the_literal_method() -> None:
    paper = preset("paper")
    assert paper.train.p_swap == 0
    assert not paper.loss.mismatched
    assert paper.loss.damsm_stages == "all"
    assert paper.generator.stages == 3
    assert paper.train.learning_rate == 2e-4
    assert paper.discriminator.content == "average"


def test_a_config_of_an_earlier_version_is_read_where_nothing_is_lost() -> None:
    """Settings that are no more are ignored at the value that does as is done now."""
    then = to_dict(preset("aviary-128"))
    then["generator"]["named_width"] = then["generator"].pop("attribute_dim")
    then["damsm"] |= {"score": "literal", "betas": [0.5, 0.999], "gamma3": 10.0}
    then["train"] |= {
        "optimiser": "muon",
        "workers": 0,
        "sample_every": 0.5,
        "sample_minutes": 2.5,
        "channels_last": True,
    }
    then["retrieval"] |= {"fusion": "z-score", "mmr": 1.0}
    assert from_dict(Config, then) == preset("aviary-128")


def test_there_are_few_settings() -> None:
    sections = [getattr(Config(), entry.name) for entry in dataclasses.fields(Config)]
    assert sum(len(dataclasses.fields(s)) if dataclasses.is_dataclass(s) else 1 for s in sections) <= 75


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GeneratorConfig().width = 3  # type: ignore[misc]
