"""Progress on stderr: a bar per task, or plain lines where stderr is not a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBars
    from rich.progress import TaskID

    from device.progress import Progress


# seconds after which a task gets its first line in a log file, and at least between two lines
_FIRST_LINE = 10.0
# seconds until the next line, as a share of the time so far; hours need no line every ten seconds
_NEXT_LINE = 0.1


@contextlib.contextmanager
def stages(*, lines: bool = True, transient: bool = False, remaining: bool = False) -> Iterator[Progress]:
    """Yield a progress callback that shows a bar per task.

    Args:
        lines: Where stderr is not a terminal, write a line when a task begins and one when it ends. A task that takes
            long gets a line now and then with the time left, in any case.
        transient: Remove the bars at the end.
        remaining: Show the time left of each task, too.
    """
    if not sys.stderr.isatty():
        yield Lines(ends=lines)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    more = (TextColumn("left:"), TimeRemainingColumn()) if remaining else ()
    # a descriptor of its own, because stderr is held back while TensorFlow runs
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as stream,
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            *more,
            console=Console(file=stream, highlight=False),
            transient=transient,
        ) as bars,
    ):
        yield _Bars(bars)


@contextlib.contextmanager
def device_rows() -> Iterator[Progress]:
    """Yield a progress callback for tasks "TARGET: STEP", which shows a row per device with its present step."""
    if not sys.stderr.isatty():
        yield _Steps()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.fields[device]}", markup=False),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr, highlight=False),
        transient=True,
    ) as bars:
        yield _Rows(bars)


class _Rows:
    """A row per device, on a terminal; called by several threads."""

    def __init__(self, bars: ProgressBars) -> None:
        self._bars = bars
        self._rows: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, task: str, done: int, total: int | None, /) -> None:
        device, _, step = task.partition(": ")
        with self._lock:
            if device not in self._rows:
                self._rows[device] = self._bars.add_task("", device=device, total=None)
        self._bars.update(self._rows[device], description=step, completed=done, total=total)


class _Steps:
    """One line per step of a device, for log files; called by several threads."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def __call__(self, task: str, done: int, total: int | None, /) -> None:
        device, _, step = task.partition(": ")
        if self._last.get(device) != step:
            self._last[device] = step
            sys.stderr.write(f"{task}\n")


class _Bars:
    def __init__(self, bars: ProgressBars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, task: str, done: int, total: int | None, /) -> None:
        if task not in self._tasks:
            for earlier in self._tasks.values():  # a task that stopped early is over
                self._bars.stop_task(earlier)
            self._tasks[task] = self._bars.add_task(task, total=total)
        self._bars.update(self._tasks[task], completed=done, total=total)


class Lines:
    """Progress in a log file or a pipe: a line now and then with the time left, and perhaps one at each end of a task.

    Args:
        ends: Write a line when a task begins and one when it ends. Without it, short tasks write nothing.
        clock: Returns seconds.
    """

    def __init__(self, *, ends: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._ends, self._clock = ends, clock
        self._began: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, task: str, done: int, total: int | None, /) -> None:
        """Record progress."""
        now = self._clock()
        if task not in self._began:
            self._began[task], self._due[task] = now, now + _FIRST_LINE
            if self._ends:
                sys.stderr.write(f"{task} ...\n")
        took = now - self._began[task]
        if total is not None and done >= total:
            self._end(task, done, took)
        elif now >= self._due[task]:
            self._due[task] = now + max(_FIRST_LINE, took * _NEXT_LINE)
            sys.stderr.write(f"{task}: {_so_far(done, total, took)}\n")

    def _end(self, task: str, done: int, took: float) -> None:
        if task in self._ended:
            return
        self._ended.add(task)
        if self._ends or took >= _FIRST_LINE:
            sys.stderr.write(f"{task}: done in {took:.1f} s\n")


def _so_far(done: int, total: int | None, took: float) -> str:
    """Return how much is done, and how long the rest takes at the rate so far."""
    if total is None:
        return f"{done} after {_duration(took)}"
    left = f", about {_duration(took * (total - done) / done)} left" if done else ""
    return f"{done} of {total}, {done / total:.0%}{left}"


def _duration(seconds: float) -> str:
    """Return a duration for people: ``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
