from __future__ import annotations

import base64
import io

import numpy as np
import torch
from markupsafe import escape
from PIL import Image

from memdriven.ui.html import changed_words, data_uri, image_uri, levels, slide, tag, thumbs, wash

HOSTILE = "<script>alert('1')</script> \" & ${2} {{3}}"


def test_text_and_attributes_are_escaped() -> None:
    made = tag("p", HOSTILE, title=HOSTILE, class_="a", data_id=3)
    assert tag("p", HOSTILE + made) == f"<p>{escape(HOSTILE)}{made}</p>", "once, and no element's own"
    assert made.count("<") == made.count(">") == 2
    assert made.count('"') == 6
    assert 'class="a"' in made
    assert 'data-id="3"' in made


def test_attributes_without_value_and_void_elements() -> None:
    assert tag("button", "x", disabled=True, hidden=False, title=None) == ("<button disabled>x</button>")
    assert tag("img", src="a", alt="") == '<img src="a" alt="">'


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


def test_words_are_escaped_everywhere() -> None:
    hostile = "<script>1</script>"
    assert "<script>" not in slide(("a", hostile), ("b", hostile))
    made = changed_words([("gone", hostile), ("new", "blue")])
    assert made == "<del>&lt;script&gt;1&lt;/script&gt;</del> <ins>blue</ins>"
    assert "no memory" in thumbs(None)
