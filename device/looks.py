"""The look of a picture in a few kilobytes, and the similarity of two looks.

Two measures work together. A difference hash (dHash, 128 bits) finds candidates among many pictures quickly.
Phase correlation (Kuglin and Hines 1975) then compares two of them: it is blind to brightness and to shifts, and
it answers to fine texture, which only pictures of the same scene share. Measured on 64 x 64 pixels: frames of one
scene reach .85 to 1, views of an object turned by five degrees .45 to .95, and other photos of the same
label .1 to .25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .images import Image, check_image

SIDE = 64  # pixels
HASH_BITS = 128
_FLAT = 2.0  # gray levels; a picture with a smaller standard deviation shows nothing
_SAME_FLAT = 32  # gray levels between two flat pictures of the same kind, such as both black
_SOFT = 20.0  # amplitude below which a frequency counts less: noise and JPEG artifacts
_BAND = 0.15  # cycles per pixel; higher frequencies fade, they differ between two frames of one scene
_AT_ONCE = 256  # pairs compared at once; one takes about 100 KB

Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class Look:
    """A small description of a picture, for comparisons.

    Attributes:
        pixels: uint8 [64, 64], gray.
        bits: bool [128], its difference hash.
        flat: Whether the picture has only one shade.
    """

    pixels: NDArray[np.uint8]
    bits: NDArray[np.bool_]
    flat: bool


def look_at(image: Image) -> Look:
    """Return the look of a picture, uint8 [H, W, 3] RGB of any size.

    Raises:
        PhotoError: `image` is not such a picture.
    """
    check_image(image)
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    gray = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    across = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    down = cv2.resize(gray, (8, 9), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.concatenate([(np.diff(across, axis=1) > 0).ravel(), (np.diff(down, axis=0) > 0).ravel()])
    return Look(gray, bits, bool(gray.std() < _FLAT))


def similarities(looks: Sequence[Look], pairs: Pairs) -> NDArray[np.float64]:
    """Return the similarities of pairs of pictures: float64 [P], 0 to 1.

    Args:
        looks: N looks.
        pairs: int64 [P, 2], places in `looks`.
    """
    found = np.zeros(len(pairs))
    for start in range(0, len(pairs), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        places, inverse = np.unique(pairs[part], return_inverse=True)
        spectra = _spectra(np.stack([looks[place].pixels for place in places.tolist()]))
        first, second = inverse.reshape(-1, 2).T
        peaks = np.fft.irfft2(spectra[first] * spectra[second].conj()).max(axis=(1, 2))
        found[part] = np.clip(peaks * SIDE * SIDE, 0.0, 1.0)
    return _with_flat(looks, pairs, found)


def _with_flat(looks: Sequence[Look], pairs: Pairs, found: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = np.array([look.flat for look in looks], np.bool_)
    shade = np.array([float(look.pixels.mean()) for look in looks])
    first, second = pairs.T
    same = np.abs(shade[first] - shade[second]) < _SAME_FLAT
    return np.where(flat[first] | flat[second], (flat[first] & flat[second] & same) * 1.0, found)


def _spectra(pixels: NDArray[np.uint8]) -> NDArray[np.complex128]:
    """Return spectra [N, 64, 33] of even amplitude, weighted so that the correlation of a picture with itself is 1."""
    values = pixels.astype(np.float64)
    values -= values.mean(axis=(1, 2), keepdims=True)
    values *= np.outer(np.hanning(SIDE), np.hanning(SIDE))  # the edges differ between two frames
    spectra = np.fft.rfft2(values)
    spectra *= _weights() / (np.abs(spectra) + _SOFT)
    energy = (np.abs(spectra) ** 2 * _counted()).sum(axis=(1, 2), keepdims=True)
    normed: NDArray[np.complex128] = spectra / np.sqrt(np.maximum(energy, 1e-12))
    return normed


def _weights() -> NDArray[np.float64]:
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    weights: NDArray[np.float64] = np.exp(-(rows**2 + columns**2) / (4 * _BAND**2))
    weights[0, 0] = 0.0
    return weights


def _counted() -> NDArray[np.float64]:
    """Return the number of times that each column of a half spectrum occurs in the whole one."""
    counted = np.full(SIDE // 2 + 1, 2.0)
    counted[[0, -1]] = 1.0
    return counted
