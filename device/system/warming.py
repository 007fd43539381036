"""Repeat work until its time is steady, before it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from ..progress import Progress

WINDOW = 10  # runs whose median is compared with that of the runs before them
_TOLERANCE = 0.05
_MOST_RUNS = 500
_MOST_SECONDS = 20.0

Clock = Callable[[], float]


@dataclass(frozen=True)
class WarmUp:
    """How an action was warmed up.

    Attributes:
        runs: Number of runs before the measured ones.
        seconds: Time of these runs together.
        steady: Whether the median of the last ten runs was within 5 % of that of the ten before; None if the number
            of runs was fixed.
    """

    runs: int
    seconds: float
    steady: bool | None


def is_steady(times: Sequence[float]) -> bool:
    """Return whether the median of the last `WINDOW` times is within 5 % of the median of the `WINDOW` before."""
    if len(times) < 2 * WINDOW:
        return False
    last, before = median(times[-WINDOW:]), median(times[-2 * WINDOW : -WINDOW])
    return abs(last - before) <= _TOLERANCE * before


def warm_up(
    actions: Sequence[Callable[[], object]],
    runs: int | None,
    progress: Progress,
    clock: Clock = time.perf_counter,
) -> list[WarmUp]:
    """Run actions in turn until the time of each is steady.

    Args:
        actions: The actions, one per model.
        runs: Number of runs of each; None runs until all are steady, at most 500 times or 20 seconds per action.
        progress: Receives the number of rounds.
        clock: Returns seconds.
    """
    times: list[list[float]] = [[] for _ in actions]
    began = clock()
    while not _done(times, runs, clock() - began):
        for action, seconds in zip(actions, times, strict=True):
            start = clock()
            action()
            seconds.append(clock() - start)
        progress("warming up", len(times[0]), runs)
    if runs is None:
        progress("warming up", len(times[0]), len(times[0]))
    return [WarmUp(len(own), round(sum(own), 3), is_steady(own) if runs is None else None) for own in times]


def _done(times: Sequence[Sequence[float]], runs: int | None, passed: float) -> bool:
    if runs is not None:
        return len(times[0]) >= runs
    if all(is_steady(own) for own in times):
        return True
    return len(times[0]) >= _MOST_RUNS or passed >= _MOST_SECONDS * len(times)
