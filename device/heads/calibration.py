"""Turning scores into probabilities that mean what they say: one temperature, and how to check it.

Guo et al. 2017, "On calibration of modern neural networks": divide the scores by the one number under which
samples not used for the fit are most likely. Here those are the leave-one-out scores. As in Platt 1999 the
targets stay short of certainty, ``1 - 1/(N + 2)``, so that a few samples told apart without error do not
make every answer certain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Floats

BINS = 15
_LOWEST, _HIGHEST = -12.0, 8.0  # logarithm of the factor on the scores
_STEPS = 28  # of the golden section: the logarithm is known to 3e-5
_GOLDEN = (5**0.5 - 1) / 2


def loss(scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> float:
    """Give the mean negative log-likelihood of labels [N] under scores [N, C]."""
    return _smoothed_loss(scores, owners, weights, 0.0)


def fit_sharpness(
    scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None = None
) -> float:
    """Give the factor on the scores, one over the temperature, under which the labels are most likely.

    The loss is convex in the factor, so a golden-section search on its logarithm finds it.

    Args:
        scores: float64 [N, C] of samples that had no part in the fit.
        owners: int64 [N], their columns.
        weights: How often each counts; default once.
    """
    smoothing = 1 / (float(len(owners) if weights is None else weights.sum()) + 2)

    def at(log_factor: float) -> float:
        return _smoothed_loss(scores * np.exp(log_factor), owners, weights, smoothing)

    low, high = _LOWEST, _HIGHEST
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = at(left), at(right)
    for _ in range(_STEPS):
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN * (high - low)
            loss_left = at(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN * (high - low)
            loss_right = at(right)
    return float(np.exp((low + high) / 2))


def expected_calibration_error(probabilities: Floats, owners: NDArray[np.int64], bins: int = BINS) -> float:
    """Give the mean gap between confidence and accuracy over equal-width bins (Naeini et al. 2015).

    Args:
        probabilities: float64 [N, C].
        owners: int64 [N], the true columns.
        bins: Number of bins over the confidence.
    """
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == owners).astype(np.float64)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(owners), 1))


def _smoothed_loss(
    scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None, smoothing: float
) -> float:
    top = scores.max(axis=1)
    normaliser = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    target = (1 - smoothing) * scores[np.arange(len(owners)), owners] + smoothing * scores.mean(axis=1)
    return float(np.average(normaliser - target, weights=weights))
