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

import numpy as np

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

    def solution(self, counts: Mapping[str, float]) -> Solution:
        """Return the solution for the samples as they are now, without a selection, with the inverse of the complete one.

        Args:
            counts: Number of samples per label now, sorted by label; each label of the complete solution is among them.
        """
        old, s, rank = self._solution, self._signs, len(self)
        places = {label: at for at, label in enumerate(counts)}
        columns = [places[label] for label in self._columns]
        n = np.array(list(counts.values()), np.float64)
        total = n.sum()

        def widened(values: Floats) -> Floats:
            wide = np.zeros((len(values), len(n)))
            wide[:, columns] = values
            return wide

        onehot = np.zeros((rank, len(n)))
        onehot[np.arange(rank), [places[label] for label in self._labels]] = 1
        E = s[:, None] * (onehot - n / total)
        M = np.diag(s) - np.outer(s, s) / total
        K = np.linalg.solve(np.eye(rank) + M @ self._T, M)
        F = widened(self._F)
        J = E - K @ (F + self._T @ E)
        W = widened(old.W) + self._V.T @ J
        P = np.zeros((len(n), len(n)))
        P[np.ix_(columns, columns)] = old.P
        P += F.T @ J + E.T @ (F + self._T @ J)
        shift = s @ self._Y / total
        moments = Moments(
            counts=n,
            mean=old.moments.mean + shift,
            Q=widened(old.moments.Q) + self._Y.T @ E,
            trace=float(old.moments.trace + s @ (self._Y**2).sum(axis=1) - total * (shift @ shift)),
        )
        none = np.empty((0, 0))
        return Solution(moments, old.lam, W, (P + P.T) / 2, none[:, :0], none, old.inverse)
