"""The frozen and the tuned backbone, judged by the device's head on the same held-out photos."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.memory import judge_held_out
from device.model.codes import encode
from device.model.memory import Samples

_FOLDS = 5


@dataclass(frozen=True)
class Comparison:
    """Number of held-out photos that the exact head recognizes on either backbone.

    Attributes:
        photos: Number of held-out photos.
        frozen: Correct photos with the backbone as it was.
        tuned: Correct photos with the tuned backbone.
    """

    photos: int
    frozen: int
    tuned: int

    @property
    def keeps_tuned(self) -> bool:
        """Whether the tuned backbone is better; at a tie the frozen one is kept, on which all photos may judge."""
        return self.tuned > self.frozen

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serializable values."""
        return asdict(self) | {"head": "exact", "kept": "tuned" if self.keeps_tuned else "frozen"}


def compare_backbones(
    frozen: NDArray[np.float32],
    tuned: NDArray[np.float32],
    labels: tuple[str, ...],
    held_out: NDArray[np.bool_],
    groups: NDArray[np.int32],
) -> Comparison | None:
    """Teach exact heads on the embeddings of each backbone and count what they recognize.

    On the device the head learns the held-out photos too, and chooses its ridge by them where the others tuned the
    backbone. So they are divided into folds: the head learns all photos but one fold, and predicts that fold.

    Args:
        frozen: float32 [N, D], embeddings of the photos by the frozen backbone.
        tuned: float32 [N, D], by the tuned backbone.
        labels: Label of each photo.
        held_out: bool [N], photos that did not tune the backbone; each is predicted once.
        groups: int32 [N]; look-alikes share a number and a fold.

    Returns:
        None when no photo is held out, or fewer than two labels are left to learn.
    """
    folds = divide(labels, held_out, groups)
    before = _count(Samples(encode(frozen), labels, None, groups), folds)
    after = _count(Samples(encode(tuned), labels, held_out, groups), folds)
    if before is None or after is None:
        return None
    return Comparison(int(held_out.sum()), before, after)


def _count(samples: Samples, folds: list[NDArray[np.bool_]]) -> int | None:
    """Return the number of correct photos over all folds, or None when they cannot be judged."""
    judged = [judge_held_out(samples, fold) for fold in folds]
    figures = [figure["correct"] for figure in judged if figure is not None]
    return sum(figures) if figures and len(figures) == len(folds) else None


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
