"""Sheets, nothing chosen: of a model card (samples, nine z, each stage, the rival), and of rendered birds.

    python -m benchmarks.sheets samples --checkpoint checkpoints/aviary --dataset data/aviary
    python -m benchmarks.sheets noise --checkpoint checkpoints/aviary
    python -m benchmarks.sheets stages --checkpoint checkpoints/aviary --dataset data/aviary --n 300
    python -m benchmarks.sheets rival --checkpoint checkpoints/aviary --dataset data/aviary --n 8
    python -m benchmarks.sheets birds --n 40 --columns 8 --out assets/aviary.webp

`samples`: the first captions of test images taken evenly over the classes, seeds 0, 1, 2, ...; the retrieved
image to the left and the picture to the right (`--pictures-only` for data that may not be passed on).
`noise` (Fig. 5): one caption and memory, seeds 0, 1000, ... 8000; nothing but z moves. The captions leave
less and less open: place and most colours, colours alone (snow is named), the place alone, the light alone.
`stages`: captions as `evaluate` takes them, every stage enlarged to the last one's side; printed beside it is
each stage's distance to all test images there, by VGG's and SqueezeNet's pooled maps.
`rival` (Fig. 1): captions as `samples` takes them; three pictures of the rival that lies beside the
checkpoint (seeds 0, 1000, 2000, enlarged), then the reference that ours was painted from, and ours,
seeds 0, 1, 2, ...
`birds`: as many renders, body plans in turn; species and sightings change with `--seed`.
"""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven import MemoryDrivenPipeline
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import BirdSpec, all_species, sample_bird
from memdriven.checkpoint import load_rival
from memdriven.data.images import tiled
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.evaluation.context import Context, choose_prompts, quantised
from memdriven.evaluation.distances import frechet_distance, kernel_distance
from memdriven.explore.paper import paint_rival
from memdriven.models.noise import WHOLE
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.request import Request

CAPTIONS = (
    "a small bird with a red crown",
    "a bird with black wings",
    "a bird with a white belly in the snow",
    "a brown owl with large eyes",
    "a blue bird with an orange breast on green grass",
)
GAP = 4


