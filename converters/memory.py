"""Stage 3: what the host taught, carried in the file so that the device goes on from there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device.codes import Codes
from device.heads import create_head
from device.taught import Taught, TaughtStatistics, pack_taught

from .source import FloatHead

Memory = Taught | TaughtStatistics


def remember(codes: Codes, labels: Sequence[str]) -> Memory:
    """Give the samples themselves or their sums, whichever takes less room in the file."""
    samples = Taught(codes, tuple(labels))
    if 2 * codes.size < codes.shape[1] ** 2:  # sums take several bytes for each pair of dimensions
        return samples
    sums = statistics(codes, labels)
    return min((samples, sums), key=lambda memory: len(pack_taught(memory)))


def statistics(codes: Codes, labels: Sequence[str]) -> TaughtStatistics:
    """Sum samples up, exactly: products of codes stay below 2**24 and float64 counts to 2**53."""
    names = tuple(sorted(set(labels)))
    index = np.array([names.index(label) for label in labels])
    values = codes.astype(np.float64)
    sums = np.stack([codes[index == number].sum(0, dtype=np.int64) for number in range(len(names))])
    return TaughtStatistics(names, np.bincount(index, minlength=len(names)), sums, values.T @ values)


def teach_head(codes: Codes, labels: Sequence[str], names: Sequence[str]) -> FloatHead | None:
    """Give W [D, C] and b [C] of the exact head taught with the samples, or None when it has no linear form.

    The float head in the file so starts with the same knowledge as the exact head with the memory.
    """
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes, list(labels))
    linear = head.linear()
    if linear is None or tuple(head.labels) != tuple(names):
        return None
    return linear.W.astype(np.float32), linear.b.astype(np.float32)
