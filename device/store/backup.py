"""Backup: copying a state while it is in use, and checking the copy before it gets its name."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StateError
from ..files import atomic_output
from . import footing
from .database import Database, copy_database
from .faults import damaged, errors_translated
from .verify import verify

if TYPE_CHECKING:
    from .store import Store


def backup(store: Store, path: str | Path, *, force: bool = False, thumbnails: bool = True) -> Path:
    """Copy `store` to `path` as one complete file, with every row and embedding checked.

    Args:
        store: An open state.
        path: The copy.
        force: Replace a file of that name.
        thumbnails: Copy the pictures too.

    Raises:
        StateError: The state is damaged; then nothing is written.
        StorageError: `path` exists and `force` is false, or it cannot be written.
    """
    with atomic_output(path, force=force) as temporary:
        copy_database(store.database, temporary)
        if not thumbnails:
            _erase_thumbnails(temporary)
        _check(temporary, store)
    return Path(path)


def _erase_thumbnails(copy: Path) -> None:
    with errors_translated(copy), contextlib.closing(footing.connect(footing.uri(copy, "rw"))) as connection:
        connection.execute("DELETE FROM thumbnails")
        connection.execute("VACUUM")  # otherwise the file would still contain the pictures


def _check(copy: Path, store: Store) -> None:
    try:
        database = Database.open(copy, read_only=True)
        try:
            verify(database, store.identity.dimensions)
        finally:
            database.close()
    except StateError as error:
        # the copy is as damaged as the original: name that, and the command that helps
        what = str(error).removeprefix(f"{copy} is damaged: ").partition("; save what is intact")[0]
        raise damaged(store.database.name, f"{what} (so nothing was copied)") from error
