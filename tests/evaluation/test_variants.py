from __future__ import annotations

import dataclasses

import pytest

from memdriven.config import to_dict
from memdriven.errors import ConfigError
from memdriven.evaluation.variants import chosen, place, variants, with_changes
from memdriven.presets import PRESETS, preset


def changed(name: str, base: str = "tiny") -> dict[str, object]:
    """The settings in which a row differs from its base."""
    row = next(row for row in variants(preset(base)) if row.name == name)
    then, now = to_dict(preset(base)), to_dict(row.config)
    return {
        f"{section}.{field}": value
        for section, values in now.items()
        if isinstance(values, dict)
        for field, value in values.items()
        if value != then[section][field]
    }


def test_rows_of_the_paper() -> None:
    names = [row.name for row in variants(preset("tiny"))]
    assert names == [
        "base",
        "content-max",
        "content-none",
        "no-v",
        "v-global-only",
        "fuse-early-off",
        "p-swap-off",
        "spectral-norm-off",
        "mismatched-off",
        "paper",
        "paper-family",
    ]
    assert sorted(names, key=place) == names
    assert changed("base") == {}
    assert changed("content-max") == {"discriminator.content": "max"}
    assert changed("no-v") == {"generator.use_v": False, "generator.use_v_global": False}
    assert changed("v-global-only") == {"generator.use_v": False}
    assert changed("p-swap-off") == {"train.p_swap": 0.0}


def test_what_is_off_in_the_base_is_switched_on() -> None:
    assert changed("fuse-early-on", "paper") == {"generator.fuse_early": True}
    assert changed("p-swap-on", "paper") == {"train.p_swap": 0.5}
    assert changed("mismatched-on", "paper") == {"loss.mismatched": True}
    base = with_changes(preset("tiny"), {"discriminator.content": "max"})
    assert "content-average" in [row.name for row in variants(base)]
    assert "content-max" not in [row.name for row in variants(base)]


def test_the_papers_own_equations_at_the_bases_sizes() -> None:
    base, literal = preset("aviary-64"), preset("paper")
    row = next(row for row in variants(base) if row.name == "paper").config
    assert row.loss == literal.loss
    assert (row.train.p_swap, row.train.p_fade) == (0, 0)
    assert (row.train.batch_size, row.train.learning_rate) == (16, 2e-4), "their own rate, the base's batch"
    sizes = ("stages", "width", "feature_width", "acm_width")
    assert [getattr(row.generator, s) for s in sizes] == [getattr(base.generator, s) for s in sizes]
    assert (
        dataclasses.replace(
            literal.generator, **{s: getattr(base.generator, s) for s in (*sizes, "residual_blocks")}
        )
        == row.generator
    )
    assert "paper" not in [row.name for row in variants(literal)]
    family = next(row for row in variants(base) if row.name == "paper-family").config
    assert family.loss == preset("paper-family").loss


def test_chosen_rows_keep_the_base() -> None:
    rows = variants(preset("tiny"))
    assert [row.name for row in chosen(rows, ("no-v",))] == ["base", "no-v"]
    assert chosen(rows, ()) == rows
    with pytest.raises(ConfigError, match="no-w"):
        chosen(rows, ("no-w",))


def test_unknown_settings_are_refused() -> None:
    for path in ("loss.nothing", "nowhere.at", "loss"):
        with pytest.raises(ConfigError):
            with_changes(preset("tiny"), {path: 1})
    assert dataclasses.asdict(with_changes(preset("tiny"), {})) == dataclasses.asdict(preset("tiny"))


@pytest.mark.parametrize("base", sorted(PRESETS))
def test_every_preset_can_be_a_base(base: str) -> None:
    assert len(variants(preset(base))) > 5
