"""Whether photos and a model agree on color."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from device.errors import PhotoError
from device.images import Image, read_photo

_LOOKED_AT = 8  # photos
_STEP = 8  # every eighth pixel in both directions is enough
_GRAY = 10  # levels between the channels of a gray photo, which JPEG may add
_COLORED = 12.0  # mean levels between the channels of a photo in color


def describe_colors(paths: Sequence[Path], channels: int) -> tuple[str, ...]:
    """Return a warning when all photos are gray and the model takes RGB, or some are in color and it takes gray.

    Args:
        paths: The photos; a few, evenly spaced, are read. Those that cannot be read are left out.
        channels: 3 for a model of RGB, 1 for gray.
    """
    images = [image for path in _some(paths) if (image := _read(path)) is not None]
    if not images:
        return ()
    differences = [np.ptp(image[::_STEP, ::_STEP].astype(np.int16), axis=-1) for image in images]
    if channels == 3 and all(int(difference.max()) <= _GRAY for difference in differences):
        return (
            f"the photos are gray ({len(images)} of {len(paths)} were looked at), and the model takes RGB: it works, with "
            "three equal channels, but photos from a color camera differ; use photos from the camera",
        )
    if channels == 1 and any(float(difference.mean()) > _COLORED for difference in differences):
        return (
            "photos are in color, and the model takes gray images: they are turned gray, and labels that only differ in "
            "color look the same; use a model that takes RGB for those",
        )
    return ()


def _some(paths: Sequence[Path]) -> list[Path]:
    if not paths:
        return []
    return [
        paths[place] for place in np.unique(np.linspace(0, len(paths) - 1, _LOOKED_AT).round().astype(int))
    ]


def _read(path: Path) -> Image | None:
    try:
        return read_photo(path)
    except (PhotoError, OSError):
        return None
