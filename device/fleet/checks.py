"""Refusing statistics that no set of samples can have.

Sums of samples satisfy more than they seem to. With counts n_c, sums S_c and the second moment G of integer codes:

- ``|S_c|^2 <= n_c^2 L`` and ``trace G <= N L`` for the largest squared length L of a code;
- each ``G_dd`` is a sum of squares of the numbers whose sum is ``S_d``, so it is odd exactly when ``S_d`` is, and at least
  ``|S_d|``;
- the scatter within the labels, ``G - sum_c S_c S_c^T / n_c``, is positive semi-definite, and its rank is at most
  ``N - C``.

The first two are compared in integers. The last is computed in float64; its tolerance is the bound of the rounding of
that computation, so that genuine statistics always pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import FleetError, LabelError
from ..heads.base import Floats
from ..labels import check_labels
from ..model.memory import Sums
from ..printable import printable
from .contribution import Contribution, FleetModel

EXACT = 2**53  # float64 contains every integer up to here
_LOW_RANK = 4  # a rank below D / 4 is checked with fewer operations than a Cholesky factor needs
# of float64; not np.finfo, which warns where the processor treats subnormal numbers as zero, as with tflite-runtime on aarch64
_EPSILON = 2.0**-52
_RESIDUAL = 1e-7  # share of the trace that rounding may leave behind after N - C pivots


def check_contribution(contribution: Contribution, model: FleetModel) -> None:
    """Check that a contribution belongs to the model of a fleet, and that a set of samples can have its statistics.

    Raises:
        FleetError: It does not; the message contains the name of the device and what is wrong.
    """
    try:
        check_model(contribution.model, model)
        check_statistics(contribution.sums, model)
    except (FleetError, LabelError) as error:
        raise FleetError(f"the contribution of {contribution.client} is refused: {error}") from error


def check_model(found: FleetModel, model: FleetModel) -> None:
    """Check that statistics belong to the model of a fleet.

    Raises:
        FleetError: They belong to another one.
    """
    if found != model:
        raise FleetError(
            f"it was taught to the model {found}, but the fleet uses {model}; all devices need the same backbone:"
            " copy the model file of the fleet to the device, and use edgetl reembed for what was taught"
        )


def check_statistics(sums: Sums, model: FleetModel) -> None:
    """Check that a set of samples can have these statistics.

    Raises:
        FleetError: No samples have them, or an array has another type or shape.
        LabelError: A label is invalid or occurs twice.
    """
    _check_arrays(sums, model.dimensions)
    _check_labels(sums.labels)
    _check_counts(sums, model)
    _check_lengths(sums, model)
    _check_diagonal(sums)
    _check_scatter(sums)


def _check_arrays(sums: Sums, dimensions: int) -> None:
    classes = len(sums.labels)
    expected = {
        "counts": (sums.numbers, np.int64, (classes,)),
        "sums": (sums.sums, np.int64, (classes, dimensions)),
        "second moment": (sums.gram, np.float64, (dimensions, dimensions)),
    }
    for name, (found, dtype, shape) in expected.items():
        if found.dtype != dtype or found.shape != shape:
            raise FleetError(
                f"the {name} must be {np.dtype(dtype).name} {list(shape)}, got {found.dtype} {list(found.shape)}"
            )
    gram = sums.gram
    if not np.isfinite(gram).all():
        raise FleetError("the second moment contains NaN or infinity")
    if (np.abs(gram) > EXACT).any() or (gram != np.rint(gram)).any():
        raise FleetError("the second moment must contain integers below 2**53")
    if (gram != gram.T).any():
        raise FleetError("the second moment is not symmetric")


def _check_labels(labels: tuple[str, ...]) -> None:
    if check_labels(labels, stored=True) != labels or list(labels) != sorted(labels):
        raise FleetError("the labels must be sorted and in their canonical form")


def _check_counts(sums: Sums, model: FleetModel) -> None:
    most = EXACT // model.longest
    for label, count in zip(sums.labels, sums.numbers.tolist(), strict=True):
        if not 1 <= count <= most:
            raise FleetError(f"each label must have 1 to {most} samples, got {count} of '{printable(label)}'")
    if sum(sums.numbers.tolist()) > most:
        raise FleetError(f"at most {most} samples can be summed exactly, got {sum(sums.numbers.tolist())}")


def _check_lengths(sums: Sums, model: FleetModel) -> None:
    """Compare the lengths of the sums, and the trace, with those of the longest codes, in Python's integers."""
    for label, count, row in zip(sums.labels, sums.numbers.tolist(), sums.sums.tolist(), strict=True):
        if sum(value * value for value in row) > count * count * model.longest:
            raise FleetError(
                f"the sum of '{printable(label)}' is longer than that of {count} embeddings can be"
            )
    trace, total = int(np.trace(sums.gram)), int(sums.numbers.sum())
    if trace > total * model.longest:
        raise FleetError(f"the second moment is larger than that of {total} embeddings can be")


def _check_diagonal(sums: Sums) -> None:
    diagonal = np.diagonal(sums.gram).astype(np.int64)
    totals = sums.sums.sum(axis=0)
    if (diagonal < np.abs(totals)).any() or ((diagonal - totals) % 2).any():
        raise FleetError(
            "the second moment does not fit the sums: no integers have this sum and these squares"
        )


def _check_scatter(sums: Sums) -> None:
    total, classes = int(sums.numbers.sum()), len(sums.labels)
    scatter = sums.gram.copy()
    if classes:
        roots = sums.sums / np.sqrt(sums.numbers)[:, None]
        scatter -= roots.T @ roots
    rank = total - classes
    if _LOW_RANK * rank < len(scatter):
        fits = _has_rank(scatter, rank, float(np.trace(sums.gram)))
    else:
        fits = _is_positive(scatter, float(np.diagonal(sums.gram).max(initial=0)))
    if not fits:
        raise FleetError(
            f"no {total} samples of {classes} labels have this second moment and these sums (the scatter within the"
            " labels is not positive semi-definite, or has more directions than samples)"
        )


def _is_positive(matrix: Floats, scale: float) -> bool:
    """Return whether a symmetric matrix [D, D] is positive semi-definite up to rounding.

    A Cholesky factor of ``A + s I`` with ``s = D^2 u max`` exists for each positive semi-definite A whose entries are at
    most `scale` (Higham 2002, "Accuracy and stability of numerical algorithms", theorem 10.7).
    """
    shifted = matrix.copy()
    shifted[np.diag_indices_from(shifted)] += max(len(matrix) ** 2 * _EPSILON * scale, 0.5)
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True


def _has_rank(matrix: Floats, rank: int, trace: float) -> bool:
    """Return whether a symmetric matrix [D, D] is positive semi-definite of at most this rank, up to rounding.

    Each step of a Cholesky factorization with pivots removes one direction; nothing may be left after `rank` of them.
    """
    room = max(_RESIDUAL * trace, 0.5)
    factor = np.zeros((rank, len(matrix)))
    left: NDArray[np.float64] = np.diagonal(matrix).copy()
    for step in range(rank):
        pivot = int(left.argmax())
        if left[pivot] <= room / len(matrix):
            break
        row = matrix[pivot] - factor[:step, pivot] @ factor[:step]
        factor[step] = row / np.sqrt(left[pivot])
        left -= factor[step] ** 2
    residual = matrix - factor.T @ factor
    return bool(np.abs(residual).max(initial=0) <= room)
