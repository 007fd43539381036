"""Warming up with a fake clock."""

from __future__ import annotations

from collections.abc import Callable

from device.progress import no_progress
from device.system.warming import WINDOW, is_steady, warm_up


class FakeClock:
    """A clock that only actions move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def action(self, duration: Callable[[int], float]) -> Callable[[], None]:
        """Return an action whose n-th run takes ``duration(n)`` seconds."""
        runs = 0

        def act() -> None:
            nonlocal runs
            self.now += duration(runs)
            runs += 1

        return act


def test_two_windows_with_the_same_median_are_steady() -> None:
    """A few slow runs do not matter."""
    assert not is_steady([1.0] * (2 * WINDOW - 1))
    assert is_steady([1.0] * 2 * WINDOW)
    assert is_steady([9.0, 9.0, *[1.0] * (2 * WINDOW - 3), 9.0])
    assert not is_steady([1.2] * WINDOW + [1.0] * WINDOW)


def test_warming_up_ends_when_every_action_is_steady() -> None:
    """The slowest to become steady decides; the time of each is its own."""
    clock = FakeClock()
    steady, falling = clock.action(lambda _: 0.01), clock.action(lambda n: 0.01 if n >= 30 else 0.1)
    first, second = warm_up([steady, falling], None, no_progress, clock)
    assert first.runs == second.runs == 2 * WINDOW  # ten slow runs are as steady as ten fast ones
    assert (first.steady, first.seconds, second.seconds) == (True, 0.2, 2.0)


def test_warming_up_is_given_up_when_nothing_becomes_steady() -> None:
    """After twenty seconds, and the result shows it."""
    clock = FakeClock()
    (found,) = warm_up([clock.action(lambda n: 0.05 * 1.02**n)], None, no_progress, clock)
    assert found.steady is False
    assert 20 <= found.seconds < 25


def test_the_number_of_runs_can_be_fixed() -> None:
    """Zero is allowed; then steadiness is not judged."""
    clock = FakeClock()
    assert [found.runs for found in warm_up([clock.action(lambda _: 1.0)] * 2, 3, no_progress, clock)] == [
        3,
        3,
    ]
    (none,) = warm_up([clock.action(lambda _: 1.0)], 0, no_progress, clock)
    assert (none.runs, none.seconds, none.steady) == (0, 0.0, None)
