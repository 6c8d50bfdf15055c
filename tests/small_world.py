"""A tiny captioned data set with features, for tests: coloured squares and discs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from memdriven.data.prepared import Item, write_prepared

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
SHAPES = ("square", "disc")
CHANNELS, GRID = 512, 4


def write_world(folder: Path, train: int = 24, test: int = 6, size: int = 64) -> list[Item]:
    """Write a prepared data set; class = shape, captions name colour and shape."""
    items = []
    for number in range(train + test):
        split = "train" if number < train else "test"
        colour = list(COLOURS)[number % 3]
        shape = SHAPES[number // 3 % 2]
        item_id = f"{split}-{number:03d}"
        item = Item(
            id=item_id,
            split=split,
            class_id=number // 3 % 2,
            class_name=shape,
            captions=[f"a {colour} {shape}", f"this {shape} is {colour}"],
            attributes={"colour": colour},
            caption_attributes=[{"colour": colour}, {"colour": colour}],
        )
        path = folder / item.file
        path.parent.mkdir(parents=True, exist_ok=True)
        _draw(colour, shape, size, number).save(path, quality=90)
        items.append(item)
    write_prepared(
        folder,
        name="small-world",
        items=items,
        classes=SHAPES,
        image_size=size,
        source="drawn by the tests",
        licence="Apache-2.0",
    )
    return items


def _draw(colour: str, shape: str, size: int, number: int) -> Image.Image:
    image = Image.new("RGB", (size, size), (200, 200, 190))
    left = 4 + number % 5
    box = (left, left, left + size // 2, left + size // 2)
    draw = ImageDraw.Draw(image)
    (draw.rectangle if shape == "square" else draw.ellipse)(box, fill=COLOURS[colour])
    return image


def fake_v(item: Item) -> np.ndarray:
    """Return a sparse, non-negative (512, 4, 4) map that depends on colour and shape."""
    row = list(COLOURS).index(str(item.attributes["colour"])) * 2 + SHAPES.index(item.class_name)
    random = np.random.default_rng(int(item.id.split("-")[1]))
    v = np.maximum(random.normal(-2.0, 1.0, (CHANNELS, GRID, GRID)), 0)
    v[row * 40 : row * 40 + 40, 1:3, 1:3] += random.uniform(2, 6, (40, 2, 2))
    return v.astype(np.float32)


def write_features(folder: Path, items: list[Item], encoder: str = "0" * 16) -> None:
    """Write a feature store of `fake_v`."""
    from memdriven.memory.features import encode_v, write_store

    folder.mkdir(parents=True, exist_ok=True)
    blobs = [encode_v(fake_v(item)) for item in items]
    write_store(folder, [item.id for item in items], blobs, (CHANNELS, GRID, GRID), {"encoder": encoder})
