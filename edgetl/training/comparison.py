"""The frozen and the tuned backbone, judged by the device's head on the same held-out photos."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.memory import judge_held_out
from device.model.codes import encode
from device.model.memory import Samples


@dataclass(frozen=True)
class Comparison:
    """Number of held-out photos that the exact head recognizes on either backbone.

    Attributes:
        photos: Number of held-out photos.
        views: Effective number of separate views among them, because look-alikes are right together.
        frozen: Correct photos with the backbone as it was.
        tuned: Correct photos with the tuned backbone.
    """

    photos: int
    views: float
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
    """Teach an exact head on the embeddings of each backbone and count what it recognizes.

    Args:
        frozen: float32 [N, D], embeddings of the photos by the frozen backbone.
        tuned: float32 [N, D], by the tuned backbone.
        labels: Label of each photo.
        held_out: bool [N]; these judge, the others teach.
        groups: int32 [N]; look-alikes share a number.

    Returns:
        None when no photo is held out, or fewer than two labels are left to learn.
    """
    before = judge_held_out(Samples(encode(frozen), labels, None, groups), held_out)
    # photos that tuned the backbone choose nothing in the head, as in the model file
    after = judge_held_out(Samples(encode(tuned), labels, held_out, groups), held_out)
    if before is None or after is None:
        return None
    return Comparison(before["photos"], before["views"], before["correct"], after["correct"])
