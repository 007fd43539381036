"""How good a head is, by its own account: every sample judged as if it had never been learned.

Frames taken in one go are near-duplicates: leaving one out while its twins stay in flatters the head. So
samples of one burst, and samples that are almost the same, are left out together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError
from ..grouping import chained, join
from ..model.codes import Codes
from .base import ONE_LABEL, Floats, Head, check_codes, softmax
from .calibration import expected_calibration_error
from .folds import balanced
from .intervals import left_out_interval

ALIKE = 0.995  # cosine of mapped embeddings above which two samples count as one
BLIND = (
    "Photos taken in another place or with another camera are not among these, so no estimate can show how the model "
    "does there; keep some such photos and run: edgetl evaluate MODEL PHOTOS"
)
FEW = 5  # groups a label below which its recall is a guess
SUSPECTS = 10
CONFUSED = 5
_SUSPICIOUS = 0.25  # probability of its own label below which a sample may be mislabelled


@dataclass(frozen=True)
class Report:
    """A head's account of itself.

    Attributes:
        labels: Sorted.
        samples: Samples judged.
        groups: Groups of near-duplicates among them; each is left out as one.
        accuracy: Share answered rightly when left out; None when nothing can be left out.
        balanced_accuracy: Mean of the recalls.
        interval: 95 % interval of the accuracy, see `device.heads.intervals`; it counts groups, not samples.
        recall: Share answered rightly, a label; labels that cannot be judged are not there.
        confusion: int64 [C, C], taught against predicted.
        confused: (taught, predicted, how many), the largest first.
        suspects: Ids of samples that look mislabelled, the worst first.
        ece: Expected calibration error.
        sampled: Whether only a part of what was learned was judged.
        warnings: What the reader should know before believing the figures.
        tuned: Samples not judged because they tuned the backbone.
    """

    labels: tuple[str, ...]
    samples: int
    groups: int
    accuracy: float | None
    balanced_accuracy: float | None
    interval: tuple[float, float]
    recall: dict[str, float]
    confusion: NDArray[np.int64]
    confused: tuple[tuple[str, str, int], ...]
    suspects: tuple[int, ...]
    ece: float | None
    sampled: bool
    warnings: tuple[str, ...]
    tuned: int = 0

    def __repr__(self) -> str:
        accuracy = "unknown" if self.accuracy is None else f"{self.accuracy:.3f}"
        return f"<Report {self.samples} samples in {self.groups} groups, {len(self.labels)} labels: accuracy {accuracy}>"

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON-able values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"confusion": self.confusion.tolist()}


def self_report(
    head: Head,
    codes: Codes,
    labels: Sequence[str],
    ids: Sequence[int] | NDArray[np.int64] | None = None,
    bursts: Sequence[int] | NDArray[np.int64] | None = None,
    limit: int = 5000,
) -> Report:
    """Judge a head on samples it has learned, each left out together with its near-duplicates.

    Args:
        head: Has learned the samples.
        codes: int16 [N, D], all it has learned or a part.
        labels: Their N labels.
        ids: Names of the samples for `suspects`; default 0 to N - 1. Negative ids are never named.
        bursts: N numbers; samples of one number were taken in one go. Default: each for itself.
        limit: Most samples judged; beyond it an even choice of them is.

    Raises:
        HeadError: The head has learned nothing yet.
        LabelError: A label was never learned, or numbers of codes, labels, ids and bursts differ.
    """
    codes = check_codes(codes, head.dimensions)
    columns = {label: column for column, label in enumerate(head.labels)}
    N = len(codes)
    for what, given in (("labels", labels), ("ids", ids), ("bursts", bursts)):
        if given is not None and len(given) != N:
            raise LabelError(f"{N} codes need as many {what}, got {len(given)}")
    if missing := sorted(set(labels) - set(columns)):
        raise LabelError(f"the head never learned: {', '.join(missing)}")
    kept = np.unique(np.linspace(0, N - 1, min(N, limit)).round().astype(np.int64))
    owners = np.array([columns[label] for label in labels], np.int64)[kept]
    names = np.arange(N)[kept] if ids is None else np.asarray(ids)[kept]
    given_bursts = np.arange(N) if bursts is None else np.asarray(bursts)
    return _judge(head, codes[kept], owners, names, given_bursts[kept])


def near_duplicates(codes: Codes, owners: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join groups that hold almost the same sample of one label; returns the joined group of each sample."""
    pairs = [chained(groups)]
    for owner in np.unique(owners):
        mine = np.flatnonzero(owners == owner)
        values = codes[mine].astype(np.float32)
        length = np.linalg.norm(values, axis=1, keepdims=True)
        values = np.concatenate(
            [values / np.maximum(length, 1e-9), length == 0], axis=1
        )  # zeros are alike too
        first, second = np.nonzero(np.triu(values @ values.T > ALIKE, 1))
        pairs.append(np.stack([mine[first], mine[second]], axis=1))
    return join(len(codes), np.concatenate(pairs)).astype(np.int64)


