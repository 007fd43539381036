"""Progress on stderr: a bar for each stage, or plain lines where stderr is no terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Report(Protocol):
    """What a long piece of work tells as it goes on."""

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        """Say that `done` of `total` steps of a stage are done; None for a total that is not known yet."""


@contextlib.contextmanager
def stages(*, lines: bool = True, transient: bool = False) -> Iterator[Report]:
    """Show a bar for each stage; give the function that is told how far it is.

    Args:
        lines: Where stderr is no terminal, write a line when a stage begins and one when it ends.
        transient: Take the bars away at the end.
    """
    if not sys.stderr.isatty():
        yield _Lines() if lines else _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # a descriptor of its own: while TensorFlow is at work, what goes to stderr is held back
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as stream,
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(file=stream, highlight=False),
            transient=transient,
        ) as bars,
    ):
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage not in self._tasks:
            for task in self._tasks.values():  # what stopped early is over
                self._bars.stop_task(task)
            self._tasks[stage] = self._bars.add_task(stage, total=total, note="")
        self._bars.update(self._tasks[stage], completed=done, total=total, note=note)


class _Lines:
    """One line when a stage begins and one when it ends: what a log file wants."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage not in self._began:
            self._began[stage] = time.monotonic()
            sys.stderr.write(f"{stage} {note or '...'}\n")
        if total is not None and done >= total and stage not in self._ended:
            self._ended.add(stage)
            sys.stderr.write(f"{stage}: done in {time.monotonic() - self._began[stage]:.1f} s\n")


def _nothing(stage: str, done: int, total: int | None, note: str = "") -> None:
    """Tell nobody."""
