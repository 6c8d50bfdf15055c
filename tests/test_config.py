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
        ({"train": {"flip": 1}}, "flip"),
        ({"train": 3}, "object"),
        ({"train": {"p_swap": 1.5}}, "p_swap"),
        ({"generator": {"text_dim": 128}}, "text_dim"),
        ({"generator": {"stages": 0}}, "stages"),
        ({"generator": {"zoom": 1.0}}, "zoom < 1"),
        ({"loss": {"change_weight": 2.0}}, "change_weight"),
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


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GeneratorConfig().width = 3  # type: ignore[misc]
