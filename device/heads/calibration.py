"""Calibration: turn scores into probabilities with one temperature, and measure the calibration error.

Guo et al. 2017, "On calibration of modern neural networks": divide the scores by the number that maximizes the
likelihood of samples that are not used for the fit. Here those are the leave-one-out scores. As in Platt 1999, the
targets are slightly below certainty, ``1 - 1/(N + 2)``, so that a few samples without errors do not make every
prediction certain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Floats

BINS = 15
FEWEST_JUDGES = 10  # with fewer samples that did not tune the backbone, defaults are safer than a choice
NO_JUDGES = (
    f"fewer than {FEWEST_JUDGES} samples of two labels did not tune the backbone: probabilities and 'known' are not "
    "calibrated, and the ridge is the default; teach more samples on the device, or fine-tune with validation photos"
)
_LOWEST, _HIGHEST = -12.0, 8.0  # bounds of the logarithm of the factor on the scores
_STEPS = 60  # maximum steps of Newton's method; six or seven are typical
_NEAR = 1e-9  # relative step size at convergence


def too_few_judges(owners: NDArray[np.int64]) -> bool:
    """Whether too few samples did not tune the backbone to choose parameters; `owners` [N] are their labels."""
    return len(owners) < FEWEST_JUDGES or int(np.count_nonzero(np.bincount(owners))) < 2


def loss(scores: Floats, owners: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> float:
    """Return the mean negative log-likelihood of labels [N] under scores [N, C]."""
    return smoothed_loss(scores, owners, weights, 0.0)


def fit_sharpness(
    scores: Floats,
    owners: NDArray[np.int64],
    weights: NDArray[np.int64] | None = None,
    offset: Floats | None = None,
) -> float:
    """Return the factor on the scores, one over the temperature, that maximizes the likelihood of the labels.

    The loss is convex in the factor: it is minimized by Newton's method, with bisection of the logarithm if a step
    leaves the bounds.

    Args:
        scores: float64 [N, C] of samples that were not used for the fit.
        owners: int64 [N], the columns of their labels.
        weights: int64 [N], the number of times that each sample counts; default once.
        offset: float64 [N, C], added to the scores after the factor, such as the logarithm of priors; default zero.
    """
    times: Floats = np.ones(len(owners)) if weights is None else weights.astype(np.float64)
    shares: Floats = times / times.sum()
    smoothing = 1 / (float(times.sum()) + 2)
    target = (1 - smoothing) * scores[np.arange(len(owners)), owners] + smoothing * scores.mean(axis=1)
    wanted = float(shares @ target)
    low, high = float(np.exp(_LOWEST)), float(np.exp(_HIGHEST))
    factor = float(np.clip(1 / max(float(scores.std()), 1e-300), low, high))
    for _ in range(_STEPS):
        slope, curve = _slope(scores, shares, factor, offset)
        slope -= wanted
        low, high = (factor, high) if slope < 0 else (low, factor)
        step = factor - slope / curve if curve > 0 else np.inf
        if not low < step < high:
            step = (low * high) ** 0.5  # the loss is convex, so the minimum is between the bounds
        if abs(step - factor) <= _NEAR * factor:
            break
        factor = float(step)
    return factor


def _slope(scores: Floats, shares: Floats, factor: float, offset: Floats | None) -> tuple[float, float]:
    """Return the first two derivatives of the mean log-normalizer: the scores' mean and variance under softmax."""
    scaled = factor * scores if offset is None else factor * scores + offset
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    mean = (powers * scores).sum(axis=1)
    square = (powers * scores**2).sum(axis=1)
    return float(shares @ mean), float(shares @ (square - mean**2))


def expected_calibration_error(probabilities: Floats, owners: NDArray[np.int64], bins: int = BINS) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal width (Naeini et al. 2015).

    Args:
        probabilities: float64 [N, C].
        owners: int64 [N], the columns of the true labels.
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
    """Return the mean negative log-likelihood with label smoothing by a share `smoothing`."""
    top = scores.max(axis=1)
    normalizer = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    target = (1 - smoothing) * scores[np.arange(len(owners)), owners] + smoothing * scores.mean(axis=1)
    return float(np.average(normalizer - target, weights=weights))
