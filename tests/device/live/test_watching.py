"""Smoothing over frames."""

from __future__ import annotations

import pytest

from device.live.watching import Smoother


def test_smoothing_weighs_frames_alike_and_known_is_the_majority() -> None:
    """A label missing from a frame counts as nothing there."""
    smoother = Smoother(4)
    for scores, known in (({"a": 1.0}, True), ({"b": 1.0}, False), ({"b": 0.6, "a": 0.4}, False)):
        averages, majority = smoother.add(scores, known)
    assert averages == {"a": pytest.approx(1.4 / 3), "b": pytest.approx(1.6 / 3)}
    assert not majority
