"""The memory: what the host taught, as samples or as their exact sums, carried in the model file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codes import Codes, Keys, content_keys

_MANY = 4  # samples per dimension; a code would have to take less than half a byte
_CLEARLY = 1.25
_AT_ONCE = 1024  # rows whose float64 copies are in RAM at the same time


class Memory(ABC):
    """What the host taught: `Samples` or their `Sums`.

    Attributes:
        labels: The label of each sample, or of each row of the sums.
    """

    labels: tuple[str, ...]

    def __repr__(self) -> str:
        counts = self.counts()
        return f"<{type(self).__name__} {sum(counts.values())} samples of {len(counts)} labels, {self.dimensions} dimensions>"

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Length D of an embedding."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Return the number of samples per label, sorted by label."""

    @abstractmethod
    def content_keys(self) -> Keys:
        """Return the content keys of the samples, uint64; none where the model file keeps no keys."""

    @abstractmethod
    def renamed(self, names: Mapping[str, str | None]) -> Memory:
        """Return the memory under other labels.

        Args:
            names: Label in the model file -> its present name, None for a deleted label. Other labels stay.
        """

    @abstractmethod
    def together(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int32] | None = None
    ) -> Memory:
        """Return the memory with samples of the device added.

        Args:
            codes: int16 [N, D] of the added samples, which may all judge the head.
            labels: N labels.
            groups: int32 [N] of the added samples, from 0 up; they stay apart from the groups of this memory. None
                means that each added sample is its own group.
        """


@dataclass(frozen=True, repr=False)
class Samples(Memory):
    """Samples of the host: fixed-point embeddings with their labels.

    Attributes:
        codes: int16 [N, D].
        labels: N labels.
        judge: bool [N], whether a sample may judge the head: False for photos that tuned the backbone. None means
            that all may.
        groups: int32 [N], samples of photos that look alike share a number from 0 up. None means that each sample is
            its own group.
    """

    codes: Codes
    labels: tuple[str, ...]
    judge: NDArray[np.bool_] | None = None
    groups: NDArray[np.int32] | None = None

    @property
    def dimensions(self) -> int:
        """Length D of an embedding."""
        return int(self.codes.shape[1])

    def counts(self) -> dict[str, int]:
        """Return the number of samples per label, sorted by label."""
        return dict(sorted(Counter(self.labels).items()))

    def content_keys(self) -> Keys:
        """Return the content keys of the samples, uint64 [N]."""
        return content_keys(self.codes)

    def renamed(self, names: Mapping[str, str | None]) -> Samples:
        """Return the samples under other labels, without those of deleted labels."""
        if names.keys().isdisjoint(self.labels):
            return self
        now = [names.get(label, label) for label in self.labels]
        kept = [place for place, name in enumerate(now) if name is not None]
        return Samples(
            self.codes[kept],
            tuple(name for name in now if name is not None),
            None if self.judge is None else self.judge[kept],
            None if self.groups is None else self.groups[kept],
        )

    def together(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int32] | None = None
    ) -> Memory:
        """Return these samples and those of the device, or the sums of both where they are clearly smaller."""
        return remember(
            np.concatenate([self.codes, codes]),
            [*self.labels, *labels],
            None if self.judge is None else np.concatenate([self.judge, np.ones(len(labels), np.bool_)]),
            self._joined_groups(len(labels), groups),
        )

    def _joined_groups(self, added: int, groups: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
        if self.groups is None and groups is None:
            return None
        before = np.arange(len(self.labels), dtype=np.int32) if self.groups is None else self.groups
        after = np.arange(added, dtype=np.int32) if groups is None else groups
        first = before.max() + 1 if before.size else 0
        return np.concatenate([before, (after + first).astype(np.int32)])


@dataclass(frozen=True, repr=False)
class Sums(Memory):
    """Sums over the host's samples, in integers of the fixed point; exact for any number of samples.

    Attributes:
        labels: C labels, sorted.
        numbers: int64 [C], number of samples per label.
        sums: int64 [C, D], sums of codes.
        gram: float64 [D, D] of whole numbers, the sum of the codes' outer products.
        keys: uint64 [K], sorted: content keys of the samples, so that evaluation recognizes them. Files of older
            versions have none.
    """

    labels: tuple[str, ...]
    numbers: NDArray[np.int64]
    sums: NDArray[np.int64]
    gram: NDArray[np.float64]
    keys: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))

    @classmethod
    def of(cls, codes: Codes, labels: Sequence[str]) -> Sums:
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
        numbers = np.bincount(index, minlength=len(names)).astype(np.int64)
        return cls(names, numbers, sums, gram, np.unique(content_keys(codes)))

    @classmethod
    def added(cls, parts: Iterable[Sums]) -> Sums:
        """Return the total of `parts`, label by label: as if all samples had been summed at once."""
        parts = list(parts)
        names = tuple(sorted({label for part in parts for label in part.labels}))
        numbers, sums = np.zeros(len(names), np.int64), np.zeros((len(names), parts[0].dimensions), np.int64)
        for part in parts:
            places = [names.index(label) for label in part.labels]
            np.add.at(numbers, places, part.numbers)
            np.add.at(sums, places, part.sums)
        gram = np.sum([part.gram for part in parts], axis=0)
        return cls(names, numbers, sums, gram, np.unique(np.concatenate([part.keys for part in parts])))

    @property
    def dimensions(self) -> int:
        """Length D of an embedding."""
        return int(self.sums.shape[1])

    def counts(self) -> dict[str, int]:
        """Return the number of samples per label, sorted by label."""
        return dict(zip(self.labels, self.numbers.tolist(), strict=True))

    def content_keys(self) -> Keys:
        """Return the content keys of the samples; none for files of older versions."""
        return self.keys

    def renamed(self, names: Mapping[str, str | None]) -> Sums:
        """Return the sums under other labels; two labels that become one are added.

        Sums contain only totals per label, so a deleted label cannot be taken out of them: it keeps its name.
        """
        if names.keys().isdisjoint(self.labels):
            return self
        now = tuple(names.get(label) or label for label in self.labels)
        return Sums.added([Sums(now, self.numbers, self.sums, self.gram, self.keys)])

    def together(self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int32] | None = None) -> Sums:
        """Return the sums with samples of the device added; sums keep no groups."""
        return Sums.added([self, Sums.of(codes, labels)]) if len(labels) else self


