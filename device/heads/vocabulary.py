"""Labels as rows of arrays that never shrink, while labels are added, renamed and deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError


class Vocabulary:
    """Labels with their counts; each label keeps its row until it is joined to another label.

    Example:
        >>> vocabulary = Vocabulary()
        >>> vocabulary.add(["mug", "cup", "mug"]).tolist()
        [0, 1, 0]
        >>> vocabulary.counts
        {'cup': 1, 'mug': 2}
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.numbers: NDArray[Any] = np.zeros(0, np.int64)  # float64 once a count is a fraction

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples per label, sorted by label, without labels that have no samples; fractions are rounded up."""
        numbers = np.ceil(self.numbers) if self.numbers.dtype.kind == "f" else self.numbers
        return {label: int(numbers[row]) for label, row in sorted(self.rows.items()) if numbers[row]}

    @property
    def total(self) -> int:
        """Number of samples of all labels."""
        return int(self.numbers.sum())

    @property
    def weights(self) -> dict[str, float]:
        """As `counts`, but with fractions."""
        return {label: float(self.numbers[self.rows[label]]) for label in self.counts}

    def present(self) -> list[int]:
        """Return the rows of the labels that have samples, in the order of `counts`."""
        return [self.rows[label] for label in self.counts]

    def ranks(self) -> NDArray[np.int64]:
        """Return for each row its index in `counts`; rows without samples come last."""
        ranks = np.full(len(self.numbers), len(self.numbers), np.int64)
        ranks[self.present()] = np.arange(len(self.counts))
        return ranks

    def rows_of(self, labels: Sequence[str]) -> NDArray[np.int32]:
        """Return the row of each label, int32 [N]; new labels get new rows."""
        for label in labels:
            if label not in self.rows:
                self.rows[label] = len(self.numbers)
                self.numbers = np.append(self.numbers, 0)
        return np.array([self.rows[label] for label in labels], np.int32)

    def add(self, labels: Sequence[str]) -> NDArray[np.int32]:
        """Count labels and return their rows."""
        rows = self.rows_of(labels)
        np.add.at(self.numbers, rows, 1)
        return rows

    def add_counts(
        self, labels: Sequence[str], counts: NDArray[np.int64] | NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """Add `counts` to the labels and return their rows; counts may be fractions."""
        rows = self.rows_of(labels)
        if counts.dtype != self.numbers.dtype:
            self.numbers = self.numbers.astype(np.result_type(self.numbers, counts))
        np.add.at(self.numbers, rows, counts)
        return rows

    def check(self, labels: Sequence[str]) -> None:
        """Check that each label has enough samples to remove `labels`.

        Raises:
            HeadError: A label has too few samples.
        """
        counts = self.counts
        for label, number in sorted(Counter(labels).items()):
            if counts.get(label, 0) < number:
                raise HeadError(
                    f"cannot forget {number} samples of {label!r}: {counts.get(label, 0)} were learned"
                )

    def remove(self, labels: Sequence[str]) -> NDArray[np.int32]:
        """Subtract one per label and return the rows.

        Raises:
            HeadError: A label has too few samples; no count was changed.
        """
        self.check(labels)
        rows = self.rows_of(labels)
        np.subtract.at(self.numbers, rows, 1)
        return rows

    def merge(self, other: Vocabulary) -> NDArray[np.int32]:
        """Add all counts of `other`, and return for each of its rows the row here."""
        names = sorted(other.rows, key=other.rows.__getitem__)
        rows = np.zeros(len(other.numbers), np.int32)
        for name in names:
            rows[other.rows[name]] = self.rows_of([name])[0]
        self.numbers = self.numbers.astype(np.result_type(self.numbers, other.numbers))
        np.add.at(self.numbers, rows, other.numbers)
        return rows

    def rename(self, old: str, new: str) -> tuple[int, int]:
        """Rename `old` to `new`; return the row it had and the row it has now."""
        row = self.rows.pop(old)
        target = self.rows.setdefault(new, row)
        if target != row:
            self.numbers[target] += self.numbers[row]
            self.numbers[row] = 0
        return row, target

    def delete(self, label: str) -> int:
        """Set the count of a label to zero and return its row."""
        row = self.rows[label]
        self.numbers[row] = 0
        return row
