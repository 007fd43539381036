"""Ridge regression on class indicators, solved from sums or from inner products.

With mean m, centered samples x = z - m (rows of X), indicators Y, ``Q_c = S_c - n_c m`` and
``A = X^T X + lam I``:

    W = A^-1 Q = X^T (X X^T + lam I)^-1 Y,   b = n/N - W^T m          (Hoerl and Kennard 1970)

The second form costs less if there are fewer samples than dimensions. ``lam`` is chosen by PRESS, the sum of the
squared leave-one-out residuals (Allen 1974): ``e_i / (1 - h_i)`` with the hat values h of the complete fit; no other
fit is needed. With few samples per label PRESS is noisy and mostly too low at small ridges, so that a penalty is added to
its logarithm: ``0.4 / h (log10 lam - 0.5 - 0.5 / h^3)^2`` for lam relative to the mean eigenvalue and the harmonic mean h of
the samples per label. From ten samples per label on its effect is small. With one sample of each label PRESS knows next to
nothing, and the ridge is about ten times the mean eigenvalue.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.codes import SCALE, Codes
from .base import Floats
from .blend import harmonic_mean
from .inverse import Inverse, KeptInverse, SummedInverse
from .products import inner
from .statistics import Selection, Statistics
from .triangular import Factor, cholesky, lower_inverse

Places = NDArray[np.intp]
GRID = tuple(float(value) for value in 10.0 ** np.arange(-2.5, 2.01, 0.5))
_STEP = GRID[1] / GRID[0]
START = 4  # 0.3 of the mean eigenvalue: the best ridge is mostly between 0.1 and 1
START_TUNED = 5  # 1: after fine-tuning, the best ridge is mostly between 1 and 10
_FEW = 64
DEFAULT_RELATIVE = 10.0**0.5  # ridge relative to the mean eigenvalue if no sample can be left out
_PENALTY = 0.4  # of a ridge ten times or a tenth of the preferred one, with one sample per label
_ONE_MORE = 0.5  # by how much the logarithm of the preferred ridge is larger with one sample per label
_TINY = 1e-12  # values below are zero up to rounding
_LEAST = 1e-6  # ridge if all samples are equal


@dataclass(frozen=True)
class Moments:
    """The moments that the ridge regression needs, in units of the embedding.

    Attributes:
        counts: float64 [C].
        mean: float64 [D].
        Q: float64 [D, C], ``S_c - n_c m``.
        trace: Trace of the centered second moment.
    """

    counts: Floats
    mean: Floats
    Q: Floats
    trace: float

    @property
    def total(self) -> float:
        """Number of samples N."""
        return float(self.counts.sum())

    @property
    def eigenvalue(self) -> float:
        """Mean eigenvalue of the centered second moment."""
        return self.trace / len(self.mean)


@dataclass(frozen=True)
class Solution:
    """The solution of a ridge regression.

    Attributes:
        moments: The moments of the samples.
        lam: The ridge, absolute.
        W: float64 [D, C], ``A^-1 Q``.
        P: float64 [C, C], ``Q^T A^-1 Q``.
        U: float64 [n, C], ``x A^-1 Q`` of the selection.
        H: float64 [n, n], ``X A^-1 X^T`` of the selection; its diagonal contains the leverages.
        inverse: ``A^-1`` as an operator.
    """

    moments: Moments
    lam: float
    W: Floats
    P: Floats
    U: Floats
    H: Floats
    inverse: Inverse

    @property
    def mean(self) -> Floats:
        """The mean m of the samples, float64 [D]."""
        return self.moments.mean

    @property
    def b(self) -> Floats:
        """The intercept, float64 [C]."""
        intercept: Floats = self.moments.counts / self.moments.total - self.W.T @ self.mean
        return intercept

    @property
    def condition(self) -> float:
        """An upper bound of the condition number of A, from its trace and its ridge."""
        return (self.moments.trace + self.lam) / self.lam

    def centered(self, codes: Codes) -> Floats:
        """Return ``z - m``, float64 [N, D]."""
        X: Floats = codes / SCALE - self.mean
        return X

    def project(self, codes: Codes) -> Floats:
        """Return ``(z - m) W``, float64 [N, C]."""
        U: Floats = self.centered(codes) @ self.W
        return U


class Kernel:
    """Ridge regression on inner products, with leave-one-out residuals, for any ridge.

    Args:
        products: float64 [N, N], inner products of centered samples.
        owners: int64 [N], columns of the indicators.
    """

    def __init__(self, products: Floats, owners: NDArray[np.int64]) -> None:
        self.products = products
        Y = np.eye(int(owners.max()) + 1)[owners]
        self.targets: Floats = Y - Y.mean(axis=0)
        self._roots: dict[float, Floats] = {}  # of few samples for each ridge, otherwise of the last ridge

    def weights(self, lam: float) -> Floats:
        """Return ``(K + lam I)^-1 (Y - mean)``, float64 [N, C]."""
        root = self.root(lam)
        weights: Floats = root.T @ (root @ self.targets)
        return weights

    def hat(self, lam: float) -> Floats:
        """Return ``K (K + lam I)^-1``, float64 [N, N]."""
        root = self.root(lam)
        hat: Floats = np.eye(len(root)) - lam * (root.T @ root)
        return hat

    def press(self, lam: float, copies: NDArray[np.int64]) -> float:
        """Return the sum of the squared leave-one-out residuals, with each sample counted `copies` times."""
        root = self.root(lam)
        residual = lam * self.weights(lam)  # Y - mean - K (K + lam I)^-1 (Y - mean)
        # one minus the leverage is lam times the diagonal of (K + lam I)^-1
        left = np.maximum(lam * np.einsum("ij,ij->j", root, root) - 1 / len(root), _TINY)
        return float(copies @ ((residual / left[:, None]) ** 2).sum(axis=1))

    def best(self, eigenvalue: float, copies: NDArray[np.int64]) -> float:
        """Return the ridge with the least penalized PRESS: of all in the grid for few samples, else downhill.

        Between the points of the grid a parabola is followed, so that one more sample changes the ridge only a little.

        Args:
            eigenvalue: Unit of the grid.
            copies: int64 [N], the number of times that each sample counts.
        """
        counts = copies @ (self.targets > 0)
        h = float(harmonic_mean(counts.astype(np.float64)))
        penalty, preferred = _PENALTY / h, math.log10(DEFAULT_RELATIVE) + _ONE_MORE / h**3

        def loss(at: int) -> float:
            press = max(self.press(GRID[at] * eigenvalue, copies), _TINY)
            return math.log(press) + penalty * (math.log10(GRID[at]) - preferred) ** 2

        known = _remembered(loss)
        few = len(self.products) <= _FEW
        if few:
            self._invert([ridge * eigenvalue for ridge in GRID])
        at = min(range(len(GRID)), key=known) if few else _downhill(known, START)
        between = math.pow(_STEP, _vertex(known(at - 1), known(at), known(at + 1)))
        return GRID[at] * between * eigenvalue

    def root(self, lam: float) -> Floats:
        """Return the inverse of the Cholesky factor of ``K + lam I``."""
        if lam not in self._roots:
            shifted = self.products.copy()
            shifted[np.diag_indices_from(shifted)] += lam
            self._roots = {lam: lower_inverse(cholesky(shifted))}
        return self._roots[lam]

    def _invert(self, ridges: list[float]) -> None:
        """Compute the roots of several ridges at once, in half the time of one by one; the same to the bit."""
        shifted = np.tile(self.products, (len(ridges), 1, 1))
        diagonal = np.arange(shifted.shape[1])
        shifted[:, diagonal, diagonal] += np.array(ridges)[:, np.newaxis]
        with contextlib.suppress(np.linalg.LinAlgError):  # one by one, then
            self._roots = dict(zip(ridges, np.linalg.inv(np.linalg.cholesky(shifted)), strict=True))


def moments(statistics: Statistics) -> Moments:
    """Return the moments of integer statistics."""
    counts, sums = statistics.sums()
    n, S = counts.astype(np.float64), sums / SCALE
    mean: Floats = S.sum(axis=0) / n.sum()
    trace = max(statistics.squares() / SCALE**2 - float(n.sum() * (mean @ mean)), 0.0)
    return Moments(n, mean, S.T - np.outer(mean, n), trace)


def centered_products(products: Floats) -> Floats:
    """Return the inner products of centered samples [N, N], in units of the embedding, from those of codes."""
    centered: Floats = products / SCALE**2
    rows = centered.mean(axis=1)
    centered -= rows[:, None]
    centered -= rows - rows.mean()
    return centered


class Chosen:
    """The ridge of the last selection; a sample that does not change the selection does not change the ridge."""

    def __init__(self) -> None:
        self._last: tuple[bytes, float | None] | None = None

    def of(self, selection: Selection, choose: Callable[[], float | None]) -> float | None:
        """Return the ridge of this selection; call `choose` only if the selection differs from the last one."""
        mark = selection.fingerprint()
        if self._last is None or self._last[0] != mark:
            self._last = mark, choose()
        return self._last[1]


def solve(
    statistics: Statistics, selection: Selection, ridge: float | None = None, chosen: Chosen | None = None
) -> Solution:
    """Solve the ridge regression.

    Args:
        statistics: Statistics of at least one sample.
        selection: Samples that choose the ridge, and for which leverages are returned.
        ridge: The ridge, absolute; None chooses it by PRESS on the selection.
        chosen: Remembers the choice as long as no sample tuned the backbone.
    """
    chosen = chosen or Chosen()
    taken = moments(statistics)
    if selection.places is not None and len(selection.places) == statistics.total:
        kernel = Kernel(centered_products(statistics.products()), selection.owners)
        lam = (_chosen(selection, kernel) or _fallback(taken)) if ridge is None else ridge
        inverse = KeptInverse(statistics.codes, taken.mean, lam, kernel.root(lam))
        return _from_weights(statistics, taken, lam, selection, kernel.weights(lam), kernel.hat(lam), inverse)
    if ridge is None and len(statistics.tuned):
        return _judged(statistics, taken, selection)
    if ridge is None:
        best = chosen.of(selection, lambda: _chosen(selection, _selection_kernel(statistics, selection)))
        ridge = best or _fallback(taken)
    return _solved(statistics, taken, ridge, selection)


def _judged(statistics: Statistics, taken: Moments, selection: Selection) -> Solution:
    """Return the solution with a low PRESS if samples that tuned the backbone may not judge.

    The selection alone would choose too small a ridge, because it lacks the samples that tuned the backbone, which are
    closer together than new ones. Therefore each sample of the selection is left out of the fit to all samples, at
    the cost of one solve per ridge. Few samples judge then, and PRESS is flat: a ridge other than `START_TUNED` has to be
    better by more than one standard error, which the losses of the same samples show.
    """
    if not len(selection.owners) or taken.eigenvalue <= _TINY:
        return _solved(statistics, taken, _fallback(taken), selection)
    solutions: dict[int, Solution] = {}

    @functools.cache
    def losses(at: int) -> Floats:
        solution = solutions[at] = _solved(statistics, taken, GRID[at] * taken.eigenvalue, selection)
        residual = np.eye(len(taken.counts))[selection.owners] - taken.counts / taken.total - solution.U
        left = np.maximum(1 - np.diagonal(solution.H) - 1 / taken.total, _TINY)
        squares: Floats = ((residual / left[:, None]) ** 2).sum(axis=1)
        return selection.copies * squares

    return solutions[_clearly_downhill(losses, START_TUNED)]


def _clearly_downhill(losses: Callable[[int], Floats], at: int) -> int:
    """Return the index of the grid where a walk from `at` ends that takes the better step if it is clearly downhill.

    Args:
        losses: Index -> loss of each judging sample, float64 [n].
        at: Where the walk begins.
    """

    def gained(step: int) -> float:
        """Return by how much the sum falls, beyond one standard error of the differences."""
        if not 0 <= at + step < len(GRID):
            return -math.inf
        differences = losses(at) - losses(at + step)
        return float(differences.sum() - math.sqrt(len(differences)) * differences.std())

    while gained(step := max((-1, 1), key=gained)) > 0:
        at += step
    return at


def _remembered(loss: Callable[[int], float]) -> Callable[[int], float]:
    """Return `loss` of each index of the grid computed once, infinite outside of the grid."""
    return functools.cache(lambda at: loss(at) if 0 <= at < len(GRID) else math.inf)


def _downhill(loss: Callable[[int], float], at: int) -> int:
    """Return the index of the local minimum of `loss` in the grid, walking downhill from `at`."""
    while (step := min((0, -1, 1), key=lambda step: loss(at + step))) != 0:
        at += step
    return at


def _vertex(before: float, here: float, after: float) -> float:
    """Return where the parabola through three losses at -1, 0 and 1 is lowest, within half a step of 0."""
    curve = before - 2 * here + after
    if not math.isfinite(curve) or curve <= _TINY:
        return 0.0  # at an end of the grid, or flat
    return min(max((before - after) / (2 * curve), -0.5), 0.5)


def _solved(statistics: Statistics, taken: Moments, lam: float, selection: Selection) -> Solution:
    if selection.places is None:
        return _from_sums(statistics, taken, lam, selection)
    others = np.setdiff1d(np.arange(statistics.total), selection.places)
    return _from_kept(statistics, taken, lam, selection, np.concatenate([others, selection.places]))


def _fallback(taken: Moments) -> float:
    """Return the ridge to use if no sample can be left out."""
    return max(DEFAULT_RELATIVE * taken.eigenvalue, _LEAST)


def _chosen(selection: Selection, kernel: Kernel | None) -> float | None:
    """Return the ridge with the least PRESS on the selection, or None if the selection cannot choose one."""
    if kernel is None or np.count_nonzero(np.bincount(selection.owners)) < 2:
        return None
    eigenvalue = float(np.trace(kernel.products)) / selection.codes.shape[1]
    if eigenvalue <= _TINY:
        return None
    # as a prior on W, the ridge is the ratio of noise to signal, which does not depend on the number of samples: the
    # best ridge for the selection is used for all samples
    return kernel.best(eigenvalue, selection.copies)


def _selection_kernel(statistics: Statistics, selection: Selection) -> Kernel | None:
    if not len(selection.owners):
        return None
    if selection.places is not None:
        return Kernel(centered_products(statistics.products(selection.places)), selection.owners)
    return Kernel(centered_products(inner(selection.codes, selection.codes)), selection.owners)


def _from_kept(
    statistics: Statistics, taken: Moments, lam: float, selection: Selection, places: Places
) -> Solution:
    """Solve from inner products, with the selection last, so that its hat values need only the factor's last corner."""
    kernel = centered_products(statistics.products(places))
    kernel[np.diag_indices_from(kernel)] += lam
    factor = Factor(kernel)
    Y = np.eye(len(taken.counts))[statistics.owners()[places]]
    weights = np.empty_like(Y)
    weights[places] = factor.solve(Y - Y.mean(axis=0))
    # K (K + lam I)^-1 = I - lam (K + lam I)^-1
    hat = np.eye(len(selection.owners)) - lam * factor.last_corner(len(selection.owners))
    inverse = KeptInverse(statistics.codes[places], taken.mean, lam, factor)
    return _from_weights(statistics, taken, lam, selection, weights, hat, inverse)


