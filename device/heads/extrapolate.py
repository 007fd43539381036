"""Extrapolate a learning curve: the error with more samples, with an interval.

The error at r times the present number of samples is modeled as a power law that falls to an asymptote (Cortes et al. 1993,
"Learning curves: asymptotic values and rate of convergence"):

    e(r) = E (a + (1 - a) r^-c)

with the present error E, the exponent c and the share a of the error that remains. The measured errors at some shares of
the samples are binomial; E, c and a have priors, and the posterior is computed on a grid. A few samples say little
about c and a, so that their priors decide then: on photos, c is mostly between 0.2 and 0.7. The samples that are taught
next are random too, so that the interval also contains the spread of `LUCK`. The constants were chosen on five sets,
and `python -m benchmarks.forecast` measures how often the truth is in the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Floats

COVERED = 0.9  # share of the forecasts whose interval contains the truth
LUCK = 0.12  # spread of the error between draws of the same number of samples, in units of its log-odds
LABEL_LUCK = 0.4  # the same for one label
NOW_WEIGHT = 0.8  # of the leave-one-out error, relative to as many independent samples
STEP_WEIGHT = 0.15  # of the error at a part of the samples: the steps share their samples
_EXPONENT, _SPREAD = 0.5, 0.2  # of the prior of c
_REMAINS = 3.0  # the prior of a is Beta(1, _REMAINS)
_LOGITS = np.linspace(-6.5, 2.5, 46)
_EXPONENTS = np.linspace(0.05, 1.2, 12)
_SHARES = np.linspace(0.0, 0.9, 7)
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)


@dataclass(frozen=True)
class ExpectedAccuracy:
    """An accuracy that is expected.

    Attributes:
        accuracy: Median of the forecast.
        interval: Range that contains the accuracy in nine of ten forecasts.
    """

    accuracy: float
    interval: tuple[float, float]


class Posterior:
    """What the measured errors say about a learning curve.

    Args:
        shares: float64 [J], shares of the present samples, of which the last is that of leave-one-out.
        wrong: float64 [J], errors there; NaN is ignored.
        trials: Number of independent samples that were judged.
        prior: The curve of all labels, whose shape is the prior of the shape of one label.
    """

    def __init__(self, shares: Floats, wrong: Floats, trials: float, prior: Posterior | None = None) -> None:
        self._E, self._c, self._a = np.meshgrid(
            1 / (1 + np.exp(-_LOGITS)), _EXPONENTS, _SHARES, indexing="ij"
        )
        self._luck = LUCK if prior is None else LABEL_LUCK
        weights = np.full(len(shares), STEP_WEIGHT)
        weights[-1] = NOW_WEIGHT
        log = _log_prior(self._E, self._c, self._a)
        if prior is not None:
            log += 0.5 * np.log(prior._shape() + 1e-9)
        for share, error, weight in zip(shares, wrong, trials * weights, strict=True):
            if np.isfinite(error):
                there = np.clip(self._error(float(share)), 1e-6, 1 - 1e-6)
                log += weight * (error * np.log(there) + (1 - error) * np.log1p(-there))
        self._weights: Floats = np.exp(log - log.max())
        self._weights /= self._weights.sum()

    def expected(self, growth: float = 1.0) -> ExpectedAccuracy:
        """Return the accuracy with `growth` times the samples."""
        error = np.clip(self._error(growth), 1e-6, 1 - 1e-6)
        odds = np.log(error / (1 - error)).reshape(-1, 1) + self._luck * _NODES
        low, middle, high = _quantiles(
            1 / (1 + np.exp(-odds)),
            self._weights.reshape(-1, 1) * _NODE_WEIGHTS,
            [(1 - COVERED) / 2, 0.5, (1 + COVERED) / 2],
        )
        return ExpectedAccuracy(round(1 - middle, 4), (round(1 - high, 4), round(1 - low, 4)))

    def largest_gain(self, growth: float) -> float:
        """Return the gain in accuracy with `growth` times the samples that is not exceeded in nine of ten cases."""
        return _quantiles(self._E - self._error(growth), self._weights, [COVERED])[0]

    def _error(self, growth: float) -> Floats:
        error: Floats = self._E * (self._a + (1 - self._a) * growth**-self._c)
        return error

    def _shape(self) -> Floats:
        """Return the probabilities of exponent and remaining share, float64 [1, c, a]."""
        shape: Floats = self._weights.sum(axis=0, keepdims=True)
        return shape


def _log_prior(E: Floats, c: Floats, a: Floats) -> Floats:
    log: Floats = 0.5 * np.log(E) + np.log1p(-E)
    log += -0.5 * ((c - _EXPONENT) / _SPREAD) ** 2 + (_REMAINS - 1) * np.log1p(-a)
    return log


def _quantiles(values: Floats, weights: Floats, levels: list[float]) -> list[float]:
    order = np.argsort(values, axis=None)
    sums = np.cumsum(weights.ravel()[order])
    places: NDArray[np.intp] = np.searchsorted(sums, np.array(levels) * sums[-1])
    return [float(values.ravel()[order[min(place, len(order) - 1)]]) for place in places]
