"""Confidence intervals of an accuracy, based on the number of independent judgments, not of samples.

An accuracy from leave-one-out varies more than one from held-out photos, because the left-out samples are judged by
heads that share nearly all their samples, so that their errors are correlated (Bates, Hastie and Tibshirani 2023). The
measured variance of estimate minus truth, relative to independent judgments, is 1.6 with 50 samples, 1.3 with 100,
1.1 with 200 and 1.0 with 400 (means over flower-photos5, ants-bees, elpv and digits, 60 splits each), and at most 1.6
with fewer. ``1 + 30 / max(N, 50)`` approximates it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARED = 30.0  # samples; the excess variance of leave-one-out with N samples is SHARED / max(N, FEWEST)
FEWEST = 50.0
_Z = 1.959964  # two-sided 95 % quantile of the normal distribution


def wilson(right: float, total: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927); 0 to 1 if `total` is 0."""
    if total <= 0:
        return 0.0, 1.0
    share, square = right / total, _Z * _Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = _Z / (1 + square / total) * (share * (1 - share) / total + square / (4 * total * total)) ** 0.5
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def independent(groups: NDArray[np.integer]) -> float:
    """Return the number of independent judgments, if all samples of a group [N] are right or wrong together.

    It is the number of groups if all have the same size, and smaller otherwise (Kish 1965).

    Example:
        >>> independent(np.array([0, 0, 1, 1, 2, 2])), independent(np.array([0, 0, 0, 0, 1]))
        (3.0, 1.4705882352941178)
    """
    if not len(groups):
        return 0.0
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def held_out_interval(correct: int, photos: int, views: float | None = None) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy on held-out photos.

    Args:
        correct: Number of photos that were predicted correctly.
        photos: Number of photos.
        views: Number of independent views among them, see `independent`; default all.
    """
    effective = float(photos) if views is None else min(views, float(photos))
    return wilson(correct / max(photos, 1) * effective, effective)


def left_out_interval(
    accuracy: float, judged: NDArray[np.integer], taught: NDArray[np.integer]
) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy from leave-one-out.

    Args:
        accuracy: Share of the judged samples that were predicted correctly.
        judged: Groups of the judged samples.
        taught: Groups of all learned samples.
    """
    count, shared = independent(judged), independent(taught)
    if not count:
        return 0.0, 1.0
    effective = 1 / (1 / count + SHARED / (shared * max(shared, FEWEST)))
    return wilson(accuracy * effective, effective)
