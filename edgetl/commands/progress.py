"""Progress on stderr: a bar per task, or plain lines where stderr is not a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBars
    from rich.progress import TaskID

    from device.progress import Progress


@contextlib.contextmanager
def stages(*, lines: bool = True, transient: bool = False, remaining: bool = False) -> Iterator[Progress]:
    """Yield a progress callback that shows a bar per task.

    Args:
        lines: Where stderr is not a terminal, write a line when a task begins and one when it ends.
        transient: Remove the bars at the end.
        remaining: Show the time left of each task, too.
    """
    from device.progress import no_progress

    if not sys.stderr.isatty():
        yield _Lines() if lines else no_progress
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


class _Lines:
    """One line when a task begins and one when it ends, for log files."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, task: str, done: int, total: int | None, /) -> None:
        if task not in self._began:
            self._began[task] = time.monotonic()
            sys.stderr.write(f"{task} ...\n")
        if total is not None and done >= total and task not in self._ended:
            self._ended.add(task)
            sys.stderr.write(f"{task}: done in {time.monotonic() - self._began[task]:.1f} s\n")
