"""A page of birds, to look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from memdriven.aviary.render import render_birds
from memdriven.aviary.species import BirdSpec, all_species, sample_bird

GAP = 6
PAPER = (250, 249, 245)


def choose_birds(count: int, seed: int) -> list[BirdSpec]:
    """`count` specimens, body plans in turn, so that neighbours differ.

    Species and sightings change with the seed.
    """
    by_plan: dict[str, list[int]] = {}
    for species in all_species():
        by_plan.setdefault(species.body_plan, []).append(species.id)
    plans = sorted(by_plan)
    birds = []
    for k in range(count):
        members = by_plan[plans[(k * 7 + k // len(plans)) % len(plans)]]  # 7 steps through the plans
        birds.append(sample_bird(members[(seed + k // len(plans)) % len(members)], seed + k, seed))
    return birds


def contact_sheet(
    birds: Sequence[BirdSpec] | None = None,
    *,
    columns: int = 8,
    rows: int = 5,
    size: int = 256,
    tile: int = 140,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Image.Image:
    """Render birds (a varied choice when None) into one picture.

    Each is rendered at `size` px and shown at `tile` px, in reading order.
    """
    chosen = list(birds) if birds is not None else choose_birds(columns * rows, seed)
    rows = -(-len(chosen) // columns)
    step = tile + GAP
    sheet = Image.new("RGB", (columns * step + GAP, rows * step + GAP), PAPER)
    for k, spec in enumerate(chosen):
        rgb, _ = render_birds([spec], size, device)
        picture = Image.fromarray(rgb[0].permute(1, 2, 0).cpu().numpy())
        if tile != size:
            picture = picture.resize((tile, tile), Image.Resampling.LANCZOS)
        sheet.paste(picture, (GAP + (k % columns) * step, GAP + (k // columns) * step))
    return sheet
