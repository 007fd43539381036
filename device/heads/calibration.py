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
FEWEST_JUDGES = 10  # samples that did not tune the backbone, below which defaults are safer than a choice
NO_JUDGES = (
    f"fewer than {FEWEST_JUDGES} samples of two labels did not tune the backbone: probabilities and 'known' are not "
    "calibrated, and the ridge is the default; teach more samples on the device, or fine-tune with validation photos"
)
_LOWEST, _HIGHEST = -12.0, 8.0  # logarithm of the factor on the scores
_STEPS = 60  # of Newton's method at most; six or seven are the rule
_NEAR = 1e-9  # relative step that ends it


def too_few_judges(owners: NDArray[np.int64]) -> bool:
    """Return whether the samples that did not tune the backbone, of labels `owners` [N], are too few to choose by."""
    return len(owners) < FEWEST_JUDGES or int(np.count_nonzero(np.bincount(owners))) < 2


def loss(scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> float:
    """Give the mean negative log-likelihood of labels [N] under scores [N, C]."""
    return smoothed_loss(scores, owners, weights, 0.0)


def fit_sharpness(
    scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None = None
) -> float:
    """Give the factor on the scores, one over the temperature, under which the labels are most likely.

    The loss is convex in the factor: Newton steps find it, halvings of the logarithm where one leads outside.

    Args:
        scores: float64 [N, C] of samples that had no part in the fit.
        owners: int64 [N], their columns.
        weights: How often each counts; default once.
    """
    times: Floats = np.ones(len(owners)) if weights is None else weights.astype(np.float64)
    shares: Floats = times / times.sum()
    smoothing = 1 / (float(times.sum()) + 2)
    target = (1 - smoothing) * scores[np.arange(len(owners)), owners] + smoothing * scores.mean(axis=1)
    wanted = float(shares @ target)
    low, high = float(np.exp(_LOWEST)), float(np.exp(_HIGHEST))
    factor = float(np.clip(1 / max(float(scores.std()), 1e-300), low, high))
    for _ in range(_STEPS):
        slope, curve = _slope(scores, shares, factor)
        slope -= wanted
        low, high = (factor, high) if slope < 0 else (low, factor)
        step = factor - slope / curve if curve > 0 else np.inf
        if not low < step < high:
            step = (low * high) ** 0.5  # the loss is convex, so what is best lies between
        if abs(step - factor) <= _NEAR * factor:
            break
        factor = float(step)
    return factor


def _slope(scores: Floats, shares: Floats, factor: float) -> tuple[float, float]:
    """Give the first two derivatives of the mean log-normaliser: the scores' mean and variance under softmax."""
    scaled = factor * scores
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    mean = (powers * scores).sum(axis=1)
    square = (powers * scores**2).sum(axis=1)
    return float(shares @ mean), float(shares @ (square - mean**2))


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


def smoothed_loss(
    scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None, smoothing: float
) -> float:
    """Give the mean negative log-likelihood when each label has a share `smoothing` of doubt."""
    top = scores.max(axis=1)
    normaliser = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    target = (1 - smoothing) * scores[np.arange(len(owners)), owners] + smoothing * scores.mean(axis=1)
    return float(np.average(normaliser - target, weights=weights))
