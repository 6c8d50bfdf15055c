"""Compares each stage's pictures, enlarged, with real ones: what a later stage adds (Sec. 4.1).

    python -m benchmarks.stages --checkpoint checkpoints/aviary --dataset data/aviary --n 300

Captions as `evaluate` takes them, seed 0 and on. Every stage's pictures are enlarged (bicubic) to the last
one's side, and compared there with all test images, by VGG's and SqueezeNet's pooled maps. Beside the table a
sheet is written: for the first captions, nothing chosen, every stage at the last one's side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.evaluation.context import Context, Resources, choose_prompts
from memdriven.evaluation.distances import frechet_distance, kernel_distance
from memdriven.evaluation.rows import quantised
from memdriven.pipeline.output import to_picture

SHOWN, GAP = 6, 6


def main() -> None:
    """Read the command line, print the table, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/stages"))
    parser.add_argument("--sheet", type=Path, help="default: stages.webp in --out")
    arguments = parser.parse_args()
    checkpoint, dataset = load_checkpoint(arguments.checkpoint), PreparedDataset.open(arguments.dataset)
    prompts = choose_prompts(dataset, "test", arguments.n)
    context = Context(checkpoint, dataset, prompts, Resources(), folder=arguments.out / "model")
    sizes = checkpoint.generator.resolutions
    pictures = painted(context)

    sheet = arguments.sheet or arguments.out / "stages.webp"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    drawn([stage[:SHOWN] for stage in pictures]).save(sheet, quality=88, method=6)

    spaces = {"vgg": context.vgg_space, "squeezenet": context.squeezenet_space}
    real = {name: space.cached(context.reference_images, context.cache) for name, space in spaces.items()}
    print(f"{len(prompts)} captions against {len(context.reference_images)} images at {sizes[-1]} px")
    print("| stage | " + " | ".join(f"fd_{name} | kd_{name}" for name in spaces) + " |")
    print("|---" * (1 + 2 * len(spaces)) + "|")
    for size, stage in zip(sizes, pictures, strict=True):
        cells = []
        for name, space in spaces.items():
            made = space.cached(stage, context.cache, progress=True)
            distance = kernel_distance(real[name], made, subset_size=min(1000, len(prompts)))
            cells += [f"{frechet_distance(real[name], made):,.1f}", f"{distance.mean:,.3f}"]
        print(f"| {size} px | " + " | ".join(cells) + " |", flush=True)


@torch.inference_mode()
def painted(context: Context) -> list[Tensor]:
    """Return each stage's pictures of all captions, uint8 (n, 3, s, s) of the last one's side s."""
    stages: list[list[Tensor]] = [[] for _ in context.checkpoint.generator.resolutions]
    for start in tqdm(range(0, len(context.prompts), context.batch), "pictures"):
        part = context.prompts[start : start + context.batch]
        requests = [
            context.request(prompt, context.seed + start + i, k=1, best_of=1) for i, prompt in enumerate(part)
        ]
        prepared = [context.pipe.prepare(request) for request in requests]
        for place, made in enumerate(context.pipe.paint_many(prepared, [r.seeds[0] for r in requests])):
            large = F.interpolate(made.float(), (context.size,) * 2, mode="bicubic", align_corners=False)
            stages[place].append(quantised(large))
    return [torch.cat(stage) for stage in stages]


def drawn(stages: list[Tensor]) -> Image.Image:
    """Return a sheet with a row a caption, and every stage's picture in it."""
    side, count = stages[0].shape[-1], len(stages[0])
    sheet = Image.new("RGB", (len(stages) * (side + GAP), count * (side + GAP)), "white")
    for column, stage in enumerate(stages):
        for row, image in enumerate(stage):
            picture = to_picture(image[None].float() / 127.5 - 1)
            sheet.paste(picture, (column * (side + GAP), row * (side + GAP)))
    return sheet


if __name__ == "__main__":
    main()
