"""Integers packed in as few bytes or bits as they need, for small states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 8192  # numbers to unpack into bits at a time; a multiple of 8, so that parts end on whole bytes


def pack_integers(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Pack int64 of any shape as uint8 of that shape plus one axis: the low bytes, as many as the largest value needs.

    Example:
        >>> pack_integers(np.array([3, -200])).shape
        (2, 2)
    """
    largest = max(int(values.max(initial=0)), -int(values.min(initial=0)) - 1)
    width = largest.bit_length() // 8 + 1  # with one bit for the sign
    wide = np.ascontiguousarray(values, "<i8").reshape(-1).view(np.uint8).reshape(*values.shape, 8)
    return np.ascontiguousarray(wide[..., :width])


def unpack_integers(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Unpack the result of `pack_integers`.

    Raises:
        ValueError: The last axis is not 1 to 8 bytes.
    """
    width = packed.shape[-1]
    if packed.dtype != np.uint8 or not 1 <= width <= 8:
        raise ValueError(f"expected integers packed in 1 to 8 bytes, got {packed.dtype} {packed.shape}")
    wide = np.empty((*packed.shape[:-1], 8), np.uint8)
    wide[..., :width] = packed
    wide[..., width:] = np.where(packed[..., -1:] >= 128, 255, 0)
    return wide.reshape(-1).view("<i8").reshape(packed.shape[:-1]).astype(np.int64)


def pack_rows(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pack rows of integers, each row with the number of bits that its largest value needs.

    Rows are sorted by their widths and packed as one stream of bits per width.

    Returns:
        The width of each row in bits, sign included, 0 for a row of zeros: uint8 [rows]; and the bits, uint8.

    Example:
        >>> widths, bits = pack_rows([np.array([3, -200]), np.array([0]), np.array([1, 1, -1])])
        >>> widths.tolist(), len(bits)
        ([9, 0, 2], 4)
    """
    widths = np.array([_width(row) for row in rows], np.uint8)
    streams = [np.zeros(0, np.uint8)]
    for width in sorted(set(widths.tolist()) - {0}):
        chosen = [row for row, one in zip(rows, widths.tolist(), strict=True) if one == width]
        streams.append(_pack_bits(np.concatenate(chosen), width))
    return widths, np.concatenate(streams)


def unpack_rows(
    widths: NDArray[np.uint8], bits: NDArray[np.uint8], lengths: Sequence[int]
) -> list[NDArray[np.int64]]:
    """Unpack the result of `pack_rows` for rows with the given lengths.

    Raises:
        ValueError: Widths, bits and lengths do not match.
    """
    if len(widths) != len(lengths) or bits.dtype != np.uint8 or (len(widths) and widths.max() > 64):
        raise ValueError(
            f"{len(lengths)} rows of bits need {len(lengths)} widths up to 64, got {len(widths)}"
        )
    rows = [np.zeros(length, np.int64) for length in lengths]
    start = 0
    for width in sorted(set(widths.tolist()) - {0}):
        chosen = np.flatnonzero(widths == width).tolist()
        total = sum(lengths[at] for at in chosen)
        stop = start + -(-total * width // 8)
        values = _unpack_bits(bits[start:stop], width, total)
        start = stop
        parts = np.split(values, np.cumsum([lengths[at] for at in chosen])[:-1])
        for at, part in zip(chosen, parts, strict=True):
            rows[at] = part
    if start != len(bits):
        raise ValueError(f"rows of bits end after {start} bytes, got {len(bits)}")
    return rows


def pack_symmetric(matrix: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Pack a symmetric matrix [D, D]: its diagonal, and each row to the right of it with the bits that it needs."""
    rows = [matrix[at, at + 1 :] for at in range(len(matrix))]
    widths, bits = pack_rows(rows)
    return {"gram_diagonal": np.diagonal(matrix).copy(), "gram_widths": widths, "gram_bits": bits}


def unpack_symmetric(state: Mapping[str, NDArray[Any]], dimensions: int) -> NDArray[np.float64]:
    """Unpack the result of `pack_symmetric` as float64 [D, D].

    Raises:
        ValueError: The state has another number of dimensions.
    """
    lengths = list(range(dimensions - 1, -1, -1))
    rows = unpack_rows(state["gram_widths"], state["gram_bits"], lengths)
    matrix = np.zeros((dimensions, dimensions))
    for at, row in enumerate(rows):
        matrix[at, at + 1 :] = row
    matrix += matrix.T
    matrix[np.diag_indices(dimensions)] = state["gram_diagonal"]
    return matrix


def _width(row: NDArray[np.int64]) -> int:
    largest = max(int(row.max(initial=0)), -int(row.min(initial=0)) - 1)
    return largest.bit_length() + 1 if row.any() else 0  # with one bit for the sign


def _pack_bits(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    parts = [values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE)]
    return np.concatenate([np.packbits(_bits(part)[:, 64 - width :]) for part in parts])


def _unpack_bits(packed: NDArray[np.uint8], width: int, count: int) -> NDArray[np.int64]:
    values = np.empty(count, np.int64)
    for at in range(0, count, _AT_ONCE):
        number = min(_AT_ONCE, count - at)
        part = packed[at * width // 8 : -(-(at + number) * width // 8)]
        bits = np.unpackbits(part, count=number * width).reshape(number, width)
        wide = np.concatenate([np.repeat(bits[:, :1], 64 - width, axis=1), bits], axis=1)
        values[at : at + number] = np.packbits(wide, axis=1).view(">i8").ravel()
    return values


def _bits(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.unpackbits(values.astype(">i8").view(np.uint8)).reshape(-1, 64)
