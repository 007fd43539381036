"""Class scores from a ridge solution, and the scores after leaving some samples out.

Ridge scores identify the right class but are not log-odds. Linear discriminant analysis in their space produces
log-odds ("optimal scoring", Hastie, Tibshirani and Buja 1994). With ``P = Q^T A^-1 Q``, the counts ``n`` and
``U = (z - m) A^-1 Q`` it needs one C x C inverse and no other solve:

    R = (diag(n) - P)^-1
    score_k = N ((U R)_k - (R_kk - 1/n_k) / 2)

which is the linear discriminant with within-class scatter ``A - sum_k Q_k Q_k^T / n_k``, ridge included. Where labels
have few samples, these scores are blended with another readout of U (`device.heads.blend`).
The relative Mahalanobis distance (Ren et al. 2021) follows from the same values: ``N U R U^T - 2 max score``.

Leaving out a block J of samples X changes U and P as follows, with ``H = X A^-1 X^T``,
``F = (I - 11^T/N - H)^-1``, ``E = Y_J - 1 n'^T / N'`` and n', N' the counts without J:

    U' = (I + 11^T/N') (I + H F) (U - H E)
    P' = P - U^T E - E^T U + E^T H E + (U - H E)^T F (U - H E)

This is exact: a fit without these samples at the same ridge has the same result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import Floats
from .blend import cosine_factors, cosine_share

ABSENT = -1e6  # score of a label without samples


@dataclass(frozen=True)
class Readout:
    """Scores of samples before the temperature.

    Attributes:
        ridge: float64 [..., C], the output of the ridge regression, about 0 to 1.
        scores: float64 [..., C], discriminant scores.
        blended: float64 [..., C], discriminant scores blended with the cosine readout.
        distance: float64 [...], relative Mahalanobis distance to the nearest class.
    """

    ridge: Floats
    scores: Floats
    blended: Floats
    distance: Floats


def inverse_gap(P: Floats, n: Floats) -> Floats:
    """Return ``R = (diag(n) - P)^-1`` for P [..., C, C] and n [..., C], with zeros for labels without samples."""
    present = n > 0
    diagonal: Floats = np.where(present, n, 1.0)[..., None, :] * np.eye(P.shape[-1])
    inverse: Floats = np.asarray(np.linalg.inv(diagonal - P), np.float64)
    inverse *= present[..., None, :] & present[..., :, None]
    return inverse


@dataclass(frozen=True)
class Discriminant:
    """The values of a fit that the scores of all samples use, computed once per fit.

    Attributes:
        n: float64 [..., C], counts.
        R: float64 [..., C, C], ``(diag(n) - P)^-1``.
        spread: float64 [..., C], ``R_kk - 1/n_k``.
        share: float64 [...], share of the cosine readout in the blend.
        factors: float64 [..., C], factors on U that make the cosine readout.
    """

    n: Floats
    R: Floats
    spread: Floats
    share: Floats
    factors: Floats

    @classmethod
    def of(cls, P: Floats, n: Floats) -> Discriminant:
        """Return the discriminant of P [..., C, C] and counts n [..., C]."""
        R = inverse_gap(P, n)
        RP = R @ P
        # R_kk - 1/n_k as (R P)_kk / n_k, which keeps its precision under a large ridge
        squared = np.where(n > 0, np.einsum("...ii->...i", RP), 0.0) / np.maximum(n, 1.0)
        return cls(n, R, squared, cosine_share(n), cosine_factors(P, R, RP, n))

    def read(self, U: Floats) -> Readout:
        """Return the scores of samples U [..., J, C]."""
        n = self.n
        N, present = n.sum(axis=-1)[..., None, None], (n > 0)[..., None, :]
        shares = n[..., None, :] / np.maximum(N, 1.0)  # no sample remains when the only one is left out
        UR = U @ self.R
        scores = np.where(present, N * (UR - self.spread[..., None, :] / 2), ABSENT)
        share = self.share[..., None, None]
        blended = np.where(present, (1 - share) * scores + share * self.factors[..., None, :] * U, ABSENT)
        square = N[..., 0] * (UR * U).sum(axis=-1)
        return Readout(np.where(present, shares + U, 0.0), scores, blended, square - 2 * scores.max(axis=-1))


def read_out(U: Floats, P: Floats, n: Floats) -> Readout:
    """Return the scores of samples U [..., J, C] under P [..., C, C] and counts n [..., C]."""
    return Discriminant.of(P, n).read(U)


def without(H: Floats, U: Floats, P: Floats, n: Floats, Y: Floats) -> tuple[Floats, Floats, Floats]:
    """Leave out each of B blocks of J samples.

    Args:
        H: float64 [B, J, J], ``X A^-1 X^T`` of each block.
        U: float64 [B, J, C], ``X A^-1 Q``.
        P: float64 [C, C].
        n: float64 [C], counts of all samples.
        Y: float64 [B, J, C], indicators of the samples to leave out.

    Returns:
        U' [B, J, C], P' [B, C, C] and n' [B, C] of the fits without each block.
    """
    J, N = H.shape[-1], n.sum()
    left = n - Y.sum(axis=1)
    rest = max(N - J, 1.0)
    ones = np.ones((J, J))
    E = Y - left[:, None, :] / rest
    F = np.linalg.inv(np.eye(J) * (1 + 1e-12) - ones / N - H)
    V = U - H @ E
    moved = V + H @ (F @ V)
    cross = np.swapaxes(U, 1, 2) @ E
    P_left = (
        P - cross - np.swapaxes(cross, 1, 2) + np.swapaxes(E, 1, 2) @ H @ E + np.swapaxes(V, 1, 2) @ F @ V
    )
    return moved + ones @ moved / rest, P_left, left
