"""Drift detection: whether the camera now sees scenes unlike the taught samples, from the share of unknown frames.

A single unknown frame means nothing. If the exponentially weighted share of unknown predictions stays high, most of
what the camera sees differs from what was taught: other light, another lens, another place.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .base import Prediction

WINDOW = 100  # predictions in the running mean
ENOUGH = WINDOW // 4  # predictions before the first alarm
ALARM = 0.5  # share of unknown predictions that starts the alarm
CALM = 0.3  # share of unknown predictions that ends it


@dataclass(frozen=True)
class DriftState:
    """The drift after the predictions so far.

    Attributes:
        predictions: Number of predictions.
        unknown_share: Running share of predictions that were not known.
        unknown_score: Running mean of the unknown score.
        drifted: Whether the alarm is active.
    """

    predictions: int
    unknown_share: float
    unknown_score: float
    drifted: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return asdict(self)


class Drift:
    """A drift detector that observes predictions.

    Args:
        window: Number of predictions in the running means; no alarm starts before a quarter of them.
        alarm: Running share of unknown predictions at which the alarm starts.
        calm: Running share of unknown predictions at which the alarm ends.

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
        """The drift after the predictions so far."""
        return DriftState(self._seen, self._share, self._score, self._drifted)

    def update(self, prediction: Prediction) -> DriftState:
        """Observe one prediction and return the new state."""
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
        """Restart, for example after teaching."""
        self._seen, self._share, self._score, self._drifted = 0, 0.0, 0.0, False