def main() -> None:
    """Read the command line and write one sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sheet", choices=("samples", "noise", "stages", "rival", "birds"))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--captions", nargs="+", default=CAPTIONS, help="of noise")
    parser.add_argument("--n", type=int, default=64, help="captions of samples, stages and rival; birds")
    parser.add_argument("--columns", type=int, default=4, help="of samples and birds")
    parser.add_argument("--seed", type=int, default=0, help="of birds")
    parser.add_argument("--pictures-only", action="store_true", help="samples without what was retrieved")
    parser.add_argument("--out", type=Path, help="default: SHEET.webp beside the model card, or here")
    of = parser.parse_args()
    if of.sheet == "birds":
        sheet = birds(of.n, of.columns, of.seed)
    elif of.checkpoint is None:
        raise SystemExit("give --checkpoint")
    elif of.sheet == "noise":
        sheet = noise(of.checkpoint, of.captions)
    elif of.dataset is None:
        raise SystemExit("give --dataset")
    elif of.sheet == "samples":
        sheet = samples(of.checkpoint, of.dataset, of.n, of.columns, of.pictures_only)
    elif of.sheet == "rival":
        sheet = beside_rival(of.checkpoint, of.dataset, of.n)
    else:
        sheet = stages(of.checkpoint, of.dataset, of.n)
    out = of.out or (of.checkpoint or Path()) / f"{of.sheet}.webp"
    sheet.save(out, quality=80, method=6)
    print(out)


def samples(checkpoint: Path, dataset: Path, count: int, columns: int, alone: bool) -> Image.Image:
    """Return a grid of the first captions of test images."""
    pipe, side = MemoryDrivenPipeline.from_pretrained(checkpoint), 128
    items = evenly(dataset, count)
    words = [textwrap.wrap(item.captions[0], 44) for item in items]
    lines = max(map(len, words))
    width, height = (side + GAP, side + GAP) if alone else (2 * side + 3 * GAP, side + 8 + 12 * lines)
    sheet = Image.new("RGB", (width * columns, height * -(-len(items) // columns)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, item in enumerate(tqdm(items, "samples")):
        output = pipe(item.captions[0], seed=place)
        x, y = width * (place % columns), height * (place // columns)
        for column, picture in enumerate(
            output.images if alone else [output.neighbours[0].image, output.images[0]]
        ):
            square = picture.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(square, (x + GAP + column * (side + GAP), y + GAP))
        if not alone:
            draw.text((x + GAP, y + side + GAP + 2), "\n".join(words[place]), fill="#333333", spacing=0)
    return sheet


def evenly(dataset: Path, count: int) -> list[Item]:
    """Return test items taken evenly over the classes."""
    items = PreparedDataset.open(dataset).split("test")
    return list(items[:: max(1, len(items) // count)][:count])


def beside_rival(checkpoint: Path, dataset: Path, count: int) -> Image.Image:
    """Return a row a caption: the rival's pictures, the reference, ours."""
    pipe, side, title, words = MemoryDrivenPipeline.from_pretrained(checkpoint), 128, 18, 190
    rival = load_rival(pipe.checkpoint)
    if rival is None:
        raise SystemExit(f"no rival lies in {checkpoint}")
    items = evenly(dataset, count)
    sheet = Image.new("RGB", (words + 5 * (side + GAP), title + len(items) * (side + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, heading in ((0, "a rival without a memory"), (3, "reference"), (4, "ours")):
        draw.text((words + column * (side + GAP), 3), heading, fill="#333333")
    for row, item in enumerate(items):
        output, y = pipe(item.captions[0], seed=row), title + row * (side + GAP)
        request = Request(caption=item.captions[0])
        theirs = [paint_rival(pipe, rival, replace(request, seeds=(seed,))) for seed in (0, 1000, 2000)]
        draw.text((GAP, y), "\n".join(textwrap.wrap(item.captions[0], 28)), fill="#333333")
        for column, picture in enumerate([*theirs, output.neighbours[0].image, output.images[0]]):
            square = picture.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(square, (words + column * (side + GAP), y))
    return sheet


def noise(checkpoint: Path, captions: list[str]) -> Image.Image:
    """Return a 3 x 3 grid over z a caption, side by side."""
    pipe, side, title = MemoryDrivenPipeline.from_pretrained(checkpoint), 96, 18
    block = 3 * (side + GAP) + 3 * GAP
    sheet = Image.new("RGB", (block * len(captions), block + title), "white")
    draw = ImageDraw.Draw(sheet)
    for column, caption in enumerate(captions):
        prepared = pipe.prepare(Request(caption=caption, k=1, seeds=(0,), mirror=False, window=WHOLE))
        first = pipe.noise(prepared.request, 0)
        draw.text((column * block + GAP, 3), caption, fill="#333333")
        for i in range(9):
            with torch.inference_mode():
                *_, last = pipe.paint(prepared, first._replace(z=pipe.noise(prepared.request, 1000 * i).z))
            picture = to_picture(last.image).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(picture, (column * block + i % 3 * (side + GAP), title + i // 3 * (side + GAP)))
    return sheet


def stages(checkpoint: Path, dataset: Path, n: int, shown: int = 6) -> Image.Image:
    """Print each stage's distances; return a sheet with a row a caption, every stage's picture in it."""
    pipe, data = MemoryDrivenPipeline.from_pretrained(checkpoint), PreparedDataset.open(dataset)
    prompts = choose_prompts(data, "test", n)
    context = Context(pipe=pipe, dataset=data, prompts=prompts, folder=Path("runs/stages/model"))
    pictures = painted(context)
    spaces = {"vgg": context.vgg_space, "squeezenet": context.squeezenet_space}
    references = context.images_of(context.split)
    real = {name: space(references) for name, space in spaces.items()}
    print(f"{len(prompts)} captions against {len(references)} images at {context.size} px")
    print("| stage | " + " | ".join(f"fd_{name} | kd_{name}" for name in spaces) + " |")
    print("|---" * (1 + 2 * len(spaces)) + "|")
    for size, stage in zip(pipe.resolutions, pictures, strict=True):
        cells = []
        for name, space in spaces.items():
            features = space(stage)
            distance = kernel_distance(real[name], features, subset_size=min(1000, len(prompts)))
            cells += [f"{frechet_distance(real[name], features):,.1f}", f"{distance.mean:,.3f}"]
        print(f"| {size} px | " + " | ".join(cells) + " |", flush=True)
    side, title = context.size + GAP, 18
    sheet = Image.new("RGB", (len(pictures) * side, title + min(shown, len(prompts)) * side), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (size, stage) in enumerate(zip(pipe.resolutions, pictures)):
        heading = f"stage {column + 1}: {size} px" + (", enlarged" if size < context.size else "")
        draw.text((column * side, 3), heading, fill="#333333")
        for row, image in enumerate(stage[:shown]):
            sheet.paste(to_picture(image[None].float() / 127.5 - 1), (column * side, title + row * side))
    return sheet


@torch.inference_mode()
def painted(context: Context) -> list[Tensor]:
    """Return each stage's pictures of all captions, uint8 (n, 3, s, s) of the last one's side s."""
    parts: list[list[Tensor]] = [[] for _ in context.checkpoint.generator.resolutions]
    requests = [
        context.request(prompt, context.seed + i, k=1, best_of=1) for i, prompt in enumerate(context.prompts)
    ]
    for start in tqdm(range(0, len(requests), context.batch), "pictures"):
        part = requests[start : start + context.batch]
        prepared = [context.pipe.prepare(request) for request in part]
        for place, made in enumerate(context.pipe.paint_many(prepared, [r.seeds[0] for r in part])):
            large = F.interpolate(made.float(), (context.size,) * 2, mode="bicubic", align_corners=False)
            parts[place].append(quantised(large))
    return [torch.cat(stage) for stage in parts]


def birds(count: int, columns: int, seed: int, side: int = 140) -> Image.Image:
    """Return birds, rendered at 256 px, on one page."""
    pictures = []
    for spec in tqdm(choose_birds(count, seed), "birds"):
        rgb, _ = render_birds([spec], 256)
        pictures.append(Image.fromarray(rgb[0].permute(1, 2, 0).numpy()))
    return tiled(pictures, columns, side, 6)


def choose_birds(count: int, seed: int) -> list[BirdSpec]:
    """Return specimens, body plans in turn, so that neighbours differ."""
    by_plan: dict[str, list[int]] = {}
    for species in all_species():
        by_plan.setdefault(species.attributes["body_plan"], []).append(species.id)
    plans = sorted(by_plan)
    chosen = []
    for k in range(count):
        members = by_plan[plans[(k * 7 + k // len(plans)) % len(plans)]]  # 7 steps through the plans
        chosen.append(sample_bird(members[(seed + k // len(plans)) % len(members)], seed + k, seed))
    return chosen


if __name__ == "__main__":
    main()
