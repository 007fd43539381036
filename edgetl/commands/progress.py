"""Progress bars on stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Report = Callable[[str, int, int, str], None]


@contextlib.contextmanager
def stages() -> Iterator[Report]:
    """Show a bar for each stage; give the function that is told (stage, done, total, note).

    Where stderr is no terminal, a line is written when a stage begins.
    """
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int, note: str) -> None:
            if stage not in tasks:
                for task in tasks.values():  # what stopped early is over
                    bars.stop_task(task)
                tasks[stage] = bars.add_task(stage, total=total, note="")
            bars.update(tasks[stage], completed=done, total=total, note=note)

        yield report


def _lines() -> Report:
    told: set[str] = set()

    def report(stage: str, done: int, total: int, note: str) -> None:
        if stage not in told:
            told.add(stage)
            sys.stderr.write(f"{stage} {note}\n" if note else f"{stage}\n")

    return report
