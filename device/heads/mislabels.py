"""Finding samples that are probably mislabeled: two judges that never saw the sample disagree with its label.

The first judge is the head without the sample and its group of near-duplicates: the sample's own label must have a probability
below .1, and another label a higher one. The second judge are the sample's eight nearest neighbors outside of
its group: at least twice as many must have the predicted label as the sample's own. Hard photos fail the first judge
too; the second one removes some of them. `python -m benchmarks.mislabels` measures precision and recall.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..model.codes import SCALE, Codes
from .base import Floats
from .nearest import centered_units

NEIGHBORS = 8
IMPROBABLE = 0.1
_TIMES = 2  # as many neighbors with the predicted label as with the sample's own
_CHUNK = 512  # samples compared with all others at once

Places = NDArray[np.int64]


def find_mislabels(
    probabilities: Floats, codes: Codes, owners: Places, groups: Places, judged: NDArray[np.bool_]
) -> Places:
    """Return the indices of samples that are probably mislabeled, the least probable label first: int64 [n].

    Args:
        probabilities: float64 [N, C], of each sample as if it and its group had never been learned.
        codes: int16 [N, D].
        owners: int64 [N], the labels as columns.
        groups: int64 [N]; samples of one group are near-duplicates and never judge each other.
        judged: bool [N], the samples whose probabilities may be used.
    """
    own = probabilities[np.arange(len(owners)), owners]
    answers = probabilities.argmax(axis=1)
    places = np.flatnonzero(judged & (own < IMPROBABLE) & (answers != owners))
    mine, theirs = _neighbors(codes, owners, groups, places, answers)
    places = places[(theirs > 0) & (theirs >= _TIMES * mine)]
    return places[np.argsort(own[places], kind="stable")].astype(np.int64)


def _neighbors(
    codes: Codes, owners: Places, groups: Places, places: Places, answers: Places
) -> tuple[Places, Places]:
    """Return how many of the nearest neighbors of `places` have the same label, and how many the predicted one."""
    mine, theirs = np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
    if not len(places):
        return mine, theirs
    everything = centered_units(codes, codes.mean(axis=0, dtype=np.float64) / SCALE)
    count = min(NEIGHBORS, len(codes) - 1)
    for start in range(0, len(places), _CHUNK):
        chosen = places[start : start + _CHUNK]
        cosines = everything[chosen] @ everything.T
        cosines[groups[chosen][:, None] == groups[None]] = -np.inf
        near = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        # a sample of a small set may have fewer neighbors outside of its group
        other = np.isfinite(np.take_along_axis(cosines, near, axis=1))
        for numbers, labels in ((mine, owners), (theirs, answers)):
            agree = (owners[near] == labels[chosen][:, None]) & other
            numbers[start : start + _CHUNK] = agree.sum(axis=1)
    return mine, theirs
