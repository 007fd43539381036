"""The memory as bytes in the model file: npz arrays, checked before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import MAX_BYTES, pack_arrays, pack_texts, unpack_arrays, unpack_texts
from ..errors import ArraysError, LabelError, ModelFileError
from ..labels import check_labels
from .codes import Keys
from .memory import Memory, Samples, Sums

_GREATEST = 32767  # of a code; -32768 is never written
# more would leave float64's exact whole numbers in a second moment of codes up to 32767
_MOST_SAMPLES = 2**23
_ROOM = 64 * 2**20  # bytes for labels, keys and the sums per label
_ROUNDING = 1e-9  # relative; bounds are compared in float64

Arrays = Mapping[str, NDArray[Any]]


def pack_memory(memory: Memory) -> bytes:
    """Return `memory` as npz bytes."""
    if isinstance(memory, Samples):
        return pack_arrays(_samples_arrays(memory))
    if isinstance(memory, Sums):
        return pack_arrays(_sums_arrays(memory))
    raise TypeError(f"a memory must be Samples or Sums, got {type(memory).__name__}")


def _samples_arrays(samples: Samples) -> dict[str, NDArray[Any]]:
    # codes are stored by dimension: neighbors are alike there and deflate saves about a tenth more
    names = sorted(set(samples.labels))
    places = {name: place for place, name in enumerate(names)}
    index = np.array([places[label] for label in samples.labels], np.int32)
    arrays: dict[str, NDArray[Any]] = {"names": pack_texts(names), "codes": samples.codes.T, "index": index}
    if samples.judge is not None:
        arrays["judge"] = samples.judge.astype(np.uint8)
    if samples.groups is not None:
        arrays["group"] = samples.groups.astype(np.int32)
    return arrays


def unpack_memory(data: bytes, dimensions: int) -> Memory:
    """Read what `pack_memory` wrote.

    Raises:
        ModelFileError: The bytes are damaged, contain values that no samples have, or belong to embeddings of other
            `dimensions`.
    """
    try:
        arrays = unpack_arrays(data, max_bytes=_most_bytes(dimensions))
        return _samples(arrays, dimensions) if "codes" in arrays else _sums(arrays, dimensions)
    except (ArraysError, LabelError) as error:
        raise ModelFileError(
            f"taught.npz in the model file is damaged: {error}; copy the file again or convert the model again"
        ) from error


def _most_bytes(dimensions: int) -> int:
    """Return how many bytes a memory may unpack to: more than either form needs, far less than a hostile file would like.

    Samples are kept up to about ``4 D``, which is ``8 D**2`` bytes; sums need ``4 D**2`` bytes and some for each label.
    """
    return min(MAX_BYTES, _ROOM + 24 * dimensions**2)


def _sums_arrays(sums: Sums) -> dict[str, NDArray[Any]]:
    rows, columns = np.triu_indices(len(sums.gram))
    keys = {"keys": sums.keys.astype(np.uint64)} if len(sums.keys) else {}
    return {
        **keys,
        "names": pack_texts(list(sums.labels)),
        "counts": sums.numbers.astype(np.int64),
        "sums": sums.sums.astype(np.int64),
        "gram": sums.gram[rows, columns].astype(np.int64),
    }


def _samples(arrays: Arrays, dimensions: int) -> Samples:
    names, codes = _names(arrays), _array(arrays, "codes", np.int16, (dimensions, None))
    count = codes.shape[1]
    index = _array(arrays, "index", np.int32, (count,))
    if not count:
        raise ArraysError("it contains no sample")
    if index.min() < 0 or index.max() >= len(names):
        raise ArraysError(f"a label's number is outside the list of {len(names)} labels")
    if codes.min() < -_GREATEST:
        raise ArraysError(f"codes must be within -{_GREATEST} and {_GREATEST}")
    return Samples(
        np.ascontiguousarray(codes.T),
        tuple(names[number] for number in index),
        _judge(arrays, count),
        _groups(arrays, count),
    )


def _judge(arrays: Arrays, count: int) -> NDArray[np.bool_] | None:
    if "judge" not in arrays:
        return None
    judge = _array(arrays, "judge", np.uint8, (count,))
    if judge.max() > 1:
        raise ArraysError("judge must contain only 0 and 1")
    return judge.astype(np.bool_)


def _groups(arrays: Arrays, count: int) -> NDArray[np.int32] | None:
    if "group" not in arrays:
        return None
    groups: NDArray[np.int32] = _array(arrays, "group", np.int32, (count,))
    if groups.min() < 0:
        raise ArraysError("group must not contain negative numbers")
    return groups


def _sums(arrays: Arrays, dimensions: int) -> Sums:
    names = _names(arrays)
    counts = _array(arrays, "counts", np.int64, (len(names),))
    sums = _array(arrays, "sums", np.int64, (len(names), dimensions))
    upper = _array(arrays, "gram", np.int64, (dimensions * (dimensions + 1) // 2,))
    _check_counts(counts, sums)
    gram = np.empty((dimensions, dimensions))  # no larger than twice what was just read
    rows, columns = np.triu_indices(dimensions)
    gram[rows, columns] = upper
    gram[columns, rows] = upper
    _check_gram(counts, sums, gram)
    return Sums(names, counts, sums, gram, _keys(arrays, int(counts.sum())))


def _keys(arrays: Arrays, count: int) -> Keys:
    if "keys" not in arrays:
        return np.zeros(0, np.uint64)
    keys: Keys = _array(arrays, "keys", np.uint64, (None,))
    if len(keys) > count or (keys[1:] <= keys[:-1]).any():
        raise ArraysError(f"keys must be sorted, each once, and at most {count}, the number of samples")
    return keys


def _check_counts(counts: NDArray[np.int64], sums: NDArray[np.int64]) -> None:
    if counts.min() < 1 or counts.max() > _MOST_SAMPLES or counts.sum() > _MOST_SAMPLES:
        raise ArraysError(
            f"each label must have 1 to {_MOST_SAMPLES} samples, got {counts.min()} to {counts.max()}"
        )
    bound = counts[:, np.newaxis] * _GREATEST
    if (sums > bound).any() or (sums < -bound).any():
        raise ArraysError(f"a sum is larger than its number of samples times {_GREATEST}")


def _check_gram(counts: NDArray[np.int64], sums: NDArray[np.int64], gram: NDArray[np.float64]) -> None:
    """Refuse a second moment that no samples with these counts and sums have (Cauchy-Schwarz)."""
    diagonal = np.diagonal(gram)
    least = (sums.astype(np.float64) ** 2 / counts[:, np.newaxis]).sum(axis=0)
    room = 1 + _ROUNDING
    if (diagonal > float(counts.sum()) * _GREATEST**2).any() or (diagonal * room < least).any():
        raise ArraysError("the second moment does not fit the counts and sums")
    if (gram**2 > np.outer(diagonal, diagonal) * room).any():
        raise ArraysError("no samples have this second moment")


def _names(arrays: Arrays) -> tuple[str, ...]:
    stored = tuple(unpack_texts(_array(arrays, "names", np.uint8, (None,))))
    names = check_labels(stored, stored=True)
    if not names or names != stored or list(names) != sorted(names):
        raise ArraysError("the labels must be sorted, in their canonical form, and at least one")
    return names


def _array(arrays: Arrays, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return an array after its dtype and shape are checked; None in `shape` means any length."""
    if name not in arrays:
        raise ArraysError(f"the array {name} is missing")
    found = arrays[name]
    fits = len(found.shape) == len(shape) and all(
        wanted in (None, side) for wanted, side in zip(shape, found.shape, strict=True)
    )
    if found.dtype != np.dtype(dtype).newbyteorder("<") or not fits:
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise ArraysError(
            f"{name} must be {np.dtype(dtype).name} [{wanted}], got {found.dtype} {list(found.shape)}"
        )
    return found.astype(dtype, copy=False)  # the machine's own byte order
