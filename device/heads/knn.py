"""A simple baseline: a vote of the nearest samples by cosine, over a bounded subset of the taught samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..arrays import pack_texts, unpack_texts
from ..errors import EdgetlError, HeadError, LabelError
from ..model.codes import Codes
from .base import FALSE_REJECTION, Fit, Floats, Head, State, check_codes
from .calibration import NO_JUDGES, fit_sharpness, too_few_judges
from .keys import KeySet, content_keys
from .nearest import conformal_threshold, unit
from .sketch import Sketch
from .vocabulary import Vocabulary

NEIGHBORS = 3
CAPACITY = 2000
_ABSENT = -10.0  # logarithm of the votes of a label without votes, e^-10 = 1/22,000
_JUDGED = 256  # samples that choose temperature and threshold
_NOT_CALIBRATED = "too few samples to leave one out: nothing is calibrated yet"


class KnnHead(Head):
    """Nearest neighbors by cosine.

    Args:
        dimensions: D.
        neighbors: Number of samples that vote; nearer samples decide ties.
        capacity: Maximum number of samples to keep: those with the smallest content hashes.
        false_rejection: Share of the taught samples that may be predicted as unknown.
        priors: ``taught`` (default): each sample has one vote; or ``even``: a vote counts less, the more samples its
            label has.

    Example:
        >>> from device.model.codes import encode
        >>> head = KnnHead(2)
        >>> head.learn_many(encode([[1.0, 0.1], [0.1, 1.0], [0.2, 1.0]]), ["a", "b", "b"])
        >>> head.predict_one(encode([0.0, 1.0])).label
        'b'
    """

    name: ClassVar[str] = "knn"
    default_priors: ClassVar[str] = "taught"

    def __init__(
        self,
        dimensions: int,
        *,
        neighbors: int = NEIGHBORS,
        capacity: int = CAPACITY,
        false_rejection: float = FALSE_REJECTION,
        priors: str | None = None,
    ) -> None:
        super().__init__(dimensions, false_rejection=false_rejection, priors=priors)
        if neighbors < 1 or capacity < neighbors:
            raise HeadError(
                f"expected 1 <= neighbors <= capacity, got {neighbors} neighbors and a capacity of {capacity}"
            )
        self.neighbors, self.capacity = neighbors, capacity
        self._vocabulary = Vocabulary()
        self._held = Sketch(dimensions, capacity)

    @property
    def counts(self) -> dict[str, int]:
        """Number of learned samples per label, in the order of `labels`."""
        return self._vocabulary.counts

    def leave_out(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> Floats:
        """Return the logits of each learned sample as if it, and its group, had never been learned."""
        codes = check_codes(codes, self.dimensions)
        if missing := sorted(set(labels) - set(self.counts)):
            raise LabelError(f"cannot leave out samples of labels never learned: {', '.join(missing)}")
        groups = np.arange(len(codes)) if groups is None else np.asarray(groups)
        sharpness = self.fit.figures["sharpness"]
        return sharpness * self._votes(codes, self._hidden(codes, groups))[0]

    def digest(self) -> str:
        """Return the sha256 of the labels, the counts and the kept samples."""
        digest = hashlib.sha256(f"edgetl knn 1, {self.dimensions} dimensions\n".encode())
        for name, array in sorted(self.state().items()):
            digest.update(name.encode() + array.tobytes())
        return digest.hexdigest()

    def state(self) -> State:
        """Return the labels, the counts, the kept samples and the options."""
        state: State = {
            "labels": pack_texts(list(self._vocabulary.counts)),
            "counts": np.array(list(self._vocabulary.counts.values()), np.int64),
            "options": np.array([self.neighbors, self.capacity, self.false_rejection]),
        }
        held = self._held.state(self._vocabulary.ranks())
        return state | held | self.tuned.state() | self._priors_state()

    @classmethod
    def restore(cls, dimensions: int, state: State) -> Self:
        """Return a head with the given state.

        Raises:
            HeadError: The state is damaged or has another number of dimensions.
        """
        try:
            neighbors, capacity, false_rejection = state["options"].tolist()
            head = cls._of_options(dimensions, int(neighbors), int(capacity), false_rejection)
            head._vocabulary.add_counts(unpack_texts(state["labels"]), state["counts"])
            head.priors = cls._priors_in(state) or cls.default_priors
            head._held, head.tuned = Sketch.restore(dimensions, state, int(capacity)), KeySet.restore(state)
        except (KeyError, IndexError, ValueError, EdgetlError) as error:
            raise HeadError(f"the head's state is damaged: {error}; rebuild it from the samples") from error
        return head

    @classmethod
    def _of_options(cls, dimensions: int, neighbors: int, capacity: int, false_rejection: float) -> Self:
        return cls(dimensions, neighbors=neighbors, capacity=capacity, false_rejection=false_rejection)

    def _logits(self, codes: Codes) -> Floats:
        votes, _ = self._votes(codes)
        scaled: Floats = self.fit.figures["sharpness"] * votes
        return scaled

    def _learn(self, codes: Codes, labels: list[str]) -> None:
        self._held.add(codes, self._vocabulary.add(labels), content_keys(codes))

    def _forget(self, codes: Codes, labels: list[str]) -> None:
        owners = self._vocabulary.remove(labels)
        self._held.remove(codes, owners, content_keys(codes))

    def _merge(self, other: Any) -> None:
        self._held.merge(other._held, self._vocabulary.merge(other._vocabulary))

    def _rename(self, old: str, new: str) -> None:
        self._held.rename(*self._vocabulary.rename(old, new))

    def _delete(self, label: str) -> None:
        self._held.drop(self._vocabulary.delete(label))

    def _compute_fit(self) -> Fit:
        codes, rows, copies, keys = self._held.smallest(self.capacity, self._vocabulary.ranks())
        judges = np.flatnonzero(~self.tuned.holds(keys))[:_JUDGED]
        codes, owners, copies = codes[judges], self._vocabulary.ranks()[rows[judges]], copies[judges]
        if len(self.tuned) and too_few_judges(owners):
            codes, owners, copies = codes[:0], owners[:0], copies[:0]
        sharpness, threshold = 1.0, np.inf
        fair = np.array(list(self.counts.values()))[owners] > 1
        if fair.any():
            votes, nearest = self._votes(codes[fair], self._hidden(codes[fair], np.arange(int(fair.sum()))))
            sharpness = fit_sharpness(votes, owners[fair], copies[fair]) if len(self.counts) > 1 else 1.0
            threshold = conformal_threshold(1 - nearest, self.false_rejection)
        notes = () if fair.any() else (NO_JUDGES if len(self.tuned) else _NOT_CALIBRATED,)
        return Fit(None, self._distance, threshold, notes, {"sharpness": sharpness})

    def _distance(self, codes: Codes, logits: Floats) -> Floats:
        distance: Floats = 1 - self._votes(codes)[1]
        return distance

    def _hidden(self, codes: Codes, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which kept samples may not vote on each of `codes`, bool [N, kept]: those of its own group."""
        keys = content_keys(codes)
        hidden = np.zeros((len(codes), len(self._held.keys)), bool)
        for group in np.unique(groups):
            mine = groups == group
            hidden[mine] = np.isin(self._held.keys, keys[mine])
        return hidden

    def _votes(self, codes: Codes, hidden: NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
        """Return the logarithm of the votes per label [N, C] and the cosine to the nearest sample [N]."""
        cosine = unit(codes) @ unit(self._held.codes).T
        if hidden is not None:
            cosine = np.where(hidden, -2.0, cosine)
        owners = self._vocabulary.ranks()[self._held.owners]
        near = np.argsort(-cosine, axis=1, kind="stable")[:, : self.neighbors]
        closeness = np.take_along_axis(cosine, near, axis=1)
        votes = np.full((len(codes), len(self.counts)), np.exp(_ABSENT))
        for place in range(near.shape[1]):
            # the nearer sample decides between labels with equal votes
            weight = np.where(closeness[:, place] > -2, 1 + 0.01 * closeness[:, place], 0.0)
            votes[np.arange(len(codes)), owners[near[:, place]]] += weight
        return np.log(votes) - self._crowding(owners, hidden), closeness.max(axis=1)

    def _crowding(self, owners: NDArray[np.int64], hidden: NDArray[np.bool_] | None) -> Floats:
        """Return the logarithm of the number of samples that may vote per label, [C] or [N, C]; zeros unless priors are even."""
        labels = np.eye(len(self.counts))[owners]
        if self.priors == "taught":
            return np.zeros(labels.shape[1])
        able: Floats = labels.sum(axis=0) if hidden is None else ~hidden @ labels
        return np.log(np.maximum(able, 1.0))
