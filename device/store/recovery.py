"""Recovery: saving the intact samples of a damaged state file."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import StateError, StorageError
from ..files import atomic_output
from ..negatives import split_counts
from . import journal, rows, schema
from .database import new_file
from .pages import Pages
from .records import HostChange, ModelIdentity, runs
from .salvage import Salvage, runs_of
from .store import Store

_NOTES = 20  # a hostile file could make any number


@dataclass(frozen=True)
class Recovery:
    """What `recover` saved and what was lost.

    Attributes:
        path: The new state file.
        samples: Number of samples saved per label.
        negatives: Number of negatives saved per denied label.
        background: Number of background samples saved.
        forgotten: Number of saved samples that do not teach: they were forgotten or excluded before.
        lost: Ids of samples that are gone.
        thumbnails_lost: Number of saved samples whose picture is gone or unreadable.
        notes: Further remarks for the user.
    """

    path: Path
    samples: dict[str, int]
    forgotten: int
    lost: tuple[int, ...]
    thumbnails_lost: int
    notes: tuple[str, ...]
    negatives: dict[str, int] = field(default_factory=dict)
    background: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-serializable values."""
        return {**vars(self), "path": str(self.path)}


def recover(
    path: str | Path, out: str | Path, identity: ModelIdentity | None = None, *, force: bool = False
) -> Recovery:
    """Write every intact sample of `path` into a new state file `out`; `path` is only read.

    Labels are those of the newest intact row of each sample. Ids and the samples' own names are kept, so
    that merging still works. The journal starts from scratch: undo and versions do not reach back. Intact but
    impossible values, such as a label with a line break, are renamed or left out, and the notes list them.

    Args:
        path: The damaged file; its log beside it is read too.
        out: The new state file.
        identity: The model it belongs to, when the file no longer names it.
        force: Overwrite `out`.

    Raises:
        StateError: Nothing of a state file is left, or it does not name its model and `identity` is None.
        StorageError: `path` cannot be read, `out` exists and `force` is false, or it cannot be written.
    """
    path, out = Path(path), Path(out)
    if out.exists() and path.samefile(out):
        raise StorageError(f"{out} is the damaged file itself; use another name for the new one")
    with _pages(path) as pages:
        found = Salvage(pages)
        model = _model(found, path, out, identity)
        whole = found.whole(model.dimensions)
        with atomic_output(out, force=force) as temporary, new_file(temporary) as database:
            store = Store(database, model, time.time)
            pictures = _write(store, found, whole)
            store.verify()
            return _summarized(found, store, out, len(whole) - pictures)


def _pages(path: Path) -> Pages:
    if path.exists() and not path.is_file():
        raise StorageError(
            errno.EINVAL, f"{path} is no regular file; pass the path of the damaged state file"
        )
    try:
        return Pages(path, schema.PAGE_SIZE)
    except OSError as error:
        raise StorageError(error.errno, f"{path} cannot be read: {error.strerror}") from error


def _model(found: Salvage, path: Path, out: Path, identity: ModelIdentity | None) -> ModelIdentity:
    model = found.identities[-1] if found.identities else None
    if identity is not None:  # the model file does not know the views of the state
        model = identity if model is None else replace(identity, views=model.views)
    if model is None:
        raise StateError(
            f"{path} no longer names the model it belongs to; name it: edgetl recover {path} --model MODEL --out {out}"
            if found.samples or found.codes
            else f"nothing of a state file is left in {path}; was it one? use the newest backup instead"
        )
    return model


def _write(store: Store, found: Salvage, whole: list[int]) -> int:
    """Fill an empty state and return the number of pictures written.

    Samples keep their ids, gaps become forgotten samples, and the journal has one entry.
    """
    labels, host = found.labels(whole)
    pictures = 0
    with store.database.transaction() as connection:
        store.claim(connection)
        renamed = [HostChange(label, label, name) for label, name in sorted(host.items())]
        entry = journal.append(connection, store.now(), "recover", (*renamed, *runs(runs_of(labels))))
        for change in renamed:
            rows.set_host_label(connection, change)
        for number in range(1, (whole[-1] if whole else 0) + 1):
            row = found.samples.get(number)
            kept = (row.uuid, row.time, row.source, row.burst) if row else None
            rows.insert_found(connection, number, kept, labels.get(number), entry.seq)
        for number in whole:
            rows.insert_code(connection, number, found.code(number))
            picture = found.picture(number)
            if picture is not None:
                rows.insert_thumbnail(connection, number, picture)
                pictures += 1
    return pictures


def _summarized(found: Salvage, store: Store, out: Path, without_picture: int) -> Recovery:
    samples = store.counts()
    negatives, background = split_counts(store.hidden_counts())
    taught = sum(samples.values()) + sum(negatives.values()) + background
    present = {number for number in found.samples if number in found.codes}
    reached = max(found.ids(), default=0)
    lost = set(range(1, reached + 1)) - present - found.purged()
    saved = store.database.value("SELECT count(*) FROM codes")
    notes = ["undo and versions start from scratch in the recovered file"]
    if found.pages.in_log:
        notes.append("samples that were only in the log beside the file are included")
    notes.append("samples taught after the last intact page leave no trace and cannot be counted")
    notes += [f"{what} ({count})" for what, count in found.repaired.most_common(_NOTES)]
    return Recovery(
        out,
        samples,
        saved - taught,
        tuple(sorted(lost)),
        without_picture,
        tuple(notes),
        negatives,
        background,
    )