def remember(
    codes: Codes,
    labels: Sequence[str],
    judge: NDArray[np.bool_] | None = None,
    groups: NDArray[np.int32] | None = None,
) -> Memory:
    """Return the samples themselves, or their sums where those take clearly less room in the file.

    Samples are worth more than their sums: any head learns from them, and they keep `judge` and `groups`.

    Args:
        codes: int16 [N, D].
        labels: N labels.
        judge: bool [N], see `Samples`; sums do not keep it.
        groups: int32 [N], see `Samples`; sums do not keep them.
    """
    samples, (count, width) = Samples(codes, tuple(labels), judge, groups), codes.shape
    if 2 * count < width:  # sums take several bytes for each pair of dimensions
        return samples
    if sums_are_smaller(count, width):
        return Sums.of(codes, labels)
    sums = Sums.of(codes, labels)
    upper = sum(_packed_bytes(row[place:]) for place, row in enumerate(sums.gram))
    return samples if _packed_bytes(codes) <= _CLEARLY * (upper + _packed_bytes(sums.sums)) else sums


def sums_are_smaller(count: int, dimensions: int) -> bool:
    """Return whether `count` samples take more room than their sums, whatever the numbers are."""
    return count > _MANY * dimensions


def _packed_bytes(values: NDArray[Any]) -> float:
    """Return the size of whole numbers when each takes the bits it needs and one for its sign.

    Packed files of real embeddings and of their sums were both 1.3 to 1.5 times as large, so that the two may be
    compared without packing either.
    """
    parts = (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
    return sum(float(np.frexp(part.astype(np.float64))[1].sum() + part.size) for part in parts) / 8
