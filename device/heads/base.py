"""The interface of all heads: learn, forget, predict and merge. Predictions are labels with probabilities.

Heads receive int16 codes (`device.model.codes`), never images. Predicting does not change the saved state; the solve
that it may need is done once and kept until the head learns again.
"""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import EmbeddingError, HeadError, LabelError
from ..labels import check_label, listed
from ..model.codes import Codes, decode
from .keys import Keys, KeySet, content_keys
from .single import Single, single_of
from .threads import one_blas_thread

if TYPE_CHECKING:
    from .rejection import Rejection

Floats = NDArray[np.float64]
State = dict[str, NDArray[Any]]
BEST_FEW = 5
DECIMALS = 4  # of probabilities in JSON
ONE_LABEL = "only one label was taught: every prediction is that label"
_LEAST_COUNT = 1e-6  # of a label whose only samples are left out
_FEW_PRODUCTS = 6  # of an embedding with a label
FALSE_REJECTION = 0.05  # share of the taught samples that may be predicted as unknown
PRIORS = ("even", "taught")


@dataclass(frozen=True)
class Prediction:
    """The answer to "what does the camera see": the most probable label, and whether it is known at all.

    Attributes:
        label: The most probable label, also when `known` is false.
        probability: Calibrated probability of `label`.
        known: False when the embedding is unlike everything that was taught.
        scores: Probabilities per label, most probable first: of the best few, or of all where asked for. Their sum is
            less than one where negatives or background make it probable that none of the labels is right.
        unknown_score: How different the embedding is from what was taught: higher means more different, on a scale
            that depends on the head. `known` means that it is at most the head's threshold, and that neither negatives
            nor background reject the frame.

    Example:
        >>> Prediction("mug", 0.9, True, {"mug": 0.9, "bowl": 0.1}).to_dict()["scores"]
        {'mug': 0.9, 'bowl': 0.1}
    """

    label: str
    probability: float
    known: bool
    scores: dict[str, float]
    unknown_score: float = 0.0

    def __repr__(self) -> str:
        return f"Prediction(label={self.label!r}, probability={self.probability:.{DECIMALS}g}, known={self.known})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values, rounded to four decimals; docs/json.md describes them."""
        return {
            "label": self.label,
            "probability": round(self.probability, DECIMALS),
            "known": self.known,
            "unknown_score": round(self.unknown_score, DECIMALS),
            "scores": {label: round(score, DECIMALS) for label, score in self.scores.items()},
        }


@dataclass(frozen=True)
class Linear:
    """A head as a linear map: its probabilities are ``softmax(z @ W + b)``, temperature included.

    Attributes:
        W: float64 [D, C], on mapped embeddings ``z = codes / 4096``.
        b: float64 [C].
    """

    W: Floats
    b: Floats

    def __repr__(self) -> str:
        return f"<Linear {self.W.shape[0]} dimensions, {self.W.shape[1]} labels>"

    def logits(self, codes: Codes) -> Floats:
        """Return ``z @ W + b`` as float64 [N, C]."""
        return decode(codes) @ self.W + self.b


@dataclass(frozen=True)
class Fit:
    """The values that a head computes from its state, discarded when the state changes.

    Attributes:
        linear: The linear map, temperature included; None if the head is not linear.
        novelty: (codes [N, D], logits [N, C]) -> unknown scores [N]; larger means less known.
        threshold: Largest unknown score that is still known.
        notes: Warnings about this fit, such as too few samples or a degenerate system.
        figures: Values such as the ridge, the temperature and the condition bound.
        labels: The learned labels, sorted; set by `Head.fit`.
    """

    linear: Linear | None
    novelty: Callable[[Codes, Floats], Floats]
    threshold: float = np.inf
    notes: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    @functools.cached_property
    def single(self) -> Single | None:
        """The fit arranged for one embedding at a time; None if only `linear` and `novelty` can be used."""
        return single_of(self.linear, self.novelty)


