"""Saving what is intact of a damaged state file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StateError, StorageError
from ..files import atomic_output
from . import journal, rows, schema
from .database import copy_database
from .pages import Pages, Row
from .records import (
    Change,
    LabChange,
    ModelIdentity,
    SampleRun,
    Value,
    changes_from_json,
    checksum,
    runs,
)
from .store import Store, identity_from_json


@dataclass(frozen=True)
class Recovery:
    """What `recover` saved and what was lost.

    Attributes:
        path: The new state file.
        samples: Samples saved, a label.
        forgotten: Saved samples that were forgotten before.
        lost: Ids of samples that are gone.
        thumbnails_lost: Saved samples whose picture is gone.
        notes: What else the user should know.
    """

    path: Path
    samples: dict[str, int]
    forgotten: int
    lost: tuple[int, ...]
    thumbnails_lost: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON-able values."""
        return {**vars(self), "path": str(self.path)}


@dataclass
class _Found:
    """Intact rows of a damaged file, the newest of each."""

    identities: list[ModelIdentity] = field(default_factory=list)
    samples: dict[int, tuple[Value, ...]] = field(default_factory=dict)  # id -> columns of samples
    codes: dict[int, bytes] = field(default_factory=dict)
    thumbnails: dict[int, bytes] = field(default_factory=dict)
    journal: dict[int, tuple[Change, ...]] = field(default_factory=dict)

    def take(self, row: Row) -> None:
        """Keep a row if it is whole and belongs to one of the tables; rows come from older to newer."""
        values = row.values
        if len(values) == 2 and isinstance(values[1], str) and values[0] == "model":
            self._take_identity(values[1])
        elif len(values) == 8:
            self._take_sample(row.number, values)
        elif len(values) == 6:
            self._take_entry(row.number, values)
        elif len(values) == 3 and isinstance(values[2], bytes):
            if rows.code_checksum(row.number, values[2]) == values[1]:
                self.codes[row.number] = values[2]
            elif rows.thumbnail_checksum(row.number, values[2]) == values[1]:
                self.thumbnails[row.number] = values[2]

    def _take_identity(self, text: str) -> None:
        try:
            self.identities.append(identity_from_json(text))
        except StateError:
            return

    def _take_sample(self, number: int, values: tuple[Value, ...]) -> None:
        _, uuid, label, time, source, burst, seq, crc = values  # the id itself is the row's number
        if not isinstance(time, int | float) or not isinstance(seq, int):
            return
        time = float(time)  # SQLite stores 2.0 as the integer 2
        if rows.sample_checksum(number, uuid, label, time, source, burst, seq) != crc:
            return
        before = self.samples.get(number)
        if before is None or int(str(before[6])) <= seq:  # a stale page may hold an older version of the row
            self.samples[number] = (number, uuid, label, time, source, burst, seq)

    def _take_entry(self, seq: int, values: tuple[Value, ...]) -> None:
        _, time, action, undoes, changes, crc = values
        if not isinstance(time, int | float) or not isinstance(changes, str):
            return
        if checksum("journal", seq, float(time), action, undoes, changes) == crc:
            self.journal[seq] = changes_from_json(changes)


def recover(
    path: str | Path, out: str | Path, identity: ModelIdentity | None = None, *, force: bool = False
) -> Recovery:
    """Write every intact sample of `path` into a new state file `out`; `path` is only read.

    Labels are those of the newest intact row of each sample. Ids and the samples' own names are kept, so
    that merging still knows them. The journal begins anew: undo and versions do not reach back.

    Args:
        path: The damaged file; its log beside it is read too.
        out: The new state file.
        identity: The model it belongs to, when the file no longer says.
        force: Overwrite `out`.

    Raises:
        StateError: Nothing of a state file is left, or it does not say its model and `identity` is None.
        StorageError: `path` cannot be read, `out` is there and `force` is not given, or it cannot be written.
    """
    path, out = Path(path), Path(out)
    if out.exists() and path.samefile(out):
        raise StorageError(f"{out} is the damaged file itself; give another name for the new one")
    found, in_log = _found(path)
    model = identity or (found.identities[-1] if found.identities else None)
    if model is None:
        raise StateError(
            f"{path} no longer says which model it belongs to; name it: edgetl recover {path} --model MODEL --out {out}"
            if found.samples or found.codes
            else f"nothing of a state file is left in {path}; was it one? take the newest backup instead"
        )
    whole = [
        number
        for number in sorted(found.samples)
        if len(found.codes.get(number, b"")) == 2 * model.dimensions
    ]
    with Store.open(None, model) as store, atomic_output(out, force=force) as temporary:
        labels, lab = _names(found, whole)
        _write(store, found, whole, labels, lab)
        store.verify()
        copy_database(store.database, temporary)
        return _told(found, store, out, in_log)


