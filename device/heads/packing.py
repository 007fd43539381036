"""Statistics as arrays of packed integers: their form in messages between devices and in the state file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import pack_texts, unpack_texts
from ..errors import ArraysError
from ..model.memory import Sums
from .base import State
from .integers import pack_integers, pack_symmetric, unpack_integers, unpack_symmetric


def pack_sums(sums: Sums) -> State:
    """Return statistics as arrays; their content keys are left out."""
    arrays: State = {
        "names": pack_texts(list(sums.labels)),
        "counts": sums.numbers.astype(np.int64),
        "sums": pack_integers(sums.sums),
    }
    return arrays | pack_symmetric(sums.gram.astype(np.int64))


def unpack_sums(arrays: Mapping[str, NDArray[Any]], dimensions: int) -> Sums:
    """Return the statistics in arrays from `pack_sums`.

    Raises:
        ArraysError: An array is missing, or has another type or number of axes.
        ValueError: The arrays do not fit one another.
    """
    symmetric = {
        "gram_diagonal": checked_array(arrays, "gram_diagonal", np.int64, 1),
        "gram_widths": checked_array(arrays, "gram_widths", np.uint8, 1),
        "gram_bits": checked_array(arrays, "gram_bits", np.uint8, 1),
    }
    return Sums(
        tuple(unpack_texts(checked_array(arrays, "names", np.uint8, 1))),
        checked_array(arrays, "counts", np.int64, 1),
        unpack_integers(checked_array(arrays, "sums", np.uint8, 3)),
        unpack_symmetric(symmetric, dimensions),
    )


def checked_array(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic], axes: int
) -> NDArray[Any]:
    """Return an array after its type and its number of axes are checked.

    Raises:
        ArraysError: The array is missing, or is not of this form.
    """
    if name not in arrays:
        raise ArraysError(f"the array {name} is missing")
    found = arrays[name]
    if found.dtype != np.dtype(dtype).newbyteorder("<") or found.ndim != axes:
        raise ArraysError(
            f"{name} must be {np.dtype(dtype).name} with {axes} axes, got {found.dtype} {list(found.shape)}"
        )
    return found.astype(dtype, copy=False)  # the machine's own byte order
