"""Copying everything except the embeddings from the state of another model."""

from __future__ import annotations

from .store import Store

# These contain nothing that depends on a model: their rows and checksums are valid for any.
_TABLES = ("samples", "thumbnails", "lab", "journal", "versions")


def inherit(store: Store, source: Store) -> None:
    """Fill the empty state `store` with samples, pictures, names, journal and versions of `source`, row by row.

    Ids and the samples' own names are kept, so that undo, rollback and merging still work. The caller writes
    the codes, and calls `leave_behind` for samples without one.
    """
    with source.database.reading(), store.database.transaction() as connection:
        for table in _TABLES:
            read = source.database.connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - a constant
            marks = ",".join("?" * len(read.description))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", read)  # noqa: S608 - marks


def leave_behind(store: Store, numbers: list[int]) -> None:
    """Forget the taught samples `numbers`, which have no code here, permanently: undo does not reach back before it."""
    store.relabel(dict.fromkeys(numbers), "reembed")
