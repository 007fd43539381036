"""The cosine distance of a sample to the nearest label's mean, and the threshold for unknown samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..model.codes import SCALE, Codes, decode
from .base import Floats


def unit(codes: Codes) -> Floats:
    """Return codes [N, D] scaled to length one; rows of zeros do not change."""
    return directions(decode(codes))


def directions(values: Floats) -> Floats:
    """Return rows [N, D] scaled to length one; rows of zeros do not change."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    scaled: Floats = values / np.where(length > 0, length, 1.0)
    return scaled


def centered_units(codes: Codes, center: Floats) -> NDArray[np.float32]:
    """Return codes [n, D] as float32 vectors of length 1, seen from a center [D]; a code at the center is zeros."""
    values = codes.astype(np.float32) / SCALE - center.astype(np.float32)
    units: NDArray[np.float32] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    return units


def nearest_mean(codes: Codes, means: Floats) -> Floats:
    """Return one minus the cosine to the nearest of `means` [C, D], float64 [N]."""
    distance: Floats = 1 - (unit(codes) @ means.T).max(axis=1)
    return distance


def mean_directions(
    codes: Codes, labels: Sequence[str], false_rejection: float, judges: NDArray[np.bool_] | None = None
) -> tuple[Floats, float]:
    """Return the direction of each label's mean [C, D], and the distance that few of the samples exceed.

    Each sample's distance is measured to its label's mean without the sample. The result is infinite if no sample
    can be left out.

    Args:
        codes: int16 [N, D].
        labels: N labels.
        false_rejection: Share of the samples that may exceed the distance.
        judges: bool [N], the samples that choose the distance; default all.
    """
    z = unit(codes)
    _, owners = np.unique(np.array(labels), return_inverse=True)
    indicators = np.eye(int(owners.max()) + 1)[owners.ravel()]
    sums, counts = indicators.T @ z, indicators.sum(axis=0)
    fair = counts[owners.ravel()] > 1
    if judges is not None:
        fair &= judges
    if not fair.any():
        return directions(sums), np.inf
    without = directions(sums[owners.ravel()] - z)
    own = (z * without).sum(axis=1)
    return directions(sums), conformal_threshold(1 - own[fair], false_rejection)


def conformal_threshold(scores: Floats, false_rejection: float) -> float:
    """Return the score that at most a share `false_rejection` of further samples exceed, on average.

    With fewer than ``1 / false_rejection - 1`` samples no score can guarantee that; then the largest is returned.
    """
    if not len(scores):
        return np.inf
    rank = int(np.ceil((len(scores) + 1) * (1 - false_rejection)))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])
