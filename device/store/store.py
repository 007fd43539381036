"""The store: samples and journal of one device, every acknowledged write durable."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EmbeddingError, SampleNotFoundError, StateBusyError, StateError
from ..negatives import describe, negative_of, split_label
from ..views import ONE, VIEWS
from . import journal, rows
from .database import Database
from .faults import damaged, escaped
from .records import (
    EXCLUDED,
    MAX_DIMENSIONS,
    Change,
    Entry,
    HostChange,
    ModelIdentity,
    NewSample,
    Sample,
    SampleRun,
    Version,
    checksum,
    is_plausible_time,
    plain_label,
    runs,
)
from .verify import PictureCheck, verify, verify_pictures

SHARED = "fleet"  # name of the shared statistics among the derived heads
_CHUNK = 500  # rows read or bound at once: limits RAM, and old SQLite allows 999 variables


class Store:
    """The state file of one device.

    Every method that writes returns once the change is on the disk (WAL, ``synchronous = FULL``), and
    changes everything or nothing. Several processes may have one file open: writes wait for one another, and
    `position` shows what other processes wrote.

    Example:
        >>> identity = ModelIdentity("0" * 64, dimensions=4)
        >>> with Store.open(None, identity) as store:
        ...     entry = store.learn([NewSample("mug", np.ones(4, np.int16), 0.0)])
        ...     store.counts(), entry.changes
        ({'mug': 1}, (SampleRun(first=1, last=1, old=None, new='mug'),))
    """

    def __init__(self, database: Database, identity: ModelIdentity, clock: Callable[[], float]) -> None:
        self.database = database
        self.identity = identity
        self._clock = clock
        self._counts: dict[str, tuple[int, dict[str, int]]] = {}  # condition -> position and counts

    @classmethod
    def open(
        cls,
        path: str | Path | None,
        identity: ModelIdentity | None = None,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> Store:
        """Open a state file, or a state in RAM when `path` is None.

        Args:
            path: The file; it is made when it is missing and `identity` is given.
            identity: The model it must belong to; None accepts the model named in the file.
            read_only: Change no byte on the disk, not even to fold in the log of a crash.
            clock: Returns seconds since the epoch.

        Raises:
            StateError: The file is foreign, damaged, newer, or of another model.
            StateBusyError: Another process holds it.
            StorageError: The file is missing, or cannot be opened or made.
        """
        begin = None if identity is None else partial(_put_identity, identity)
        check = partial(_settle_identity, wanted=identity)
        database = Database.open(
            None if path is None else Path(path), begin=begin, check=check, read_only=read_only
        )
        try:
            found = _settle_identity(database, identity)
            if identity is not None and path is not None and not database.read_only:
                _note_backbone(database, found, identity)
            return cls(database, found, clock)
        except BaseException:
            database.close()
            raise

    @property
    def path(self) -> Path | None:
        """The file, or None in RAM."""
        return self.database.path

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self.database.closed

    @property
    def read_only(self) -> bool:
        """True when nothing can be written."""
        return self.database.read_only

    # writing

    def claim(self, connection: sqlite3.Connection) -> None:
        """Write the model that a new state belongs to; runs inside the caller's transaction."""
        _put_identity(self.identity, connection)

    def set_views(self, views: str) -> None:
        """Use other views of a frame from now on, as long as nothing was ever taught.

        Raises:
            StateError: Something was taught; its embeddings are of the views so far.
        """
        with self.database.transaction() as connection:
            if self.position():
                raise StateError(f"{self.database.name} has samples, so its views cannot change")
            self.identity = replace(self.identity, views=views)
            self.claim(connection)

    def learn(self, samples: Sequence[NewSample], action: str = "learn") -> Entry:
        """Write samples in one transaction and return once they are durable.

        Returns:
            The journal entry; its runs of samples follow the order of `samples`.
        """
        with self.database.transaction() as connection:
            return self.write(connection, samples, action)

    def write(self, connection: sqlite3.Connection, samples: Sequence[NewSample], action: str) -> Entry:
        """Do the work of `learn` inside the caller's transaction."""
        return self.write_labeled(connection, [sample.label for sample in samples], samples, action)

    def write_labeled(
        self, connection: sqlite3.Connection, labels: Sequence[str], samples: Iterable[NewSample], action: str
    ) -> Entry:
        """Write samples that are read one by one and whose labels are known in advance.

        Raises:
            EmbeddingError: A code has the wrong shape; the caller rolls back.
            StateError: A time is no date, or another process chose other views meanwhile; the caller rolls back.
        """
        _refuse_other_views(self.database, self.identity)
        first = rows.next_id(connection)
        changes = runs((first + place, None, label) for place, label in enumerate(labels))
        entry = journal.append(connection, self._clock(), action, changes)
        for place, sample in enumerate(samples):
            self._check(sample)
            rows.insert(connection, first + place, sample, entry.seq)
        return entry

    def relabel(self, labels: Mapping[int, str | None], action: str = "relabel") -> Entry:
        """Change the labels of samples; None forgets them. An excluded sample with a new label teaches again.

        Raises:
            SampleNotFoundError: An id was never taught or is forgotten.
        """
        with self.database.transaction():
            found = self._labels_of(labels)
            moved = ((number, found[number], labels[number]) for number in sorted(labels))
            return self._apply(action, runs(change for change in moved if change[1] != change[2]))

    def exclude(self, numbers: Iterable[int], excluded: bool = True) -> Entry:
        """Keep samples without teaching them, or with `excluded` False teach them again.

        Raises:
            SampleNotFoundError: An id was never taught or is forgotten.
        """
        with self.database.transaction():
            found = self._labels_of(sorted(set(numbers)))
            mark = EXCLUDED if excluded else ""
            moved = ((number, old, mark + plain_label(old)) for number, old in sorted(found.items()))
            changes = runs(change for change in moved if change[1] != change[2])
            return self._apply("exclude" if excluded else "include", changes)

    def rename(self, old: str, new: str | None, host_labels: Iterable[str] = ()) -> Entry:
        """Rename a label, in its samples, its negatives and for the host's memory; None deletes it.

        Args:
            old: A present label.
            new: Its new name, which may be in use already, or None.
            host_labels: Labels in the memory of the model file.
        """
        with self.database.transaction() as connection:
            names = self.host_labels()
            renamed = [
                HostChange(label, old, new) for label in sorted(host_labels) if names.get(label, label) == old
            ]
            pairs = {old: new, negative_of(old): None if new is None else negative_of(new)}
            now = pairs | {
                EXCLUDED + before: None if after is None else EXCLUDED + after
                for before, after in pairs.items()
            }
            statement = "SELECT id, label FROM samples WHERE label IN (?, ?, ?, ?) ORDER BY id"
            listed = connection.execute(statement, tuple(now))
            moved = ((number, label, now[label]) for number, label in listed)
            return self._apply("delete" if new is None else "rename", (*renamed, *runs(moved)))

    def undo(self) -> Entry | None:
        """Undo the newest entry that is not undone; return None when nothing is left to undo."""
        with self.database.transaction() as connection:
            entry = journal.last_undoable(connection)
            if entry is None:
                return None
            changes = tuple(change.reversed() for change in reversed(entry.changes))
            return self._apply("undo", changes, undoes=entry.seq)

    def rollback(self, seq: int) -> Entry:
        """Return to the state at journal position `seq`; this is an entry itself and can be undone."""
        with self.database.transaction() as connection:
            if not 0 <= seq <= self.position():
                raise StateError(f"the journal has positions 0 to {self.position()}, got {seq}")
            return self._apply("rollback", journal.changes_back_to(connection, seq))

    def purge(self) -> int:
        """Erase the codes and thumbnails of forgotten samples from the file; they cannot be undone then.

        Returns:
            The number of erased samples.
        """
        with self.database.transaction() as connection:
            connection.execute("PRAGMA secure_delete = ON")  # overwrite with zeros, not just unlink
            count = rows.erase_forgotten(connection)
            if count:
                self._apply("purge", ())
        with self.database.lock:
            self.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")  # the log still held the erased pages
        return count

    # reading

    def position(self) -> int:
        """Return the number of the newest journal entry, 0 in a new file."""
        return int(self.database.value("SELECT coalesce(max(seq), 0) FROM journal"))

    def entries(self, after: int = 0) -> list[Entry]:
        """Read the journal after position `after`."""
        with self._naming_damage():
            return self.database.read(lambda: list(journal.read(self.database.connection, after)))

    def counts(self) -> dict[str, int]:
        """Return the number of taught samples per label, without negatives and background."""
        return self._counted(rows.HAS_LABEL)

    def hidden_counts(self) -> dict[str, int]:
        """Return the number of negatives and of background samples per stored label, see `device.negatives`."""
        return self._counted(rows.IS_HIDDEN)

    def excluded_counts(self) -> dict[str, int]:
        """Return the number of excluded samples per label; negatives and background under what they mean."""
        counted = self._counted(rows.IS_EXCLUDED)
        return {describe(*split_label(stored)): count for stored, count in counted.items()}

    def _counted(self, which: str) -> dict[str, int]:
        """Return the number of samples per label; counted once per position of the journal, because that reads all samples."""
        position = self.position()  # before counting: what is written meanwhile is counted again
        known = self._counts.get(which)
        if known is None or known[0] != position:
            known = self._counts[which] = position, self._count(which)
        return dict(known[1])

    def _count(self, which: str) -> dict[str, int]:
        statement = f"SELECT label, count(*) FROM samples WHERE {which} GROUP BY label ORDER BY label"  # noqa: S608
        with self._naming_damage():
            listed = self.database.rows(statement)
            return {rows.checked_label(plain_label(label)): count for label, count in listed}

    def samples(
        self,
        label: str | None = None,
        limit: int | None = None,
        thumbnails: bool = True,
        before: int | None = None,
        excluded: bool = False,
    ) -> list[Sample]:
        """List taught samples, or the excluded ones, newest first.

        Args:
            label: Only those of this label, as it is stored.
            limit: Maximum number.
            thumbnails: Read their thumbnails.
            before: Only those of smaller ids.
            excluded: List the excluded samples instead.
        """
        with self._naming_damage():
            return rows.samples(self.database, label, limit, thumbnails, before, excluded)

    def sample(self, number: int) -> Sample:
        """Return one sample, taught or excluded.

        Raises:
            SampleNotFoundError: The sample was never taught or is forgotten.
        """
        with self._naming_damage():
            found = rows.samples_in(self.database, [number])
        if not found:
            raise _not_found([number])
        return found[0]

    def described(self, numbers: Sequence[int]) -> list[Sample]:
        """Return those of `numbers` that are taught or excluded, with thumbnails, by id."""
        with self._naming_damage():
            return rows.samples_in(self.database, numbers)

    def ids(self, *, hidden: bool | None = False) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64]]:
        """Return id, stored label and burst of taught samples, oldest first, without reading codes.

        Args:
            hidden: False for those that have a label, True for negatives and background, None for all.
        """
        which = rows.IS_TAUGHT if hidden is None else rows.IS_HIDDEN if hidden else rows.HAS_LABEL
        listed = self.database.rows(f"SELECT id, label, burst FROM samples WHERE {which} ORDER BY id")  # noqa: S608
        with self._naming_damage():
            labels = [rows.checked_label(row[1]) for row in listed]
        return (
            np.array([row[0] for row in listed], np.int64),
            labels,
            np.array([row[2] for row in listed], np.int64),
        )

    def codes(self, numbers: Sequence[int]) -> NDArray[np.int16]:
        """Read the codes of samples, taught or forgotten, in the order of `numbers`: int16 [N, D].

        Raises:
            SampleNotFoundError: One was never taught, or was purged.
            StateError: A code does not match its checksum, or that of a taught sample is missing.
        """
        with self._naming_damage():
            try:
                return rows.codes(self.database, numbers, self.identity.dimensions)
            except SampleNotFoundError:
                if missing := rows.without_code(self.database, numbers):
                    raise StateError(f"the embedding of sample {missing[0]} is missing") from None
                raise

    def code_runs(self, first: int, last: int) -> Iterator[tuple[list[int], NDArray[np.int16]]]:
        """Read the codes of samples `first`..`last` in bounded pieces of (ids, int16 [n, D])."""
        for start in range(first, last + 1, _CHUNK):
            numbers = list(range(start, min(start + _CHUNK, last + 1)))
            yield numbers, self.codes(numbers)

    def taught_chunks(
        self, *, hidden: bool = False
    ) -> Iterator[tuple[list[int], list[str], NDArray[np.int16]]]:
        """Read taught samples, oldest first, in bounded pieces of (ids, stored labels, codes).

        Args:
            hidden: Read negatives and background in place of the samples that have a label.
        """
        after, which = 0, rows.IS_HIDDEN if hidden else rows.HAS_LABEL
        statement = f"SELECT id, label FROM samples WHERE id > ? AND {which} ORDER BY id LIMIT ?"  # noqa: S608
        while chunk := self.database.rows(statement, (after, _CHUNK)):
            numbers = [row[0] for row in chunk]
            with self._naming_damage():
                labels = [rows.checked_label(row[1]) for row in chunk]
            yield numbers, labels, self.codes(numbers)
            after = numbers[-1]

    def host_labels(self) -> dict[str, str | None]:
        """Return the present name of each renamed label of the host, None for a deleted one."""
        with self._naming_damage():
            return {
                label: None if name is None else rows.checked_label(name)
                for label, name in self.database.rows("SELECT label, name FROM lab")
            }

    # versions, derived heads, settings

    def add_version(self, note: str, metrics: Mapping[str, Any]) -> Version:
        """Name the present position, so that `rollback` can return to it."""
        with self.database.transaction() as connection:
            number = connection.execute("SELECT coalesce(max(version), 0) + 1 FROM versions").fetchone()[0]
            version = Version(number, self.position(), self._clock(), note, dict(metrics))
            connection.execute(
                "INSERT INTO versions (version, seq, time, note, metrics) VALUES (?, ?, ?, ?, ?)",
                (number, version.seq, version.time, note, json.dumps(version.metrics)),
            )
        return version

    def versions(self) -> list[Version]:
        """List the named positions, oldest first."""
        listed = self.database.rows("SELECT version, seq, time, note, metrics FROM versions ORDER BY version")
        return [Version(number, seq, at, note, _metrics(text)) for number, seq, at, note, text in listed]

    def keep_head(self, name: str, seq: int, digest: str, state: bytes) -> None:
        """Store a derived head, so that opening does not read every sample again."""
        with self.database.transaction() as connection:
            _put_head(connection, name, seq, digest, state)

    def kept_head(self, name: str) -> tuple[int, str, bytes] | None:
        """Return (position, digest, state) of a stored head; None when there is none or it is damaged."""
        found = self.database.rows("SELECT seq, digest, state, crc FROM heads WHERE head = ?", (name,))
        if not found or checksum(name, *found[0][:3]) != found[0][3]:
            return None
        seq, digest, state, _ = found[0]
        return seq, digest, state

    def keep_shared(self, digest: str, state: bytes) -> Entry:
        """Store what the other devices of a fleet have learned; the entry in the journal lets every process notice."""
        with self.database.transaction() as connection:
            entry = self._apply(journal.SHARE, ())
            _put_head(connection, SHARED, entry.seq, digest, state)
            return entry

    def shared_digest(self) -> str:
        """Return the digest of what `keep_shared` stored; "" if there is nothing."""
        return str(
            self.database.value("SELECT coalesce(max(digest), '') FROM heads WHERE head = ?", (SHARED,))
        )

    def erase_shared(self) -> bool:
        """Erase what `keep_shared` stored; return whether there was anything."""
        with self.database.transaction() as connection:
            erased = connection.execute("DELETE FROM heads WHERE head = ?", (SHARED,)).rowcount > 0
            if erased:
                self._apply(journal.LEAVE, ())
            return erased

    def has_kept_heads(self) -> bool:
        """Return whether any derived head is stored."""
        return self.database.value("SELECT 1 FROM heads LIMIT 1") is not None

    def now(self) -> float:
        """Return the wall clock in seconds, as for journal entries."""
        return self._clock()

    def setting(self, key: str, default: Any = None) -> Any:
        """Read a setting."""
        text = self.database.value("SELECT value FROM settings WHERE key = ?", (key,))
        with self._naming_damage():
            return default if text is None else _json(text)

    def set_setting(self, key: str, value: Any) -> None:
        """Write a setting, any JSON value."""
        with self.database.transaction() as connection:
            _put_setting(connection, key, value)

    # the file

    def size(self) -> int:
        """Return the bytes of the state on the disk, with its log; for a state in RAM, the bytes it would take."""
        if self.path is None:
            return int(self.database.value("PRAGMA page_count")) * int(
                self.database.value("PRAGMA page_size")
            )
        parts = (self.path, Path(f"{self.path}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def backup(self, path: str | Path, *, force: bool = False, thumbnails: bool = True) -> Path:
        """Copy the state to `path` as one complete file, even while it is in use; see `device.store.backup`.

        Raises:
            StateError: The state is damaged.
            StorageError: `path` exists and `force` is false, or it cannot be written.
        """
        from .backup import backup

        return backup(self, path, force=force, thumbnails=thumbnails)

    def verify(self) -> int:
        """Check every page, row, embedding and journal entry, and return the number of samples checked.

        Raises:
            StateError: Something is damaged; the message names it.
        """
        return verify(self.database, self.identity.dimensions)

    def verify_pictures(self) -> PictureCheck:
        """Decode every thumbnail, and return which are intact, missing or broken."""
        return verify_pictures(self.database)

    def flush(self) -> None:
        """Fold the log into the file, as far as other readers allow; durability does not depend on it."""
        if not self.read_only:
            self.database.rows("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.database.name}{' (read-only)' if self.read_only else ''}>"

    def _check(self, sample: NewSample) -> None:
        expected = (self.identity.dimensions,)
        if sample.code.shape != expected or sample.code.dtype != np.int16:
            raise EmbeddingError(
                f"a code must be int16 of shape {expected}, got {sample.code.dtype} {sample.code.shape}"
            )

        if not is_plausible_time(sample.time):
            raise StateError(
                f"a sample's time must be seconds since 1970 of a year from 1 to 9999, got {sample.time}"
            )

    def _labels_of(self, numbers: Mapping[int, object] | Sequence[int]) -> dict[int, str]:
        found = rows.labels(self.database, list(numbers))
        missing = sorted(number for number in numbers if number not in found)
        if missing:
            raise _not_found(missing)
        return found

    def _apply(self, action: str, changes: Sequence[Change], undoes: int | None = None) -> Entry:
        connection = self.database.connection
        entry = journal.append(connection, self._clock(), action, changes, undoes)
        for change in changes:
            if isinstance(change, SampleRun):
                rows.set_label(connection, change, entry.seq)
            else:
                rows.set_host_label(connection, change)
        return entry

    @contextlib.contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except StateBusyError:
            raise
        except StateError as error:
            raise error if "edgetl recover" in str(error) else damaged(self.database.name, error) from error


def _not_found(numbers: Sequence[int]) -> SampleNotFoundError:
    listed = ", ".join(map(str, numbers[:10])) + (" ..." if len(numbers) > 10 else "")
    return SampleNotFoundError(
        f"no taught sample has the id {listed}; it was never taught or is forgotten; list the samples with:"
        " edgetl status --samples"
    )


def _settle_identity(database: Database, wanted: ModelIdentity | None) -> ModelIdentity:
    found = _read_identity(database)
    if found is None and wanted is not None:
        return wanted if database.read_only and _is_empty(database) else _claimed(database, wanted)
    if found is None:
        raise damaged(database.name, "it does not name its model")
    if wanted is not None:
        _refuse_other_model(database, found, wanted)
    return found


def _is_empty(database: Database) -> bool:
    return not database.value("SELECT count(*) FROM samples") and not database.value(
        "SELECT count(*) FROM journal"
    )


def _put_head(connection: sqlite3.Connection, name: str, seq: int, digest: str, state: bytes) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO heads (head, seq, digest, crc, state) VALUES (?, ?, ?, ?, ?)",
        (name, seq, digest, checksum(name, seq, digest, state), state),
    )


def _claimed(database: Database, wanted: ModelIdentity) -> ModelIdentity:
    """Write the model that an empty state belongs to, which older versions did only after making the file."""
    if not _is_empty(database):
        raise damaged(database.name, "it does not name the model of its samples; name it with --model MODEL")
    with database.transaction() as connection:
        found = _read_identity(database)  # another process may have been faster
        if found is None:
            _put_identity(wanted, connection)
    if found is not None:
        _refuse_other_model(database, found, wanted)
    return found or wanted


def _refuse_other_model(database: Database, found: ModelIdentity, wanted: ModelIdentity) -> None:
    def described(identity: ModelIdentity) -> str:
        return escaped(
            f"{identity.name or 'a model'} ({identity.backbone or '?'}, sha256 {identity.sha256[:12]})"
        )

    if not found.shares_states_with(wanted):
        raise StateError(
            f"{database.name} belongs to {described(found)}, but the given model is {described(wanted)}; a model"
            " cannot use the embeddings of another: use that model, or another --state file for this one, or embed the"
            f" stored pictures again: edgetl reembed {wanted.name or 'MODEL'} {database.name} --state NEW.db"
        )
    if (found.dimensions, found.embedding_map) != (wanted.dimensions, wanted.embedding_map):
        raise damaged(
            database.name, f"it names {found.dimensions} dimensions, the model has {wanted.dimensions}"
        )


def _refuse_other_views(database: Database, mine: ModelIdentity) -> None:
    found = _read_identity(database)
    if found is not None and found.views != mine.views:
        raise StateError(
            f"{database.name} was opened with views={mine.views}, but another process chose {found.views} since; open it"
            " again"
        )


def _read_identity(database: Database) -> ModelIdentity | None:
    text = database.value("SELECT value FROM settings WHERE key = 'model'")
    if text is None:
        return None
    try:
        identity = identity_from_json(text)
    except StateError as error:
        raise damaged(database.name, error) from error
    return replace(identity, backbone_digest=lambda: _noted_backbone(database))


def _noted_backbone(database: Database) -> str:
    """Return the checksum that `_note_backbone` wrote; "" where there is none or it is damaged."""
    text = database.value("SELECT value FROM settings WHERE key = 'backbone'")
    fields = None if text is None else _json(text)
    digest = str(fields.get("sha256", "")) if isinstance(fields, dict) else ""
    return digest if isinstance(fields, dict) and fields.get("crc") == checksum("backbone", digest) else ""


def _note_backbone(database: Database, found: ModelIdentity, model: ModelIdentity) -> None:
    """Write the checksum of the backbone, so that other models with the same one can use the state."""
    if found.sha256 == model.sha256 and not _noted_backbone(database) and (digest := model.backbone_digest()):
        with database.transaction() as connection:
            note = {"sha256": digest, "crc": checksum("backbone", digest)}
            _put_setting(connection, "backbone", note)


def identity_to_json(identity: ModelIdentity) -> dict[str, Any]:
    """Return the entry that names the model of a state, with its checksum."""
    fields = _fields(identity)
    return fields | {"crc": checksum(*fields.values())}


def _fields(identity: ModelIdentity) -> dict[str, Any]:
    """Return the fields of the entry; one view is not written, so that such states stay readable for older versions."""
    fields = {name: value for name, value in vars(identity).items() if name != "backbone_digest"}
    if fields["views"] == ONE:
        del fields["views"]
    return fields


def identity_from_json(text: str) -> ModelIdentity:
    """Return the identity in the entry that names the model of a state.

    Raises:
        StateError: The entry is damaged.
    """
    fields = _json(text)
    try:
        identity = ModelIdentity(
            sha256=str(fields["sha256"]), dimensions=int(fields["dimensions"]),
            embedding_map=str(fields["embedding_map"]), backbone=str(fields["backbone"]), name=str(fields["name"]),
            views=str(fields.get("views", ONE)),
        )  # fmt: skip
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise StateError(f"the entry about its model cannot be read ({str(error)[:100]})") from error
    if fields.get("crc") != checksum(*_fields(identity).values()):
        raise StateError("the entry about its model does not match its checksum")
    if identity.views not in VIEWS:
        raise StateError(f"the entry about its model names the views {identity.views[:40]!r}")
    if not 1 <= identity.dimensions <= MAX_DIMENSIONS:
        raise StateError(f"the entry about its model names {identity.dimensions} dimensions")
    return identity


def _put_identity(identity: ModelIdentity, connection: sqlite3.Connection) -> None:
    _put_setting(connection, "model", identity_to_json(identity))


def _put_setting(connection: Any, key: str, value: Any) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)",
        (key, json.dumps(value, ensure_ascii=False)),
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise StateError(f"a value in the state file is no JSON: {str(text)[:40]!r}") from error


def _metrics(text: str) -> dict[str, Any]:
    """Return the figures noted with a version; they have no checksum, and nothing depends on them."""
    try:
        found = _json(text)
    except StateError:
        return {}
    return found if isinstance(found, dict) else {}
