"""The set of samples that tuned the backbone, as content keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Keys, content_keys

__all__ = ["KeySet", "Keys", "content_keys"]


class KeySet:
    """The content keys of samples that tuned the backbone; the order of additions does not matter.

    Attributes:
        keys: uint64 [N], sorted, without duplicates.

    Example:
        >>> tuned = KeySet()
        >>> tuned.add(np.array([7, 3, 7], np.uint64))
        >>> tuned.holds(np.array([3, 4], np.uint64)).tolist()
        [True, False]
    """

    def __init__(self) -> None:
        self.keys: Keys = np.zeros(0, np.uint64)

    @classmethod
    def restore(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return the set in `state`; an empty set if `state` has none."""
        restored = cls()
        restored.add(state.get("tuned", restored.keys))
        return restored

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to store; none for an empty set, as in older states."""
        return {"tuned": self.keys} if len(self) else {}

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: Keys) -> None:
        """Add keys; keys that are already in the set are ignored."""
        both = np.sort(np.concatenate([self.keys, keys.astype(np.uint64)]))
        fresh = np.ones(len(both), bool)  # np.unique would import numpy.ma, which slows every start
        fresh[1:] = both[1:] != both[:-1]
        self.keys = both[fresh]

    def holds(self, keys: Keys) -> NDArray[np.bool_]:
        """Return which of `keys` [N] are in the set, bool [N]."""
        if not len(self.keys):
            return np.zeros(len(keys), bool)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found: NDArray[np.bool_] = self.keys[places] == keys
        return found
