"""A tiny prepared data set of coloured squares: top and bottom have a colour each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from memdriven.data.prepared import Item, image_file, write_prepared

RGB = {"red": (200, 30, 30), "blue": (40, 60, 200), "yellow": (240, 220, 40), "black": (20, 20, 20)}
COLOURS = tuple(RGB)


def _item(rng: random.Random, folder: Path, split: str, number: int, classes: int) -> Item:
    top, bottom = rng.choice(COLOURS), rng.choice(COLOURS)
    picture = Image.new("RGB", (64, 64), RGB[top])
    picture.paste(RGB[bottom], (0, 32, 64, 64))
    item_id = f"{split}{number:03d}"
    path = folder / image_file(split, item_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "WEBP", quality=90)
    offset = 0 if split == "train" else classes
    return Item(
        id=item_id,
        file=image_file(split, item_id),
        split=split,
        class_id=offset + number % classes,
        class_name=f"{split} class {number % classes}",
        captions=[f"a thing with a {top} head", f"a {top} head above a {bottom} tail"],
        attributes={"head": top, "tail": bottom, "always": "same"},
        caption_attributes=[{"head": top}, {"head": top, "tail": bottom}],
        visible=["head", "tail"],
    )


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 48 training and 16 test images of two-coloured squares, four classes a split."""
    folder = tmp_path_factory.mktemp("squares")
    rng = random.Random(5)
    items = [_item(rng, folder, "train", i, 4) for i in range(48)]
    items += [_item(rng, folder, "test", i, 4) for i in range(16)]
    classes = [f"train class {i}" for i in range(4)] + [f"test class {i}" for i in range(4)]
    write_prepared(folder, name="squares", items=items, classes=classes, image_size=64)
    return folder
