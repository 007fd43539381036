"""What a model file remembers of what was taught: samples, or their exact sums when those are smaller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .codes import Codes
from .taught import Taught, TaughtStatistics, pack_taught

Memory = Taught | TaughtStatistics


def remember(codes: Codes, labels: Sequence[str]) -> Memory:
    """Give the samples themselves or their sums, whichever takes less room in the file."""
    samples = Taught(codes, tuple(labels))
    if 2 * codes.size < codes.shape[1] ** 2:  # sums take several bytes for each pair of dimensions
        return samples
    sums = statistics(codes, labels)
    return samples if len(pack_taught(samples)) <= len(pack_taught(sums)) else sums


def statistics(codes: Codes, labels: Sequence[str]) -> TaughtStatistics:
    """Sum samples up, exactly: products of codes stay below 2**30 and float64 counts to 2**53."""
    names = tuple(sorted(set(labels)))
    index = np.array([names.index(label) for label in labels], np.int64)
    values = codes.astype(np.float64)
    sums = np.zeros((len(names), codes.shape[1]), np.int64)
    np.add.at(sums, index, codes.astype(np.int64))
    counts = np.bincount(index, minlength=len(names)).astype(np.int64)
    return TaughtStatistics(names, counts, sums, values.T @ values)


def add(parts: Iterable[TaughtStatistics]) -> TaughtStatistics:
    """Add statistics up, label by label: as if all samples had been summed at once."""
    parts = list(parts)
    names = tuple(sorted({label for part in parts for label in part.labels}))
    width = parts[0].sums.shape[1]
    counts, sums = np.zeros(len(names), np.int64), np.zeros((len(names), width), np.int64)
    for part in parts:
        places = [names.index(label) for label in part.labels]
        np.add.at(counts, places, part.counts)
        np.add.at(sums, places, part.sums)
    return TaughtStatistics(names, counts, sums, np.sum([part.gram for part in parts], axis=0))


def renamed(memory: Memory, lab: Mapping[str, str | None]) -> Memory:
    """Give the memory under the names its labels have now; None stands for a deleted one.

    Sums know labels only by their totals, so a label of theirs can be renamed but not deleted.
    """
    if isinstance(memory, TaughtStatistics):
        names = tuple(lab.get(label) or label for label in memory.labels)
        return add([TaughtStatistics(names, memory.counts, memory.sums, memory.gram)])
    now = [lab.get(label, label) for label in memory.labels]
    kept = [place for place, name in enumerate(now) if name is not None]
    return Taught(memory.codes[kept], tuple(name for name in now if name is not None))


def together(memory: Memory | None, codes: Codes, labels: Sequence[str]) -> Memory | None:
    """Add samples to a memory; None when there is nothing at all."""
    if isinstance(memory, TaughtStatistics):
        return add([memory, statistics(codes, labels)]) if len(labels) else memory
    if memory is not None:
        codes, labels = np.concatenate([memory.codes, codes]), [*memory.labels, *labels]
    return remember(codes, labels) if labels else None
