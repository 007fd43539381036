"""The frozen and the tuned backbone, judged by the device's head on the same held-out photos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import create_head
from device.heads.memory import learn_memory
from device.model.codes import encode
from device.model.memory import Samples

from .blending import SHARES

_FOLDS = 5
_CLEARLY = 0.01  # nats; at a smaller difference the frozen backbone is kept: all photos may judge its head
_LEAST = 1e-6  # probability; a photo that is certainly wrong must not decide alone
_STANDARD_ERRORS = 2.0  # by which another share must exceed a preferred one


@dataclass(frozen=True, eq=False)
class Judgment:
    """The predictions of the exact head for the held-out photos with one backbone.

    Attributes:
        hits: bool [H], whether it recognizes each photo.
        loss: Mean of the negative logarithm of the probability of the true label.
    """

    hits: NDArray[np.bool_]
    loss: float

    @property
    def correct(self) -> int:
        """Number of photos that it recognizes."""
        return int(self.hits.sum())

    def is_better(self, other: Judgment) -> bool:
        """Return whether this backbone recognizes more photos, or as many with a clearly lower loss."""
        gained = self.correct - other.correct
        return gained > 0 or (gained == 0 and other.loss - self.loss > _CLEARLY)

    def is_surely_better(self, other: Judgment) -> bool:
        """Return whether this backbone recognizes more photos, by more than chance explains."""
        differing = int((self.hits != other.hits).sum())
        return self.correct - other.correct > _STANDARD_ERRORS * math.sqrt(differing)


@dataclass(frozen=True)
class Comparison:
    """Number of held-out photos that the exact head recognizes on either backbone.

    Attributes:
        photos: Number of held-out photos.
        frozen: Correct photos with the backbone as it was.
        tuned: Correct photos with the tuned backbone.
        share: How far the weights of the tuned backbone are moved from the frozen ones to those after training.
        better: Whether the tuned backbone is better (`Judgment.is_better`).
    """

    photos: int
    frozen: int
    tuned: int
    share: float = 1.0
    better: bool = False

    @property
    def keeps_tuned(self) -> bool:
        """Whether the tuned backbone is kept."""
        return self.better

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serializable values."""
        fields = asdict(self)
        del fields["better"]
        return fields | {"head": "exact", "kept": "tuned" if self.keeps_tuned else "frozen"}


def judge_backbone(
    embeddings: NDArray[np.float32],
    labels: tuple[str, ...],
    held_out: NDArray[np.bool_],
    groups: NDArray[np.int32],
    *,
    tuned: bool,
) -> Judgment | None:
    """Teach exact heads on the embeddings of a backbone and judge them on the held-out photos.

    On the device the head learns the held-out photos too, and chooses its ridge by them where the others tuned the
    backbone. So they are divided into folds: the head learns all photos but one fold, and predicts that fold.

    Args:
        embeddings: float32 [N, D].
        labels: Label of each photo.
        held_out: bool [N], photos that did not tune the backbone; each is predicted once.
        groups: int32 [N]; look-alikes share a number and a fold.
        tuned: Whether the other photos tuned the backbone.

    Returns:
        None when no photo is held out, or fewer than two labels are left to learn.
    """
    samples = Samples(encode(embeddings), labels, held_out if tuned else None, groups)
    folds = divide(labels, held_out, groups)
    judged = [_judge(samples, fold) for fold in folds]
    known = [found for found in judged if found is not None]
    if not known or len(known) < len(judged):
        return None
    probabilities = np.concatenate([found[1] for found in known])
    hits = np.concatenate([found[0] for found in known])
    return Judgment(hits, float(-np.log(np.maximum(probabilities, _LEAST)).mean()))


def choose_share(frozen: Judgment, tuned: Mapping[float, Judgment]) -> Comparison:
    """Return the best of the tuned backbones beside the frozen one.

    Among those that are better than the frozen one, a few hundred photos seldom show which is best, and the one that
    seems best is often the luckiest. So the share that is best on most sets of photos is used, unless another one is
    better by two standard errors of the difference. Where none is better, the one with the most correct photos is
    returned for comparison.

    Args:
        frozen: The backbone as it was.
        tuned: By the share of the way from its weights to those after training, one of `SHARES`.
    """
    better = [share for share in sorted(tuned, key=SHARES.index) if tuned[share].is_better(frozen)]
    if better:
        chosen = better[0]
        for share in better[1:]:
            if tuned[share].is_surely_better(tuned[chosen]):
                chosen = share
    else:
        chosen = max(tuned, key=lambda at: (tuned[at].correct, -tuned[at].loss))
    return Comparison(len(frozen.hits), frozen.correct, tuned[chosen].correct, chosen, bool(better))


def _judge(samples: Samples, fold: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
    """Return which photos of a fold are recognized, and the probabilities of their true labels; all others are taught."""
    names, rest = np.array(samples.labels), ~fold
    if len(set(names[rest])) < 2:
        return None
    head = create_head("exact", samples.dimensions)
    judge = None if samples.judge is None else samples.judge[rest]
    learn_memory(head, Samples(samples.codes[rest], tuple(names[rest].tolist()), judge))
    columns = np.array(head.labels)
    probabilities = np.asarray(head.probabilities(samples.codes[fold]), np.float64)
    truth = names[fold][:, None] == columns[None, :]
    # a label that only the fold has gets no probability
    return columns[probabilities.argmax(axis=1)] == names[fold], (probabilities * truth).sum(axis=1)


def divide(
    labels: tuple[str, ...], held_out: NDArray[np.bool_], groups: NDArray[np.int32]
) -> list[NDArray[np.bool_]]:
    """Divide the held-out photos, each label evenly and each group whole; bool [N] per fold."""
    places = sorted(np.flatnonzero(held_out).tolist(), key=lambda place: (labels[place], groups[place]))
    order = list(dict.fromkeys(groups[place] for place in places))
    numbers = {group: number % _FOLDS for number, group in enumerate(order)}
    fold = np.array(
        [numbers.get(group, -1) if out else -1 for group, out in zip(groups, held_out, strict=True)]
    )
    return [fold == number for number in sorted({*fold.tolist()} - {-1})]
