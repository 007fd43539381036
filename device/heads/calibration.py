"""Turning scores into probabilities that mean what they say: one temperature, and how to check it.

Guo et al. 2017, "On calibration of modern neural networks": divide the scores by the one number that makes
the likelihood of samples that were not used for the fit largest. Here those are the leave-one-out scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Floats, softmax

BINS = 15
_LOWEST, _HIGHEST = -12.0, 8.0  # log of the factor on the scores
_GOLDEN = (5**0.5 - 1) / 2


def loss(scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> float:
    """Give the mean negative log-likelihood of labels [N] under scores [N, C]."""
    top = scores.max(axis=1)
    normaliser = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    return float(np.average(normaliser - scores[np.arange(len(owners)), owners], weights=weights))


def fit_sharpness(
    scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None = None
) -> float:
    """Give the factor (one over the temperature) on the scores under which the labels are most likely.

    The loss is convex in the factor, so a golden-section search on its logarithm finds it.
    """
    low, high = _LOWEST, _HIGHEST

    def at(log_factor: float) -> float:
        return loss(scores * np.exp(log_factor), owners, weights)

    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = at(left), at(right)
    for _ in range(28):
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
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == owners
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=confidence, minlength=bins) - np.bincount(
        place, weights=right.astype(float), minlength=bins
    )
    return float(np.abs(gaps).sum() / max(len(owners), 1))


__all__ = ["expected_calibration_error", "fit_sharpness", "loss", "softmax"]
