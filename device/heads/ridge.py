"""Ridge regression on class indicators, solved from sums or from inner products.

With mean m, centred samples x = z - m, indicators Y, ``Q_c = S_c - n_c m`` and ``A = sum x x^T + lam I``:

    W = A^-1 Q,   b = n/N - W^T m          (Hoerl and Kennard 1970)
    A^-1 = (I - X^T (X X^T + lam I)^-1 X) / lam   when there are fewer samples than dimensions

``lam`` is chosen by PRESS, the squared residual left when a sample is left out (Allen 1974):
``e_i / (1 - h_i)`` with the hat values h of the whole fit; no refitting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..codes import SCALE, Codes
from .base import Floats
from .statistics import Statistics

GRID = tuple(float(value) for value in 10.0 ** np.arange(-2.5, 2.01, 0.5))
DEFAULT_RELATIVE = 1.0  # of the mean eigenvalue; where nothing can be left out
_TINY = 1e-12


@dataclass(frozen=True)
class Moments:
    """What ridge needs of the statistics, in units of the embedding.

    Attributes:
        counts: float64 [C].
        mean: float64 [D].
        Q: float64 [D, C], ``S_c - n_c m``.
        trace: Trace of the centred second moment.
    """

    counts: Floats
    mean: Floats
    Q: Floats
    trace: float

    @property
    def total(self) -> float:
        """Number of samples N."""
        return float(self.counts.sum())


def moments(statistics: Statistics) -> Moments:
    """Take the moments from whole-number statistics."""
    counts, sums = statistics.sums()
    n, S = counts.astype(np.float64), sums / SCALE
    mean: Floats = S.sum(axis=0) / n.sum()
    squares = statistics.squares() / SCALE**2
    trace = max(float(squares - n.sum() * (mean @ mean)), 0.0)
    return Moments(n, mean, S.T - np.outer(mean, n), trace)


class Solution:
    """A^-1 Q, and A^-1 applied to whatever else is asked.

    Attributes:
        moments: What was solved.
        lam: The ridge added, absolute.
        W: float64 [D, C].
        P: float64 [C, C], ``Q^T A^-1 Q``.
        U: float64 [n, C], ``x A^-1 Q`` of the probes.
        h: float64 [n], ``x A^-1 x`` of the probes.
    """

    def __init__(self, statistics: Statistics, moments: Moments, lam: float, probes: Codes) -> None:
        self.moments, self.lam = moments, lam
        self._statistics = statistics
        X = self.centred(probes)
        solved = self.inverse_times(np.concatenate([moments.Q, X.T], axis=1))
        C = len(moments.counts)
        self.W = solved[:, :C]
        self.P: Floats = moments.Q.T @ self.W
        self.P = (self.P + self.P.T) / 2
        self.U: Floats = X @ self.W
        self.h: Floats = np.einsum("nd,dn->n", X, solved[:, C:])

    @property
    def b(self) -> Floats:
        """The intercept, float64 [C]."""
        intercept: Floats = self.moments.counts / self.moments.total - self.W.T @ self.moments.mean
        return intercept

    @property
    def condition(self) -> float:
        """An upper bound of A's condition number, from its trace and its ridge."""
        return (self.moments.trace + self.lam) / self.lam

    def centred(self, codes: Codes) -> Floats:
        """Give ``z - m``, float64 [N, D]."""
        X: Floats = codes / SCALE - self.moments.mean
        return X

    def inverse_times(self, right: Floats) -> Floats:
        """Give ``A^-1 right`` for `right` of shape [D, n]."""
        if self._statistics.complete:
            X = self.centred(self._statistics.codes)
            kernel = centred_products(self._statistics.products())
            kernel[np.diag_indices_from(kernel)] += self.lam
            left: Floats = (right - X.T @ np.linalg.solve(kernel, X @ right)) / self.lam
            return left
        gram = self._statistics.gram() / SCALE**2
        gram -= np.outer(self.moments.total * self.moments.mean, self.moments.mean)
        gram[np.diag_indices_from(gram)] += self.lam
        solved: Floats = np.linalg.solve(gram, right)
        return solved


def centred_products(products: Floats) -> Floats:
    """Give the inner products of centred samples [N, N] from those of codes, in units of the embedding."""
    products = products / SCALE**2
    rows = products.mean(axis=1)
    centred: Floats = products - rows[:, None] - rows[None, :] + rows.mean()
    return centred


def press(kernel: Floats, owners: NDArray[np.int64], copies: NDArray[np.int64], lams: Floats) -> Floats:
    """Give the squared leave-one-out residual for each ridge.

    Args:
        kernel: float64 [N, N], inner products of centred samples.
        owners: int64 [N], columns of the indicators.
        copies: int64 [N], weight of each sample in the sum.
        lams: float64 [L], absolute.

    Returns:
        float64 [L].
    """
    N = len(kernel)
    Y = np.eye(int(owners.max()) + 1)[owners]
    values, vectors = np.linalg.eigh(kernel)
    values = np.maximum(values, 0.0)
    projected = vectors.T @ (Y - Y.mean(axis=0))
    losses = np.empty(len(lams))
    for at, lam in enumerate(lams):
        shrunk = values / (values + lam)
        residual = Y - Y.mean(axis=0) - vectors @ (shrunk[:, None] * projected)
        leverage = 1 / N + vectors**2 @ shrunk
        losses[at] = copies @ ((residual / np.maximum(1 - leverage, _TINY)[:, None]) ** 2).sum(axis=1)
    return losses


def choose_ridge(
    statistics: Statistics,
    moments: Moments,
    codes: Codes,
    owners: NDArray[np.int64],
    copies: NDArray[np.int64],
) -> float:
    """Give the absolute ridge whose squared leave-one-out residual on a panel of samples is smallest."""
    mean_eigenvalue = moments.trace / len(moments.mean)
    if len(np.unique(owners)) < 2 or mean_eigenvalue <= _TINY:
        return max(DEFAULT_RELATIVE * mean_eigenvalue, _TINY**0.5)
    values = codes.astype(np.float64)
    kernel = centred_products(values @ values.T)
    lams = np.trace(kernel) / len(moments.mean) * np.array(GRID)
    return float(lams[np.argmin(press(kernel, owners, copies, lams))])
