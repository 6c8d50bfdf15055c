from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from jinja2 import UndefinedError
from markupsafe import escape
from PIL import Image

from memdriven.ui.html import TEMPLATES, Lines, data_uri, image_uri, levels, part, render, wash

HOSTILE = "<script>alert('1')</script> \" & ${2} {{3}}"


def test_what_a_visitor_wrote_is_escaped_once() -> None:
    made = part("act_button", "pin", HOSTILE, HOSTILE, HOSTILE, id=HOSTILE)
    assert made.count("<") == made.count(">") == 2
    assert made.count(str(escape(HOSTILE))) == 6
    assert str(escape(HOSTILE)) in part("hint", escape(HOSTILE)), "once, and no element's own"
    assert "<script>" not in part("slide", ("a", HOSTILE), ("b", HOSTILE))
    made = part("edit", [("gone", HOSTILE), ("new", "blue")], ("", ""), ("", ""), "", "", (), of="compare")
    assert f"<del>{escape(HOSTILE)}</del> <ins>blue</ins>" in made
    assert "no memory" in made


def test_attributes_without_a_value_are_left_out() -> None:
    assert "title" not in part("act_button", "pin", "a", "b")
    assert 'aria-pressed="false"' in part("act_button", "pin", "a", "b", pressed=False)


def test_a_line_break_beside_a_tag_is_none_on_the_page() -> None:
    flat = Lines(TEMPLATES).preprocess
    assert flat("<p\n  id=1>\n  a {{ b }}\n  c\n  <b>\n  {% if d %}\n    e\n", None) == (
        "<p id=1>a {{ b }} c<b>{% if d %}e"
    )
    assert "\n" not in flat("{{ a }}\n{{ b }}\n{# c #}\n", None)


def test_every_template_is_read_and_none_passes_over_what_is_missing() -> None:
    for name in TEMPLATES.list_templates():
        TEMPLATES.get_template(name)
    with pytest.raises(UndefinedError):
        render("own", full=False)


def test_pictures_become_data_uris() -> None:
    assert base64.b64decode(data_uri(b"png", "image/png").split(",")[1]) == b"png"
    assert image_uri(Image.new("RGB", (8, 8))).startswith("data:image/webp;base64,")


def test_levels_reach_from_nothing_to_the_largest() -> None:
    assert levels(torch.tensor([[0.0, 1.0], [2.0, -1.0]])).tolist() == [[0, 128], [255, 0]]
    assert not levels(torch.zeros(2, 2)).any()
    assert levels(torch.tensor([[0.5, 4.0]]), largest=2.0).tolist() == [[64, 255]], (
        "several maps share a scale"
    )


def test_a_wash_is_clear_where_the_map_is_nothing() -> None:
    content = base64.b64decode(wash(torch.tensor([[0.0, 3.0]]), "memory").split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    assert pixels[0, :, 3].tolist() == [0, 255]
