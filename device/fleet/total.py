"""The sum over a fleet: the newest contribution of each device, added in integers, so that the order does not matter."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import FleetError
from ..heads.exact import ExactHead
from ..heads.vocabulary import Vocabulary
from ..model.memory import Sums
from .checks import EXACT
from .contribution import Contribution, FleetModel, head_of


class Total:
    """The exact sum of contributions; each can be subtracted again.

    It takes the RAM of one second moment, 8 D^2 bytes, whatever the number of devices. Totals can be added to each other,
    so that a large fleet can be summed in a tree.

    Args:
        model: The model of the fleet.
        contributions: What to add at once.

    Example:
        >>> from device.model.codes import encode
        >>> model = FleetModel("0" * 64, dimensions=2)
        >>> shed = Contribution.of("shed", model, encode([[1.0, 0.0]]), ["mug"])
        >>> barn = Contribution.of("barn", model, encode([[0.0, 1.0]]), ["cup"])
        >>> total = Total(model, [shed, barn])
        >>> total.counts, total.head().labels
        ({'cup': 1, 'mug': 1}, ('cup', 'mug'))
        >>> total.subtract(barn)
        >>> total.digest() == shed.digest()
        True
    """

    def __init__(self, model: FleetModel, contributions: Iterable[Contribution] = ()) -> None:
        self.model = model
        self._vocabulary = Vocabulary()
        self._sums = np.zeros((0, model.dimensions), np.int64)
        self._gram = np.zeros((model.dimensions, model.dimensions))
        for contribution in contributions:
            self.add(contribution)

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples per label, sorted by label, without labels that have no samples."""
        return self._vocabulary.counts

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self._vocabulary.total

    @property
    def sums(self) -> Sums:
        """A copy of the statistics."""
        rows = self._vocabulary.present()
        labels = tuple(self._vocabulary.counts)
        return Sums(labels, self._vocabulary.numbers[rows], self._sums[rows], self._gram.copy())

    def add(self, contribution: Contribution) -> None:
        """Add a contribution that `check_contribution` accepted.

        Raises:
            FleetError: It is of another model, or there would be more samples than can be summed exactly.
        """
        self._refuse_other(contribution.model)
        self.add_sums(contribution.sums)

    def add_sums(self, sums: Sums) -> None:
        """Add statistics, such as those of another total.

        Raises:
            FleetError: There would be more samples than can be summed exactly.
        """
        together = self.samples + int(sums.numbers.sum())
        if together * self.model.longest > EXACT:
            raise FleetError(
                f"at most {EXACT // self.model.longest} samples can be summed exactly, got {together}"
            )
        self._change(sums, 1)

    def subtract(self, contribution: Contribution) -> None:
        """Subtract a contribution that was added before.

        Raises:
            FleetError: It is of another model, or was not added.
        """
        self._refuse_other(contribution.model)
        present = self.counts
        if any(present.get(label, 0) < count for label, count in contribution.counts.items()):
            raise FleetError(
                f"the contribution of {contribution.client} is not in the total, so it cannot be subtracted"
            )
        self._change(contribution.sums, -1)

    def without(self, contribution: Contribution) -> Sums:
        """Return the statistics of all other devices.

        Raises:
            FleetError: As `subtract`.
        """
        self.subtract(contribution)
        try:
            return self.sums
        finally:
            self.add(contribution)

    def head(self, *, ridge: float | None = None) -> ExactHead:
        """Return the exact head of the total, see `head_of`."""
        return head_of(self.sums, ridge=ridge)

    def digest(self) -> str:
        """Return the sha256 of the statistics, the same as that of one exact head that learned every sample."""
        return self.head().digest()

    def __repr__(self) -> str:
        return f"<Total of {self.samples} samples of {len(self.counts)} labels>"

    def _change(self, sums: Sums, sign: int) -> None:
        rows = self._vocabulary.add_counts(sums.labels, sign * sums.numbers)
        new = len(self._vocabulary.numbers) - len(self._sums)
        self._sums = np.concatenate([self._sums, np.zeros((new, self.model.dimensions), np.int64)])
        np.add.at(self._sums, rows, sign * sums.sums)
        self._gram += sign * sums.gram

    def _refuse_other(self, model: FleetModel) -> None:
        if model != self.model:
            raise FleetError(f"the total is of the model {self.model}, got statistics of {model}")
