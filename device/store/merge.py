"""Merging the samples of another device, each once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ..errors import StateError
from . import rows
from .faults import damaged, without_controls
from .records import MAX_SOURCE_CHARACTERS, UUID_BYTES, Entry, NewSample, is_plausible_time
from .store import Store

_CHUNK = 100  # with thumbnails of up to 1 MB each


def merge(
    store: Store, other: Path, *, known: Callable[[Store], Collection[int]] = lambda _: ()
) -> Entry | None:
    """Learn the samples of `other` that this state does not have, in one transaction.

    Each sample has a name of 16 random bytes from the device that taught it. A sample whose name is here already,
    taught, excluded or forgotten, stays as it is here. So merging twice changes nothing, in either direction, and
    forgotten samples do not come back. Samples that `other` excludes are not learned.

    Args:
        store: The state that learns.
        other: The state file of the other device.
        known: Returns the ids of samples in the state `other` that are not learned, because the model contains them.

    Returns:
        The entry, or None when there was nothing new.

    Raises:
        StateError: `other` is damaged, or belongs to another model.
        StorageError: `other` is missing, or this state cannot be written.
    """
    if store.path is not None and other.exists() and other.samefile(store.path):
        raise StateError(f"{other} is this state file itself; pass the file of another device")
    with Store.open(other, None, read_only=True) as source:
        _refuse_other_model(store, source)
        _refuse_other_views(store, source)
        # otherwise two simultaneous merges could both learn a sample
        with source.database.reading(), store.database.transaction() as connection:
            left_out = set(known(source))
            fresh = [entry for entry in _fresh(store, source) if entry[0] not in left_out]
            if not fresh:
                return None
            _refuse_impossible(source)
            return store.write_labeled(
                connection, [label for _, label in fresh], _samples(source, fresh), "merge"
            )


def _refuse_other_model(store: Store, source: Store) -> None:
    mine, theirs = store.identity, source.identity
    if not mine.shares_states_with(theirs) or mine.dimensions != theirs.dimensions:
        raise StateError(
            f"{source.path} was taught to {theirs.name or 'another model'} (sha256 {theirs.sha256[:12]}), this state"
            f" to {mine.name or 'a model'} (sha256 {mine.sha256[:12]}); only states of one backbone can be merged:"
            f" edgetl reembed {mine.name or 'MODEL'} {source.path} --state NEW.db makes one from the pictures in it"
        )


def _refuse_other_views(store: Store, source: Store) -> None:
    mine, theirs = store.identity.views, source.identity.views
    if mine != theirs:
        raise StateError(
            f"{source.path} was taught with the views {theirs!r} of a frame, this state with {mine!r}; only states with the"
            f" same views can be merged: edgetl reembed {store.identity.name or 'MODEL'} {source.path} --views {mine}"
            " --state NEW.db makes one from the pictures in it"
        )


def _fresh(store: Store, source: Store) -> list[tuple[int, str]]:
    """Return id and label of the taught samples of `source` that `store` does not have, oldest first."""
    known = set(rows.uuids(store.database))
    statement = f"SELECT id, uuid, label FROM samples WHERE {rows.IS_TAUGHT} ORDER BY id"  # noqa: S608 - a constant
    listed = source.database.rows(statement)
    return [(number, label) for number, uuid, label in listed if uuid not in known]


def _refuse_impossible(source: Store) -> None:
    """Refuse values that no device writes, so that they do not get into an intact state."""
    listed = source.database.connection.execute(
        f"SELECT id, uuid, time, source FROM samples WHERE {rows.IS_TAUGHT}"  # noqa: S608 - a constant
    )
    for number, uuid, time, origin in listed:
        if not is_plausible_time(time):
            raise damaged(source.path, f"sample {number} has the time {time:g}, which is no date")
        if origin != without_controls(origin)[:MAX_SOURCE_CHARACTERS]:
            raise damaged(
                source.path, f"the source of sample {number} contains control characters or is too long"
            )
        if len(uuid) > UUID_BYTES:
            raise damaged(
                source.path, f"the name of sample {number} has {len(uuid)} bytes instead of {UUID_BYTES}"
            )


def _samples(source: Store, fresh: list[tuple[int, str]]) -> Iterator[NewSample]:
    """Yield samples of a state as new samples, with a few at a time in RAM."""
    for start in range(0, len(fresh), _CHUNK):
        numbers = [number for number, _ in fresh[start : start + _CHUNK]]
        described = {sample.id: sample for sample in source.described(numbers)}
        names = rows.uuids_of(source.database, numbers)
        for number, code in zip(numbers, source.codes(numbers), strict=True):
            sample = described[number]
            yield NewSample(
                sample.stored_label,
                code,
                sample.time,
                sample.source,
                sample.burst,
                sample.thumbnail,
                names[number],
            )
