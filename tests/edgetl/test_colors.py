"""Gray photos for an RGB model, and the reverse."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgetl.colors import describe_colors
from tests import tiny


@pytest.fixture
def gray(tmp_path: Path) -> list[Path]:
    """Return photos whose three channels are nearly equal, as JPEG files."""
    paths = [tmp_path / f"{number}.jpg" for number in range(20)]
    for number, path in enumerate(paths):
        level = np.random.default_rng(number).integers(0, 256, (40, 40, 1), np.uint8)
        cv2.imwrite(str(path), np.repeat(cv2.blur(level, (5, 5))[..., None], 3, axis=2))
    return paths


def test_gray_photos_for_a_model_of_rgb_are_reported(gray: list[Path], tmp_path: Path) -> None:
    """Not where some are in color, and not for a gray model."""
    (warning,) = describe_colors(gray, 3)
    assert "the photos are gray (8 of 20 were looked at)" in warning
    assert describe_colors(gray, 1) == ()
    colored = [path for path, _ in tiny.write_photos(tmp_path / "photos")]
    assert describe_colors([*gray, *colored], 3) == ()


def test_colored_photos_for_a_gray_model_are_reported(tmp_path: Path) -> None:
    """Photos that cannot be read are left out, and no photos are no reason to warn."""
    colored = [path for path, _ in tiny.write_photos(tmp_path / "photos")]
    colored[0].write_bytes(b"damaged")
    (warning,) = describe_colors(colored, 1)
    assert "turned gray" in warning
    assert (
        describe_colors(colored, 3)
        == describe_colors([], 1)
        == describe_colors([tmp_path / "no.png"], 3)
        == ()
    )
