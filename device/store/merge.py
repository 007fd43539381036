"""Learning what another device learned, each sample once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import StateError
from . import rows
from .records import Entry, NewSample
from .store import Store

_CHUNK = 500


def merge(store: Store, other: Path) -> Entry | None:
    """Learn the samples of `other` that this state does not know, in one transaction.

    Samples carry a name of 16 random bytes from the device that taught them. A name that is here already,
    taught or forgotten, is left as it is here; so merging twice changes nothing, in either direction, and
    what was forgotten here does not come back.

    Returns:
        The entry, or None when there was nothing new.

    Raises:
        StateError: `other` is damaged, or belongs to another model.
        StorageError: `other` is missing, or this state cannot be written.
    """
    if store.path is not None and other.exists() and other.samefile(store.path):
        raise StateError(f"{other} is this very state file; give the file of another device")
    with Store.open(other, None, read_only=True) as source:
        _refuse_other_model(store, source)
        with store.database.transaction() as connection:  # or two merges at once could both find a sample new
            fresh = _fresh(store, source)
            return store.write(connection, fresh, "merge") if fresh else None


def _refuse_other_model(store: Store, source: Store) -> None:
    mine, theirs = store.identity, source.identity
    if mine.sha256 != theirs.sha256 or mine.dimensions != theirs.dimensions:
        raise StateError(
            f"{source.path} was taught to {theirs.name or 'another model'} (sha256 {theirs.sha256[:12]}), this state"
            f" to {mine.name or 'a model'} (sha256 {mine.sha256[:12]}); only states of one model file can be merged:"
            f" edgetl reembed {mine.name or 'MODEL'} {source.path} --state NEW.db makes one of the pictures in it"
        )


def _fresh(store: Store, source: Store) -> list[NewSample]:
    known = set(rows.uuids(store.database))
    return [sample for sample in new_samples(source) if sample.uuid not in known]


def new_samples(source: Store) -> Iterator[NewSample]:
    """Read every taught sample of a state as one that can be learned, oldest first."""
    listed = source.database.rows("SELECT id, uuid FROM samples WHERE label IS NOT NULL ORDER BY id")
    for start in range(0, len(listed), _CHUNK):
        chunk = listed[start : start + _CHUNK]
        numbers = [number for number, _ in chunk]
        described = {sample.id: sample for sample in rows.samples_in(source.database, numbers)}
        for (number, uuid), code in zip(chunk, source.codes(numbers), strict=True):
            sample = described[number]
            yield NewSample(
                sample.label, code, sample.time, sample.source, sample.burst, sample.thumbnail, uuid
            )
