from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from memdriven.data.transforms import (
    centre_square,
    random_crop_flip,
    resize_for_training,
    to_bytes,
    to_picture,
    to_symmetric,
    to_tensor,
    to_unit,
)


def _ramp(width: int, height: int) -> Image.Image:
    columns = np.linspace(0, 255, width).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(columns[None, :, None], (height, width, 3)).copy())


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (60, 60)])
def test_the_centre_square_is_the_middle(size: tuple[int, int]) -> None:
    image = _ramp(*size)
    square = np.asarray(centre_square(image, 30)).astype(float)
    assert square.shape == (30, 30, 3)
    left = (size[0] - 60) // 2
    crop = np.asarray(image)[:, left : left + 60].astype(float)
    wanted = crop[:60].reshape(30, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(square - wanted)[2:-2, 2:-2].max() < 2


def test_training_images_leave_room_for_the_crop() -> None:
    assert resize_for_training(_ramp(100, 80), 64).size == (76, 76)
    assert resize_for_training(_ramp(100, 80), 64, crop=1.0).size == (64, 64)


def test_ranges_and_shapes() -> None:
    image = Image.new("RGB", (5, 4), (0, 128, 255))
    levels = to_bytes(image)
    assert levels.shape == (3, 4, 5)
    assert levels.dtype == torch.uint8
    assert torch.equal(to_tensor(image), to_unit(levels))
    assert to_symmetric(levels)[0].max() == -1
    assert to_symmetric(levels)[2].min() == 1
    back = to_picture(to_tensor(image) * 1.0 + torch.tensor([-1.0, 0.0, 1.0])[:, None, None])
    assert back.size == (5, 4)
    assert back.getpixel((0, 0)) == (0, 128, 255)  # clipped


def test_crops_are_windows_of_the_images_and_repeat() -> None:
    images = torch.arange(6 * 3 * 9 * 9).view(6, 3, 9, 9)
    crops = random_crop_flip(images, 6, torch.Generator().manual_seed(3))
    again = random_crop_flip(images, 6, torch.Generator().manual_seed(3))
    assert torch.equal(crops, again)
    found = set()
    for image, crop in zip(images, crops, strict=True):
        windows = {
            (top, left, mirror): image[:, top : top + 6, left : left + 6]
            for top in range(4)
            for left in range(4)
            for mirror in (False, True)
        }
        hits = [
            key for key, window in windows.items() if torch.equal(crop, window.flip(-1) if key[2] else window)
        ]
        assert len(hits) == 1
        found.add(hits[0])
    assert len(found) > 3


def test_without_flip_and_without_room_the_images_stay() -> None:
    images = torch.rand(8, 3, 6, 6)
    assert torch.equal(random_crop_flip(images, 6, torch.Generator(), flip=False), images)
