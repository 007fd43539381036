"""The journal: every change of the taught samples, in order, and how each is undone.

What a device knows is a function of two small tables: the label of each sample (NULL when forgotten) and
the present name of each label of the host. An entry lists the changes in both, old and new value, and is
committed together with them. So the tables are always the sum of the journal, an entry is undone by
applying it backwards, and a rollback undoes all later entries. Undo and rollback are entries themselves:
nothing is ever rewritten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from ..errors import SampleNotFoundError, StateError
from .records import Change, Entry, HostChange, SampleRun, changes_from_json, changes_to_json, checksum, runs

_COLUMNS = "seq, time, action, undoes, changes, crc"
# actions that teach and forget nothing: what other devices learned came, or was erased
SHARE = "share"
LEAVE = "leave"
PASSING = frozenset({SHARE, LEAVE})
# actions that cannot be undone, nor anything before them
_FINAL = {
    "purge": "forgotten samples were purged for good",
    "reembed": "samples without a picture were left behind when the state was embedded again for another model,",
}
NOT_UNDOABLE = ("undo", "recover", *_FINAL)


def append(
    connection: sqlite3.Connection,
    time: float,
    action: str,
    changes: Iterable[Change],
    undoes: int | None = None,
) -> Entry:
    """Write the next entry; runs inside the caller's transaction."""
    seq = connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM journal").fetchone()[0]
    entry = Entry(seq, float(time), action, tuple(changes), undoes)
    text = changes_to_json(entry.changes)
    crc = checksum("journal", seq, entry.time, action, undoes, text)
    connection.execute(
        f"INSERT INTO journal ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
        (seq, entry.time, action, undoes, text, crc),
    )
    return entry


def read(connection: sqlite3.Connection, after: int = 0, newest_first: bool = False) -> Iterable[Entry]:
    """Read the entries after position `after`, one by one.

    Raises:
        StateError: An entry does not match its checksum, or names samples that are not there.
    """
    order = "DESC" if newest_first else "ASC"
    statement = f"SELECT {_COLUMNS} FROM journal WHERE seq > ? ORDER BY seq {order}"  # noqa: S608 - constants
    newest = connection.execute("SELECT coalesce(max(id), 0) FROM samples").fetchone()[0]
    for row in connection.execute(statement, (after,)):
        yield require_samples(entry_of(row), newest)


def entry_of(row: Sequence[object]) -> Entry:
    """Read a row of the journal.

    Raises:
        StateError: The row does not match its checksum.
    """
    *values, crc = row
    if not isinstance(values[-1], str) or not isinstance(values[1], float):
        raise StateError(f"entry {values[0]} of the journal has values of other types")
    if checksum("journal", *values) != crc:  # type: ignore[arg-type]
        raise StateError(f"entry {values[0]} of the journal does not match its checksum")
    seq, time, action, undoes, changes = values
    if not str(action).isidentifier():
        raise StateError(f"entry {seq} of the journal names the unknown action {str(action)[:20]!r}")
    return Entry(
        int(str(seq)), float(str(time)), str(action), changes_from_json(str(changes)),
        None if undoes is None else int(str(undoes)),
    )  # fmt: skip


def last_undoable(connection: sqlite3.Connection) -> Entry | None:
    """Return the newest entry that is neither an undo nor undone; None when there is none to undo."""
    undone: set[int] = set()
    for entry in read(connection, newest_first=True):
        if entry.undoes is not None:
            undone.add(entry.undoes)
        elif entry.action in PASSING:
            continue
        elif entry.action in NOT_UNDOABLE:
            return None
        elif entry.seq not in undone:
            return entry
    return None


def changes_back_to(connection: sqlite3.Connection, seq: int) -> tuple[Change, ...]:
    """Return the net changes that lead from now back to position `seq`."""
    samples: dict[int, tuple[str | None, str | None]] = {}  # id -> (label now, label then)
    host: dict[str, tuple[str | None, str | None]] = {}
    for entry in read(connection, after=seq, newest_first=True):
        if entry.action in _FINAL:
            raise SampleNotFoundError(
                f"{_FINAL[entry.action]} after position {seq}; only later versions can be returned to"
            )
        for change in reversed(entry.changes):
            if isinstance(change, HostChange):
                now, _ = host.get(change.label, (change.new, None))
                host[change.label] = (now, change.old)
                continue
            for number in range(change.first, change.last + 1):
                now, _ = samples.get(number, (change.new, None))
                samples[number] = (now, change.old)
    moved = ((number, now, then) for number, (now, then) in sorted(samples.items()) if now != then)
    relabeled = (HostChange(label, now, then) for label, (now, then) in sorted(host.items()) if now != then)
    return (*relabeled, *runs(moved))


def require_samples(entry: Entry, newest: int) -> Entry:
    """Return `entry` if it names no sample beyond `newest`, so that nothing loops over missing ids.

    Raises:
        StateError: The entry names a later sample.
    """
    for change in entry.changes:
        if isinstance(change, SampleRun) and change.last > newest:
            raise StateError(f"entry {entry.seq} of the journal names sample {change.last}, which is missing")
    return entry


def fold(entries: Iterable[Entry]) -> tuple[dict[int, str], dict[str, str | None]]:
    """Return the sum of the journal: label of each taught sample, and name (or None) of each changed host label.

    Raises:
        StateError: The entries contradict one another or are not numbered 1, 2, 3.
    """
    samples: dict[int, str] = {}
    host: dict[str, str | None] = {}
    for expected, entry in enumerate(entries, 1):
        if entry.seq != expected:
            raise StateError(f"entry {expected} of the journal is missing")
        for change in entry.changes:
            _fold_one(samples, host, change, entry.seq)
    return samples, {label: name for label, name in host.items() if name != label}


def _fold_one(samples: dict[int, str], host: dict[str, str | None], change: Change, seq: int) -> None:
    if isinstance(change, HostChange):
        if host.get(change.label, change.label) != change.old:
            raise StateError(f"entry {seq} of the journal contradicts an earlier one about {change.label!r}")
        host[change.label] = change.new
        return
    for number in range(change.first, change.last + 1):
        if samples.get(number) != change.old:
            raise StateError(f"entry {seq} of the journal contradicts an earlier one about sample {number}")
        if change.new is None:
            samples.pop(number, None)
        else:
            samples[number] = change.new


def sample_runs(entry: Entry) -> list[SampleRun]:
    """Return the runs of samples that an entry changed."""
    return [change for change in entry.changes if isinstance(change, SampleRun)]
