"""Augmented copies of a photo: another window, mirrored, other light."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.model.preprocess import Preprocessing

from .settings import Augmentation


def vary(
    image: Image, preprocessing: Preprocessing, augmentation: Augmentation, generator: np.random.Generator
) -> Image:
    """Return one augmented copy of `image`, prepared for the backbone.

    Args:
        image: uint8 [H, W, 3] RGB, any size.
        preprocessing: Crops and resizes the window, as on the device.
        augmentation: Ranges of the changes.
        generator: Random numbers; the same number is drawn for all settings.

    Returns:
        uint8 [height, width, channels].
    """
    area, down, across, across_flip, upright_flip, *light = generator.random(10)
    window = _window(image, area, down, across, augmentation.crop)
    copy = preprocessing.prepare(window)
    if augmentation.flip and across_flip < 0.5:
        copy = np.ascontiguousarray(copy[:, ::-1])
    if augmentation.vertical_flip and upright_flip < 0.5:
        copy = np.ascontiguousarray(copy[::-1])
    return _light(copy, np.array(light), augmentation.color) if augmentation.color else copy


def _window(image: Image, area: float, down: float, across: float, smallest: float) -> Image:
    side = np.sqrt(1 - area * (1 - smallest))
    rows, columns = image.shape[:2]
    height, width = max(1, round(rows * side)), max(1, round(columns * side))
    top, left = round((rows - height) * down), round((columns - width) * across)
    return image[top : top + height, left : left + width]


def _light(image: Image, drawn: NDArray[np.float64], strength: float) -> Image:
    # [brightness, contrast, red, green, blue], each from -1 to 1
    brightness, contrast, *balance = (2 * drawn - 1) * strength
    gains = (1 + contrast) * (1 + np.array(balance) / 2)
    offset = 127.5 * (1 - (1 + contrast)) + 127.5 * brightness
    tables = np.clip(np.arange(256)[:, None] * gains + offset, 0, 255).round().astype(np.uint8)
    # OpenCV would drop the axis of a single channel
    varied: Image = tables[image[..., 0], :1] if image.shape[2] == 1 else cv2.LUT(image, tables[None])
    return varied
