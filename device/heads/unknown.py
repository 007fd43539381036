"""Detection of samples unlike everything taught, from two distances that are added on one scale.

- The relative Mahalanobis distance (Ren et al. 2021) measures only the directions that distinguish the labels. It
  detects a new class of the same kind, but misses differences in all other directions.
- The cosine to the nearest label's mean does the opposite.

Each is standardized by what samples of the device score when they are left out, and their sum is the unknown
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

_FLAT = 1e-9  # a distance with less spread carries no information
_AT_ONCE = 32  # rows; float64 copies of a whole selection would be the most memory a device takes at start-up


@dataclass(frozen=True)
class Scale:
    """The distribution of a distance over left-out samples.

    Attributes:
        middle: Mean.
        spread: Standard deviation; 0 excludes the distance from the sum.
    """

    middle: float
    spread: float

    @classmethod
    def of(cls, distances: Floats) -> Scale:
        """Return the scale of the distances of left-out samples."""
        if not len(distances):
            return cls(0.0, 0.0)
        spread = float(distances.std())
        return cls(float(distances.mean()), spread if spread > _FLAT else 0.0)

    def apply(self, distances: Floats) -> Floats:
        """Return distances in standard deviations from the mean."""
        if not self.spread:
            return np.zeros_like(distances)
        scaled: Floats = (distances - self.middle) / self.spread
        return scaled

    def of_one(self, distance: float) -> float:
        """Return `apply` of one distance."""
        return (distance - self.middle) / self.spread if self.spread else 0.0


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
        """Return unknown scores [N] of codes [N, D] with the relative Mahalanobis distances `relative` [N]."""
        cosine = 1 - (unit(codes) @ self.means.T).max(axis=1)
        return self.combine(relative, cosine)

    def combine(self, relative: Floats, cosine: Floats) -> Floats:
        """Return the sum of the two distances on one scale."""
        total: Floats = self.relative.apply(relative) + self.cosine.apply(cosine)
        return total


def left_out_cosine(codes: Codes, owners: NDArray[np.int64], sums: Floats) -> Floats:
    """Return the cosine distance [N] of samples to the nearest mean, with their own label's mean without them.

    Args:
        codes: int16 [N, D].
        owners: int64 [N], rows of `sums`.
        sums: float64 [C, D], sums of codes per label.
    """
    square_sums, distance = (sums**2).sum(axis=1), np.empty(len(codes))
    for start in range(0, len(codes), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        distance[part] = _left_out_cosine(codes[part].astype(np.float64), owners[part], sums, square_sums)
    return distance


def _left_out_cosine(values: Floats, owners: NDArray[np.int64], sums: Floats, square_sums: Floats) -> Floats:
    products = values @ sums.T  # exact integers, and so are the products without the sample
    own = np.arange(len(owners)), owners
    squares = np.einsum("nd,nd->n", values, values)
    cosine = products / _root(square_sums)
    cosine[own] = (products[own] - squares) / _root(square_sums[owners] - 2 * products[own] + squares)
    distance: Floats = 1 - (cosine / _root(squares)[:, None]).max(axis=1)
    return distance


def _root(squares: Floats) -> Floats:
    """Return lengths to divide by: the square roots, or one for zero."""
    length: Floats = np.sqrt(np.where(squares > 0, squares, 1.0))
    return length
