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


def contact_sheet(outputs: Sequence[PipelineOutput]) -> bytes:
    """Return a PNG with every picture, its words and its seed."""
    columns = min(4, max(1, len(outputs)))
    high = CELL + 3 * LINE + GAP
    size = columns * (CELL + GAP) + GAP, -(-len(outputs) // columns) * high + GAP
    sheet, described = Image.new("RGB", size, PAPER), PngImagePlugin.PngInfo()
    draw = ImageDraw.Draw(sheet)
    for place, output in enumerate(outputs):
        left, top = GAP + place % columns * (CELL + GAP), GAP + place // columns * high
        sheet.paste(output.images[0].resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
        words, font = legible(output.recipe.caption)
        lines = [(line, INK) for line in _wrapped(words, font)]
        lines.append((f"{place + 1}   seed {output.recipe.seed}", QUIET))
        for number, (line, colour) in enumerate(lines):
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


def _wrapped(caption: str, font: ImageFont.FreeTypeFont) -> list[str]:
    """Return a caption as at most two lines that fit under a picture."""
    lines = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= CELL:
            lines[-1] = longer
        elif len(lines) == 1 and lines[0]:
            lines.append(word)
        else:
            lines[-1] += "\u2026"
            break
    while font.getlength(lines[-1]) > CELL:
        lines[-1] = lines[-1].rstrip("\u2026")[:-1] + "\u2026"
    return lines


def archive(outputs: Sequence[PipelineOutput]) -> bytes:
    """Return a ZIP: numbered PNGs that carry their recipes, all recipes as JSON, the sheet."""
    files: dict[str, bytes | str] = {
        f"memdriven-{number:02d}-seed-{output.recipe.seed}.png": output.png()
        for number, output in enumerate(outputs, start=1)
    }
    files["recipes.json"] = json.dumps([output.recipe.to_dict() for output in outputs], indent=1) + "\n"
    files["contact-sheet.png"] = contact_sheet(outputs)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, content in files.items():
            # The same pictures give the same bytes, whenever.
            pack.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()
