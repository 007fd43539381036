"""A bounded subset of the samples, independent of their order: those with the smallest content hashes.

Bottom-k sampling (Cohen and Kaplan 2007, "Summarizing data using bottom-k sketches"). Sketches can be merged, and
samples can be removed. A sketch keeps twice as many samples as it returns, so that the result depends only on what
was learned, whatever was forgotten, until half of the samples were.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes
from .base import State
from .integers import pack_rows, unpack_rows
from .keys import KeySet

HELD = 512
_ALL = np.uint64(2**64 - 1)


class Sketch:
    """Distinct samples with the smallest keys, each with the number of times that it was learned.

    Args:
        dimensions: D.
        held: Maximum number of samples to keep.
    """

    def __init__(self, dimensions: int, held: int = HELD) -> None:
        self.held = held
        self.limit = _ALL  # every learned sample with a smaller key is kept
        self.codes = np.zeros((0, dimensions), np.int16)
        self.owners = np.zeros(0, np.int32)
        self.keys = np.zeros(0, np.uint64)
        self.copies = np.zeros(0, np.int64)

    def add(self, codes: Codes, owners: NDArray[np.int32], keys: NDArray[np.uint64]) -> None:
        """Add samples whose keys are small enough."""
        small = keys < self.limit
        if small.any():
            self._insert(codes[small], owners[small], keys[small], np.ones(int(small.sum()), np.int64))

    def remove(self, codes: Codes, owners: NDArray[np.int32], keys: NDArray[np.uint64]) -> None:
        """Remove samples; samples that are not kept are ignored."""
        small = keys < self.limit
        if small.any():
            self._insert(codes[small], owners[small], keys[small], -np.ones(int(small.sum()), np.int64))

    def merge(self, other: Sketch, owners: NDArray[np.int32]) -> None:
        """Add another sketch; its owner k becomes `owners[k]` here."""
        self.limit = min(self.limit, other.limit)
        mine, theirs = self.keys < self.limit, other.keys < self.limit
        self._keep(mine)
        self._insert(
            other.codes[theirs], owners[other.owners[theirs]], other.keys[theirs], other.copies[theirs]
        )

    def rename(self, old: int, new: int) -> None:
        """Move the samples of owner `old` to owner `new`."""
        self.owners[self.owners == old] = new
        self._insert(self.codes[:0], self.owners[:0], self.keys[:0], self.copies[:0])

    def drop(self, owner: int) -> None:
        """Remove all samples of an owner."""
        self._keep(self.owners != owner)

    def exclude(self, keys: KeySet) -> None:
        """Remove all samples whose key is in `keys`."""
        self._keep(~keys.holds(self.keys))

    def smallest(
        self, size: int, ranks: NDArray[np.int64]
    ) -> tuple[Codes, NDArray[np.int32], NDArray[np.int64], NDArray[np.uint64]]:
        """Return codes, owners, copies and keys of the `size` samples with the smallest keys; `ranks` decide ties."""
        order = np.lexsort((ranks[self.owners], self.keys))[:size]
        return self.codes[order], self.owners[order], self.copies[order], self.keys[order]

    def state(self, ranks: NDArray[np.int64]) -> State:
        """Return the arrays to store; owners are replaced by their `ranks`."""
        order = np.lexsort((ranks[self.owners], self.keys))
        widths, bits = pack_rows(list(self.codes[order].T.astype(np.int64)))
        return {
            "sketch_widths": widths,
            "sketch_bits": bits,
            "sketch_owners": ranks[self.owners[order]],
            "sketch_keys": self.keys[order],
            "sketch_copies": self.copies[order],
            "sketch_limit": np.array([self.limit], np.uint64),
        }

    @classmethod
    def restore(cls, dimensions: int, state: State, held: int = HELD) -> Self:
        """Return a sketch with the given state."""
        sketch = cls(dimensions, held)
        sketch.limit = np.uint64(state["sketch_limit"][0])
        sketch._insert(
            _restored_codes(dimensions, state),
            state["sketch_owners"].astype(np.int32),
            state["sketch_keys"].astype(np.uint64),
            state["sketch_copies"].astype(np.int64),
        )
        return sketch

    def _insert(
        self, codes: Codes, owners: NDArray[np.int32], keys: NDArray[np.uint64], copies: NDArray[np.int64]
    ) -> None:
        keys, owners = np.concatenate([self.keys, keys]), np.concatenate([self.owners, owners])
        copies = np.concatenate([self.copies, copies])
        _, first, same = np.unique(
            np.stack([keys, owners.astype(np.uint64)]), axis=1, return_index=True, return_inverse=True
        )
        summed = np.zeros(len(first), np.int64)
        np.add.at(summed, same.ravel(), copies)
        self.codes = np.concatenate([self.codes, codes])[first]
        self.owners, self.keys, self.copies = owners[first], keys[first], summed
        self._keep(summed > 0)
        if len(self.keys) > self.held:
            # cut by key, so that samples with the same content and two labels are kept or removed together
            self.limit = np.sort(self.keys)[self.held]
            self._keep(self.keys < self.limit)

    def _keep(self, chosen: NDArray[np.bool_]) -> None:
        self.codes, self.owners = self.codes[chosen], self.owners[chosen]
        self.keys, self.copies = self.keys[chosen], self.copies[chosen]


def _restored_codes(dimensions: int, state: State) -> Codes:
    if "sketch_codes" in state:  # the format before columns were packed
        return state["sketch_codes"].astype(np.int16).reshape(-1, dimensions)
    count = len(state["sketch_keys"])
    columns = unpack_rows(state["sketch_widths"], state["sketch_bits"], [count] * dimensions)
    return np.stack(columns, axis=1).astype(np.int16)
