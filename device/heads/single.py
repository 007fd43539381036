"""The exact head for one embedding at a time, which is what every frame of a camera needs.

Just before, the backbone has filled the processor's caches, so that each call of NumPy takes longer than the arithmetic
in it: about 4 us on a processor that runs the backbone in 4 ms. Therefore the maps of a fit are arranged as rows of one
matrix, one product reads them all, and the few numbers per label that remain are computed in Python.

Each row is multiplied by itself. So the values of a label do not depend on how many other labels there are, equal rows
lead to equal values, and BLAS never uses several threads.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..model.codes import SCALE, Codes

if TYPE_CHECKING:
    from .base import Linear
    from .discriminant import Discriminant
    from .ridge import Solution
    from .unknown import Unknown
    from .update import Moved

Floats = NDArray[np.float64]
MOST_LABELS = 64  # more of them are work for BLAS, and rows in place of columns would double their RAM


@dataclass(frozen=True)
class Novelty:
    """The unknown score of a fit, see `device.heads.unknown`; called with codes [N, D] and logits [N, C].

    Attributes:
        solution: The solution of the ridge regression, complete or updated.
        values: The discriminant.
        unknown: The two distances on one scale.
    """

    solution: Solution | Moved
    values: Discriminant
    unknown: Unknown

    def __call__(self, codes: Codes, logits: Floats) -> Floats:
        """Return the unknown scores, float64 [N]."""
        return self.unknown.score(codes, self.values.read(self.solution.project(codes)).distance)


class Single:
    """A fit of C labels, arranged for one embedding at a time.

    Args:
        linear: The linear map of the fit.
        novelty: Its unknown score.
    """

    def __init__(self, linear: Linear, novelty: Novelty) -> None:
        solution, values, unknown = novelty.solution, novelty.values, novelty.unknown
        total = float(values.n.sum())
        maps = np.concatenate([linear.W.T / SCALE, solution.W.T / SCALE, unknown.means])
        self._rows = maps[:, np.newaxis, :]  # float64 [3C, 1, D], for codes
        self._bias: list[float] = linear.b.tolist()
        self._shift = -(solution.mean @ solution.W)
        self._R = total * values.R
        self._spread: list[float] = (total / 2 * values.spread).tolist()
        self._relative, self._cosine = unknown.relative, unknown.cosine

    def read(self, code: Codes) -> tuple[list[float], float]:
        """Return the probabilities of the labels and the unknown score of a code, int16 [D]."""
        C = len(self._bias)
        z = code.astype(np.float64)
        products = (self._rows @ z[:, np.newaxis]).ravel()
        U = products[C : 2 * C] + self._shift
        UR = U @ self._R
        relative = float(UR @ U) - 2 * max(map(operator.sub, UR.tolist(), self._spread))
        values = products.tolist()
        cosine = 1 - max(values[2 * C :]) / (math.sqrt(z @ z) or 1.0)
        unknown = self._relative.of_one(relative) + self._cosine.of_one(cosine)
        logits = list(map(operator.add, values[:C], self._bias))
        top = max(logits)
        powers = [math.exp(logit - top) for logit in logits]
        total = sum(powers)
        return [power / total for power in powers], unknown


def single_of(linear: Linear | None, novelty: object) -> Single | None:
    """Return a fit arranged for one embedding at a time, or None if it has another form or too many labels."""
    if linear is None or not isinstance(novelty, Novelty) or len(novelty.values.n) > MOST_LABELS:
        return None
    return Single(linear, novelty) if (novelty.values.n > 0).all() else None
