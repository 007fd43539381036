"""The embedding map and its fixed point: what heads learn from and what the state file stores.

An embedding e goes through ``phi(e) = l2(sign(e) * sqrt(|e|))`` (the signed square root of Perronnin
et al. 2010, "Improving the Fisher kernel"), which helps every head when samples are few. The result
is rounded to multiples of 1/4096 and kept as int16. Sums of such integers are exact, so statistics
of them are bit-identical in any order.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import EmbeddingError

SCALE = 4096
MAPS = ("signed_sqrt_l2", "l2", "identity")

Codes = NDArray[np.int16]
Keys = NDArray[np.uint64]


def apply_map(embeddings: ArrayLike, map_name: str = "signed_sqrt_l2") -> NDArray[np.float64]:
    """Map embeddings [N, D] (or one, [D]) to the values that heads are linear in.

    A zero embedding stays zero.

    Raises:
        EmbeddingError: The name is unknown, the shape is wrong, or a value is NaN or infinite.
    """
    return _mapped(embeddings, map_name, 1)


def _mapped(embeddings: ArrayLike, map_name: str, scale: int) -> NDArray[np.float64]:
    """Return `apply_map` times a power of two.

    Each frame is mapped just after the backbone has filled the processor's caches, where each call of NumPy costs
    microseconds: no step is done twice, and only the first makes a copy.
    """
    values = np.array(embeddings, np.float64)
    if values.ndim not in (1, 2):
        raise EmbeddingError(f"embeddings must have shape [N, D] or [D], got {values.shape}")
    if map_name == "identity":
        _require_finite(values)
        values *= scale
        return values
    if map_name == "signed_sqrt_l2":
        roots = np.abs(values)
        np.copysign(np.sqrt(roots, out=roots), values, out=values)
    elif map_name != "l2":
        raise EmbeddingError(f"the embedding map must be one of {', '.join(MAPS)}, got {map_name!r}")
    squares = np.add.reduce(values * values, axis=-1)
    if values.ndim == 1:
        if not math.isfinite(squares):
            _require_finite(values)
        values /= (math.sqrt(squares) or 1.0) / scale
    else:
        if not np.isfinite(squares).all():
            _require_finite(values)
        squares[squares == 0] = 1.0
        values /= (np.sqrt(squares) / scale)[:, np.newaxis]
    return values


def _require_finite(values: NDArray[np.float64]) -> None:
    if not np.isfinite(values).all():
        raise EmbeddingError(
            "an embedding contains NaN or infinity and was not used; check the frame, "
            "and verify the model file with 'edgetl inspect'"
        )


def encode(embeddings: ArrayLike, map_name: str = "signed_sqrt_l2") -> Codes:
    """Map embeddings and round them to fixed point.

    Args:
        embeddings: Float [N, D], or [D] for one.
        map_name: One of `MAPS`; the model file's manifest names it.

    Returns:
        int16 of the same shape: ``round(4096 * phi(e))``.

    Raises:
        EmbeddingError: As `apply_map`, or a mapped value is outside -8 to 8.
    """
    scaled = _mapped(embeddings, map_name, SCALE)
    np.rint(scaled, out=scaled)
    # the other maps have values from -1 to 1
    if map_name == "identity" and scaled.size and np.abs(scaled).max() > np.iinfo(np.int16).max:
        raise EmbeddingError(
            f"a mapped embedding must be within -8 and 8 to be stored, got {np.abs(scaled).max() / SCALE:.3g}"
        )
    return scaled.astype(np.int16)


def decode(codes: Codes) -> NDArray[np.float64]:
    """Return the mapped embeddings of `codes`: float64, same shape."""
    return codes.astype(np.float64) / SCALE


def representative(codes: Codes, map_name: str = "signed_sqrt_l2") -> NDArray[np.float32]:
    """Return embeddings whose map is `codes` (up to scale), for signatures that apply the map themselves.

    Returns:
        float32, same shape as `codes`.
    """
    mapped = decode(codes)
    if map_name == "signed_sqrt_l2":
        mapped = np.sign(mapped) * mapped**2
    return mapped.astype(np.float32)


def content_keys(codes: Codes) -> Keys:
    """Hash each code [N, D] to a uniform 64-bit key, the same on every machine: uint64 [N]."""
    rows = np.ascontiguousarray(codes, "<i2")
    keys = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(keys, "<u8").astype(np.uint64)
