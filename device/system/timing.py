"""Statistics of times: percentiles, spread, and bootstrap intervals of a median and of a ratio of two medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 95  # percent, of every interval
_RESAMPLES = 4000
_DECIMALS = 4  # of milliseconds; the clock is not finer

Interval = tuple[float, float]


@dataclass(frozen=True)
class Timing:
    """Times of one step, in milliseconds.

    Attributes:
        step: What was timed.
        runs: Number of runs.
        minimum: Shortest run.
        p50: Median.
        p90: 90th percentile.
        p95: 95th percentile.
        p99: 99th percentile.
        spread: Interquartile range.
        interval: Bootstrap interval of the median, 95 %.
        samples: Every run, in the order of measurement.
    """

    step: str
    runs: int
    minimum: float
    p50: float
    p90: float
    p95: float
    p99: float
    spread: float
    interval: Interval
    samples: tuple[float, ...]

    @classmethod
    def of(cls, step: str, seconds: Sequence[float]) -> Timing:
        """Summarize times in seconds, at least one.

        Example:
            >>> Timing.of("nap", [0.001, 0.002, 0.009]).p50
            2.0
        """
        times = [round(1000 * duration, _DECIMALS) for duration in seconds]
        ordered = sorted(times)
        p25, p50, p75, p90, p95, p99 = (
            ordered[len(ordered) * share // 100] for share in (25, 50, 75, 90, 95, 99)
        )
        low, high = _interval(_medians(times, 0))
        spread = round(p75 - p25, _DECIMALS)
        return cls(
            step,
            len(times),
            ordered[0],
            p50,
            p90,
            p95,
            p99,
            spread,
            (round(low, 4), round(high, 4)),
            tuple(times),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {**asdict(self), "interval": list(self.interval), "samples": list(self.samples)}


def ratio_of_medians(before: Sequence[float], after: Sequence[float]) -> tuple[float, Interval]:
    """Return the ratio of the medians, after / before, and its bootstrap interval, 95 %.

    Both lists need at least one time, all of them positive. The runs of a list are resampled as if they were
    independent.

    Example:
        >>> ratio_of_medians([2.0, 2.0, 2.0], [3.0, 3.0, 3.0])
        (1.5, (1.5, 1.5))
    """
    ratio = median(after) / median(before)
    return ratio, _interval(_medians(after, 1) / _medians(before, 2))


def median(times: Sequence[float]) -> float:
    """Return the median as a measured time: the later of the two in the middle of an even number."""
    return sorted(times)[len(times) // 2]


def _medians(times: Sequence[float], seed: int) -> NDArray[np.float64]:
    """Return medians of resamples of `times`, with replacement, float64 [_RESAMPLES].

    The k-th smallest of n uniform numbers has the distribution Beta(k, n + 1 - k). It selects the run that is the
    median of a resample, without drawing the n runs.
    """
    count = len(times)
    middle = count // 2 + 1
    places = np.random.default_rng(seed).beta(middle, count + 1 - middle, _RESAMPLES)
    chosen: NDArray[np.float64] = np.sort(np.asarray(times, np.float64))[
        np.minimum((places * count).astype(int), count - 1)
    ]
    return chosen


def _interval(values: NDArray[np.float64]) -> Interval:
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)
