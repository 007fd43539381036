"""Exact matrix products of integers, in float32 if that is provably exact, which takes half the time.

float32 represents every integer up to 2**24. By the Cauchy-Schwarz inequality, no partial sum of an inner product is
larger than the product of both lengths, so rows whose squares sum to at most 2**24 are multiplied exactly. Mapped
embeddings have length one, 4096 in fixed point, and 4096**2 is 2**24: cut in two, nearly every set meets the bound.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes
from .base import Floats

EXACT = 2**24
_PARTS = (2, 4)  # numbers of parts to try before float64 is used
_FEW = 32  # with fewer rows, the check costs more than it saves


def inner(left: Codes, right: Codes) -> Floats:
    """Return ``left @ right.T`` of codes [N, D] and [M, D], exactly, as float64 [N, M]."""
    width = right.shape[1]
    for parts in _PARTS if len(left) >= _FEW else ():
        cuts = np.linspace(0, width, parts + 1).astype(int).tolist()
        spans = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        if all(_short(right[:, span]) and (left is right or _short(left[:, span])) for span in spans):
            return _summed(left, right, spans)
    values = right.astype(np.float64)
    product: Floats = (values if left is right else left.astype(np.float64)) @ values.T
    return product


def second_moment(codes: Codes) -> Floats:
    """Return ``codes.T @ codes`` of codes [N, D], exactly, as float64 [D, D]."""
    values = codes.astype(np.float32)
    if _largest(np.einsum("nd,nd->d", codes, codes, dtype=np.int64)) <= EXACT:
        return (values.T @ values).astype(np.float64)
    wide = codes.astype(np.float64)
    product: Floats = wide.T @ wide
    return product


def _summed(left: Codes, right: Codes, spans: list[slice]) -> Floats:
    total = np.zeros((len(left), len(right)))
    for span in spans:
        values = right[:, span].astype(np.float32)
        total += (values if left is right else left[:, span].astype(np.float32)) @ values.T
    return total


def _short(codes: Codes) -> bool:
    return _largest(np.einsum("nd,nd->n", codes, codes, dtype=np.int64)) <= EXACT


def _largest(squares: NDArray[np.int64]) -> int:
    return int(squares.max(initial=0))
