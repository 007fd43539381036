"""Whole numbers in as few bytes as they need, for small states."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_integers(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Write int64 of any shape as uint8 of that shape plus one axis: the low bytes that hold every value.

    Example:
        >>> pack_integers(np.array([3, -200])).shape
        (2, 2)
    """
    largest = max(int(values.max(initial=0)), -int(values.min(initial=0)) - 1)
    width = largest.bit_length() // 8 + 1  # one bit more for the sign
    wide = np.ascontiguousarray(values, "<i8").reshape(-1).view(np.uint8).reshape(*values.shape, 8)
    return np.ascontiguousarray(wide[..., :width])


def unpack_integers(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Read what `pack_integers` wrote.

    Raises:
        ValueError: The last axis is not 1 to 8 bytes.
    """
    width = packed.shape[-1]
    if packed.dtype != np.uint8 or not 1 <= width <= 8:
        raise ValueError(f"whole numbers are packed in 1 to 8 bytes, got {packed.dtype} {packed.shape}")
    wide = np.empty((*packed.shape[:-1], 8), np.uint8)
    wide[..., :width] = packed
    wide[..., width:] = np.where(packed[..., -1:] >= 128, 255, 0)
    return wide.reshape(-1).view("<i8").reshape(packed.shape[:-1]).astype(np.int64)
