"""The learning curve of a head: the error where it learns only a part of its samples.

Groups of near-duplicates stay together. They are divided into folds of equal size per label; a new head learns some of the
folds and predicts the others, so that every label has the same share of its groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes
from .base import Floats, Head

# share of the groups that a head learns: number of folds, and whether it learns one fold or all others
_STEPS = ((0.25, 4, True), (0.5, 2, False), (0.75, 4, False))
_PREDICTED = 300  # predictions per share; with fewer samples, the folds are drawn several times
_MOST_TIMES = 5
_MOST_LEARNED = 8_000  # samples that the heads of one share learn, in total
_SEED = 7

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """The errors at one share of the samples.

    Attributes:
        share: Share of the groups of each label that the head learned.
        wrong: float64 [C], share of wrong predictions per label; NaN for a label without a prediction.
    """

    share: float
    wrong: Floats


def learning_curve(
    empty: Callable[[], Head],
    codes: Codes,
    labels: Sequence[str],
    owners: Integers,
    groups: Integers,
    judges: NDArray[np.bool_],
) -> tuple[Step, ...]:
    """Measure the errors of heads that learn a quarter, half and three quarters of the groups.

    Args:
        empty: Makes a head that has learned nothing.
        codes: int16 [N, D].
        labels: C labels.
        owners: int64 [N], their places in `labels`.
        groups: int64 [N]; samples of one group have one label.
        judges: bool [N], the samples that may be predicted.
    """
    random = np.random.default_rng(_SEED)
    names = np.array(labels)[owners]
    times = int(np.clip(_PREDICTED // max(int(judges.sum()), 1), 1, _MOST_TIMES))
    steps = []
    for share, count, one in _STEPS:
        wrong, seen, learned = np.zeros(len(labels)), np.zeros(len(labels)), 0
        for turn in range(times * count):
            if turn % count == 0:
                folds = _folds(owners, groups, count, random)
            mine = folds == turn % count if one else folds != turn % count
            asked = ~mine & judges
            if not mine.any() or not asked.any() or (learned and learned + mine.sum() > _MOST_LEARNED):
                continue
            learned += int(mine.sum())
            answers = _answers(empty(), codes, names, mine, asked, judges)
            seen += np.bincount(owners[asked], minlength=len(labels))
            wrong += np.bincount(owners[asked][answers != names[asked]], minlength=len(labels))
        with np.errstate(invalid="ignore"):
            steps.append(Step(share, wrong / seen))
    return tuple(steps)


def _answers(
    head: Head,
    codes: Codes,
    names: NDArray[np.str_],
    mine: NDArray[np.bool_],
    asked: NDArray[np.bool_],
    judges: NDArray[np.bool_],
) -> NDArray[np.str_]:
    if not judges.all():
        head.exclude(codes[~judges])
    head.learn_many(codes[mine], names[mine].tolist())
    answers: NDArray[np.str_] = np.array(head.labels)[head.probabilities(codes[asked]).argmax(axis=1)]
    return answers


def _folds(owners: Integers, groups: Integers, count: int, random: np.random.Generator) -> Integers:
    """Return the fold of each sample; the groups of each label are divided evenly, at random."""
    folds = np.zeros(len(owners), np.int64)
    for owner in np.unique(owners):
        mine = np.flatnonzero(owners == owner)
        found, place = np.unique(groups[mine], return_inverse=True)
        order = (random.permutation(len(found)) + random.integers(count)) % count
        folds[mine] = order[place.ravel()]
    return folds
