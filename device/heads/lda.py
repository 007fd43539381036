"""Linear discriminant analysis with a shared, shrunk covariance, from the statistics of the exact head.

    Sigma = (1 - s) Sw / N + s tr(Sw) / (N D) I,   Sw = G - sum_c n_c mu_c mu_c^T
    score_c = z^T Sigma^-1 mu_c - mu_c^T Sigma^-1 mu_c / 2 + log(n_c / N)      without the logarithm for even priors

with s from oracle approximating shrinkage (Chen, Wiesel, Eldar and Hero 2010). Up to a factor, Sigma is the
exact head's matrix at the ridge ``lam = s tr(Sw) / (D (1 - s))``, so both heads use the same solver.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..model.codes import SCALE
from .base import Fit, Floats, Linear
from .discriminant import Discriminant, Readout
from .exact import ExactHead
from .ridge import Solution, solve
from .statistics import Selection, Statistics

_MOST = 1 - 1e-9  # maximum shrinkage; below 1, so that the ridge is finite


class LdaHead(ExactHead):
    """Linear discriminant analysis.

    Args:
        dimensions: D.
        ridge: Fixed ridge, absolute; None uses oracle approximating shrinkage.
        false_rejection: Share of the taught samples that may be predicted as unknown.
        priors: ``taught`` (default): labels are expected as frequently as they were taught; or ``even``.

    Example:
        >>> from device.model.codes import encode
        >>> head = LdaHead(2)
        >>> head.learn_many(encode([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0]]), ["a", "a", "b"])
        >>> head.predict_one(encode([0.0, 1.0])).label
        'b'
    """

    name: ClassVar[str] = "lda"
    default_priors: ClassVar[str] = "taught"

    @property
    def settled(self) -> bool:
        """Whether predictions come from the complete fit, which they always do."""
        return True

    def discriminant(self) -> Linear:
        """Return the discriminant functions, before the temperature."""
        solution = self.solution()
        return self._readout(solution, Discriminant.of(solution.P, solution.moments.counts))

    def _current_fit(self) -> Fit:
        return self.fit  # its ridge and its temperature follow each sample

    def _solve(self, selection: Selection) -> Solution:
        ridge = self.ridge
        if ridge is None:
            scatter, shrinkage = within_scatter(self.statistics)
            ridge = max(shrinkage / (1 - shrinkage) * scatter / self.dimensions, 1e-9)
        return solve(self.statistics, selection, ridge)

    def _readout(self, solution: Solution, values: Discriminant) -> Linear:
        plain, factor = self._linear(solution, values, 0.0), self._factor(solution)
        return Linear(factor * plain.W, factor * plain.b + self._log_priors(values.n))

    def _offset(self, counts: Floats) -> Floats:
        return np.zeros_like(counts)  # the priors are among the scores

    def _scaled(self, readout: Readout, solution: Solution) -> Floats:
        scaled: Floats = self._factor(solution) * readout.scores + self._log_priors(solution.moments.counts)
        return scaled

    def _factor(self, solution: Solution) -> float:
        """Return 1 / (1 - s) = 1 + lam D / tr(Sw), because the exact head's matrix lacks the factor (1 - s)."""
        scatter = within_trace(self.statistics)
        return 1 + solution.lam * self.dimensions / scatter if scatter > 0 else 1.0


def within_trace(statistics: Statistics) -> float:
    """Return the trace of Sw, in units of the embedding."""
    counts, sums = statistics.sums()
    between = float(((sums / SCALE) ** 2).sum(axis=1) @ (1 / counts))
    return max(statistics.squares() / SCALE**2 - between, 0.0)


def within_scatter(statistics: Statistics) -> tuple[float, float]:
    """Return the trace of Sw and the oracle approximating shrinkage of Sw / N."""
    N, D = statistics.total, statistics.dimensions
    counts, sums = statistics.sums()
    if statistics.complete:
        owners = statistics.owners()
        products = statistics.products() / SCALE**2
        share = np.eye(len(counts))[owners] / counts  # [N, C]
        inner = products - products @ share @ (share * counts).T
        inner = inner - (share * counts) @ (share.T @ inner)
    else:
        scaled = sums / SCALE / np.sqrt(counts)[:, None]
        inner = statistics.gram() / SCALE**2 - scaled.T @ scaled
    trace = max(float(np.trace(inner)), 0.0)
    mean_square, square_mean = float((inner**2).sum()) / (N * D) ** 2, (trace / (N * D)) ** 2
    spread = (N + 1) * (mean_square - square_mean / D)
    shrinkage = 1.0 if spread <= 0 else min((mean_square + square_mean) / spread, 1.0)
    return trace, min(shrinkage, _MOST)
