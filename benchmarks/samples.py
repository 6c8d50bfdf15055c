"""The model card's sample grid: the first captions of the test split, not chosen by anyone.

    python -m benchmarks.samples --checkpoint checkpoints/aviary --dataset data/aviary

Each cell shows the retrieved image (left) and the picture (right) over the caption; with
`--pictures-only` the picture alone, for data that may not be passed on. One caption an image, the
first of its ten; images are taken evenly over the test classes; seed 0 throughout.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw
from tqdm import tqdm

from memdriven import MemoryDrivenPipeline
from memdriven.data.prepared import PreparedDataset

SIDE, GAP = 128, 4


def main() -> None:
    """Read the command line and write the grid."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="default: samples.webp beside the model card")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--strategy", default=None)
    parser.add_argument("--pictures-only", action="store_true")
    arguments = parser.parse_args()
    pipe = MemoryDrivenPipeline.from_pretrained(arguments.checkpoint)
    items = PreparedDataset.open(arguments.dataset).split("test")
    items = items[:: max(1, len(items) // arguments.count)][: arguments.count]
    alone = arguments.pictures_only
    width, height = (SIDE + GAP, SIDE + GAP) if alone else (2 * SIDE + 3 * GAP, SIDE + 32)
    rows = -(-len(items) // arguments.columns)
    sheet = Image.new("RGB", (width * arguments.columns, height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for place, item in enumerate(tqdm(items, "samples")):
        output = pipe(item.captions[0], arguments.strategy, seed=0)
        x, y = width * (place % arguments.columns), height * (place // arguments.columns)
        shown = output.images if alone else [output.neighbours[0].image, output.images[0]]
        for column, picture in enumerate(shown):
            square = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(square, (x + GAP + column * (SIDE + GAP), y + GAP))
        for line, text in enumerate([] if alone else _wrap(item.captions[0])):
            draw.text((x + GAP, y + SIDE + GAP + 2 + 11 * line), text, fill="#333333")
    out = arguments.out or arguments.checkpoint / "samples.webp"
    sheet.save(out, quality=85, method=6)
    print(out)


def _wrap(caption: str, width: int = 44) -> list[str]:
    lines = [""]
    for word in caption.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:2]


if __name__ == "__main__":
    main()
