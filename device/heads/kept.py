"""The classifier that a model file came with, and new labels beside it.

The old classifier is a linear map without samples. Its columns stay as they are; each taught label has a column of its own,
the old one plus a correction. For mapped embeddings z, with f the logits of the taught labels and S the logarithm of the
summed exponentials of all other old logits, the corrections V minimize

    mean of -log softmax(f(z_i), S(z_i))[y_i]  +  RIDGE / 2 |V|^2,   f(z) = (W_old + V)^T z + b_old,

with z in units of its mean length. The new columns grow only as far as they must to exceed the old ones on the taught
samples, so what the old classifier is sure about stays (maximum a posteriori with the old weights as mean).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError, LabelError
from ..model.codes import Codes, decode
from .base import FALSE_REJECTION, Fit, Floats, Linear, check_codes
from .knn import KnnHead

RIDGE = 1e-3
_SAMPLES = 1000  # the most that are kept, and thus fitted
_STEPS = 300
_FOLDS = 5


class KeptHead(KnnHead):
    """A linear head that continues an old classifier.

    Args:
        dimensions: D.
        old: The old classifier on mapped embeddings.
        old_labels: Its labels, in the order of its columns.
        capacity: Maximum number of samples to keep: those with the smallest content hashes.
        false_rejection: Share of the taught samples that may be predicted as unknown.

    Example:
        >>> from device.model.codes import encode
        >>> head = KeptHead(2, old=Linear(np.eye(2) * 9, np.zeros(2)), old_labels=("a", "b"))
        >>> head.predict_one(encode([1.0, 0.0], "identity")).label
        'a'
        >>> head.learn_many(encode([[0.7, 0.7], [0.6, 0.7]], "identity"), ["c", "c"])
        >>> [head.predict_one(encode(one, "identity")).label for one in ([0.7, 0.7], [1.0, 0.0])]
        ['c', 'a']
    """

    name: ClassVar[str] = "kept"

    def __init__(
        self,
        dimensions: int,
        *,
        old: Linear | None = None,
        old_labels: Sequence[str] = (),
        capacity: int = _SAMPLES,
        false_rejection: float = FALSE_REJECTION,
        priors: str | None = None,
    ) -> None:
        if priors is not None:
            raise HeadError(
                "the priors of a model that keeps an old classifier are those of that classifier, got priors="
                f"{priors!r}; leave priors out, or use another head"
            )
        super().__init__(dimensions, capacity=capacity, false_rejection=false_rejection)
        self._old = old or Linear(np.zeros((dimensions, 0)), np.zeros(0))
        self._columns = {label: column for column, label in enumerate(old_labels)}

    @property
    def counts(self) -> dict[str, int]:
        """Number of learned samples per label, 0 for an old label that was not taught, in the order of `labels`."""
        return dict(sorted({**dict.fromkeys(self._columns, 0), **super().counts}.items()))

    def continue_from(self, other: KeptHead) -> Self:
        """Take the old classifier from another head, because `state` does not contain it."""
        self._old, self._columns, self._fitted = other._old, dict(other._columns), None
        return self

    def clone(self) -> Self:
        """Return an independent copy with the same state."""
        return super().clone().continue_from(self)

    @property
    def old_labels(self) -> tuple[str, ...]:
        """The labels of the old classifier."""
        return tuple(sorted(self._columns))

    def learn_statistics(
        self, labels: Sequence[str], counts: NDArray[np.int64], sums: NDArray[np.int64], gram: Floats
    ) -> None:
        """Count samples of which only sums are left; their labels must be old ones, whose columns contain them."""
        self._vocabulary.add_counts(labels, counts)
        self._fitted = None

    def rename_old(self, names: Mapping[str, str | None]) -> None:
        """Rename the old labels to their present names; a label whose name is None was deleted and is removed."""
        renamed = ((names.get(label, label), column) for label, column in self._columns.items())
        self._columns = {label: column for label, column in renamed if label is not None}
        self._fitted = None

    def leave_out(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> Floats:
        """Return held-out logits from five-fold cross-validation; groups stay together.

        A fold leaves out more than one sample, so the estimate is pessimistic.
        """
        codes = check_codes(codes, self.dimensions)
        names = list(self.counts)
        if missing := sorted(set(labels) - set(names)):
            raise LabelError(f"cannot leave out samples of labels never learned: {', '.join(missing)}")
        groups = np.arange(len(codes)) if groups is None else np.asarray(groups)
        folds = np.unique(groups, return_inverse=True)[1].ravel() * 7919 % _FOLDS
        owners = np.array(labels)
        logits = np.empty((len(codes), len(names)))
        for fold in np.unique(folds):
            out = folds == fold
            logits[out] = self._joined(codes[~out], owners[~out].tolist(), names).logits(codes[out])
        return logits

    @classmethod
    def _of_options(cls, dimensions: int, neighbors: int, capacity: int, false_rejection: float) -> Self:
        return cls(dimensions, capacity=capacity, false_rejection=false_rejection)

    def _rename(self, old: str, new: str) -> None:
        if old in self._columns:
            column = self._columns.pop(old)
            self._columns.setdefault(new, column)
        if old in self._vocabulary.counts:
            super()._rename(old, new)

    def _delete(self, label: str) -> None:
        self._columns.pop(label, None)
        if label in self._vocabulary.counts:
            super()._delete(label)

    def _logits(self, codes: Codes) -> Floats:
        linear = self.fit.linear
        assert linear is not None  # noqa: S101 - fit sets it
        return linear.logits(codes)

    def _compute_fit(self) -> Fit:
        codes, rows, _, _ = self._held.smallest(self.capacity, self._vocabulary.ranks())
        present = list(self._vocabulary.counts)
        owners = [present[rank] for rank in self._vocabulary.ranks()[rows]]
        linear = self._joined(codes, owners, list(self.counts))
        # the old classifier was never shown what it does not know, so nothing can be called unknown
        return Fit(linear, lambda queried, logits: np.zeros(len(queried)))

    def _joined(self, codes: Codes, owners: list[str], names: list[str]) -> Linear:
        """Return the linear map of the old classifier and the labels of samples, with columns in the order of `names`."""
        taught = sorted(set(owners))
        W, b = np.zeros((self.dimensions, len(names))), np.full(len(names), -np.inf)
        places = {name: place for place, name in enumerate(names)}
        for name, column in self._columns.items():
            W[:, places[name]], b[places[name]] = self._old.W[:, column], self._old.b[column]
        mine = [places[name] for name in taught]
        b[[place for place in mine if np.isinf(b[place])]] = 0.0
        if taught:
            Z = decode(codes)
            rest = np.delete(np.arange(len(names)), mine)
            others = _log_sum(Z @ W[:, rest] + b[rest])
            truth = np.eye(len(taught))[[taught.index(name) for name in owners]]
            W[:, mine] += corrections(Z, truth, Z @ W[:, mine] + b[mine], others)
        # a label whose only samples are left out has no column: its logit is as low as a closed one
        return Linear(W, np.where(np.isinf(b), _ABSENT, b))


_ABSENT = -1e9


def corrections(Z: Floats, truth: Floats, start: Floats, others: Floats, steps: int = _STEPS) -> Floats:
    """Return what is added to the columns of taught labels, float64 [D, C].

    Accelerated gradient descent (Nesterov 1983) on the coefficients of the samples, whose step follows from the largest
    eigenvalue of their inner products; nothing is drawn at random.

    Args:
        Z: float64 [N, D], mapped embeddings.
        truth: float64 [N, C], one-hot labels.
        start: float64 [N, C], logits of these labels before.
        others: float64 [N], logarithm of the summed exponentials of all other logits; -inf without any.
        steps: Number of steps.
    """
    count, unit = len(Z), float(np.linalg.norm(Z, axis=1).mean()) or 1.0
    K = (Z @ Z.T) / unit**2
    rate = 1 / (0.5 * float(np.linalg.norm(K, 2)) / count + RIDGE)
    alpha = ahead = np.zeros_like(truth)
    momentum = 1.0
    for _ in range(steps):
        error = _shares(start + K @ ahead, others) - truth
        moved = ahead - rate * (error / count + RIDGE * ahead)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * (moved - alpha)
        alpha, momentum = moved, following
    found: Floats = Z.T @ alpha / unit**2
    return found


def _shares(logits: Floats, others: Floats) -> Floats:
    """Return the probabilities [N, C] of taught labels beside all others."""
    most = np.maximum(logits.max(axis=1), others)
    powers = np.exp(logits - most[:, None])
    shares: Floats = powers / (powers.sum(axis=1) + np.exp(others - most))[:, None]
    return shares


def _log_sum(logits: Floats) -> Floats:
    """Return the logarithm of the summed exponentials of each row [N]; -inf without columns."""
    if not logits.shape[1]:
        return np.full(len(logits), -np.inf)
    most = logits.max(axis=1)
    total: Floats = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
    return total
