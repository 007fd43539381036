"""Timing a model file; the figures themselves belong to benchmarks."""

from __future__ import annotations

import json

import pytest

from device.model.runtime import load_runtime
from device.system.health import describe_machine
from device.system.timing import Timing, bench, doubts
from tests.tiny import DIMENSIONS, TINY


def test_a_bench_names_the_machine_and_the_runtime() -> None:
    """Times without runtime, threads and governor mean nothing."""
    result = bench(TINY, frames=3, warm_up=1, threads=1, samples=12, labels=3).to_dict()
    assert result["runtime"]["name"] == load_runtime().name
    assert result["runtime"]["threads"] == 1
    assert result["machine"]["governor"]
    assert result["model"]["dimensions"] == DIMENSIONS
    json.dumps(result, allow_nan=False)


def test_every_step_is_timed() -> None:
    """Preprocessing, backbone, both, and the head."""
    timings = bench(TINY, frames=3, warm_up=0, samples=12, labels=3).timings
    assert [timing.step.split(",")[0] for timing in timings] == [
        "preprocessing",
        "backbone",
        "embedding",
        "head",
        "head",
    ]
    assert all(0 < timing.p50 <= timing.p95 <= timing.p99 for timing in timings)


def test_percentiles_are_measured_times() -> None:
    """Without interpolation: each is a time that occurred."""
    timing = Timing.of("", [number / 1000 for number in range(100, 0, -1)])
    assert (timing.p50, timing.p95, timing.p99) == (51.0, 96.0, 100.0)
    assert Timing.of("", [0.5]).p99 == 500.0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"governor": "ondemand"}, "governor"),
        ({"throttled": ["hot"]}, "slowed down"),
        ({"load": 9.0}, "busy"),
    ],
)
def test_conditions_that_affect_times_are_reported(change: dict[str, object], word: str) -> None:
    """Before anybody quotes them."""
    quiet = {**describe_machine(), "governor": "performance", "throttled": [], "load": 0.0}
    assert doubts(quiet) == []
    assert any(word in doubt for doubt in doubts({**quiet, **change}))
