"""Chosen pictures for designers: one contact sheet, or a ZIP with pictures and recipes."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from memdriven.pipeline.output import PipelineOutput

CELL, GAP, LINE = 256, 20, 18
PAPER, INK, QUIET = "#faf8f3", "#24221e", "#6a655c"
UNDRAWN = "(caption: see the file's description)"
"""Under a picture whose caption has letters that no font here has."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""The same pictures give the same bytes."""


def contact_sheet(outputs: Sequence[PipelineOutput]) -> bytes:
    """Return a PNG with every picture, its words and its seed."""
    columns = min(4, max(1, len(outputs)))
    rows = -(-len(outputs) // columns)
    high = CELL + 3 * LINE + GAP
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * high + GAP), PAPER)
    draw, described = ImageDraw.Draw(sheet), PngImagePlugin.PngInfo()
    for place, output in enumerate(outputs):
        left = GAP + place % columns * (CELL + GAP)
        top = GAP + place // columns * high
        sheet.paste(output.images[0].resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
        words, font = legible(output.recipe.caption)
        lines = _wrapped(words, font, draw)
        facts = f"{place + 1}   seed {output.recipe.seed}"
        for number, (line, colour) in enumerate([*((each, INK) for each in lines), (facts, QUIET)]):
            draw.text((left, top + CELL + 4 + number * LINE), line, colour, font)
        described.add_itxt(f"Caption {place + 1}", output.recipe.caption)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True, pnginfo=described)
    return buffer.getvalue()


@lru_cache(maxsize=256)
def legible(text: str) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return a text and a font that has its letters, or other words where no font here has them.

    Matplotlib's font comes first: it is always there and knows most alphabets.
    """
    own = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    letters = {letter for letter in text if letter.isprintable() and not letter.isspace()}
    for path in (own, *(() if text.isascii() else _system_fonts())):
        with contextlib.suppress(OSError):
            font = ImageFont.truetype(path, 14)
            missing = bytes(font.getmask("\uffff"))
            if all(bytes(font.getmask(letter)) != missing for letter in letters):
                return text, font
    return UNDRAWN, ImageFont.truetype(own, 14)


@lru_cache(maxsize=1)
def _system_fonts() -> list[Path]:
    from matplotlib.font_manager import findSystemFonts

    return sorted(map(Path, findSystemFonts()))


def archive(outputs: Sequence[PipelineOutput]) -> bytes:
    """Return a ZIP: numbered PNGs that carry their recipes, all recipes as JSON, the sheet."""
    recipes = json.dumps([output.recipe.to_dict() for output in outputs], indent=1) + "\n"
    files: dict[str, bytes | str] = {
        f"memdriven-{number:02d}-seed-{output.recipe.seed}.png": output.png()
        for number, output in enumerate(outputs, start=1)
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, content in {
            **files,
            "recipes.json": recipes,
            "contact-sheet.png": contact_sheet(outputs),
        }.items():
            pack.writestr(zipfile.ZipInfo(name, _DATE), content)
    return buffer.getvalue()


def _wrapped(caption: str, font: ImageFont.FreeTypeFont, draw: ImageDraw.ImageDraw) -> list[str]:
    """Return a caption as at most two lines that fit under a picture."""
    lines: list[str] = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= CELL:
            lines[-1] = longer
        elif len(lines) == 1 and lines[0]:
            lines.append(word)
        else:
            lines[-1] += "\u2026"
            break
    while draw.textlength(lines[-1], font) > CELL:
        lines[-1] = lines[-1].rstrip("\u2026")[:-1] + "\u2026"
    return lines
