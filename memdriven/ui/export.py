"""Chosen pictures for designers: one contact sheet, or a ZIP with pictures and recipes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from memdriven.pipeline.output import PipelineOutput

CELL, GAP, LINE = 256, 20, 18
PAPER, INK, QUIET = "#faf8f3", "#24221e", "#6a655c"
_DATE = (1980, 1, 1, 0, 0, 0)
"""The same pictures give the same bytes."""


def contact_sheet(outputs: Sequence[PipelineOutput]) -> bytes:
    """Return a PNG with every picture, its words and its seed."""
    columns = min(4, max(1, len(outputs)))
    rows = -(-len(outputs) // columns)
    high = CELL + 3 * LINE + GAP
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * high + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, output in enumerate(outputs):
        left = GAP + place % columns * (CELL + GAP)
        top = GAP + place // columns * high
        sheet.paste(output.images[0].resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
        words = _wrapped(output.recipe.caption, font, draw)
        for number, line in enumerate(words):
            draw.text((left, top + CELL + 4 + number * LINE), line, INK, font)
        facts = f"{place + 1}   seed {output.recipe.seed}"
        draw.text((left, top + CELL + 4 + len(words) * LINE), facts, QUIET, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def archive(outputs: Sequence[PipelineOutput]) -> bytes:
    """Return a ZIP: numbered PNGs that carry their recipes, all recipes as JSON, the sheet."""
    buffer = io.BytesIO()
    recipes = json.dumps([output.recipe.to_dict() for output in outputs], indent=1)
    with zipfile.ZipFile(buffer, "w") as pack:
        for number, output in enumerate(outputs, start=1):
            name = f"memdriven-{number:02d}-seed-{output.recipe.seed}.png"
            pack.writestr(zipfile.ZipInfo(name, _DATE), output.png())
        pack.writestr(zipfile.ZipInfo("recipes.json", _DATE), recipes + "\n")
        pack.writestr(zipfile.ZipInfo("contact-sheet.png", _DATE), contact_sheet(outputs))
    return buffer.getvalue()


def _wrapped(
    caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, draw: ImageDraw.ImageDraw
) -> list[str]:
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
