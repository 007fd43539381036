"""The figures and tables of the long benchmarks come from their results."""

from __future__ import annotations

from benchmarks import crash, page, size, soak


def test_a_soak_is_compared_with_its_limits() -> None:
    """Each limit is the goal of a figure."""
    result = {
        "memory_growth": 1.01,
        "descriptors_leaked": 0,
        "latency": {"p99_ratio": 1.6},
        "frames": 1000,
    }
    reached = {figure.name: figure.reached for figure in soak.figures(result)}
    assert list(reached.values()) == [True, True, False, None]


def test_a_lost_change_misses_the_goal() -> None:
    """The time to open the file is left out if no child was killed."""
    tally = crash.Tally(kills=3, samples=40, failures=["one"])
    assert [figure.reached for figure in crash.figures(tally)] == [False, None, None]
    tally.opened.append(0.002)
    assert crash.figures(tally)[-1].value == 2.0


def test_the_size_and_the_wheels_are_shown() -> None:
    """A Python without wheels shows the error of pip."""
    result = {
        "total_mb": 288.0,
        "largest_mb": {"cv2": 150.0},
        "aarch64": {"311": "complete", "313": "no match"},
    }
    assert size.figures(result)[0].reached
    assert size.table(result).rows[-1] == ("aarch64, Python 3.13", None, "no match")


def test_the_cost_per_viewer_is_shown() -> None:
    """One row per number of viewers."""
    row = {
        "viewers": 4,
        "cpu_percent": 50.0,
        "answering_percent": 3.0,
        "fps": 15.0,
        "kB_per_second_and_viewer": 300,
    }
    result = {
        "weight": {"bytes": 12_340},
        "answering_percent_per_viewer": 0.7,
        "encode": {"p50_ms": 1.5},
        "viewers": [row],
    }
    assert [figure.value for figure in page.figures(result)] == [12.3, 0.7, 1.5]
    assert page.table(result).rows == ((4, 50.0, 3.0, 15.0, 300),)
