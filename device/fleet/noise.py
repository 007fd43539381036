"""Noise on embeddings before they are summed, for devices that trust the server little.

Each mapped embedding gets normal noise and is scaled back to length one. What is sent are then the exact statistics of these
noisy samples: they pass every check, one sample no longer reveals its embedding, and forgetting a sample still subtracts exactly
what it added. The noise of a sample is always the same, drawn from a secret of the device and the sample, because fresh noise in
each round would average out.

This is the Gaussian mechanism on each sample (Dwork and Roth 2014, "The algorithmic foundations of differential privacy"); two
embeddings of length one differ by at most 2. Labels and their counts get no noise.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from ..errors import FleetError
from ..model.codes import SCALE, Codes

DELTA = 1e-5
_MOST = 10.0
_TAIL = -30.0
_DISTANCE = 2.0  # between two embeddings of length one


def check_noise(noise: float, embedding_map: str = "signed_sqrt_l2") -> float:
    """Return the standard deviation of the noise.

    Raises:
        FleetError: It is out of range, or the embeddings of the model have no fixed length.
    """
    if not 0 <= noise <= _MOST:
        raise FleetError(f"the noise must be from 0 to {_MOST:g}, got {noise:g}")
    if noise and embedding_map == "identity":
        raise FleetError("noise needs embeddings of length one, and those of this model have any length")
    return noise


def add_noise(codes: Codes, noise: float, secret: bytes) -> Codes:
    """Return codes [N, D] with noise on each, int16 of the same shape.

    Args:
        codes: int16 [N, D] of embeddings of length one.
        noise: Standard deviation per number of an embedding.
        secret: A secret of the device.
    """
    if not noise:
        return codes
    noisy = np.empty_like(codes)
    for place, code in enumerate(codes):
        seed = hashlib.blake2b(
            np.ascontiguousarray(code, "<i2").tobytes(), key=secret, digest_size=32
        ).digest()
        drawn = np.random.default_rng(np.frombuffer(seed, "<u4")).standard_normal(len(code))
        value = code / SCALE + noise * drawn
        noisy[place] = np.rint(SCALE * value / max(float(np.linalg.norm(value)), 1e-12))
    return noisy


def epsilon(noise: float, delta: float = DELTA) -> float:
    """Return the epsilon of differential privacy of one embedding (Balle and Wang 2018, theorem 8); infinite without noise.

    Args:
        noise: Standard deviation of the noise.
        delta: Probability with which the guarantee may fail.
    """
    if not noise:
        return math.inf
    ratio = _DISTANCE / noise

    def excess(value: float) -> float:
        """Return by how much the probability of failure is above `delta`."""
        first = _normal(ratio / 2 - value / ratio)
        second = math.exp(min(value + _log_normal(-ratio / 2 - value / ratio), 0.0))
        return first - second - delta

    low, high = 0.0, ratio**2 + 20 * ratio + 1
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


def _normal(value: float) -> float:
    return math.erfc(-value / math.sqrt(2)) / 2


def _log_normal(value: float) -> float:
    """Return the logarithm of the normal distribution function; far below zero, by its asymptotic form."""
    if value > _TAIL:
        return math.log(_normal(value))
    return -(value**2) / 2 - math.log(-value * math.sqrt(2 * math.pi))
