"""How much the predictions would change if a frame were taught, from the head's own matrix: which label to ask for next.

Teaching a frame x with the label y adds one row to the ridge regression of the exact head and changes its output for a
frame u by exactly

    k(u, x) (y - f(x)) / (1 + k(x, x)),      k(u, x) = (u - m)^T A^-1 (x - m)

The label is not known yet, so the error y - f(x) is replaced by its expected length under the predicted probabilities,
``e(x) = sqrt(1 - sum p^2)``, which is 0 for a certain prediction; for a frame unlike anything taught it is at least .75.
The score of a waiting frame is the root mean square of this change over frames u that were seen, waiting ones included:

    change(x) = e(x) sqrt(sum_u w_u k(u, x)^2 / sum_u w_u) / (1 + k(x, x))

So an uncertain frame that resembles many others comes before an uncertain frame that resembles none, and before a
frame that resembles many but is certain. Frames are ordered one by one: after the best frame is taken, k is what it
would be once that frame is taught, whatever its label, so that the next frame is not its look-alike (expected model
output change: Freytag, Rodner and Denzler 2014). Heads without the matrix A use cosines as k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes, decode
from .base import Floats, Head, Prediction
from .exact import ExactHead
from .threads import one_blas_thread

UNKNOWN = 0.75  # minimum expected error of a frame unlike anything taught


@dataclass(frozen=True)
class View:
    """Waiting frames as a head sees them.

    Attributes:
        predictions: A prediction per frame, with the scores of all labels.
        cross: float64 [m + n, n], k of each of m frames that were seen, and of each waiting frame, with each waiting frame.
        center: float64 [D], mean of the taught samples; zeros where the head does not know it.
    """

    predictions: list[Prediction]
    cross: Floats
    center: Floats


def look(head: Head, codes: Codes, seen: Codes) -> View:
    """Return how a head sees waiting frames.

    After a few lessons the matrix of the exact head is that of the last complete fit, which is good enough for an order.

    Args:
        head: A head that has learned something.
        codes: int16 [n, D], the waiting frames.
        seen: int16 [m, D], other frames that were seen.

    Raises:
        HeadError: The head has learned nothing yet.
    """
    predictions = head.predict_many(codes, all_scores=True) if len(codes) else []
    everything = np.concatenate([seen, codes])
    if not isinstance(head, ExactHead):
        values = decode(everything)
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
        return View(predictions, values @ values[len(seen) :].T, np.zeros(head.dimensions))
    with one_blas_thread():
        solution = head.latest_solution()
        centered = solution.centered(everything)
        cross = centered @ solution.inverse.apply(centered[len(seen) :]).T
    return View(predictions, cross, solution.moments.mean)


def expected_error(prediction: Prediction) -> float:
    """Return the expected length of the error of a prediction, 0 for a certain one and less than 1."""
    left = max(0.0, 1.0 - sum(score**2 for score in prediction.scores.values()))
    return float(left**0.5) if prediction.known else max(float(left**0.5), UNKNOWN)


def changes(errors: Sequence[float], cross: Floats, weights: Sequence[float] | Floats) -> Floats:
    """Return how much the label of each waiting frame would change, float64 [n]; arguments as for `order`."""
    frames = len(errors)
    weighted = np.sqrt(np.asarray(weights, np.float64) @ cross**2 / max(float(np.sum(weights)), 1e-9))
    change: Floats = (
        np.asarray(errors, np.float64) * weighted / (1.0 + np.diagonal(cross[len(cross) - frames :]))
    )
    return change


def order(
    errors: Sequence[float], cross: Floats, weights: Sequence[float] | Floats
) -> tuple[NDArray[np.intp], Floats]:
    """Return waiting frames in the order in which their labels change most, and the change of each when its turn comes.

    Args:
        errors: n expected errors, see `expected_error`.
        cross: float64 [m + n, n], see `View`.
        weights: How much each of the m + n frames counts.

    Returns:
        The indices [n], and float64 [n] in the same order.

    Example:
        >>> places, _ = order([0.7, 0.7, 0.1], np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.9], [0.0, 0.9, 1.0]]), [1, 1, 1])
        >>> places.tolist()
        [1, 0, 2]
    """
    cross, frames = np.array(cross, np.float64), len(errors)
    own = len(cross) - frames
    left = np.ones(frames, bool)
    places, found = np.zeros(frames, np.intp), np.zeros(frames)
    for turn in range(frames):
        change = np.where(left, changes(errors, cross, weights), -np.inf)
        best = places[turn] = int(change.argmax())
        found[turn], left[best] = change[best], False
        column = cross[:, best].copy()
        cross -= np.outer(column, column[own:]) / (1.0 + column[own + best])
    return places, found
