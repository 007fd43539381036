"""Telling what was never taught from what was: two distances, added on one scale.

- The relative Mahalanobis distance (Ren et al. 2021) looks only along the directions that tell the labels
  apart. It notices a new class of the same kind, and misses what differs in every other direction.
- The cosine to the nearest label's mean is the other way round.

Each is standardised by what samples of the device score when they are left out, and their sum is the unknown
score. On photos the sum was as good as or better than either, and than ridge scores or probabilities
(docs/heads.md). The threshold is the conformal quantile (Vovk, Gammerman and Shafer 2005) of the left-out
scores at the false-rejection rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes
from .base import Floats
from .nearest import unit

_FLAT = 1e-9  # spread of a distance that tells nothing
_AT_ONCE = 32  # rows; float64 copies of a whole selection would be the most memory a device takes at start-up


@dataclass(frozen=True)
class Scale:
    """How a distance is spread over left-out samples.

    Attributes:
        middle: Its mean.
        spread: Its standard deviation; 0 leaves the distance out.
    """

    middle: float
    spread: float

    @classmethod
    def of(cls, distances: Floats) -> Scale:
        """Take it from the distances of left-out samples."""
        if not len(distances):
            return cls(0.0, 0.0)
        spread = float(distances.std())
        return cls(float(distances.mean()), spread if spread > _FLAT else 0.0)

    def apply(self, distances: Floats) -> Floats:
        """Give distances in standard deviations."""
        if not self.spread:
            return np.zeros_like(distances)
        scaled: Floats = (distances - self.middle) / self.spread
        return scaled


@dataclass(frozen=True)
class Unknown:
    """The unknown score of a head.

    Attributes:
        means: float64 [C, D], directions of the labels' means.
        relative: Scale of the relative Mahalanobis distance.
        cosine: Scale of the cosine distance.
    """

    means: Floats
    relative: Scale
    cosine: Scale

    def score(self, codes: Codes, relative: Floats) -> Floats:
        """Give unknown scores [N] of codes [N, D] whose relative Mahalanobis distances are `relative` [N]."""
        cosine = 1 - (unit(codes) @ self.means.T).max(axis=1)
        return self.combine(relative, cosine)

    def combine(self, relative: Floats, cosine: Floats) -> Floats:
        """Add the two distances on one scale."""
        total: Floats = self.relative.apply(relative) + self.cosine.apply(cosine)
        return total


def left_out_cosine(codes: Codes, owners: NDArray[np.int64], sums: Floats) -> Floats:
    """Give the cosine distance [N] of samples to the nearest mean, their own label's taken without them.

    Args:
        codes: int16 [N, D].
        owners: int64 [N], rows of `sums`.
        sums: float64 [C, D], of codes.
    """
    square_sums, distance = (sums**2).sum(axis=1), np.empty(len(codes))
    for start in range(0, len(codes), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        distance[part] = _left_out_cosine(codes[part].astype(np.float64), owners[part], sums, square_sums)
    return distance


def _left_out_cosine(values: Floats, owners: NDArray[np.int64], sums: Floats, square_sums: Floats) -> Floats:
    products = values @ sums.T  # whole numbers, exact: what is left of them without the sample is too
    own = np.arange(len(owners)), owners
    squares = np.einsum("nd,nd->n", values, values)
    cosine = products / _root(square_sums)
    cosine[own] = (products[own] - squares) / _root(square_sums[owners] - 2 * products[own] + squares)
    distance: Floats = 1 - (cosine / _root(squares)[:, None]).max(axis=1)
    return distance


def _root(squares: Floats) -> Floats:
    """Give lengths to divide by; of nothing, one."""
    length: Floats = np.sqrt(np.where(squares > 0, squares, 1.0))
    return length
