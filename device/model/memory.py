"""What a model file remembers of what was taught: samples, or their exact sums when those are smaller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codes import Codes, content_keys
from .taught import Taught, TaughtStatistics

Memory = Taught | TaughtStatistics
_MANY = 4  # samples per dimension; a code would have to take less than half a byte
_CLEARLY = 1.25
_AT_ONCE = 1024  # rows whose float64 copies are in memory together


def remember(
    codes: Codes,
    labels: Sequence[str],
    judge: NDArray[np.bool_] | None = None,
    groups: NDArray[np.int32] | None = None,
) -> Memory:
    """Return the samples themselves, or their sums where those take clearly less room in the file.

    Samples say more than their sums: any head learns from them, and they keep `judge` and `groups`.

    Args:
        codes: int16 [N, D].
        labels: N labels.
        judge: bool [N], see `Taught`; sums do not keep it.
        groups: int32 [N], see `Taught`; sums do not keep them.
    """
    samples, (count, width) = Taught(codes, tuple(labels), judge, groups), codes.shape
    if 2 * count < width:  # sums take several bytes for each pair of dimensions
        return samples
    if sums_are_smaller(count, width):
        return statistics(codes, labels)
    sums = statistics(codes, labels)
    upper = sum(_packed_bytes(row[place:]) for place, row in enumerate(sums.gram))
    return samples if _packed_bytes(codes) <= _CLEARLY * (upper + _packed_bytes(sums.sums)) else sums


def sums_are_smaller(count: int, dimensions: int) -> bool:
    """Return whether so many samples surely take more room than their sums, whatever the numbers are."""
    return count > _MANY * dimensions


def statistics(codes: Codes, labels: Sequence[str]) -> TaughtStatistics:
    """Return the exact sums over samples: products of codes stay below 2**30 and float64 counts to 2**53."""
    names = tuple(sorted(set(labels)))
    places = {name: place for place, name in enumerate(names)}
    index = np.array([places[label] for label in labels], np.int64)
    width = codes.shape[1]
    sums, gram = np.zeros((len(names), width), np.int64), np.zeros((width, width))
    for start in range(0, len(codes), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        values = codes[part].astype(np.float64)
        gram += values.T @ values
        np.add.at(sums, index[part], codes[part].astype(np.int64))
    counts = np.bincount(index, minlength=len(names)).astype(np.int64)
    return TaughtStatistics(names, counts, sums, gram, np.unique(content_keys(codes)))


def _packed_bytes(values: NDArray[Any]) -> float:
    """Return the room of whole numbers when each takes the bits it needs and one for its sign.

    Packed files of real embeddings and of their sums were both 1.3 to 1.5 times as large, so that the two may be
    compared without packing either.
    """
    parts = (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
    return sum(float(np.frexp(part.astype(np.float64))[1].sum() + part.size) for part in parts) / 8


def add(parts: Iterable[TaughtStatistics]) -> TaughtStatistics:
    """Return the sum of statistics, label by label: as if all samples had been summed at once."""
    parts = list(parts)
    names = tuple(sorted({label for part in parts for label in part.labels}))
    width = parts[0].sums.shape[1]
    counts, sums = np.zeros(len(names), np.int64), np.zeros((len(names), width), np.int64)
    for part in parts:
        places = [names.index(label) for label in part.labels]
        np.add.at(counts, places, part.counts)
        np.add.at(sums, places, part.sums)
    gram = np.sum([part.gram for part in parts], axis=0)
    return TaughtStatistics(
        names, counts, sums, gram, np.unique(np.concatenate([part.keys for part in parts]))
    )


def renamed(memory: Memory, lab: Mapping[str, str | None]) -> Memory:
    """Return the memory under the names its labels have now; None stands for a deleted one.

    Sums know labels only by their totals, so a label of theirs can be renamed but not deleted.
    """
    if isinstance(memory, TaughtStatistics):
        names = tuple(lab.get(label) or label for label in memory.labels)
        return add([TaughtStatistics(names, memory.counts, memory.sums, memory.gram, memory.keys)])
    now = [lab.get(label, label) for label in memory.labels]
    kept = [place for place, name in enumerate(now) if name is not None]
    return Taught(
        memory.codes[kept],
        tuple(name for name in now if name is not None),
        None if memory.judge is None else memory.judge[kept],
        None if memory.groups is None else memory.groups[kept],
    )


def together(
    memory: Memory | None,
    codes: Codes,
    labels: Sequence[str],
    groups: NDArray[np.int32] | None = None,
) -> Memory | None:
    """Add samples of the device to a memory.

    Args:
        memory: What was known before.
        codes: int16 [N, D] of the added samples, which may all judge the head.
        labels: N labels.
        groups: int32 [N] of the added samples, from 0 up; they are kept apart from the groups of `memory`. None means
            that each added sample is its own group.

    Returns:
        None when there is nothing at all.
    """
    if isinstance(memory, TaughtStatistics):
        return add([memory, statistics(codes, labels)]) if len(labels) else memory
    if memory is None:
        return remember(codes, labels, None, groups) if labels else None
    judge, joined = _joined_judge(memory, len(labels)), _joined_groups(memory, len(labels), groups)
    everything = [*memory.labels, *labels]
    return remember(np.concatenate([memory.codes, codes]), everything, judge, joined) if everything else None


def _joined_judge(memory: Taught, added: int) -> NDArray[np.bool_] | None:
    return None if memory.judge is None else np.concatenate([memory.judge, np.ones(added, np.bool_)])


def _joined_groups(memory: Taught, added: int, groups: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
    if memory.groups is None and groups is None:
        return None
    before = np.arange(len(memory.labels), dtype=np.int32) if memory.groups is None else memory.groups
    after = np.arange(added, dtype=np.int32) if groups is None else groups
    first = before.max() + 1 if before.size else 0
    return np.concatenate([before, (after + first).astype(np.int32)])
