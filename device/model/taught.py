"""What the host already taught, carried inside the model file so that a device forgets nothing of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import pack_arrays, pack_texts, unpack_arrays, unpack_texts
from ..errors import ArraysError, ModelFileError
from .codes import Codes


@dataclass(frozen=True)
class Taught:
    """Samples of the host: fixed-point embeddings with their labels.

    Attributes:
        codes: int16 [N, D].
        labels: N labels.
    """

    codes: Codes
    labels: tuple[str, ...]


@dataclass(frozen=True)
class TaughtStatistics:
    """Sums over the host's samples, in integers of the fixed point; exact whatever their number.

    Attributes:
        labels: C labels, sorted.
        counts: int64 [C], samples a label.
        sums: int64 [C, D], sums of codes.
        gram: float64 [D, D] of whole numbers, the sum of the codes' outer products.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    sums: NDArray[np.int64]
    gram: NDArray[np.float64]


def pack_taught(taught: Taught | TaughtStatistics) -> bytes:
    """Write `taught` as npz bytes."""
    if isinstance(taught, Taught):
        # codes are stored by dimension: neighbours are alike there and deflate saves about a tenth more
        names = sorted(set(taught.labels))
        index = np.array([names.index(label) for label in taught.labels], np.int32)
        return pack_arrays({"names": pack_texts(names), "codes": taught.codes.T, "index": index})
    rows, columns = np.triu_indices(len(taught.gram))
    return pack_arrays(
        {
            "names": pack_texts(list(taught.labels)),
            "counts": taught.counts,
            "sums": taught.sums,
            "gram": taught.gram[rows, columns].astype(np.int64),
        }
    )


def unpack_taught(data: bytes, dimensions: int) -> Taught | TaughtStatistics:
    """Read what `pack_taught` wrote.

    Raises:
        ModelFileError: The bytes are damaged or not of embeddings with `dimensions` numbers.
    """
    try:
        arrays = unpack_arrays(data)
        taught = _samples(arrays) if "codes" in arrays else _statistics(arrays, dimensions)
    except (ArraysError, KeyError, IndexError, ValueError) as error:
        raise ModelFileError(
            f"taught.npz in the model file is damaged: {error}; convert the model again"
        ) from error
    width = taught.codes.shape[1] if isinstance(taught, Taught) else taught.sums.shape[1]
    if width != dimensions:
        raise ModelFileError(f"taught.npz holds embeddings of {width} numbers, the model gives {dimensions}")
    return taught


def _samples(arrays: dict[str, NDArray[Any]]) -> Taught:
    codes, index, names = arrays["codes"].T, arrays["index"], unpack_texts(arrays["names"])
    if codes.dtype != np.int16 or codes.ndim != 2 or index.shape != codes.shape[:1]:
        raise ArraysError(f"codes {codes.shape} of {codes.dtype} do not fit {index.shape} labels")
    if index.size and (index.min() < 0 or index.max() >= len(names)):
        raise ArraysError("a label's number lies outside the list of labels")
    return Taught(np.ascontiguousarray(codes), tuple(names[number] for number in index))


def _statistics(arrays: dict[str, NDArray[Any]], dimensions: int) -> TaughtStatistics:
    names, counts, sums = unpack_texts(arrays["names"]), arrays["counts"], arrays["sums"]
    if counts.shape != (len(names),) or sums.shape != (len(names), dimensions):
        raise ArraysError(f"counts {counts.shape} and sums {sums.shape} do not fit {len(names)} labels")
    gram = np.zeros((dimensions, dimensions))
    rows, columns = np.triu_indices(dimensions)
    gram[rows, columns] = arrays["gram"]
    gram[columns, rows] = arrays["gram"]
    return TaughtStatistics(tuple(names), counts.astype(np.int64), sums.astype(np.int64), gram)
