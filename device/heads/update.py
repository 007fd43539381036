"""A ridge solution after a few lessons, updated from the last complete one without solving again.

With samples z around the mean m of the complete solution, ``y = z - m``, signs s (+1 learned, -1 forgotten), the number
N' of samples afterwards and the shift of the mean ``d = sum s y / N'``:

    A' = A + Y^T M Y,   M = diag(s) - s s^T / N'              Y holds the rows y
    Q' = Q + Y^T E,     E = s (onehot - n' / N')
    V = A^-1 Y^T,  T = Y V,  K = (I + M T)^-1 M               Woodbury 1950
    W' = W + V (E - K (Q^T V)^T - K T E)

Each lesson costs one solution for one vector with the factor that is there already; the ridge stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.codes import SCALE, Codes
from .base import Floats
from .ridge import Moments, Solution


class Update:
    """The samples learned and forgotten since a complete solution.

    Args:
        solution: The complete solution.
        labels: Its labels, sorted.
    """

    def __init__(self, solution: Solution, labels: Sequence[str]) -> None:
        self._solution, self._columns = solution, {label: at for at, label in enumerate(labels)}
        dimensions, classes = solution.W.shape
        self._Y: Floats = np.empty((0, dimensions))
        self._V: Floats = np.empty((0, dimensions))
        self._signs: Floats = np.empty(0)
        self._labels: list[str] = []
        self._T: Floats = np.empty((0, 0))
        self._F: Floats = np.empty((0, classes))

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def labels(self) -> set[str]:
        """The labels of these samples."""
        return set(self._labels)

    def add(self, codes: Codes, labels: Sequence[str], sign: int) -> None:
        """Add samples [N, D] that were learned (`sign` 1) or forgotten (-1)."""
        y = codes / SCALE - self._solution.moments.mean
        v = self._solution.inverse.apply(y)
        known = len(self)
        self._Y, self._V = np.concatenate([self._Y, y]), np.concatenate([self._V, v])
        T = np.empty((len(self._Y), len(self._Y)))
        T[:known, :known] = self._T
        T[known:] = y @ self._V.T
        T[:known, known:] = T[known:, :known].T
        self._T, self._F = T, np.concatenate([self._F, y @ self._solution.W])
        self._signs = np.concatenate([self._signs, np.full(len(y), float(sign))])
        self._labels += labels

    def moved(self, counts: Mapping[str, float]) -> Moved:
        """Return what predictions need of the solution for the samples as they are now.

        Args:
            counts: Number of samples per label now, sorted by label; each label of the complete solution is among them.
        """
        old, s, rank = self._solution, self._signs, len(self)
        places = {label: at for at, label in enumerate(counts)}
        columns = np.array([places[label] for label in self._columns])
        n = np.array(list(counts.values()), np.float64)
        total = float(n.sum())
        E = s[:, None] * (np.eye(len(n))[[places[label] for label in self._labels]] - n / total)
        M = np.diag(s) - np.outer(s, s) / total
        K = np.linalg.solve(np.eye(rank) + M @ self._T, M)
        F = _widened(self._F, columns, len(n))
        J = E - K @ (F + self._T @ E)
        P = np.zeros((len(n), len(n)))
        P[columns[:, None], columns] = old.P
        P += F.T @ J + E.T @ (F + self._T @ J)
        mean = old.moments.mean + s @ self._Y / total
        return Moved(n, mean, (P + P.T) / 2, E, J, columns, old.W, self._V)

    def solution(self, moved: Moved) -> Solution:
        """Return the whole solution, without a selection, with the inverse of the complete one."""
        old, s = self._solution, self._signs
        total, shift = float(moved.counts.sum()), moved.mean - old.moments.mean
        moments = Moments(
            counts=moved.counts,
            mean=moved.mean,
            Q=_widened(old.moments.Q, moved.columns, len(moved.counts)) + self._Y.T @ moved.E,
            trace=float(old.moments.trace + s @ (self._Y**2).sum(axis=1) - total * (shift @ shift)),
        )
        none = np.empty((0, 0))
        return Solution(moments, old.lam, moved.W, moved.P, none[:, :0], none, old.inverse)


@dataclass(frozen=True)
class Moved:
    """An updated solution as the complete one and its few changes, without the product that adds them up.

    Attributes:
        counts: float64 [C].
        mean: float64 [D].
        P: float64 [C, C].
        E: float64 [rank, C].
        J: float64 [rank, C].
        columns: int64, the columns of the labels of the complete solution.
        old: float64 [D, C'], W of the complete solution.
        V: float64 [rank, D].
    """

    counts: Floats
    mean: Floats
    P: Floats
    E: Floats
    J: Floats
    columns: NDArray[np.int64]
    old: Floats
    V: Floats

    @property
    def W(self) -> Floats:  # noqa: N802 - the name in the equations
        """The solution, float64 [D, C], which takes as long as a thousand calls of `project`."""
        W: Floats = _widened(self.old, self.columns, len(self.counts)) + self.V.T @ self.J
        return W

    def project(self, codes: Codes) -> Floats:
        """Return ``(z - m) W`` for codes [N, D], float64 [N, C]."""
        X = codes / SCALE - self.mean
        U: Floats = _widened(X @ self.old, self.columns, len(self.counts)) + (X @ self.V.T) @ self.J
        return U


def _widened(values: Floats, columns: NDArray[np.int64], width: int) -> Floats:
    """Return values [N, C'] with zeros for the labels that are new, float64 [N, C]."""
    if values.shape[1] == width:
        return values
    wide = np.zeros((len(values), width))
    wide[:, columns] = values
    return wide
