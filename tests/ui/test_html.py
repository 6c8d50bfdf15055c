from __future__ import annotations

import base64

from PIL import Image

from memdriven.ui.html import image_uri, png_uri, tag, text

HOSTILE = "<script>alert('1')</script> \" & ${2} {{3}}"


def test_text_and_attributes_are_escaped() -> None:
    assert text(HOSTILE).startswith("&lt;script&gt;")
    made = tag("p", text(HOSTILE), title=HOSTILE, class_="a", data_id=3)
    assert made.count("<") == made.count(">") == 2
    assert made.count('"') == 6
    assert 'class="a"' in made
    assert 'data-id="3"' in made


def test_attributes_without_value_and_void_elements() -> None:
    assert tag("button", "x", disabled=True, hidden=False, title=None) == ("<button disabled>x</button>")
    assert tag("img", src="a", alt="") == '<img src="a" alt="">'


def test_pictures_become_data_uris() -> None:
    assert base64.b64decode(png_uri(b"png").split(",")[1]) == b"png"
    assert image_uri(Image.new("RGB", (8, 8))).startswith("data:image/webp;base64,")
