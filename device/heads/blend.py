"""The cosine readout, blended with the discriminant where a label has few samples.

The discriminant weighs a label by how far its mean is from the others. With one to three samples a mean is mostly
noise, so that the labels with the outermost samples attract too many predictions. The cosine readout divides this
length out: with ``P = Q^T A^-1 Q`` and ``U = (z - m) A^-1 Q``,

    cosine_k = U_k / sqrt(P_kk)

is, up to the length of the sample, the cosine between the centered sample and the direction ``Q_k`` in the metric
``A^-1``. Both readouts are brought to the same size, ``|J W|`` in the metric A with the centering matrix J over the
labels, and added:

    score = (1 - s) discriminant + s cosine,   s = (1.5 / (h + 1))^(1/2 + e/2)

with the harmonic mean h of the counts and the evenness ``e = (h / mean count)^4``: s is 0.75, 0.5, 0.25 and 0.07 for
1, 2, 5 and 20 samples of each label, and larger where some labels have far fewer samples than others. Everything
depends on P and the counts alone, so that leaving samples out stays exact, and is linear in the sample.
The constants were chosen on the sets that `python -m benchmarks.few` measures.
"""

from __future__ import annotations

import numpy as np

from .base import Floats

_FIRST = 0.75  # share of the cosine readout with one sample of each label
_EVENNESS = 4  # power of the ratio of the harmonic to the arithmetic mean of the counts
_TINY = 1e-300


def harmonic_mean(counts: Floats) -> Floats:
    """Return the harmonic mean of the counts [..., C] above zero, float64 [...]; 0 if there are none."""
    present = counts > 0
    inverse = np.where(present, 1 / np.maximum(counts, 1.0), 0.0).sum(axis=-1)
    mean: Floats = present.sum(axis=-1) / np.maximum(inverse, _TINY)
    return mean


def cosine_share(counts: Floats) -> Floats:
    """Return the share s of the cosine readout for counts [..., C], float64 [...]; 0 for fewer than two labels."""
    labels = (counts > 0).sum(axis=-1)
    harmonic = harmonic_mean(counts)
    mean = counts.sum(axis=-1) / np.maximum(labels, 1)
    evenness = (harmonic / np.maximum(mean, 1.0)) ** _EVENNESS
    share: Floats = (2 * _FIRST / (harmonic + 1)) ** (0.5 + evenness / 2)
    return np.where(labels > 1, np.minimum(share, 1.0), 0.0)


def cosine_factors(P: Floats, R: Floats, RP: Floats, counts: Floats) -> Floats:
    """Return the factors [..., C] on U that bring the cosine readout to the size of the discriminant.

    Args:
        P: float64 [..., C, C].
        R: float64 [..., C, C], ``(diag(n) - P)^-1``, zero for absent labels.
        RP: float64 [..., C, C], ``R P``.
        counts: float64 [..., C].
    """
    present = counts > 0
    squares = np.where(present, np.einsum("...ii->...i", P), 0.0)
    usable = squares > _TINY
    lengths = np.where(usable, np.sqrt(np.where(usable, squares, 1.0)), 1.0)
    labels = np.maximum(present.sum(axis=-1), 1)
    cosines = np.where(usable[..., None, :] & usable[..., :, None], P, 0.0)
    cosines = cosines / (lengths[..., None, :] * lengths[..., :, None])
    cosine = np.einsum("...ii->...", cosines) - cosines.sum(axis=(-2, -1)) / labels
    # R P R, whose diagonal and sum need no other product of matrices
    diagonal = np.einsum("...ik,...ki->...", RP, R)
    discriminant = diagonal - (RP.sum(axis=-2) * R.sum(axis=-1)).sum(axis=-1) / labels
    total = counts.sum(axis=-1)
    ratio = total * np.sqrt(np.maximum(discriminant, 0.0) / np.maximum(cosine, _TINY))
    ratio = np.where(cosine > 1e-12, ratio, 0.0)
    factors: Floats = np.where(usable, ratio[..., None] / lengths, 0.0)
    return factors
