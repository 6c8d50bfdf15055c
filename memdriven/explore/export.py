"""Several pictures in one file, for designers: a contact sheet, or a ZIP with pictures and recipes."""

import io
import json
import textwrap
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from memdriven.pipeline.output import PipelineOutput

CELL, GAP, LINE = 256, 20, 18
PAPER, INK, QUIET = "#faf8f3", "#24221e", "#6a655c"
LETTERS = 35
"""As many of the font go side by side under a picture."""
UNDRAWN = "(see the file's description)"
"""Under a picture whose caption has letters that the font does not have."""


def contact_sheet(outputs: Sequence[PipelineOutput]) -> bytes:
    """Return a PNG with every picture, its words and its seed."""
    columns = min(4, max(1, len(outputs)))
    high = CELL + 3 * LINE + GAP
    size = columns * (CELL + GAP) + GAP, -(-len(outputs) // columns) * high + GAP
    sheet, described = Image.new("RGB", size, PAPER), PngImagePlugin.PngInfo()
    # Matplotlib's font is always there and knows most alphabets.
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSansMono.ttf"), 12)
    missing, draw = bytes(font.getmask("\uffff")), ImageDraw.Draw(sheet)
    for place, output in enumerate(outputs):
        left, top = GAP + place % columns * (CELL + GAP), GAP + place // columns * high
        sheet.paste(output.images[0].resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
        words = output.recipe.caption
        described.add_itxt(f"Caption {place + 1}", words)
        if any(bytes(font.getmask(each)) == missing for each in set(words) if each.isprintable()):
            words = UNDRAWN
        lines = textwrap.wrap(words, LETTERS, max_lines=2, placeholder="\u2026")
        lines.append(f"{place + 1}   seed {output.recipe.seed}")
        for number, line in enumerate(lines, start=1):
            at = left, top + CELL + 4 + (number - 1) * LINE
            draw.text(at, line, QUIET if number == len(lines) else INK, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", pnginfo=described, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def archive(outputs: Sequence[PipelineOutput], sheet: bytes) -> bytes:
    """Return a ZIP: numbered PNGs that carry their recipes, all recipes as JSON, the sheet."""
    files: dict[str, bytes | str] = {
        f"memdriven-{number:02d}-seed-{output.recipe.seed}.png": output.png()
        for number, output in enumerate(outputs, start=1)
    }
    files["recipes.json"] = json.dumps([output.recipe.to_dict() for output in outputs], indent=1) + "\n"
    files["contact-sheet.png"] = sheet
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, content in files.items():
            # The same pictures give the same bytes, whenever.
            pack.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()
