"""Telling that the world has changed: the running mean of the unknown score against what was taught.

A single odd frame says nothing. An exponentially weighted mean of ``unknown score - threshold`` that stays
above zero says that most of what the camera sees now would have been odd among the taught samples: other
light, another lens, another place.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .base import Prediction

WINDOW = 100  # predictions the mean looks back over
ENOUGH = WINDOW // 4  # predictions before which nothing is said
ALARM = 0.5  # share of unknown predictions that is called drift
CALM = 0.3  # share below which it is over


@dataclass(frozen=True)
class DriftState:
    """What was seen so far.

    Attributes:
        predictions: Seen in all.
        unknown_share: Running share of predictions that were not known.
        unknown_score: Running mean of the unknown score.
        drifted: Whether the world looks changed.
    """

    predictions: int
    unknown_share: float
    unknown_score: float
    drifted: bool

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        return asdict(self)


class Drift:
    """Watch predictions for a change of the world.

    Args:
        window: Predictions the running means look back over; none is an alarm before a quarter of them.
        alarm: Running share of unknown predictions that raises the alarm.
        calm: Share below which the alarm ends.

    Example:
        >>> drift = Drift(window=4)
        >>> for _ in range(8):
        ...     state = drift.update(Prediction("mug", 0.4, known=False, scores={}, unknown_score=3.0))
        >>> state.drifted
        True
    """

    def __init__(self, window: int = WINDOW, *, alarm: float = ALARM, calm: float = CALM) -> None:
        self._window, self._alarm, self._calm = window, alarm, calm
        self._seen = 0
        self._share = 0.0
        self._score = 0.0
        self._drifted = False

    @property
    def state(self) -> DriftState:
        """What was seen so far."""
        return DriftState(self._seen, self._share, self._score, self._drifted)

    def update(self, prediction: Prediction) -> DriftState:
        """Take in one prediction."""
        self._seen += 1
        weight = 1 / min(self._seen, self._window)  # a plain mean until the window is full
        self._share += weight * ((not prediction.known) - self._share)
        self._score += weight * (prediction.unknown_score - self._score)
        if self._share <= self._calm:
            self._drifted = False
        elif self._share >= self._alarm and self._seen >= max(self._window // 4, 2):
            self._drifted = True
        return self.state

    def reset(self) -> None:
        """Begin anew, as after teaching."""
        self._seen, self._share, self._score, self._drifted = 0, 0.0, 0.0, False
