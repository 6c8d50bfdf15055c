"""The model card's grids of Fig. 5: one caption and memory, nine z; nothing else of the noise moves.

    python -m benchmarks.noise_grid --checkpoint checkpoints/aviary

Seeds 0, 1000, ... 8000 for every caption, nothing chosen; the last two captions name the place, so that z has
only the light to say.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from memdriven import MemoryDrivenPipeline
from memdriven.models.noise import WHOLE
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.request import Request

CAPTIONS = (
    "a small red bird with black wings",
    "a yellow bird with a black head",
    "a brown owl with large eyes",
    "a grey bird in the snow",
    "a blue bird with an orange breast on green grass",
)
SIDE, GAP, TITLE = 96, 3, 18


def main() -> None:
    """Read the command line and write the grids, side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--captions", nargs="+", default=CAPTIONS)
    parser.add_argument("--out", type=Path, help="default: noise.webp beside the model card")
    arguments = parser.parse_args()
    pipe = MemoryDrivenPipeline.from_pretrained(arguments.checkpoint)
    block = 3 * (SIDE + GAP) + 3 * GAP
    sheet = Image.new("RGB", (block * len(arguments.captions), block + TITLE), "white")
    draw = ImageDraw.Draw(sheet)
    for column, caption in enumerate(arguments.captions):
        prepared = pipe.prepare(Request(caption=caption, k=1, seeds=(0,), mirror=False, window=WHOLE))
        first = pipe.noise(prepared.request, 0)
        draw.text((column * block + GAP, 3), caption, fill="#333333")
        for i in range(9):
            noise = first._replace(z=pipe.noise(prepared.request, 1000 * i).z)
            with torch.inference_mode():
                *_, last = pipe.paint(prepared, noise)
            picture = to_picture(last.image).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            place = column * block + i % 3 * (SIDE + GAP), TITLE + i // 3 * (SIDE + GAP)
            sheet.paste(picture, place)
    out = arguments.out or arguments.checkpoint / "noise.webp"
    sheet.save(out, quality=88, method=6)
    print(out)


if __name__ == "__main__":
    main()
