"""Negatives and background: what a frame is not, decided beside the head and never changing its other answers.

A negative denies one label ("not mug"), a background sample all of them. An exact head of its own learns the samples of the
labels, and one hidden class for the negatives of each label and one for background. With its calibrated scores L, a frame
is taken from label k with

    v_k = sigmoid(L_not_k - L_k - m_k),     v_background = sigmoid(L_background - max_k L_k - m_background)

    p_k' = (1 - v_k) p_k

What is taken from k goes to the other labels and to "none of them" in proportion to ``exp(L)`` of the labels and of the
hidden class; what background takes goes to "none". The frame is unknown where "none" is more probable than any label.

The margin m keeps the labels' own samples: at most `LOSS` of them may be rejected when they are left out (a conformal
quantile, as for the unknown threshold), so that a few negatives that look like the label cost it little. It is at
least 0, so that nothing is rejected that looks more like the label, and 0 for a frame that is almost equal to a taught
one, so that a correction takes effect where it was made.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes
from ..negatives import BACKGROUND, is_hidden, negative_of
from .base import Fit, Floats, Head, check_codes
from .exact import SELECTION, ExactHead
from .folds import balanced
from .keys import content_keys
from .nearest import conformal_threshold, unit
from .sketch import Sketch
from .vocabulary import Vocabulary

LOSS = 0.02  # share of a label's own samples that its negatives may reject
_JUDGES = 64  # samples of a label that choose its margin
_ALIKE = 0.98  # cosine of mapped embeddings from which a frame counts as the taught one
_WORK = 4e9  # leaving a sample out takes the cube of the number of classes


class HiddenClasses(ExactHead):
    """An exact head whose labels are stored labels: those of a user, and hidden ones of `device.negatives`."""

    most_labels: ClassVar[int | None] = None  # the head beside it counts the labels

    def _checked(self, codes: Codes, labels: Sequence[str]) -> tuple[Codes, list[str]]:
        return check_codes(codes, self.dimensions), list(labels)


class Rejection:
    """The negatives and the background of a learner, with the samples of its labels to compare them with.

    Args:
        dimensions: D.

    Example:
        >>> from device.model.codes import encode
        >>> rejection = Rejection(2)
        >>> rejection.learn(encode([[1.0, 0.0], [0.9, 0.1], [0.6, 0.5]]), ["mug", "mug", negative_of("mug")])
        >>> mug = np.ones((2, 1))
        >>> known, near = np.ones(2, bool), encode([[1.0, 0.05], [0.6, 0.52]])
        >>> rejection.correct(near, ("mug",), mug, known)[1].tolist()
        [True, False]
    """

    def __init__(self, dimensions: int) -> None:
        self.classes = HiddenClasses(dimensions)
        self._samples, self._vocabulary = Sketch(dimensions), Vocabulary()  # of the hidden classes
        # per hidden class its samples scaled to length one, until they change
        self._units: dict[str, Floats] = {}
        self._margins: dict[str, float] = {}
        self._fit: Fit | None = None  # the complete fit that the margins belong to

    @classmethod
    def beside(cls, head: Head) -> Self | None:
        """Return a rejection that knows what an exact head has learned; None for a head without its statistics."""
        rejection = cls(head.dimensions)
        if not isinstance(head, ExactHead):
            return None
        rejection.classes.statistics = head.statistics.copy()
        rejection.classes.tuned = rejection.classes.statistics.tuned
        return rejection

    @property
    def hidden(self) -> tuple[str, ...]:
        """The stored labels of the hidden classes, sorted."""
        return tuple(label for label in self.classes.counts if is_hidden(label))

    def learn(self, codes: Codes, stored: Sequence[str]) -> None:
        """Learn samples, codes [N, D] with their stored labels."""
        self.classes.learn_many(codes, stored)
        mine, labels = _hidden_part(codes, stored)
        self._samples.add(mine, self._vocabulary.add(labels), content_keys(mine))
        self._units.clear()

    def forget(self, codes: Codes, stored: Sequence[str]) -> None:
        """Forget samples, codes [N, D] with their stored labels.

        Raises:
            HeadError: A sample was never learned.
        """
        self.classes.forget(codes, stored)
        mine, labels = _hidden_part(codes, stored)
        self._samples.remove(mine, self._vocabulary.remove(labels), content_keys(mine))
        self._units.clear()

    def snapshot(self) -> Self:
        """Return a copy with the same samples, whose fit and margins another thread may compute for `adopt`."""
        other = type(self)(self.classes.dimensions)
        other.classes = self.classes.snapshot()
        if self.classes.settled:
            other.classes.adopt(self.classes)
        other._samples, other._vocabulary = copy.deepcopy(self._samples), copy.deepcopy(self._vocabulary)
        other._margins, other._fit = self._margins, self._fit
        return other

    def settle(self) -> None:
        """Compute the complete fit and the margins now."""
        self._prepare(complete=True)

    def adopt(self, other: Self) -> None:
        """Take over the fit and the margins of a `snapshot`, unless something other than lessons happened since."""
        self.classes.adopt(other.classes)
        if set(self.hidden) == other._margins.keys():
            self._margins, self._fit = other._margins, other._fit

    def digest(self) -> str:
        """Return the sha256 of what was learned, in a form that does not depend on the order."""
        return self.classes.digest()

    def correct(
        self, codes: Codes, labels: Sequence[str], probabilities: Floats, known: NDArray[np.bool_]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Correct the predictions of a head.

        Args:
            codes: int16 [N, D].
            labels: The C labels of the head.
            probabilities: float64 [N, C].
            known: bool [N].

        Returns:
            Probabilities [N, C], whose sum is less than one where none of the labels may be right, and `known` [N].
        """
        logits, columns = self._logits(codes)
        scores = np.full(probabilities.shape, -np.inf)
        for place, label in enumerate(labels):
            if label in columns:
                scores[:, place] = logits[:, columns[label]]
        corrected, none = _denied(scores, probabilities, self._negatives(codes, labels, logits, columns))
        known = known & (corrected.max(axis=1) >= none)
        # a label without samples, of an old classifier, cannot be compared with background
        if BACKGROUND in columns and np.isfinite(scores).all():
            margin = np.where(self._resemble(codes, BACKGROUND), 0.0, self._margins[BACKGROUND])
            gap = logits[:, columns[BACKGROUND]] - scores.max(axis=1) - margin
            share = _sigmoid(gap)
            corrected, known = corrected * (1 - share)[:, None], known & (share <= 0.5)
        return corrected, known

    def rejected(self, codes: Codes, stored: str) -> NDArray[np.bool_]:
        """Return which learned samples of a hidden class would still be rejected if they were left out, bool [N].

        Args:
            codes: int16 [N, D], learned under `stored`.
            stored: The hidden class.
        """
        self._prepare(complete=True)
        return self._gaps(codes, [stored] * len(codes), stored) > self._margins[stored]

    def _negatives(
        self, codes: Codes, labels: Sequence[str], logits: Floats, columns: dict[str, int]
    ) -> dict[int, tuple[Floats, Floats]]:
        """Return place of a denied label -> scores of its negatives and their margins, [N] each."""
        denied = ((place, negative_of(label)) for place, label in enumerate(labels) if label in columns)
        return {
            place: (logits[:, columns[name]], np.where(self._resemble(codes, name), 0.0, self._margins[name]))
            for place, name in denied
            if name in columns
        }

    def _resemble(self, codes: Codes, hidden: str) -> NDArray[np.bool_]:
        """Return which frames are almost equal to a taught sample of a hidden class, bool [N]."""
        if hidden not in self._units:  # predicting each frame needs them
            owner = self._vocabulary.rows[hidden]
            self._units[hidden] = unit(self._samples.codes[self._samples.owners == owner])
        cosines = unit(codes) @ self._units[hidden].T
        alike: NDArray[np.bool_] = cosines.max(axis=1, initial=-1.0) >= _ALIKE
        return alike

    def _logits(self, codes: Codes) -> tuple[Floats, dict[str, int]]:
        """Return the scores of all classes [N, C + H], and the column of each."""
        fit = self._prepare()
        assert fit.linear is not None  # noqa: S101 - the exact head is linear
        return fit.linear.logits(codes), {label: column for column, label in enumerate(fit.labels)}

    def _prepare(self, *, complete: bool = False) -> Fit:
        """Return the present fit, with margins of a complete fit of the same hidden classes."""
        if complete or set(self.hidden) != self._margins.keys():
            self.classes.settle()
        fit = self.classes._current_fit()
        if self.classes.settled and self._fit is not fit:
            self._margins, self._fit = self._chosen_margins(), fit
        return fit

    def _chosen_margins(self) -> dict[str, float]:
        codes, owners = self._judges()
        names, counts = np.array(list(self.classes.counts)), np.array(list(self.classes.counts.values()))
        # the only sample of a label cannot be left out
        fair = (counts[owners] > 1) & np.array([not is_hidden(name) for name in names], bool)[owners]
        codes, stored = codes[fair], names[owners[fair]]
        most = int(np.clip(_WORK / len(names) ** 3, 4, _JUDGES))
        ranks = _ranks(owners[fair])
        margins = {}
        for hidden in self.hidden:
            mine = np.flatnonzero((ranks < most) & ((hidden == BACKGROUND) | (stored == hidden[1:])))
            gaps = self._gaps(codes[mine], stored[mine].tolist(), hidden)
            margins[hidden] = max(conformal_threshold(gaps, LOSS), 0.0) if len(gaps) else 0.0
        return margins

    def _judges(self) -> tuple[Codes, NDArray[np.int64]]:
        """Return the samples that choose margins, and their columns."""
        statistics = self.classes.statistics
        selection = statistics.selection(statistics.total if statistics.complete else SELECTION)
        return selection.codes, selection.owners

    def _gaps(self, codes: Codes, stored: Sequence[str], hidden: str) -> Floats:
        """Return by how much samples look more like a hidden class than like their labels when left out, float64 [N]."""
        columns = {label: column for column, label in enumerate(self.classes.labels)}
        rivals = [
            column
            for label, column in columns.items()
            if not is_hidden(label) and hidden in (BACKGROUND, negative_of(label))
        ]
        if not len(codes) or not rivals:
            return np.zeros(len(codes))
        owners = np.array([columns[label] for label in stored])
        logits = self.classes.leave_out(codes, stored, balanced(owners, np.arange(len(owners))))
        gaps: Floats = logits[:, columns[hidden]] - logits[:, rivals].max(axis=1)
        return gaps


