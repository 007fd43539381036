"""A head's report on its own accuracy: every sample is judged as if it had never been learned.

Frames of one burst are near-duplicates: if one is left out while the others remain, the estimate is too optimistic.
Therefore samples of one burst, and samples that are almost equal, are left out together.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError
from ..grouping import chained, join
from ..model.codes import Codes
from .base import ONE_LABEL, Head, check_codes, softmax
from .calibration import expected_calibration_error
from .folds import balanced
from .intervals import left_out_interval
from .mislabels import find_mislabels
from .splits import SHOWN, SplitLabel, find_splits
from .threads import one_blas_thread

ALIKE = 0.995  # cosine of mapped embeddings above which two samples count as one
BLIND = (
    "The estimate says nothing about photos from another place or another camera; to measure the accuracy there, keep "
    "some such photos and run: edgetl evaluate MODEL PHOTOS"
)
FEW = 5  # with fewer groups, the recall of a label is unreliable
CONFUSED = 5


@dataclass(frozen=True)
class MixedLabels:
    """The two labels that are mixed up most, relative to the number of their samples.

    Attributes:
        labels: The two labels.
        count: Number of samples of one that were predicted as the other.
        share: `count` relative to all judged samples of the two.
        samples: Ids of samples of the first label and of the second that are most like the other label, at most `SHOWN`
            each; those of the host are left out.
    """

    labels: tuple[str, str]
    count: int
    share: float
    samples: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Report:
    """A head's report on its own accuracy.

    Attributes:
        labels: Labels, sorted.
        samples: Number of judged samples.
        groups: Number of groups of near-duplicates among them; each group is left out together.
        accuracy: Share of judged samples that are predicted correctly when left out; None if none can be left out.
        balanced_accuracy: Mean of the recalls.
        interval: 95 % interval of the accuracy, see `device.heads.intervals`; it counts groups, not samples.
        recall: Share of correct predictions per label, without labels that cannot be judged.
        confusion: int64 [C, C], one row per taught label, one column per predicted label.
        confused: (taught, predicted, number), the largest number first.
        suspects: Ids of samples that are probably mislabeled, the least probable first, see `device.heads.mislabels`.
        suggested: The label that each of `suspects` is predicted as when left out.
        ece: Expected calibration error.
        sampled: Whether only some of the learned samples were judged.
        warnings: Limits of the figures that the reader should know.
        tuned: Number of samples that were not judged because they tuned the backbone.
        mixed: The two labels that are mixed up most; None if no label was predicted as another.
        splits: Labels that seem to hold two things.
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
    suggested: tuple[str, ...] = ()
    mixed: MixedLabels | None = None
    splits: tuple[SplitLabel, ...] = ()

    def __repr__(self) -> str:
        accuracy = "unknown" if self.accuracy is None else f"{self.accuracy:.3f}"
        return f"<Report {self.samples} samples in {self.groups} groups, {len(self.labels)} labels: accuracy {accuracy}>"

    def without_samples(self, ids: Collection[int]) -> Report:
        """Return the report without the ids of these samples; no figure changes."""

        def rest(samples: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(number for number in samples if number not in ids)

        def both(sides: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
            return rest(sides[0]), rest(sides[1])

        suspected = [pair for pair in zip(self.suspects, self.suggested, strict=True) if pair[0] not in ids]
        return replace(
            self,
            suspects=tuple(number for number, _ in suspected),
            suggested=tuple(label for _, label in suspected),
            mixed=None if self.mixed is None else replace(self.mixed, samples=both(self.mixed.samples)),
            splits=tuple(replace(split, samples=both(split.samples)) for split in self.splits),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        mixed = None if self.mixed is None else asdict(self.mixed)
        splits = [asdict(split) for split in self.splits]
        return values | {"confusion": self.confusion.tolist(), "mixed": mixed, "splits": splits}


def self_report(
    head: Head,
    codes: Codes,
    labels: Sequence[str],
    ids: Sequence[int] | NDArray[np.int64] | None = None,
    bursts: Sequence[int] | NDArray[np.int64] | None = None,
    limit: int = 5000,
) -> Report:
    """Judge a head on samples that it has learned, each left out together with its near-duplicates.

    Args:
        head: A head that has learned the samples.
        codes: int16 [N, D], all or some of the learned samples.
        labels: Their N labels.
        ids: Ids of the samples for `suspects`; default 0 to N - 1. Negative ids are never suspects.
        bursts: N numbers; samples with the same number are from one burst. Default: each sample is separate.
        limit: Maximum number of samples to judge; if there are more, an even selection is judged.

    Raises:
        HeadError: The head has learned nothing yet.
        LabelError: A label was never learned, or the numbers of codes, labels, ids and bursts differ.
    """
    codes = check_codes(codes, head.dimensions)
    columns = {label: column for column, label in enumerate(head.labels)}
    N = len(codes)
    for what, given in (("labels", labels), ("ids", ids), ("bursts", bursts)):
        if given is not None and len(given) != N:
            raise LabelError(f"{N} codes need {N} {what}, got {len(given)}")
    if missing := sorted(set(labels) - set(columns)):
        raise LabelError(f"the head never learned: {', '.join(missing)}")
    kept = np.unique(np.linspace(0, N - 1, min(N, limit)).round().astype(np.int64))
    owners = np.array([columns[label] for label in labels], np.int64)[kept]
    names = np.arange(N)[kept] if ids is None else np.asarray(ids)[kept]
    given_bursts = np.arange(N) if bursts is None else np.asarray(bursts)
    with one_blas_thread():
        return _judge(head, codes[kept], owners, names, given_bursts[kept])


def near_duplicates(codes: Codes, owners: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join groups that contain almost equal samples of one label; return the joined group of each sample."""
    pairs = [chained(groups)]
    for owner in np.unique(owners):
        mine = np.flatnonzero(owners == owner)
        values = codes[mine].astype(np.float32)
        length = np.linalg.norm(values, axis=1, keepdims=True)
        # samples of zeros are equal too
        values = np.concatenate([values / np.maximum(length, 1e-9), length == 0], axis=1)
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
    # without the only group of a label, the label would be unknown, so its samples are left out one by one
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
    if not taught.all():  # labels of an old classifier, without samples: those never predicted are left out
        used = (taught > 0) | confusion.any(axis=0)
        confusion = confusion[np.ix_(used, used)]
        owners, number, views = (np.cumsum(used) - 1)[owners], number[used], views[used]
        labels, taught = tuple(label for label, one in zip(labels, used, strict=True) if one), taught[used]
        probabilities = probabilities[:, used]
    right, total = np.diagonal(confusion), confusion.sum(axis=1)
    odd = find_mislabels(probabilities, codes, owners, groups, judged & (ids >= 0))
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
        suspects=tuple(ids[odd].tolist()),
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
        suggested=tuple(labels[column] for column in probabilities[odd].argmax(axis=1)),
        mixed=_mixed(labels, confusion, probabilities, owners, ids, judged),
        splits=find_splits(codes, labels, owners, groups, ids),
    )


def _blocks(
    owners: NDArray[np.int64], apart: NDArray[np.int64], judged: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the block of each sample; a block has at most one judged group per label and is left out together.

    Samples that are not judged are left out alone, so that they do not weaken a label for the others; but a
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
    """Return a warning that names the labels without a sample that may judge."""
    present = np.bincount(owners, minlength=len(labels)) > 0
    allowed = np.bincount(owners[judges], minlength=len(labels)) > 0
    names = [label for label, at in zip(labels, present & ~allowed, strict=True) if at]
    if not names:
        return ()
    if not judged.any():
        return (
            "no accuracy, because all samples tuned the backbone; teach samples on the device to get an estimate",
        )
    return (
        f"not judged, because all samples tuned the backbone: {', '.join(names)}; teach more on the device",
    )


def _confused(labels: tuple[str, ...], confusion: NDArray[np.int64]) -> tuple[tuple[str, str, int], ...]:
    wrong = confusion - np.diag(np.diagonal(confusion))
    worst = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED]
    pairs = (divmod(int(place), len(labels)) for place in worst)
    return tuple((labels[a], labels[b], int(wrong[a, b])) for a, b in pairs if wrong[a, b])


def _mixed(
    labels: tuple[str, ...],
    confusion: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    owners: NDArray[np.int64],
    ids: NDArray[np.int64],
    judged: NDArray[np.bool_],
) -> MixedLabels | None:
    wrong = np.triu(confusion + confusion.T, 1)
    if not wrong.any():
        return None
    total = confusion.sum(axis=1)
    shares = wrong / np.maximum(total[:, None] + total, 1)
    first, second = divmod(int(shares.argmax()), len(labels))

    def most_like(owner: int, other: int) -> tuple[int, ...]:
        mine = np.flatnonzero(judged & (owners == owner) & (ids >= 0))
        nearest = mine[np.argsort(-probabilities[mine, other], kind="stable")][:SHOWN]
        return tuple(int(ids[place]) for place in nearest)

    return MixedLabels(
        (labels[first], labels[second]),
        int(wrong[first, second]),
        float(shares[first, second]),
        (most_like(first, second), most_like(second, first)),
    )


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
        warnings.append(f"not judged, because there is only one sample: {named(single)}; teach more samples")
    if once.any():
        warnings.append(
            f"all samples are from one burst or look the same, so the estimate is too high: {named(once)}; "
            "teach again at another time, place or angle"
        )
    if few.any():
        warnings.append(f"fewer than {FEW} separate views, so the recall is unreliable: {named(few)}")
    if judged.any() and independent < 0.5 * judged.sum():
        warnings.append(
            f"{int(judged.sum())} samples are only {independent} separate views; teach more variety, not more frames"
        )
    if given < taught.sum():
        warnings.append(f"judged on {given} of {int(taught.sum())} samples")
    return tuple(warnings)
