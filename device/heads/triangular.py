"""Solutions of positive definite systems with NumPy only: Cholesky factors and triangular solves in blocks.

NumPy computes the factor but cannot solve with it; its general solver takes two to six times as long. With the
inverses of the factor's diagonal blocks, computed all at once, the rest are matrix products (as on processors that
are fast only at those: Volkov and Demmel 2008).
"""

from __future__ import annotations

import numpy as np

from .base import Floats

BLOCK = 64
_JITTER = 1e-15  # relative to the mean diagonal: the effect of rounding on the smallest eigenvalue


class Factor:
    """The Cholesky factor L of a positive definite matrix ``A = L L^T``.

    Args:
        matrix: float64 [N, N], symmetric. If rounding has made it indefinite, the smallest sufficient value is added
            to its diagonal.

    Example:
        >>> factor = Factor(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> factor.solve(np.array([[3.0], [3.0]])).ravel().round(12).tolist()
        [1.0, 1.0]
    """

    def __init__(self, matrix: Floats) -> None:
        self.L = cholesky(matrix)
        size = len(self.L)
        self._starts = range(0, size, BLOCK)
        blocks = np.tile(np.eye(min(BLOCK, size)), (len(self._starts), 1, 1))
        for block, start in zip(blocks, self._starts, strict=True):
            part = self.L[start : start + BLOCK, start : start + BLOCK]
            block[: len(part), : len(part)] = part
        self._inverses: Floats = np.asarray(np.linalg.inv(blocks), np.float64)

    def forward(self, right: Floats) -> Floats:
        """Return ``L^-1 B`` for B [N, R]."""
        solved: Floats = np.array(right, np.float64)
        for number, start in enumerate(self._starts):
            rows = slice(start, start + BLOCK)
            here: Floats = solved[rows] - self.L[rows, :start] @ solved[:start]
            solved[rows] = self._inverses[number, : len(here), : len(here)] @ here
        return solved

    def backward(self, right: Floats) -> Floats:
        """Return ``L^-T B`` for B [N, R]."""
        solved = np.array(right, np.float64)
        for number, start in reversed(list(enumerate(self._starts))):
            rows, after = slice(start, start + BLOCK), slice(start + BLOCK, None)
            here = solved[rows] - self.L[after, rows].T @ solved[after]
            solved[rows] = self._inverses[number, : len(here), : len(here)].T @ here
        return solved

    def solve(self, right: Floats) -> Floats:
        """Return ``A^-1 B`` for B [N, R]."""
        return self.backward(self.forward(right))

    def last_corner(self, count: int) -> Floats:
        """Return the last `count` rows and columns of ``A^-1``, float64 [count, count].

        They depend only on the last corner of L.
        """
        corner = self.L[len(self.L) - count :, len(self.L) - count :]
        inverse = lower_inverse(corner)
        product: Floats = inverse.T @ inverse
        return product


def lower_inverse(L: Floats) -> Floats:
    """Return the inverse of a lower triangular matrix, computed by halves."""
    inverse: Floats = np.zeros((len(L), len(L)))
    _invert(L, inverse)
    return inverse


def _invert(L: Floats, inverse: Floats) -> None:
    """Write the inverse of a lower triangular matrix into `inverse`, which contains zeros."""
    if len(L) <= BLOCK:
        inverse[:] = np.linalg.inv(L)
        return
    half = len(L) // 2
    first, last = inverse[:half, :half], inverse[half:, half:]
    _invert(L[:half, :half], first)
    _invert(L[half:, half:], last)
    # without the products with the half of `first` that is zero
    middle, left = half // 2, L[half:, :half]
    between = np.concatenate(
        [
            left[:, :middle] @ first[:middle, :middle] + left[:, middle:] @ first[middle:, :middle],
            left[:, middle:] @ first[middle:, middle:],
        ],
        axis=1,
    )
    np.matmul(-last, between, out=inverse[half:, :half])


def cholesky(matrix: Floats) -> Floats:
    """Return the lower factor of a matrix [N, N]; if rounding made it indefinite, its diagonal is increased."""
    jitter = _JITTER * float(np.trace(matrix)) / max(len(matrix), 1)
    while True:
        try:
            factor: Floats = np.asarray(np.linalg.cholesky(matrix), np.float64)
            return factor
        except np.linalg.LinAlgError:
            matrix = matrix + jitter * np.eye(len(matrix))
            jitter *= 10
