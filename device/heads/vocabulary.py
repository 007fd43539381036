"""Labels as rows of arrays that only ever grow, while names come, change and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError


class Vocabulary:
    """Labels with their counts; each has a row that stays its own until it is joined to another.

    Example:
        >>> vocabulary = Vocabulary()
        >>> vocabulary.add(["mug", "cup", "mug"]).tolist()
        [0, 1, 0]
        >>> vocabulary.counts
        {'cup': 1, 'mug': 2}
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.numbers = np.zeros(0, np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Samples a label, sorted by label; labels without any are not there."""
        return {
            label: int(self.numbers[row]) for label, row in sorted(self.rows.items()) if self.numbers[row]
        }

    @property
    def total(self) -> int:
        """Samples of all labels."""
        return int(self.numbers.sum())

    def present(self) -> list[int]:
        """Give the rows of the labels that have samples, in the order of `counts`."""
        return [self.rows[label] for label in self.counts]

    def ranks(self) -> NDArray[np.int64]:
        """Give for each row its place in `counts`; rows without samples come last."""
        ranks = np.full(len(self.numbers), len(self.numbers), np.int64)
        ranks[self.present()] = np.arange(len(self.counts))
        return ranks

    def rows_of(self, labels: Sequence[str]) -> NDArray[np.int32]:
        """Give the row of each label, int32 [N]; new labels get new rows."""
        for label in labels:
            if label not in self.rows:
                self.rows[label] = len(self.numbers)
                self.numbers = np.append(self.numbers, 0)
        return np.array([self.rows[label] for label in labels], np.int32)

    def add(self, labels: Sequence[str]) -> NDArray[np.int32]:
        """Count labels, and give their rows."""
        rows = self.rows_of(labels)
        np.add.at(self.numbers, rows, 1)
        return rows

    def add_counts(self, labels: Sequence[str], counts: NDArray[np.int64]) -> NDArray[np.int32]:
        """Count each label as often as `counts` says, and give their rows."""
        rows = self.rows_of(labels)
        np.add.at(self.numbers, rows, counts)
        return rows

    def check(self, labels: Sequence[str]) -> None:
        """Refuse to take away more than there is.

        Raises:
            HeadError: A label has fewer samples.
        """
        counts = self.counts
        for label, number in sorted(Counter(labels).items()):
            if counts.get(label, 0) < number:
                raise HeadError(
                    f"cannot forget {number} samples of {label!r}: {counts.get(label, 0)} were learned"
                )

    def remove(self, labels: Sequence[str]) -> NDArray[np.int32]:
        """Count labels down, and give their rows.

        Raises:
            HeadError: A label has fewer samples; nothing was changed.
        """
        self.check(labels)
        rows = self.rows_of(labels)
        np.subtract.at(self.numbers, rows, 1)
        return rows

    def merge(self, other: Vocabulary) -> NDArray[np.int32]:
        """Count all of `other` too, and give the row here of each row there."""
        names = sorted(other.rows, key=other.rows.__getitem__)
        rows = np.zeros(len(other.numbers), np.int32)
        for name in names:
            rows[other.rows[name]] = self.rows_of([name])[0]
        np.add.at(self.numbers, rows, other.numbers)
        return rows

    def rename(self, old: str, new: str) -> tuple[int, int]:
        """Call `old` by the name `new`; gives the row it had and the row it has now."""
        row = self.rows.pop(old)
        target = self.rows.setdefault(new, row)
        if target != row:
            self.numbers[target] += self.numbers[row]
            self.numbers[row] = 0
        return row, target

    def delete(self, label: str) -> int:
        """Count a label down to nothing; gives its row."""
        row = self.rows[label]
        self.numbers[row] = 0
        return row
