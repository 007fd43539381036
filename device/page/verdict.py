"""What the page says about a frame: a probability for every label, and whether it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from ..heads import Prediction

_DECIMALS = 4


@dataclass(frozen=True)
class Verdict:
    """What the learner makes of an embedding, or of several frames on the average.

    Attributes:
        scores: Probability of every label.
        known: False when it is unlike everything that was taught.

    Example:
        >>> Verdict({"mug": 0.9, "plant": 0.1}, known=True).label
        'mug'
    """

    scores: dict[str, float]
    known: bool

    @classmethod
    def of(cls, prediction: Prediction) -> Self:
        """Take a prediction that has the scores of every label, as `Learner.judge` gives it."""
        return cls(prediction.scores, prediction.known)

    @property
    def label(self) -> str:
        """The most probable label."""
        return max(self.scores, key=self.scores.__getitem__)

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.scores[self.label]

    def to_dict(self) -> dict[str, Any]:
        """Give it JSON-able, the likeliest label first."""
        ranked = sorted(self.scores.items(), key=lambda pair: -pair[1])
        return {
            "label": ranked[0][0],
            "probability": round(ranked[0][1], _DECIMALS),
            "known": self.known,
            "scores": {label: round(value, _DECIMALS) for label, value in ranked},
        }
