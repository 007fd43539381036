"""Imprinting: a label is the mean direction of its samples. It has the smallest state and is strong with one sample.

Qi, Brown and Lowe 2018, "Low-shot learning with imprinted weights"; Coral's on-device training does the same.
Cosines are not log-odds. A spherical Gaussian model around the means turns them into log-odds: the factor on the
cosine is ``mean length / variance``, with the variance in the direction of a sample, ``tr(S^2) / (tr(S) N)`` for the
within-class scatter S. The trace of S^2 needs no D x D matrix: it is the mean of the squared inner products
``r^T S q`` of random +-1 vectors r and q, for which 16 projections per label are enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..arrays import pack_texts, unpack_texts
from ..errors import EdgetlError, HeadError, LabelError
from ..model.codes import SCALE, Codes, decode
from .base import FALSE_REJECTION, ONE_LABEL, Fit, Floats, Head, Linear, State, check_codes
from .integers import pack_integers, unpack_integers
from .keys import KeySet
from .nearest import directions, nearest_mean
from .vocabulary import Vocabulary

PROJECTIONS = 16
_UPPER = np.triu_indices(PROJECTIONS)
_WIDEST = 1e4  # maximum factor on the cosine
_TUNED = (
    "some samples tuned the backbone and vary less than new ones: the ncm head's probabilities are too certain, "
    "and too many predictions are unknown; --head exact calibrates both on the other samples only"
)


class NcmHead(Head):
    """Nearest class mean by cosine.

    Args:
        dimensions: D.
        false_rejection: Share of the taught samples that may be predicted as unknown.
        priors: ``even``, or ``taught``: labels are expected as frequently as they were taught.

    Example:
        >>> from device.model.codes import encode
        >>> head = NcmHead(2)
        >>> head.learn_many(encode([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0]]), ["a", "a", "b"])
        >>> head.predict_one(encode([0.0, 1.0])).label
        'b'
    """

    name: ClassVar[str] = "ncm"

    def __init__(
        self, dimensions: int, *, false_rejection: float = FALSE_REJECTION, priors: str | None = None
    ) -> None:
        super().__init__(dimensions, false_rejection=false_rejection, priors=priors)
        self._vocabulary = Vocabulary()
        self._sums = np.zeros((0, dimensions), np.int64)
        # upper triangles of the projections' second moments
        self._moments = np.zeros((0, len(_UPPER[0])), np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Number of learned samples per label, in the order of `labels`."""
        return self._vocabulary.counts

    def leave_out(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> Floats:
        """Return the logits of each learned sample as if it, and its group, had never been learned.

        Raises:
            LabelError: A label was never learned.
        """
        codes = check_codes(codes, self.dimensions)
        if missing := sorted(set(labels) - set(self.counts)):
            raise LabelError(f"cannot leave out samples of labels never learned: {', '.join(missing)}")
        columns = {label: column for column, label in enumerate(self.labels)}
        owners = np.array([columns[label] for label in labels], np.int64)
        groups = np.arange(len(codes)) if groups is None else np.asarray(groups)
        counts, sums = self._summed()
        logits = np.empty((len(codes), len(columns)))
        for group in np.unique(groups):
            mine = groups == group
            left = sums.copy()
            np.subtract.at(left, owners[mine], codes[mine].astype(np.int64))
            logits[mine] = decode(codes[mine]) @ directions(left / SCALE).T
        return self.fit.figures["sharpness"] * logits + self._log_priors(counts.astype(np.float64))

    def digest(self) -> str:
        """Return the sha256 of the labels, the counts and the sums."""
        counts, sums = self._summed()
        digest = hashlib.sha256(f"edgetl ncm 1, {self.dimensions} dimensions\n".encode())
        digest.update("\n".join(self.counts).encode())
        for array in (counts, sums, self._moments[self._vocabulary.present()]):
            digest.update(array.astype("<i8").tobytes())
        digest.update(self.tuned.keys.astype("<u8").tobytes())  # empty if no sample tuned the backbone
        return digest.hexdigest()

    def state(self) -> State:
        """Return the labels, the counts, the sums and the moments of the projections, packed."""
        counts, sums = self._summed()
        return {
            "labels": pack_texts(list(self.counts)),
            "counts": counts,
            "sums": pack_integers(sums),
            "moments": pack_integers(self._moments[self._vocabulary.present()]),
            "options": np.array([self.false_rejection]),
            **self.tuned.state(),
            **self._priors_state(),
        }

    @classmethod
    def restore(cls, dimensions: int, state: State) -> Self:
        """Return a head with the given state.

        Raises:
            HeadError: The state is damaged or has another number of dimensions.
        """
        try:
            head = cls(dimensions, false_rejection=float(state["options"][0]), priors=cls._priors_in(state))
            sums, moments = unpack_integers(state["sums"]), unpack_integers(state["moments"])
            if sums.shape[1] != dimensions:
                raise HeadError(f"the state has {sums.shape[1]} dimensions, expected {dimensions}")
            head._vocabulary.add_counts(unpack_texts(state["labels"]), state["counts"])
            head._sums, head._moments = sums.copy(), moments.copy()
            head.tuned = KeySet.restore(state)
        except HeadError:
            raise
        except (KeyError, IndexError, ValueError, EdgetlError) as error:
            raise HeadError(f"the head's state is damaged: {error}; rebuild it from the samples") from error
        return head

    def _learn(self, codes: Codes, labels: list[str]) -> None:
        self._add(codes, self._vocabulary.add(labels), 1)

    def _forget(self, codes: Codes, labels: list[str]) -> None:
        self._add(codes, self._vocabulary.remove(labels), -1)

    def _merge(self, other: Any) -> None:
        rows = self._vocabulary.merge(other._vocabulary)
        self._grow()
        np.add.at(self._sums, rows, other._sums)
        np.add.at(self._moments, rows, other._moments)

    def _rename(self, old: str, new: str) -> None:
        row, target = self._vocabulary.rename(old, new)
        if row != target:
            for array in (self._sums, self._moments):
                array[target] += array[row]
                array[row] = 0

    def _delete(self, label: str) -> None:
        row = self._vocabulary.delete(label)
        self._sums[row], self._moments[row] = 0, 0

    def _compute_fit(self) -> Fit:
        counts, sums = self._summed()
        means = directions(sums / SCALE)
        length = float(np.linalg.norm(sums / SCALE, axis=1).sum() / counts.sum())
        variance = self._variance()
        sharpness = min(length / variance, _WIDEST) if variance > 0 else 1.0
        notes = [] if variance > 0 else ["too few samples: probabilities and 'known' are not calibrated yet"]
        if len(counts) < 2:
            notes.append(ONE_LABEL)
        if len(self.tuned):
            notes.append(_TUNED)
        threshold = np.inf
        if variance > 0 and self.false_rejection > 0:
            threshold = 1 - length + _quantile(self.false_rejection) * variance**0.5
        linear = Linear(sharpness * means.T, self._log_priors(counts.astype(np.float64)))
        figures = {"sharpness": sharpness, "variance": variance}
        return Fit(linear, lambda codes, logits: nearest_mean(codes, means), threshold, tuple(notes), figures)

    def _summed(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = self._vocabulary.present()
        return self._vocabulary.numbers[rows], self._sums[rows]

    def _add(self, codes: Codes, rows: NDArray[np.int32], sign: int) -> None:
        self._grow()
        projected = codes.astype(np.int64) @ projection(self.dimensions)
        for row in np.unique(rows):
            mine = rows == row
            self._sums[row] += sign * codes[mine].sum(axis=0, dtype=np.int64)
            self._moments[row] += sign * (projected[mine].T @ projected[mine])[_UPPER]

    def _grow(self) -> None:
        new = len(self._vocabulary.numbers) - len(self._sums)
        if new:
            self._sums = np.concatenate([self._sums, np.zeros((new, self.dimensions), np.int64)])
            self._moments = np.concatenate([self._moments, np.zeros((new, len(_UPPER[0])), np.int64)])

    def _variance(self) -> float:
        """Return ``tr(S^2) / (tr(S) f)`` with f degrees of freedom; 0 if the samples do not vary."""
        counts, sums = self._summed()
        freedom = int(counts.sum()) - len(counts)
        if freedom < 1:
            return 0.0
        projected = sums @ projection(self.dimensions) / SCALE
        scatter = np.zeros((PROJECTIONS, PROJECTIONS))
        scatter[_UPPER] = self._moments[self._vocabulary.present()].sum(axis=0) / float(SCALE**2)
        between = (projected / counts[:, None]).T @ projected
        scatter[_UPPER] -= between[_UPPER]
        trace = float(np.trace(scatter)) / PROJECTIONS
        square = float((scatter[np.triu_indices(PROJECTIONS, 1)] ** 2).mean())
        # with few samples, tr(S^2) is mostly tr(S)^2 / f, the noise in the estimate of S
        square = max(square - trace**2 / freedom, square / (freedom + 1))
        return square / (trace * freedom) if trace > 1e-9 else 0.0


def projection(dimensions: int) -> NDArray[np.int64]:
    """Return the random +-1 vectors, int64 [D, 16], which are the same on every machine."""
    bits = hashlib.shake_256(b"edgetl ncm projection").digest(dimensions * PROJECTIONS // 8)
    signs = np.unpackbits(np.frombuffer(bits, np.uint8)).astype(np.int64) * 2 - 1
    return signs.reshape(dimensions, PROJECTIONS)


def _quantile(tail: float) -> float:
    """Return the normal quantile for the upper tail `tail` (Abramowitz and Stegun 26.2.23, error below 5e-4)."""
    share = min(tail, 1 - tail)
    t = (-2 * np.log(share)) ** 0.5
    value = t - (2.515517 + 0.802853 * t + 0.010328 * t**2) / (
        1 + 1.432788 * t + 0.189269 * t**2 + 0.001308 * t**3
    )
    return float(value if tail < 0.5 else -value)