def _from_weights(
    statistics: Statistics,
    taken: Moments,
    lam: float,
    selection: Selection,
    weights: Floats,
    hat: Floats,
    inverse: Inverse,
) -> Solution:
    Y = np.eye(len(taken.counts))[statistics.owners()]
    U = Y - Y.mean(axis=0) - lam * weights  # K weights
    # the weights of each column sum to 0, so that the codes need no centering
    W = statistics.codes.T.astype(np.float64) @ (weights / SCALE)
    return Solution(taken, lam, W, _symmetric(Y.T @ U), U[selection.places], hat, inverse)


def _from_sums(statistics: Statistics, taken: Moments, lam: float, selection: Selection) -> Solution:
    X: Floats = selection.codes / SCALE - taken.mean
    factor = Factor(_scatter(statistics, taken, lam))
    half = factor.forward(np.concatenate([taken.Q, X.T], axis=1))
    half, probes = half[:, : len(taken.counts)], half[:, len(taken.counts) :]
    W = factor.backward(half)
    return Solution(taken, lam, W, half.T @ half, X @ W, probes.T @ probes, SummedInverse(factor, taken.mean))


def _scatter(statistics: Statistics, taken: Moments, lam: float) -> Floats:
    """Return A, float64 [D, D]."""
    scatter: Floats = statistics.gram() / SCALE**2
    scatter -= np.outer(taken.total * taken.mean, taken.mean)
    scatter[np.diag_indices_from(scatter)] += lam
    return scatter


def _symmetric(matrix: Floats) -> Floats:
    even: Floats = (matrix + matrix.T) / 2
    return even