def _found(path: Path) -> tuple[_Found, int]:
    try:
        pages = Pages(path, schema.PAGE_SIZE)
    except OSError as error:
        raise StorageError(error.errno, f"{path} cannot be read: {error.strerror}") from error
    found = _Found()
    for row in pages.rows():
        found.take(row)
    return found, pages.in_log


def _names(found: _Found, whole: Iterable[int]) -> tuple[dict[int, str | None], dict[str, str | None]]:
    """Give the label of each sample, and what became of the host's labels as far as the journal tells."""
    labels = {number: found.samples[number][2] for number in whole}
    lab: dict[str, str | None] = {}
    for seq in sorted(found.journal):
        for change in found.journal[seq]:
            if isinstance(change, LabChange):
                lab[change.label] = change.new
            elif isinstance(change, SampleRun):
                # an intact entry that is newer than the newest intact row of a sample has the last word
                for number in range(change.first, change.last + 1):
                    if number in labels and seq > int(str(found.samples[number][6])):
                        labels[number] = change.new
    kept = {number: None if label is None else str(label) for number, label in labels.items()}
    return kept, {label: name for label, name in lab.items() if name != label}


def _write(
    store: Store,
    found: _Found,
    whole: list[int],
    labels: dict[int, str | None],
    lab: dict[str, str | None],
) -> None:
    """Fill an empty state: the samples under their old ids, gaps as forgotten ones, one journal entry."""
    with store.database.transaction() as connection:
        taught = runs((number, None, labels[number]) for number in whole if labels[number] is not None)
        renamed = [LabChange(label, label, name) for label, name in sorted(lab.items())]
        entry = journal.append(connection, store.now(), "recover", (*renamed, *taught))
        for change in renamed:
            rows.set_lab(connection, change)
        for number in range(1, (whole[-1] if whole else 0) + 1):
            rows.insert_found(connection, number, found.samples.get(number), labels.get(number), entry.seq)
        for number in whole:
            rows.insert_code(connection, number, found.codes[number])
            if number in found.thumbnails:
                rows.insert_thumbnail(connection, number, found.thumbnails[number])


def _told(found: _Found, store: Store, out: Path, in_log: int) -> Recovery:
    ids, _, _ = store.ids()
    saved = {int(number) for number in ids}
    forgotten = sum(1 for number in found.codes if number in found.samples and number not in saved)
    expected = {
        number
        for changes in found.journal.values()
        for change in changes
        if isinstance(change, SampleRun)
        for number in range(change.first, change.last + 1)
    } | set(found.samples) | set(found.codes)  # fmt: skip
    present = {number for number in found.samples if number in found.codes}
    lost = set(range(1, max(expected, default=0) + 1)) - present - _purged(found)
    notes = ["undo and versions begin anew with the recovered file"]
    if in_log:
        notes.append("samples that stood only in the log beside the file are included")
    notes.append("samples taught after the last intact page leave no trace and cannot be counted")
    without = sum(1 for number in saved if number not in found.thumbnails)
    return Recovery(out, store.counts(), forgotten, tuple(sorted(lost)), without, tuple(notes))


def _purged(found: _Found) -> set[int]:
    """Ids whose codes are gone on purpose: forgotten, and no longer there."""
    return {number for number, row in found.samples.items() if row[2] is None and number not in found.codes}
