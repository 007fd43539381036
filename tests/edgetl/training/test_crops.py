"""Random crops of photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device.model.preprocess import Preprocessing
from edgetl.errors import TrainingError
from edgetl.training.crops import Crops, vary_photo
from edgetl.training.settings import augment_as

WHOLE = Crops(area=1, flip=False, brightness=0)
TARGET = Preprocessing(32, 32, resize="squash")


def ramp(rows: int = 120, columns: int = 160) -> np.ndarray:
    """Return a photo whose red rises from left to right and whose green rises from top to bottom."""
    photo = np.zeros((rows, columns, 3), np.uint8)
    photo[..., 0] = np.linspace(0, 255, columns)
    photo[..., 1] = np.linspace(0, 255, rows)[:, None]
    return photo


def crop(crops: Crops, seed: int) -> np.ndarray:
    """Return one crop of the ramp, int64."""
    return vary_photo(ramp(), TARGET, crops, np.random.default_rng(seed)).astype(np.int64)


def test_crops_show_the_wanted_part_of_the_area() -> None:
    """The range of red times the range of green is the fraction of the area."""
    areas = []
    for seed in range(200):
        image = crop(Crops(area=0.35, flip=False, brightness=0), seed)
        areas.append(np.ptp(image[..., 0]) / 255 * np.ptp(image[..., 1]) / 255)
    assert 0.30 < min(areas) < 0.42
    assert 0.8 < max(areas) <= 1


def test_half_of_the_crops_are_mirrored() -> None:
    """Red falls from left to right then; green is never turned over unless wanted."""
    mirrored = [crop(Crops(area=0.9, brightness=0), seed) for seed in range(200)]
    falling = sum(image[0, 0, 0] > image[0, -1, 0] for image in mirrored)
    assert 70 < falling < 130
    assert all(image[0, 0, 1] < image[-1, 0, 1] for image in mirrored)
    inverted = [crop(Crops(area=0.9, brightness=0, vertical_flip=True), seed) for seed in range(200)]
    assert 70 < sum(image[0, 0, 1] > image[-1, 0, 1] for image in inverted) < 130


def test_brightness_stays_within_its_range() -> None:
    """A gray of 100 becomes 75 to 125."""
    gray = np.full((40, 40, 3), 100, np.uint8)
    values = [
        int(vary_photo(gray, TARGET, Crops(), np.random.default_rng(seed))[0, 0, 0]) for seed in range(200)
    ]
    assert 75 <= min(values) < 80
    assert 120 < max(values) <= 125


def test_the_smallest_photo_has_a_crop() -> None:
    """One pixel, resized to the input."""
    image = vary_photo(np.full((1, 1, 3), 9, np.uint8), TARGET, WHOLE, np.random.default_rng(0))
    assert image.shape == (32, 32, 3)
    assert (image == 9).all()


def options(strength: str | None, **change: float | None) -> tuple[float, ...]:
    """Return copies, crop and color of copies, and area and brightness of crops."""
    given = {"crop": None, "color": None} | change
    copies, crops = augment_as(strength, copies=3, flip=True, vertical_flip=False, **given)  # type: ignore[arg-type]  # a dict of floats
    return copies.copies, copies.crop, copies.color, crops.area, crops.brightness


def test_strengths_set_crop_and_brightness() -> None:
    """Strong is the default for crops, light for copies; none makes no copies."""
    assert options(None) == (3, 0.7, 0.15, 0.5, 0.25)
    assert options("light") == (3, 0.7, 0.15, 0.7, 0.15)
    assert options("strong") == (3, 0.5, 0.25, 0.5, 0.25)
    assert options("none")[0] == 0
    assert not augment_as("none", copies=3, flip=True, vertical_flip=False, crop=None, color=None)[1].varied


def test_crop_and_color_replace_those_of_the_strength() -> None:
    """For copies and for crops."""
    assert options("strong", crop=0.8, color=0.0) == (3, 0.8, 0.0, 0.8, 0.0)


def test_the_area_is_fitted_to_the_photos_unless_it_is_given() -> None:
    """By a strength or by a number."""
    given: dict[str, Any] = {"copies": 3, "flip": True, "vertical_flip": False, "color": None}
    assert augment_as(None, crop=None, **given)[1].fitted
    assert not augment_as("strong", crop=None, **given)[1].fitted
    assert not augment_as(None, crop=0.5, **given)[1].fitted


def test_an_unknown_strength_is_refused() -> None:
    """The message names the known ones."""
    with pytest.raises(TrainingError, match="none, light, strong"):
        options("wild")
