"""Bursts: samples taken within seconds are near-duplicates, so they must not judge each other."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..store.records import new_burst

BURST_SECONDS = 2.0


class Bursts:
    """Assigns burst numbers to samples in the order of teaching.

    Samples of one label and one source less than two seconds apart share a number. Time is the monotonic
    clock, so that setting the wall clock (a Pi has no battery-backed one) joins or splits no burst; a new
    process starts new bursts.

    Example:
        >>> bursts = Bursts(clock=iter([0.0, 0.5, 1.0, 9.0]).__next__)
        >>> numbers = [bursts.number("mug", "0") for _ in range(4)]
        >>> numbers[0] == numbers[1] == numbers[2] != numbers[3]
        True
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[str, str] | None = None
        self._at = 0.0
        self._number = 0

    def number(self, label: str, source: str, at: float | None = None) -> int:
        """Return the burst of a sample taught now, or at `at` seconds of the caller's clock."""
        at = self._clock() if at is None else at
        if (label, source) != self._last or not 0 <= at - self._at < BURST_SECONDS:
            self._number = new_burst()
        self._last, self._at = (label, source), at
        return self._number
