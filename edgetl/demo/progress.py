"""Progress bars on stderr, one line a stage; plain lines where stderr is no terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from .story import Progress as Told


@contextlib.contextmanager
def shown_progress() -> Iterator[Told]:
    """Give a function that shows progress as it is told."""
    if not sys.stderr.isatty():
        yield _Lines(Console(stderr=True, highlight=False))
        return
    # a descriptor of its own: while TensorFlow is at work, what goes to stderr is held back
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as stream,
        Progress(
            TextColumn("{task.fields[who]:>6}", style="bold"),
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=stream, highlight=False),
        ) as bars,
    ):
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def __call__(self, who: str, stage: str, done: int, total: int) -> None:
        key = (who, stage)
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(stage, who=who, total=total)
        self._bars.update(self._tasks[key], completed=done, total=total)


class _Lines:
    """One line when a stage begins and one when it ends: what a log file wants."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: dict[tuple[str, str], float] = {}

    def __call__(self, who: str, stage: str, done: int, total: int) -> None:
        key = (who, stage)
        if key not in self._started:
            self._started[key] = time.monotonic()
            self._console.print(f"{who:>6} {stage} ...")
        if done >= total and self._started[key] >= 0:
            taken = time.monotonic() - self._started[key]
            self._started[key] = -1.0
            self._console.print(f"{who:>6} {stage}: {total}, {taken:.1f} s")