def _hidden_part(codes: Codes, stored: Sequence[str]) -> tuple[Codes, list[str]]:
    mine = [place for place, label in enumerate(stored) if is_hidden(label)]
    return codes[mine], [stored[place] for place in mine]


def _ranks(owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each sample how many before it have the same owner, int64 [N]."""
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], owners[order])
    ranks = np.empty(len(owners), np.int64)
    ranks[order] = np.arange(len(owners)) - starts
    return ranks


def _denied(
    scores: Floats, probabilities: Floats, negatives: dict[int, tuple[Floats, Floats]]
) -> tuple[Floats, Floats]:
    """Return the probabilities [N, C] after the negatives, and the probability of none of the labels [N]."""
    share = np.zeros_like(probabilities)
    for place, (rival, margin) in negatives.items():
        share[:, place] = _sigmoid(rival - scores[:, place] - margin)
    corrected, none = probabilities * (1 - share), np.zeros(len(probabilities))
    for place, (rival, _) in negatives.items():
        freed = probabilities[:, place] * share[:, place]
        top = np.maximum(scores.max(axis=1), rival)
        weights = np.exp(scores - top[:, None]) * (1 - share)
        weights[:, place] = 0
        rest = np.exp(rival - top)
        total = weights.sum(axis=1) + rest
        corrected += weights * (freed / total)[:, None]
        none += freed * rest / total
    return corrected, none


def _sigmoid(values: Floats) -> Floats:
    share: Floats = 1 / (1 + np.exp(-np.clip(values, -50, 50)))
    return share


def joined_digest(digest: str, rejection: Rejection | None) -> str:
    """Return the digest of a head together with its rejection; that of the head alone where it has none."""
    if rejection is None:
        return digest
    return hashlib.sha256(f"{digest} {rejection.digest()}".encode()).hexdigest()
