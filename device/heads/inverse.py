"""The inverse of the matrix A of a ridge regression as an operator, from the factor that solved it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..model.codes import SCALE, Codes
from .base import Floats
from .triangular import Factor, lower_inverse

Blocks = NDArray[np.intp]


class Inverse(Protocol):
    """``A^-1`` for ``A = X^T X + lam I`` with the centered samples X."""

    def apply(self, rows: Floats) -> Floats:
        """Return ``R A^-1`` for centered rows R [n, D]."""

    def corners(self, codes: Codes, blocks: list[Blocks]) -> list[Floats]:
        """Return ``R A^-1 R^T`` for blocks of rows.

        Args:
            codes: int16 [n, D], learned samples.
            blocks: Indices [B, J] of rows that belong together; several arrays, one per size of block.

        Returns:
            float64 [B, J, J] per array of blocks.
        """


class SummedInverse:
    """The inverse from the factor of A itself.

    Args:
        factor: The factor.
        mean: float64 [D], of the samples.
    """

    def __init__(self, factor: Factor, mean: Floats) -> None:
        self._factor, self._mean = factor, mean

    def apply(self, rows: Floats) -> Floats:
        """Return ``R A^-1`` for centered rows R [n, D]."""
        return self._factor.solve(rows.T).T

    def corners(self, codes: Codes, blocks: list[Blocks]) -> list[Floats]:
        """Return ``R A^-1 R^T`` for blocks of rows, see `Inverse.corners`."""
        half = self._factor.forward((codes / SCALE - self._mean).T).T
        return [half[members] @ half[members].swapaxes(1, 2) for members in blocks]


class KeptInverse:
    """The inverse from inner products: ``A^-1 = (I - X^T (X X^T + lam I)^-1 X) / lam``.

    Args:
        codes: int16 [N, D], the samples.
        mean: float64 [D], of the samples.
        lam: The ridge, absolute.
        factor: The factor L of ``X X^T + lam I``, or its inverse as float64 [N, N].
    """

    def __init__(self, codes: Codes, mean: Floats, lam: float, factor: Factor | Floats) -> None:
        self._codes, self._mean, self._lam, self._factor = codes, mean, lam, factor
        self._samples: Floats | None = None  # most solutions are never applied to a vector

    def apply(self, rows: Floats) -> Floats:
        """Return ``R A^-1`` for centered rows R [n, D]."""
        if self._samples is None:
            self._samples = self._codes / SCALE - self._mean
        applied: Floats = (rows - self._solved(self._samples @ rows.T).T @ self._samples) / self._lam
        return applied

    def corners(self, codes: Codes, blocks: list[Blocks]) -> list[Floats]:
        """Return ``R A^-1 R^T`` for blocks of rows, see `Inverse.corners`.

        The rows are samples, for which it is a part of ``I - lam (X X^T + lam I)^-1``.
        """
        root = lower_inverse(self._factor.L) if isinstance(self._factor, Factor) else self._factor
        places = self._places(codes)
        half = np.ascontiguousarray(root.T)
        corners = []
        for members in blocks:
            chosen = places[members]
            rows = half[chosen]
            same = chosen[:, :, None] == chosen[:, None, :]
            corners.append(same - self._lam * (rows @ rows.swapaxes(1, 2)))
        return corners

    def _solved(self, right: Floats) -> Floats:
        if isinstance(self._factor, Factor):
            return self._factor.solve(right)
        solved: Floats = self._factor.T @ (self._factor @ right)
        return solved

    def _places(self, codes: Codes) -> Blocks:
        """Return the index of a sample that equals each code."""
        places = {code.tobytes(): place for place, code in enumerate(self._codes)}
        return np.array([places[code.tobytes()] for code in codes], np.intp)
