"""Observations for tests of receivers."""

from __future__ import annotations

from device.heads import Prediction
from device.live.watching import UNKNOWN, Observation


def observation(label: str, changed: bool = True) -> Observation:
    """A frame in which `label` is seen."""
    known = label != UNKNOWN
    prediction = Prediction(label if known else "mug", 0.9, known, {label if known else "mug": 0.9})
    return Observation(3, 5.0, "0", changed, prediction, familiar=known, embed_ms=1.0, head_ms=0.1)
