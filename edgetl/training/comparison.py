"""The frozen and the tuned backbone, judged by the device's head on the same held-out photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import create_head
from device.heads.memory import learn_memory
from device.model.codes import encode
from device.model.memory import Samples

_FOLDS = 5
_CLEARLY = (
    0.01  # nats; the frozen backbone, of which all photos may judge the head, is kept at a smaller difference
)
_LEAST = 1e-6  # probability; a photo that is certainly wrong must not decide alone


@dataclass(frozen=True)
class Judgment:
    """The predictions of the exact head for the held-out photos with one backbone.

    Attributes:
        correct: Number of photos that it recognizes.
        loss: Mean of the negative logarithm of the probability of the true label.
    """

    correct: int
    loss: float


@dataclass(frozen=True)
class Comparison:
    """Number of held-out photos that the exact head recognizes on either backbone.

    Attributes:
        photos: Number of held-out photos.
        frozen: Correct photos with the backbone as it was.
        tuned: Correct photos with the tuned backbone.
        share: How far the weights of the tuned backbone are moved from the frozen ones to those after training.
        better: Whether the tuned backbone is better: it recognizes more photos, or as many with a clearly lower
            loss.
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
    correct = sum(int(found[0].sum()) for found in known)
    return Judgment(correct, float(-np.log(np.maximum(probabilities, _LEAST)).mean()))


def choose_share(photos: int, frozen: Judgment, tuned: Mapping[float, Judgment]) -> Comparison:
    """Return the best of the tuned backbones beside the frozen one.

    Of those that recognize at least as many photos as the frozen backbone, the one with the lowest loss: with few photos
    the number of correct ones hardly distinguishes them. Where there is none, the one with the most correct photos.

    Args:
        photos: Number of held-out photos.
        frozen: The backbone as it was.
        tuned: By the share of the way from its weights to those after training.
    """
    able = {share: found for share, found in tuned.items() if found.correct >= frozen.correct}
    if able:
        share = min(able, key=lambda at: (able[at].loss, -at))
    else:
        share = max(tuned, key=lambda at: (tuned[at].correct, -tuned[at].loss))
    best = tuned[share]
    gained = best.correct - frozen.correct
    better = gained > 0 or (gained == 0 and frozen.loss - best.loss > _CLEARLY)
    return Comparison(photos, frozen.correct, best.correct, share, better)


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
