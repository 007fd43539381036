"""Progress of long work, reported through one callback."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback that long work calls as it advances.

    Example:
        >>> def show(task: str, done: int, total: int | None) -> None:
        ...     print(f"{task}: {done} of {total}")
        >>> show("photos", 3, 10)
        photos: 3 of 10
    """

    def __call__(self, task: str, done: int, total: int | None, /) -> None:
        """Receive that `done` of `total` steps of a task are done; `total` is None while it is not known."""


def no_progress(task: str, done: int, total: int | None, /) -> None:
    """Discard the report."""
