"""Statistics of times; the times themselves belong to benchmarks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from device.system.timing import Timing, ratio_of_medians


def test_percentiles_are_measured_times() -> None:
    """Without interpolation: each is a time that occurred."""
    timing = Timing.of("", [number / 1000 for number in range(100, 0, -1)])
    assert (timing.minimum, timing.p50, timing.p90, timing.p95, timing.p99) == (1.0, 51.0, 91.0, 96.0, 100.0)
    assert timing.spread == 50.0
    assert timing.samples[0] == 100.0
    assert Timing.of("", [0.5]).p99 == 500.0
    json.dumps(timing.to_dict(), allow_nan=False)


def test_the_interval_of_a_median_is_that_of_a_plain_bootstrap() -> None:
    """Drawing the place of the median directly has the same distribution as drawing every run."""
    times = np.random.default_rng(3).lognormal(0, 0.4, 41)
    resamples = np.random.default_rng(4).choice(times, (20_000, 41))
    expected = np.percentile(np.sort(resamples, axis=1)[:, 20], (2.5, 97.5))
    low, high = Timing.of("", times / 1000).interval
    assert (low, high) == pytest.approx(tuple(expected), rel=0.03)


def test_the_interval_covers_the_true_ratio() -> None:
    """About 95 of 100 intervals contain the ratio of the distributions that the times were drawn from."""
    chooser, covered = np.random.default_rng(5), 0
    for _ in range(200):
        before = list(chooser.lognormal(0, 0.3, 60))
        after = list(1.2 * chooser.lognormal(0, 0.3, 60))
        _, (low, high) = ratio_of_medians(before, after)
        covered += low <= 1.2 <= high
    assert 180 <= covered <= 199
