"""What journal entries add up to: the samples whose labels differ between two positions of the journal."""

from __future__ import annotations

from collections.abc import Iterable

from ..negatives import is_hidden
from ..store import Entry, HostChange
from ..store.journal import PASSING
from ..store.records import is_excluded

Labeled = list[tuple[int, str]]


def touches_everything(entry: Entry) -> bool:
    """Return whether an entry changed more than samples: labels of the host, or what other devices of a fleet learned."""
    return entry.action in PASSING or any(isinstance(change, HostChange) for change in entry.changes)


def teaches_hidden(entry: Entry) -> bool:
    """Return whether an entry taught negatives or background."""
    runs = (change for change in entry.changes if not isinstance(change, HostChange))
    return any(run.new is not None and is_hidden(run.new) for run in runs)


def net_changes(entries: Iterable[Entry]) -> tuple[Labeled, Labeled]:
    """Return what entries add up to: samples to forget and samples to learn, by id, with their stored labels."""
    moved: dict[int, tuple[str | None, str | None]] = {}
    for entry in entries:
        for run in entry.changes:
            if isinstance(run, HostChange):
                continue
            for number in range(run.first, run.last + 1):
                before, _ = moved.get(number, (_taught(run.old), None))
                moved[number] = (before, _taught(run.new))
    changed = [(number, old, new) for number, (old, new) in sorted(moved.items()) if old != new]
    return (
        [(number, old) for number, old, _ in changed if old is not None],
        [(number, new) for number, _, new in changed if new is not None],
    )


def _taught(label: str | None) -> str | None:
    """Return the label that a head learns; None for an excluded sample."""
    return None if is_excluded(label) else label