def softmax(logits: Floats) -> Floats:
    """Return the probabilities [N, C] of logits [N, C], without overflow."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def check_codes(codes: Codes, dimensions: int) -> Codes:
    """Return `codes` as int16 [N, D].

    Raises:
        EmbeddingError: The codes are not int16 or have another number of dimensions.
    """
    codes = np.asarray(codes)
    if codes.dtype != np.int16:
        raise EmbeddingError(f"heads expect int16 codes from device.model.codes.encode, got {codes.dtype}")
    if codes.ndim != 2 or codes.shape[1] != dimensions:
        raise EmbeddingError(f"codes must have shape [N, {dimensions}], got {codes.shape}")
    return codes


class Head(ABC):
    """A classifier of embeddings that learns sample by sample.

    Args:
        dimensions: D.
        false_rejection: Share of the taught samples that may be predicted as unknown.
        priors: How frequent the head expects the labels to be: ``even``, or as frequent as they were ``taught``; None is
            the default of the head, `default_priors`.

    Example:
        >>> import numpy as np
        >>> from device.model.codes import encode
        >>> from device.heads import create_head
        >>> head = create_head("exact", dimensions=2)
        >>> head.learn_many(encode([[1.0, 0.1], [0.9, 0.2], [0.1, 1.0], [0.2, 0.9]]), ["a", "a", "b", "b"])
        >>> head.predict_one(encode([0.8, 0.1])).label
        'a'
    """

    name: ClassVar[str]
    order_free: ClassVar[bool] = True
    """Whether the same samples lead to the same state in any order."""
    default_priors: ClassVar[str] = "even"
    most_labels: ClassVar[int | None] = None
    """Maximum number of labels; None for no limit."""

    def __init__(
        self, dimensions: int, *, false_rejection: float = FALSE_REJECTION, priors: str | None = None
    ) -> None:
        if dimensions < 1:
            raise HeadError(f"a head needs at least one dimension, got {dimensions}")
        if not 0 <= false_rejection < 1:
            raise HeadError(f"the false-rejection rate must be in [0, 1), got {false_rejection}")
        self.dimensions = int(dimensions)
        if priors is not None and priors not in PRIORS:
            raise HeadError(f"priors must be one of {', '.join(PRIORS)}, got {priors!r}")
        self.false_rejection = float(false_rejection)
        self.priors = priors or self.default_priors
        self.tuned = KeySet()  # content keys of the samples that tuned the backbone
        self.rejection: Rejection | None = None  # negatives and background, see `device.heads.rejection`
        self._fitted: Fit | None = None

    def __repr__(self) -> str:
        counts = self.counts
        learned = (
            f"{sum(counts.values())} samples of {len(counts)} labels" if counts else "nothing learned yet"
        )
        return f"<{type(self).__name__} {self.dimensions} dimensions, {learned}>"

    @property
    def labels(self) -> tuple[str, ...]:
        """The learned labels, sorted."""
        return self._fitted.labels if self._fitted else tuple(self.counts)

    @property
    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Number of learned samples per label, in the order of `labels`."""

    @property
    def fit(self) -> Fit:
        """The fit of the current state, computed on first use.

        Raises:
            HeadError: The head has learned nothing yet.
        """
        if self._fitted is not None:
            return self._fitted
        if not self.counts:
            raise HeadError(
                f"the {self.name} head has learned nothing yet; teach it at least one sample of each label"
            )
        with one_blas_thread():
            self._fitted = replace(self._compute_fit(), labels=tuple(self.counts))
        return self._fitted

    @property
    def settled(self) -> bool:
        """Whether predictions come from the complete fit, or would if there were one to compute."""
        return True

    def settle(self) -> None:
        """Compute the complete fit now, if there is anything to fit.

        After a few lessons, `predict_one` and `predict_many` may use an update of the last complete fit, which is ready
        sooner. Everything else uses the complete fit.
        """
        if self.counts:
            _ = self.fit

    def learn_one(self, code: Codes, label: str) -> None:
        """Learn one sample, `code` of shape [D]."""
        self.learn_many(np.asarray(code)[np.newaxis], [label])

    def learn_many(self, codes: Codes, labels: Sequence[str]) -> None:
        """Learn samples, `codes` of shape [N, D]; a new label is added when its first sample is learned.

        Raises:
            EmbeddingError: The codes have another type or shape.
            LabelError: A label is invalid, there are too many, or the numbers of labels and codes differ.
        """
        codes, names = self._checked(codes, labels)
        if names:
            self.check_room(self.counts, names)
            self._learn(codes, names)
            self._fitted = None

    @classmethod
    def check_room(cls, known: Collection[str], labels: Collection[str]) -> None:
        """Raise `LabelError` if the labels learned so far and others are more than this head can have."""
        if cls.most_labels is None or len(known) + len(labels) <= cls.most_labels:
            return
        count = len({*known, *labels})
        if count > cls.most_labels:
            raise LabelError(
                f"the {cls.name} head compares all pairs of labels and can have {cls.most_labels} of them, but there would be"
                f" {count}; use --head ncm"
            )

    def exclude(self, codes: Codes) -> None:
        """Exclude samples from judging the head, because they tuned the backbone.

        The backbone separates these samples better than new ones. The head still learns from them, but only the
        other samples choose its ridge, temperature and unknown threshold, and judge it. A sample is recognized by
        its content, so it stays excluded when it is taught again.

        Args:
            codes: int16 [N, D]. Exclude samples before they are learned, so that the result does not
                depend on the order.
        """
        self._exclude(content_keys(check_codes(codes, self.dimensions)))

    def may_judge(self, codes: Codes) -> NDArray[np.bool_]:
        """Return which samples [N, D] may judge the head: those that did not tune the backbone, bool [N]."""
        codes = check_codes(codes, self.dimensions)
        if not len(self.tuned):
            return np.ones(len(codes), np.bool_)
        return ~self.tuned.holds(content_keys(codes))

    def forget(self, codes: Codes, labels: Sequence[str]) -> None:
        """Forget samples with the labels that they were learned with; if one is unknown, forget none.

        Raises:
            HeadError: A sample was never learned.
        """
        codes, names = self._checked(codes, labels)
        if names:
            self._forget(codes, names)
            self._fitted = None

    def predict_one(self, code: Codes, *, all_scores: bool = False) -> Prediction:
        """Return the prediction for one embedding [D], without learning. Options as for `predict_many`."""
        code, fit = np.asarray(code), self._current_fit()
        single = fit.single
        if single is None or self.rejection is not None:
            return self.predict_many(code[np.newaxis], all_scores=all_scores)[0]
        if code.dtype != np.int16 or code.shape != (self.dimensions,):
            check_codes(code[np.newaxis], self.dimensions)
        probabilities, unknown = single.read(code)
        most = len(fit.labels) if all_scores else BEST_FEW
        best = sorted(range(len(probabilities)), key=probabilities.__getitem__, reverse=True)[:most]
        return _prediction(fit.labels, probabilities, best, unknown <= fit.threshold, unknown)

    def predict_many(self, codes: Codes, *, all_scores: bool = False) -> list[Prediction]:
        """Return the predictions for embeddings [N, D], without learning.

        Args:
            codes: int16 [N, D].
            all_scores: Return the probability of every label, not only of the best few.

        Raises:
            HeadError: The head has learned nothing yet.
        """
        codes, fit = check_codes(codes, self.dimensions), self._current_fit()
        # few labels are too little work for BLAS to use several threads
        many = len(codes) * len(fit.labels) > _FEW_PRODUCTS
        with one_blas_thread(wait=False) if many else contextlib.nullcontext():
            logits = self._logits(codes) if fit.linear is None else fit.linear.logits(codes)
            unknown = fit.novelty(codes, logits)
        most = len(fit.labels) if all_scores else BEST_FEW
        probabilities, known = softmax(logits), unknown <= fit.threshold
        if self.rejection is not None:
            with one_blas_thread(wait=False):
                probabilities, known = self.rejection.correct(codes, fit.labels, probabilities, known)
        # stable: of two equally probable labels, the first by name always wins
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :most].tolist()
        return [
            _prediction(fit.labels, values, first, bool(sure), float(score))
            for values, first, sure, score in zip(probabilities.tolist(), best, known, unknown, strict=True)
        ]

    def probabilities(self, codes: Codes) -> Floats:
        """Return calibrated probabilities, float64 [N, C], with columns in the order of `labels`."""
        return softmax(self._logits(check_codes(codes, self.dimensions)))

    def unknown_scores(self, codes: Codes) -> Floats:
        """Return the distance of each embedding from everything taught, float64 [N]; compare with `fit.threshold`."""
        codes = check_codes(codes, self.dimensions)
        return self.fit.novelty(codes, self._logits(codes))

    def linear(self) -> Linear | None:
        """Return the head as a linear map, or None if it is not linear."""
        return self.fit.linear

    def clone(self) -> Self:
        """Return an independent copy with the same state."""
        return type(self).restore(self.dimensions, self.state())

    def merge(self, other: Head) -> None:
        """Learn everything that `other` has learned, as if this head had learned both.

        Raises:
            HeadError: `other` is another kind of head or has another number of dimensions.
        """
        if type(other) is not type(self):
            raise HeadError(f"a head of kind {self.name} can only merge with its own kind, got {other.name}")
        if other.dimensions != self.dimensions:
            raise HeadError(
                f"cannot merge a head of {other.dimensions} dimensions into one of {self.dimensions}: "
                "only states of the same model can be merged"
            )
        self._exclude(other.tuned.keys)
        self._merge(other)
        self._fitted = None

    def rename(self, old: str, new: str) -> None:
        """Rename a label; if `new` exists already, the two labels are joined.

        Raises:
            LabelError: `old` was never learned, or `new` is not a valid label.
        """
        self._require_label(old)
        new = check_label(new, stored=True)
        if new != old:
            self._rename(old, new)
            self._fitted = None

    def delete(self, label: str) -> None:
        """Forget every sample of a label.

        Raises:
            LabelError: The label was never learned.
            HeadError: The head no longer keeps the samples one by one; `forget` them with their codes instead.
        """
        self._require_label(label)
        self._delete(label)
        self._fitted = None

    @abstractmethod
    def leave_out(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> Floats:
        """Return the logits of each learned sample as if it, and its group, had never been learned.

        Args:
            codes: int16 [N, D], learned before.
            labels: Their N labels.
            groups: N integers; samples with the same number are left out together. Default: one by one.

        Returns:
            float64 [N, C], calibrated like `probabilities`.
        """

    @abstractmethod
    def digest(self) -> str:
        """Return the sha256 of the learned state, in a form that does not depend on the order of learning."""

    @abstractmethod
    def state(self) -> State:
        """Return the state to store, as numeric arrays."""

    @classmethod
    @abstractmethod
    def restore(cls, dimensions: int, state: State) -> Self:
        """Return a head with the given state.

        Raises:
            HeadError: The state is damaged or has another number of dimensions.
        """

    def _exclude(self, keys: Keys) -> None:
        if len(keys):
            self.tuned.add(keys)
            self._fitted = None

    @abstractmethod
    def _learn(self, codes: Codes, labels: list[str]) -> None: ...

    @abstractmethod
    def _forget(self, codes: Codes, labels: list[str]) -> None: ...

    @abstractmethod
    def _merge(self, other: Any) -> None: ...

    @abstractmethod
    def _rename(self, old: str, new: str) -> None: ...

    @abstractmethod
    def _delete(self, label: str) -> None: ...

    @abstractmethod
    def _compute_fit(self) -> Fit: ...

    def _current_fit(self) -> Fit:
        """Return the fit for predictions: the complete one, unless a subclass has one that is ready sooner."""
        return self.fit

    def _priors_state(self) -> State:
        """Return the array of `state` that names the priors; none for the default, as in older states."""
        return {} if self.priors == self.default_priors else {"priors": np.array([PRIORS.index(self.priors)])}

    @staticmethod
    def _priors_in(state: State) -> str | None:
        """Return the priors that a state names; None for the default."""
        return PRIORS[int(state["priors"][0])] if "priors" in state else None

    def _log_priors(self, counts: Floats) -> Floats:
        """Return what the priors add to the logits, for the number of samples per label [..., C]: zeros if even."""
        if self.priors == "even":
            return np.zeros_like(counts)
        total = counts.sum(axis=-1, keepdims=True)
        logarithms: Floats = np.log(np.maximum(counts, _LEAST_COUNT) / np.maximum(total, 1.0))
        return logarithms

    def _logits(self, codes: Codes) -> Floats:
        linear = self.fit.linear
        if linear is None:
            raise HeadError(f"the {self.name} head has no linear map")
        return linear.logits(codes)

    def _checked(self, codes: Codes, labels: Sequence[str]) -> tuple[Codes, list[str]]:
        codes = check_codes(codes, self.dimensions)
        if isinstance(labels, str) or len(labels) != len(codes):
            raise LabelError(f"{len(codes)} codes need {len(codes)} labels, got {len(labels)}")
        checked = {label: check_label(label, stored=True) for label in dict.fromkeys(labels)}
        return codes, [checked[label] for label in labels]

    def _require_label(self, label: str) -> None:
        if label not in self.counts:
            raise LabelError(f"no sample of {label!r} was learned; labels are: {listed(self.labels, 'none')}")


def _prediction(
    labels: Sequence[str], values: list[float], best: list[int], known: bool, unknown_score: float
) -> Prediction:
    return Prediction(
        label=labels[best[0]],
        probability=values[best[0]],
        known=known,
        scores={labels[column]: values[column] for column in best},
        unknown_score=unknown_score,
    )
