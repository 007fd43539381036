"""A short fingerprint of a second moment that is updated sample by sample, instead of a checksum over all its numbers.

For fixed vectors r_j and s_j of integers below 2**24 and the prime p = 2**31 - 1, the fingerprint of ``G = sum z z^T`` is

    f_j = r_j^T G s_j = sum (r_j^T z) (s_j^T z)   modulo p,   j = 1 to 8

(random projections as a checksum of a matrix: Freivalds 1979). It is additive like G itself, so that it does not depend on
the order, and costs sixteen inner products per sample. Two different second moments have the same one with a probability
below 2**-180 (Schwartz 1980), unless somebody constructs them: it finds damage and differences, and proves nothing to a third
party.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes
from .base import Floats

COUNT = 8
PRIME = 2**31 - 1
_BYTES = 3  # per number of a vector
_LOW = 2**16
# dimensions at a time: 24 bits of a vector, 16 of a code and 13 of the number of terms are 53, exact in float64
_SPAN = 2**13

Fingerprint = NDArray[np.int64]


def of_samples(codes: Codes) -> Fingerprint:
    """Return the fingerprint of ``codes.T @ codes`` for codes [N, D], int64 [8]."""
    projected = np.zeros((len(codes), 2 * COUNT), np.int64)
    for span, vectors in _spans(codes.shape[1]):
        projected += (codes[:, span].astype(np.float64) @ vectors).astype(np.int64)
    projected %= PRIME
    return _sum(projected[:, :COUNT] * projected[:, COUNT:] % PRIME)


def of_gram(gram: Floats) -> Fingerprint:
    """Return the fingerprint of a second moment [D, D] of integers, int64 [8]."""
    rest = gram.astype(np.int64) % PRIME
    projected = np.zeros((len(gram), COUNT), np.int64)
    for span, vectors in _spans(len(gram)):
        right = vectors[:, COUNT:]
        low = (rest[:, span] % _LOW).astype(np.float64) @ right
        high = (rest[:, span] // _LOW).astype(np.float64) @ right
        projected += low.astype(np.int64) % PRIME + high.astype(np.int64) % PRIME * _LOW % PRIME
    left = np.concatenate([vectors[:, :COUNT] for _, vectors in _spans(len(gram))]).astype(np.int64)
    return _sum(left * (projected % PRIME) % PRIME)


def _sum(products: NDArray[np.int64]) -> Fingerprint:
    total: Fingerprint = products.sum(axis=0) % PRIME  # fewer than 2**32 terms below 2**31
    return total


@functools.lru_cache(maxsize=4)
def _spans(dimensions: int) -> tuple[tuple[slice, Floats], ...]:
    """Return the vectors r_1 to r_8, s_1 to s_8 as columns, float64 [d, 16] for each span of the dimensions."""
    size = dimensions * 2 * COUNT * _BYTES
    # not from a random generator of NumPy, whose numbers may differ between versions
    drawn = hashlib.shake_256(b"edgetl fingerprint 1").digest(size)
    parts = np.frombuffer(drawn, np.uint8).reshape(dimensions, 2 * COUNT, _BYTES)
    vectors = parts.astype(np.float64) @ np.array([1.0, 2.0**8, 2.0**16])
    starts = range(0, dimensions, _SPAN)
    return tuple((slice(at, at + _SPAN), vectors[at : at + _SPAN]) for at in starts)
