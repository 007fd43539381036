"""Ranges of pixel values that models expect."""

from __future__ import annotations

import re

from .errors import ConversionError

RANGES = ("0..255", "0..1", "-1..1", "imagenet")
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_NUMBERS = re.compile(r"^(-?[\d.]+)\.\.(-?[\d.]+)$")


def normalization(input_range: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std, in pixel values, that map pixels 0..255 to a range.

    Args:
        input_range: One of `RANGES`, or any ``LOW..HIGH``.
        channels: 3 for RGB, 1 for gray.

    Raises:
        ConversionError: The range is malformed, or is for RGB and the model is gray.

    Example:
        >>> normalization("-1..1", 1)
        ((127.5,), (127.5,))
    """
    if input_range == "imagenet":
        if channels != 3:
            raise ConversionError("the input range imagenet is for RGB, but the model takes gray images")
        return _IMAGENET
    low, high = _ends(input_range)
    std = 255 / (high - low)
    return (0.0 - low * std,) * channels, (std,) * channels


def _ends(input_range: str) -> tuple[float, float]:
    found = _NUMBERS.match(input_range)
    try:
        low, high = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise ConversionError(
            f"the input range must be {', '.join(RANGES)} or LOW..HIGH such as -0.5..0.5, got {input_range!r}"
        )
    return low, high
