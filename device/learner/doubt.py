"""An uncertain frame that waits for a label, and how uncertain it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..heads import Prediction
from ..model.codes import Codes

MINIMUM = 0.5
"""Uncertainty below which a frame is not worth labeling."""

_UNKNOWN = 0.75  # minimum uncertainty of a frame that looks like nothing taught
# Cosine of two embeddings, seen from the mean of what was taught, above which two frames are look-alikes; 95 % of such pairs
# of flowers have one label.
_ALIKE = 0.5
_ALIKE_UNKNOWN = 0.75  # frames unlike anything taught are all on one side of what was taught


@dataclass(frozen=True, eq=False)
class Doubt:
    """An uncertain frame that waits for a label.

    Attributes:
        id: Number of the frame in the queue; never used again.
        time: When it was seen, in seconds since the epoch.
        source: The camera.
        seen: How often this frame, or one like it, was seen.
        prediction: The present prediction, with the scores of all labels; None for a frame that was just read from the file.
        uncertainty: From 0 (certain) to 1 (two labels are equally probable).
        change: How much its label would change the predictions on the waiting frames, after the frames before it in the
            list are labeled; see `device.heads.influence`.
        group: Id of the first frame in the list that it is a look-alike of; its own id if there is none.
        jpeg: The picture.
        embedding: float32 [D], so that exactly what was seen is taught.
    """

    id: int
    time: float
    source: str
    seen: int
    prediction: Prediction | None
    uncertainty: float
    change: float
    group: int
    jpeg: bytes = field(repr=False)
    embedding: NDArray[np.float32] = field(repr=False)

    def __repr__(self) -> str:
        label = self.prediction.label[:50] if self.prediction else "?"
        return f"<Doubt {self.id}: {label!r}?, uncertainty {self.uncertainty:.2f}, change {self.change:.3g}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values, without the picture; docs/json.md describes them."""
        return {
            "id": self.id,
            "time": self.time,
            "source": self.source,
            "seen": self.seen,
            "uncertainty": round(self.uncertainty, 4),
            "change": round(self.change, 6),
            "group": self.group,
            "prediction": self.prediction.to_dict() if self.prediction else None,
        }


@dataclass(eq=False)
class Waiting:
    """A frame in the queue, with what its comparison with others needs.

    Attributes:
        doubt: The frame.
        code: int16 [D].
        unit: float32 [D] of length 1, seen from the center of what was taught.
        change: How much its label would change if it were the first.
    """

    doubt: Doubt
    code: Codes
    unit: NDArray[np.float32]
    change: float

    @property
    def worth(self) -> float:
        """How much it is worth to keep; the least leaves first."""
        return self.change if self.listed else 0.0

    @property
    def listed(self) -> bool:
        """Whether it waits for a label: its prediction is uncertain at present."""
        return self.doubt.prediction is not None and self.doubt.uncertainty >= MINIMUM


def uncertainty(prediction: Prediction) -> float:
    """Return how uncertain a prediction is: 1 minus the lead of the best label over the second, 0 to 1."""
    best, second = [*sorted(prediction.scores.values(), reverse=True), 0.0, 0.0][:2]
    value = 1.0 - (best - second)
    return value if prediction.known else max(value, _UNKNOWN)


def look_alike(one: Waiting, other: Waiting) -> bool:
    """Return whether two listed frames are likely to get the same label."""
    first, second = one.doubt.prediction, other.doubt.prediction
    if first is None or second is None or first.known != second.known:
        return False
    if not first.known:
        return float(one.unit @ other.unit) > _ALIKE_UNKNOWN
    return first.label == second.label and float(one.unit @ other.unit) > _ALIKE
