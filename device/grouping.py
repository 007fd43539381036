"""Groups from pairs: union-find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def join(count: int, pairs: Iterable[Sequence[int] | NDArray[np.int64]]) -> NDArray[np.int32]:
    """Join 0 to `count` - 1 along pairs; return the group of each, numbered in order of appearance.

    Example:
        >>> join(5, [(0, 3), (3, 4)]).tolist()
        [0, 1, 2, 0, 0]
    """
    parent = list(range(count))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        return one

    for first, second in pairs:
        one, other = root(int(first)), root(int(second))
        parent[max(one, other)] = min(one, other)
    numbers: dict[int, int] = {}
    groups = [numbers.setdefault(root(one), len(numbers)) for one in range(count)]
    return np.array(groups, np.int32)


def chained(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs that join the members of each group, int64 [P, 2]; `groups` [N] is the group number of each.

    Example:
        >>> chained(np.array([7, 5, 7, 7])).tolist()
        [[0, 2], [2, 3]]
    """
    order = np.argsort(groups, kind="stable")
    same = groups[order[1:]] == groups[order[:-1]]
    return np.stack([order[:-1][same], order[1:][same]], axis=1).astype(np.int64)
