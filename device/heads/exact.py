"""The default head: ridge regression on exact statistics. Any order, no forgetting, exact undo and merge.

Everything it says follows from whole-number sums (`device.heads.statistics`): the linear map, and, by
leaving samples out on paper (`device.heads.discriminant`), its ridge, its temperature, its unknown
threshold and its own accuracy. Nothing is held back for validation and there is no learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..codes import Codes
from ..errors import LabelError
from .base import FALSE_REJECTION, Fit, Floats, Head, Linear, State, check_codes
from .calibration import fit_sharpness
from .discriminant import inverse_gap, read_out, without
from .ridge import Solution, choose_ridge, moments
from .statistics import Statistics

PANEL = 256  # samples that choose ridge, temperature and threshold; all of them while there are no more
_ILL = 1e12  # condition number beyond which float64 leaves fewer than four digits


class ExactHead(Head):
    """Ridge regression with exact leave-one-out, from additive statistics.

    Args:
        dimensions: D.
        ridge: Fixed ridge, absolute; None chooses it by leave-one-out.
        false_rejection: Share of what was taught that may be called unknown.

    Example:
        >>> import numpy as np
        >>> from device.codes import encode
        >>> head = ExactHead(2)
        >>> head.learn_one(encode([1.0, 0.0]), "east")
        >>> head.learn_one(encode([0.0, 1.0]), "north")
        >>> head.predict_one(encode([0.9, 0.1])).label
        'east'
    """

    name: ClassVar[str] = "exact"

    def __init__(
        self, dimensions: int, *, ridge: float | None = None, false_rejection: float = FALSE_REJECTION
    ) -> None:
        super().__init__(dimensions, false_rejection=false_rejection)
        self.ridge = ridge
        self.statistics = Statistics(self.dimensions)
        self._solution: Solution | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Samples learned a label, in the order of `labels`."""
        return self.statistics.counts

    def learn_statistics(
        self, labels: Sequence[str], counts: NDArray[np.int64], sums: NDArray[np.int64], gram: Floats
    ) -> None:
        """Learn what others have summed, as a model file's `TaughtStatistics` holds it."""
        self.statistics.add_statistics(labels, counts, sums, gram)
        self._fitted = None

    def solution(self) -> Solution:
        """Give the ridge regression itself, before any temperature."""
        _ = self.fit
        assert self._solution is not None  # noqa: S101 - fit sets it
        return self._solution

    def leave_out(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> Floats:
        """Give the logits each learned sample would get had it, and its group, never been learned.

        Raises:
            LabelError: A label was never learned.
        """
        codes = check_codes(codes, self.dimensions)
        sharpness = self.fit.figures["sharpness"]
        columns = {label: column for column, label in enumerate(self.labels)}
        if missing := sorted(set(labels) - set(columns)):
            raise LabelError(f"cannot leave out samples of labels never learned: {', '.join(missing)}")
        owners = np.array([columns[label] for label in labels], np.int64)
        groups = np.arange(len(codes)) if groups is None else np.asarray(groups)
        solution = self.solution()
        X = solution.centred(codes)
        solved = solution.inverse_times(X.T)
        logits = np.empty((len(codes), len(columns)))
        for members in blocks(groups):
            H = np.einsum("bjd,dbk->bjk", X[members], solved[:, members])
            Y = np.eye(len(columns))[owners[members]]
            left = without(H, X[members] @ solution.W, solution.P, solution.moments.counts, Y)
            logits[members] = sharpness * read_out(*left).scores
        return logits

    def digest(self) -> str:
        """Give the sha256 of the statistics: labels, counts, sums, second moment."""
        return self.statistics.digest()

    def state(self) -> State:
        """Give the statistics, or the codes while those are smaller, and the options."""
        options = [np.nan if self.ridge is None else self.ridge, self.false_rejection]
        return self.statistics.state() | {"options": np.array(options)}

    @classmethod
    def restore(cls, dimensions: int, state: State) -> Self:
        """Give the head back that `state` was taken from.

        Raises:
            HeadError: The state is of other dimensions or damaged.
        """
        statistics = Statistics.restore(dimensions, state)
        ridge, false_rejection = state["options"].tolist()
        head = cls(dimensions, ridge=None if np.isnan(ridge) else ridge, false_rejection=false_rejection)
        head.statistics = statistics
        return head

    def _learn(self, codes: Codes, labels: list[str]) -> None:
        self.statistics.add(codes, labels)

    def _forget(self, codes: Codes, labels: list[str]) -> None:
        self.statistics.remove(codes, labels)

    def _merge(self, other: Any) -> None:
        self.statistics.merge(other.statistics)

    def _rename(self, old: str, new: str) -> None:
        self.statistics.rename(old, new)

    def _delete(self, label: str) -> None:
        self.statistics.delete(label)

    def _compute_fit(self) -> Fit:
        taken = moments(self.statistics)
        codes, owners, copies = self.statistics.panel(PANEL)
        lam = (
            choose_ridge(self.statistics, taken, codes, owners, copies) if self.ridge is None else self.ridge
        )
        solution = self._solution = Solution(self.statistics, taken, lam, codes)
        n, C = taken.counts, len(taken.counts)
        left = without(
            solution.h[:, None, None], solution.U[:, None], solution.P, n, np.eye(C)[owners][:, None]
        )
        held_out = read_out(*left)
        fair = n[owners] > 1  # a label's only sample cannot be left out: nobody would know the label
        sharpness = (
            fit_sharpness(held_out.scores[fair, 0], owners[fair], copies[fair])
            if fair.any() and C > 1
            else 1.0
        )
        R = inverse_gap(solution.P, n)
        N = taken.total
        W = N * (solution.W @ R)
        b = -N * (np.diagonal(R) - 1 / n) / 2 - taken.mean @ W

        def novelty(codes: Codes, logits: Floats) -> Floats:
            U = solution.centred(codes) @ solution.W
            distance: Floats = N * ((U @ R) * U).sum(axis=1) - 2 * logits.max(axis=1) / sharpness
            return distance

        threshold = np.inf
        if fair.any():
            threshold = float(np.quantile(held_out.distance[fair, 0], 1 - self.false_rejection))
        return Fit(
            Linear(sharpness * W, sharpness * b),
            novelty,
            threshold,
            figures={"ridge": lam, "sharpness": sharpness, "condition": solution.condition},
        )


def blocks(groups: NDArray[np.int64], at_once: int = 256) -> list[NDArray[np.intp]]:
    """Sort samples into blocks of one group each and stack blocks of one size: index arrays [B, J]."""
    order = np.argsort(groups, kind="stable")
    _, starts = np.unique(groups[order], return_index=True)
    members = np.split(order, starts[1:])
    stacks = []
    for size in sorted({len(block) for block in members}):
        alike = [block for block in members if len(block) == size]
        stacks += [np.stack(alike[at : at + at_once]) for at in range(0, len(alike), at_once)]
    return stacks
