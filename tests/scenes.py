"""Drawn pictures: unrelated scenes, and frames of one scene as from a hand-held camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from device.images import Image, encode_jpeg


def scene(number: int, side: int = 160) -> Image:
    """Return a picture of random shapes, uint8 [side, side, 3]; each number is another scene."""
    random = np.random.default_rng([7, number])
    base = random.integers(40, 200, 3)
    image = np.full((side, side, 3), base, np.uint8)
    for _ in range(60):
        color = tuple(int(value) for value in random.integers(0, 255, 3))
        x, y = (int(value) for value in random.integers(0, side, 2))
        if random.random() < 0.5:
            cv2.circle(image, (x, y), int(random.integers(3, side // 6)), color, -1)
        else:
            width, height = (int(value) for value in random.integers(4, side // 4, 2))
            cv2.rectangle(image, (x, y), (x + width, y + height), color, -1)
    return image


def frame(number: int, shot: int, side: int = 160) -> Image:
    """Return a shot of a scene: shifted by a few pixels and a little brighter or darker."""
    random = np.random.default_rng([11, number, shot])
    x, y = (int(value) for value in random.integers(0, 7, 2))
    part = scene(number, side)[y : side - 6 + y, x : side - 6 + x]
    lit = part * random.uniform(0.9, 1.1) + random.normal(0, 2, part.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)


def write(image: Image, *place: str | Path) -> Path:
    """Write a picture as JPEG and return its path."""
    path = Path(*place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(image, 92))
    return path
