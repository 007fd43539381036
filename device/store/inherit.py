"""Taking over everything but the embeddings from the state of another model."""

from __future__ import annotations

from .store import Store

# Nothing in these says what a model saw: rows, checksums included, hold for any model.
_TABLES = ("samples", "thumbnails", "lab", "journal", "versions")


def inherit(store: Store, source: Store) -> None:
    """Fill the empty state `store` with samples, pictures, names, journal and versions of `source`, row by row.

    Ids and the samples' own names are kept, so that undo, rollback and merging still know them. The caller writes
    the codes, and leaves samples without any behind with `leave_behind`.
    """
    with source.database.reading(), store.database.transaction() as connection:
        for table in _TABLES:
            read = source.database.connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - a constant
            marks = ",".join("?" * len(read.description))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", read)  # noqa: S608 - marks


def leave_behind(store: Store, numbers: list[int]) -> None:
    """Forget the taught samples `numbers`, which have no code here, for good: undo does not reach behind it."""
    store.relabel(dict.fromkeys(numbers), "reembed")
