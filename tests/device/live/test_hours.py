"""The hours in which cameras and regions are watched, and their rates, with a clock of the test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from device.cameras import Camera, Frame
from device.cameras.fake import draw
from device.errors import CameraError
from device.learner import Learner
from device.live.hours import Hours
from device.live.regions import WatchedRegion, watch_regions
from device.live.watching import Watcher
from tests.tiny import TINY


def at(day: int, hour: int, minute: int = 0) -> float:
    """Seconds since the epoch, in local time; day 0 is a Monday."""
    return time.mktime((2026, 11, 30 + day, hour, minute, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("text", "opened", "closed"),
    [
        ("07:00-19:00", [(0, 7), (6, 18, 59)], [(0, 6, 59), (6, 19)]),
        ("22:00-06:00", [(0, 22), (1, 5, 59), (6, 23), (7, 0)], [(1, 6), (1, 21, 59)]),
        ("mon-fri 07:00-19:00", [(0, 7), (4, 18)], [(5, 12), (6, 12)]),
        ("Sat-MON 8:00-9:00", [(5, 8), (6, 8), (0, 8)], [(1, 8), (4, 8)]),
        ("sun 22:00-02:00", [(6, 23), (7, 1)], [(1, 1), (6, 21)]),
        ("sat 00:00-24:00", [(5, 0), (5, 23, 59)], [(4, 23, 59), (6, 0)]),
        ("06:00-08:00, 17:00-18:30", [(2, 7), (2, 18, 29)], [(2, 8), (2, 18, 30)]),
    ],
)
def test_hours_are_open_between_their_start_and_their_end(
    text: str, opened: list[tuple[int, ...]], closed: list[tuple[int, ...]]
) -> None:
    """Over midnight and over the end of the week, too."""
    hours = Hours.parse(text)
    assert [moment for moment in opened if not hours.is_open(at(*moment))] == []
    assert [moment for moment in closed if hours.is_open(at(*moment))] == []


def test_the_message_names_the_next_opening() -> None:
    """With the day, if it is not within 24 hours."""
    hours = Hours.parse("mon-fri 07:30-19:00")
    assert hours.closed(at(0, 19)) == "closed until 07:30"
    assert hours.closed(at(4, 20)) == "closed until mon 07:30"


@pytest.mark.parametrize(
    "text",
    ["", "7-19", "07:00-07:00", "25:00-26:00", "07:60-08:00", "xyz 07:00-08:00", "07:00-08:00,", "mon"],
)
def test_hours_of_another_form_are_refused(text: str) -> None:
    """With an example, and with what was given."""
    with pytest.raises(CameraError, match="got"):
        Hours.parse(text)


class Days(Camera):
    """A live camera that counts how often it is opened; each frame takes ten minutes of the test's clock."""

    kind = "days"
    live = True
    now = at(0, 18)
    opened = 0
    up = False

    def __init__(self) -> None:
        super().__init__("days")
        type(self).opened += 1
        type(self).up = True
        self._number = 0

    def _release(self) -> None:
        type(self).up = False

    def _next(self, timeout: float | None) -> Frame:
        type(self).now += 600
        self._number += 1
        return Frame(draw("red", self._number), self.now, self._number, self.source)


@pytest.fixture
def learner() -> Iterator[Learner]:
    """A learner that knows red."""
    with Learner.open(TINY, None, threads=1) as learner:
        learner.learn_many([draw("red", number) for number in range(3)], ["red"] * 3)
        yield learner


def test_a_camera_is_closed_outside_the_hours_of_all_its_regions(learner: Learner) -> None:
    """Once per closing it is reported, and that nothing is in view; in the morning it is opened again."""
    Days.now, Days.opened = at(0, 18, 15), 0
    said: list[str] = []

    def clock() -> float:
        if Days.opened and not Days.up:
            Days.now += 7200  # nothing delivers frames, so each look at the clock takes two hours
        return Days.now

    regions = [
        WatchedRegion("day", None, Watcher(learner), hours=Hours.parse("07:00-19:00"), now=clock),
        WatchedRegion("long", None, Watcher(learner), hours=Hours.parse("06:00-20:00"), now=clock),
    ]
    seen = list(islice((one for _, one in watch_regions([("front", Days, regions)], said.append)), 30))
    order = [(one.region, one.closed) for one in seen]
    assert order.count(("day", True)) == order.count(("long", True)) == 1
    assert [one.label for one in seen if one.closed] == ["unknown", "unknown"]
    assert all(one.prediction is None for one in seen if one.closed)
    assert order.index(("day", True)) < order.index(("long", True)) < len(order) - 1
    assert said[:2] == ["day is closed until 07:00", "long is closed until 06:00"]
    assert Days.opened == 2


def test_a_region_has_a_rate_of_its_own(learner: Learner) -> None:
    """Of ten frames per second, every fifth is observed at two per second."""
    now = iter(np.arange(0.0, 10.0, 0.1))
    region = WatchedRegion("door", None, Watcher(learner), fps=2.0, clock=lambda: float(next(now)))
    frames = [Frame(draw("red", number), 0.0, number, "0") for number in range(50)]
    seen = [one.frame for frame in frames if (one := region.observe(frame, print))]
    assert seen == list(range(0, 50, 5))
