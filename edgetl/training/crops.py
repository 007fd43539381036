"""Random crops of a photo for training all layers: another window, mirrored, with another brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from device.images import Image
from device.model.preprocess import Preprocessing

_ASPECT = 4 / 3  # largest ratio of a window's sides, relative to the photo's own


@dataclass(frozen=True)
class Crops:
    """How far a crop differs from its photo.

    Attributes:
        area: Smallest fraction of the photo's area that a crop shows; 1 keeps the whole window.
        fitted: Choose `area` by how well smaller crops are recognized, where photos are held out (`window`).
        flip: Mirror half of the crops left to right.
        vertical_flip: Mirror half of the crops top to bottom.
        brightness: Range of the brightness factor around 1.
        varied: Whether photos are varied at all; False prepares them as the device does.
    """

    area: float = 0.5
    flip: bool = True
    vertical_flip: bool = False
    brightness: float = 0.25
    varied: bool = True
    fitted: bool = False


def vary_photo(
    photo: Image, preprocessing: Preprocessing, crops: Crops, generator: np.random.Generator
) -> Image:
    """Return a random crop of `photo`, prepared for the backbone.

    The window covers `crops.area` to 100 % of the photo's area and has 3/4 to 4/3 of the input's aspect ratio
    (Szegedy et al. 2015, "Going deeper with convolutions").

    Args:
        photo: uint8 [H, W, 3] RGB, any size.
        preprocessing: Resizes the window and, for a gray backbone, removes the color.
        crops: How far the crop may differ.
        generator: Source of the random numbers; a fixed number is drawn, whatever the settings.

    Returns:
        uint8 [height, width, channels].
    """
    area, aspect, down, across, mirrored, inverted, light = generator.random(7)
    window = _window(
        photo, preprocessing.width / preprocessing.height, area, aspect, down, across, crops.area
    )
    image = preprocessing.prepare(window)
    if crops.flip and mirrored < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    if crops.vertical_flip and inverted < 0.5:
        image = np.ascontiguousarray(image[::-1])
    return _brighten(image, 1 + (2 * light - 1) * crops.brightness) if crops.brightness else image


def _window(
    photo: Image, shape: float, area: float, aspect: float, down: float, across: float, smallest: float
) -> Image:
    rows, columns = photo.shape[:2]
    wanted = (smallest + area * (1 - smallest)) * rows * columns  # pixels
    ratio = shape * math.exp((2 * aspect - 1) * math.log(_ASPECT))
    height = min(rows, max(1, round(math.sqrt(wanted / ratio))))
    width = min(columns, max(1, round(math.sqrt(wanted * ratio))))
    top, left = round((rows - height) * down), round((columns - width) * across)
    return photo[top : top + height, left : left + width]


def _brighten(image: Image, factor: float) -> Image:
    table = np.clip(np.arange(256) * factor, 0, 255).round().astype(np.uint8)
    brightened: Image = cv2.LUT(image, table).reshape(image.shape)
    return brightened
