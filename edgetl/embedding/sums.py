"""The exact sums of codes, and how they become the memory of a model file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device.heads.statistics import Statistics
from device.model.codes import Keys, content_keys

from .shards import Content


@dataclass
class Sum:
    """The exact statistics of labeled codes; sums of parts can be merged in any order.

    Attributes:
        statistics: Counts, sums and second moment of the codes.
        keys: uint64, content keys of the codes, one array per part.
        known: Number of codes that are left out because the model file was taught them.
    """

    statistics: Statistics
    keys: list[Keys]
    known: int = 0

    @classmethod
    def empty(cls, dimensions: int) -> Sum:
        """Return the sums of nothing."""
        return cls(Statistics(dimensions), [])

    @classmethod
    def of(cls, content: Content, known: Keys) -> Sum:
        """Return the sums of the labeled codes of a shard, without those whose content key is in `known`."""
        keys = content_keys(content.codes)
        labeled = np.array([label is not None for label in content.labels], np.bool_)
        fresh = labeled & ~np.isin(keys, known)
        statistics = Statistics(content.codes.shape[1])
        labels = [
            label
            for label, new in zip(content.labels, fresh.tolist(), strict=True)
            if new and label is not None
        ]
        statistics.add(content.codes[fresh], labels)
        return cls(statistics, [keys[fresh]], int(labeled.sum() - fresh.sum()))

    def add(self, other: Sum) -> None:
        """Add other sums, exactly."""
        self.statistics.merge(other.statistics)
        self.keys += other.keys
        self.known += other.known