def _judge(
    head: Head, codes: Codes, owners: NDArray[np.int64], ids: NDArray[np.int64], bursts: NDArray[np.int64]
) -> Report:
    labels, C = head.labels, len(head.labels)
    taught = np.array(list(head.counts.values()), np.int64)
    groups = near_duplicates(codes, owners, bursts)
    number = np.array([len(np.unique(groups[owners == column])) for column in range(C)])
    # left out as one, a label's only group would leave nobody to know the label: its samples go one by one
    alone = (number == 1)[owners] & (taught[owners] == np.bincount(owners, minlength=C)[owners])
    apart = np.where(alone, groups.max(initial=0) + 1 + np.arange(len(owners)), groups)
    judges = head.may_judge(codes)
    views = np.array([len(np.unique(groups[judges & (owners == column)])) for column in range(C)])
    judged = (taught[owners] > 1) & (C > 1) & judges
    together = _blocks(owners, apart, judged)
    probabilities = softmax(head.leave_out(codes, [labels[owner] for owner in owners], together))
    answers = probabilities.argmax(axis=1)
    confusion = np.zeros((C, C), np.int64)
    np.add.at(confusion, (owners[judged], answers[judged]), 1)
    right, total = np.diagonal(confusion), confusion.sum(axis=1)
    recall = {label: float(right[at] / total[at]) for at, label in enumerate(labels) if total[at]}
    count = int(total.sum())
    accuracy = float(right.sum() / count) if count else None
    independent = len(np.unique(groups[judged]))
    return Report(
        labels=labels,
        samples=count,
        groups=independent,
        accuracy=accuracy,
        balanced_accuracy=float(np.mean(list(recall.values()))) if recall else None,
        interval=left_out_interval(accuracy or 0.0, groups[judged], groups),
        recall=recall,
        confusion=confusion,
        confused=_confused(labels, confusion),
        suspects=_suspects(probabilities, owners, ids, judged),
        ece=expected_calibration_error(probabilities[judged], owners[judged]) if count else None,
        sampled=len(owners) < int(taught.sum()),
        warnings=tuple(
            dict.fromkeys(
                head.fit.notes
                + _warnings(labels, taught, number, views, len(owners), independent, judged)
                + _unjudged(labels, owners, judges, judged)
            )
        ),
        tuned=int((~judges).sum()),
    )


def _blocks(
    owners: NDArray[np.int64], apart: NDArray[np.int64], judged: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the block of each sample; a block holds one judged group of each label and is left out at once.

    Samples that are not judged are left out alone, so that they take no label away from the others; but a
    near-duplicate of a judged sample is left out with it.
    """
    blocks = np.full(len(owners), -1, np.int64)
    blocks[judged] = balanced(owners[judged], apart[judged])
    block_of = dict(zip(apart[judged].tolist(), blocks[judged].tolist(), strict=True))
    for place in np.flatnonzero(~judged).tolist():
        blocks[place] = block_of.get(int(apart[place]), -1)
    alone = blocks < 0
    blocks[alone] = blocks.max(initial=0) + 1 + np.arange(int(alone.sum()))
    return blocks


def _unjudged(
    labels: tuple[str, ...],
    owners: NDArray[np.int64],
    judges: NDArray[np.bool_],
    judged: NDArray[np.bool_],
) -> tuple[str, ...]:
    """Return a warning that names the labels of which no sample may judge."""
    present = np.bincount(owners, minlength=len(labels)) > 0
    allowed = np.bincount(owners[judges], minlength=len(labels)) > 0
    names = [label for label, at in zip(labels, present & ~allowed, strict=True) if at]
    if not names:
        return ()
    if not judged.any():
        return (
            "no sample may judge: all of them tuned the backbone; teach samples on the device to get a figure",
        )
    return (
        f"not judged, because all samples tuned the backbone: {', '.join(names)}; teach more on the device",
    )


def _confused(labels: tuple[str, ...], confusion: NDArray[np.int64]) -> tuple[tuple[str, str, int], ...]:
    wrong = confusion - np.diag(np.diagonal(confusion))
    worst = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED]
    pairs = (divmod(int(place), len(labels)) for place in worst)
    return tuple((labels[a], labels[b], int(wrong[a, b])) for a, b in pairs if wrong[a, b])


def _suspects(
    probabilities: Floats, owners: NDArray[np.int64], ids: NDArray[np.int64], judged: NDArray[np.bool_]
) -> tuple[int, ...]:
    own = probabilities[np.arange(len(owners)), owners]
    odd = judged & (own < _SUSPICIOUS) & (probabilities.argmax(axis=1) != owners) & (ids >= 0)
    places = np.flatnonzero(odd)
    worst = places[np.argsort(own[places], kind="stable")][:SUSPECTS]
    return tuple(int(ids[place]) for place in worst)


def _warnings(
    labels: tuple[str, ...],
    taught: NDArray[np.int64],
    number: NDArray[np.int64],
    views: NDArray[np.int64],
    given: int,
    independent: int,
    judged: NDArray[np.bool_],
) -> tuple[str, ...]:
    def named(chosen: NDArray[np.bool_]) -> str:
        return ", ".join(label for label, one in zip(labels, chosen, strict=True) if one)

    warnings = [ONE_LABEL] if len(labels) < 2 else []
    single, once = taught == 1, (taught > 1) & (number == 1)
    few = (taught > 1) & (number > 1) & (views > 0) & (views < FEW)
    if single.any():
        warnings.append(f"one sample only, not judged: {named(single)}; teach it more")
    if once.any():
        warnings.append(
            f"all samples are from one go or look the same, so the estimate flatters: {named(once)}; "
            "teach it again at another time, place or angle"
        )
    if few.any():
        warnings.append(f"fewer than {FEW} separate views: {named(few)}; its recall is a guess")
    if judged.any() and independent < 0.5 * judged.sum():
        warnings.append(
            f"{int(judged.sum())} samples are only {independent} separate views; more variety tells more than more frames"
        )
    if given < taught.sum():
        warnings.append(f"judged on {given} of {int(taught.sum())} samples")
    return tuple(warnings)
