"""The blocks of samples that are left out together.

With few samples of many dimensions, leaving out one sample makes the mean of its label noisier than the other means,
so that the sample is assigned to another label: leave-one-out is then too pessimistic. Therefore one sample (or burst)
of every label is left out at a time, which keeps the labels' shares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def balanced(owners: NDArray[np.int64], groups: NDArray[np.int64], turn: int = 0) -> NDArray[np.int64]:
    """Return each sample's block; a block has at most one group of each label, and groups are spread evenly.

    Args:
        owners: int64 [N], the samples' labels as numbers.
        groups: int64 [N]; samples with the same number stay together and have the same label.
        turn: Each number combines the groups differently.

    Example:
        >>> balanced(np.array([0, 0, 0, 0, 1, 1]), np.arange(6)).tolist()
        [0, 1, 2, 3, 0, 2]
    """
    ranks, numbers = np.zeros(len(owners), np.int64), np.zeros(len(owners), np.int64)
    _, firsts = np.unique(owners, return_index=True)
    for at, owner in enumerate(owners[np.sort(firsts)]):  # not by name, so that renaming changes nothing
        mine = np.flatnonzero(owners == owner)
        found, first, place = np.unique(groups[mine], return_index=True, return_inverse=True)
        order = np.empty(len(found), np.int64)
        order[np.argsort(first)] = np.arange(len(found))  # in the order of the samples
        ranks[mine], numbers[mine] = (order[place.ravel()] + turn * at) % len(found), len(found)
    blocks: NDArray[np.int64] = ranks * int(numbers.max(initial=1)) // np.maximum(numbers, 1)
    return blocks


def balanced_singles(owners: NDArray[np.int64], turn: int = 0) -> NDArray[np.int64]:
    """Return `balanced` for samples that are groups of their own, in a fraction of the time."""
    ranks, numbers = np.zeros(len(owners), np.int64), np.zeros(len(owners), np.int64)
    order = np.argsort(owners, kind="stable")
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    first_seen = np.argsort(order[starts], kind="stable").tolist()
    for at, place in enumerate(first_seen):  # in the order of the samples
        mine = order[starts[place] : starts[place + 1] if place + 1 < len(starts) else None]
        ranks[mine], numbers[mine] = (np.arange(len(mine)) + turn * at) % len(mine), len(mine)
    blocks: NDArray[np.int64] = ranks * int(numbers.max(initial=1)) // np.maximum(numbers, 1)
    return blocks


def stacked(groups: NDArray[np.int64], at_once: int = 512, most: int = 512) -> list[NDArray[np.intp]]:
    """Return index arrays [B, J]: one block per group, with blocks of the same size stacked.

    Args:
        groups: int64 [N].
        at_once: Maximum number of samples in a stack of more than one block, which limits the RAM per stack.
        most: Maximum number of blocks in a stack; at least one is in each.
    """
    order = np.argsort(groups, kind="stable")
    _, starts = np.unique(groups[order], return_index=True)
    members = np.split(order, starts[1:])
    stacks = []
    for size in sorted({len(block) for block in members} - {0}):
        alike = [block for block in members if len(block) == size]
        blocks = max(1, min(at_once // size, most))
        stacks += [np.stack(alike[at : at + blocks]) for at in range(0, len(alike), blocks)]
    return stacks
