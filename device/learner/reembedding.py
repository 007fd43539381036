"""Re-embedding: a state file for a new model, from the pictures in the state file of another model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StateError, StorageError
from ..files import atomic_output
from ..model.codes import encode
from ..model.embedder import Embedder
from ..model.memory import Sums
from ..model.modelfile import ModelFile
from ..negatives import describe, split_label
from ..progress import Progress, no_progress
from ..store import Store, rows
from ..store.database import copy_database
from ..store.inherit import inherit, leave_behind
from ..store.records import plain_label
from .learner import identity_of
from .pictures import PictureFinder
from .remembered import remembered_ids
from .views import settle_views


@dataclass(frozen=True)
class Reembedding:
    """The result of `reembed`: what was embedded again and what was left behind.

    Attributes:
        path: The new state file.
        samples: Number of taught samples in the new state per label.
        from_photos: Number of samples embedded from the photos themselves.
        from_thumbnails: Number of samples embedded from their thumbnails.
        forgotten: Number of forgotten samples in the new state, which can still be brought back.
        left_behind: Number of taught samples without a readable picture, per label.
        notes: Further remarks for the user.
    """

    path: Path
    samples: dict[str, int]
    from_photos: int
    from_thumbnails: int
    forgotten: int
    left_behind: dict[str, int]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        taken, left = sum(self.samples.values()), sum(self.left_behind.values())
        return f"<Reembedding {self.path.name}: {taken} samples embedded, {left} left behind>"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable dict."""
        return {**vars(self), "path": str(self.path)}


def reembed(
    model: str | Path | ModelFile,
    old: str | Path,
    out: str | Path,
    *,
    photos: str | Path | None = None,
    views: str | None = None,
    threads: int | None = None,
    delegate: str | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> Reembedding:
    """Write a state file for `model` with the samples of the state file `old` of another model.

    Each sample is embedded from its photo if that is still in `photos`, else from its thumbnail. Labels, times,
    sources, ids and the samples' own names are kept. If every sample has a picture, the journal stays complete, and
    undo and rollback reach back as before; else they reach back only to the point where samples were left behind.
    `old` is only read.

    Args:
        model: The new model file.
        old: The state file of the old one.
        out: The new state file; it gets its name only once it is complete.
        photos: The folder of photos that `teach --photos` used; the samples' sources are paths in it.
        views: Views of a frame for the new state, ``one`` or ``flip``; with other ones than in `old`, `model` may be the
            same. None keeps those of `old`, or of what the host taught to `model`.
        threads: CPU threads of the backbone.
        delegate: ``edgetpu`` to use a Coral.
        force: Overwrite `out`.
        progress: Called as task "Embedding again" with the number of samples.

    Raises:
        StateError: `old` is damaged or empty, belongs to `model` with these views already or was exported into it, or
            has no picture of any sample.
        StorageError: `old` is missing, or `out` exists and `force` is false, or it cannot be written.
    """
    opened, old, out = model if isinstance(model, ModelFile) else ModelFile.open(model), Path(old), Path(out)
    if out.exists() and old.exists() and out.samefile(old):
        raise StorageError(f"{out} is the old state file itself; use another name for the new one")
    with (
        Store.open(old, None, read_only=True) as source,
        atomic_output(out, force=force) as temporary,
        Store.open(None, identity_of(opened)) as store,
    ):
        settle_views(store, opened, views or _kept_views(source, opened))
        _check_source(source, opened, store.identity.views)
        inherit(store, source)
        pictures = PictureFinder(store, Path(photos) if photos is not None else None)
        missing = _embed_all(store, opened, pictures, threads, delegate, progress)
        left = _leave_behind(store, source, missing)
        if left and not store.counts() and not store.hidden_counts():
            raise StateError(
                f"{old} has no picture of its {sum(left.values())} samples, so they cannot be embedded again; name the"
                f" photos they were taught from with --photos FOLDER, or teach {opened.path.name} from scratch"
            )
        store.verify()
        copy_database(store.database, temporary)
        return _summarized(store, source, out, pictures, left, opened)


def _kept_views(source: Store, model: ModelFile) -> str:
    taught = model.memory is not None or model.negatives is not None
    return model.manifest.views if taught else source.identity.views


def _check_source(source: Store, model: ModelFile, views: str) -> None:
    if source.identity.sha256 == model.sha256 and source.identity.views == views:
        raise _needless(source, model)
    source.verify()
    if not source.counts() and not source.hidden_counts():
        raise StateError(f"{source.path} has no sample, so there is nothing to embed again")
    comparable = model.manifest.dimensions == source.identity.dimensions
    if comparable and (remembered := len(remembered_ids(source, model))):
        raise StateError(
            f"{model.path.name} already contains {remembered} of the samples in {source.path}, as an export of it does;"
            f" they would count twice: teach {model.path.name} directly"
        )
    if source.identity.shares_states_with(identity_of(model)) and source.identity.views == views:
        raise _needless(source, model)


def _needless(source: Store, model: ModelFile) -> StateError:
    return StateError(
        f"{source.path} belongs to {model.path.name} already: use it unchanged, there is nothing to embed again"
    )


def _embed_all(
    store: Store,
    model: ModelFile,
    pictures: PictureFinder,
    threads: int | None,
    delegate: str | None,
    progress: Progress,
) -> list[int]:
    """Write the code of every sample that has a picture, and return the ids of the others."""
    embedder = Embedder(model, threads=threads, delegate=delegate, views=store.identity.views)
    listed = store.database.rows("SELECT id, source FROM samples ORDER BY id")
    missing = []
    try:
        with store.database.transaction() as connection:
            for done, (number, source) in enumerate(listed, 1):
                picture = pictures.of(number, source)
                if picture is None:
                    missing.append(number)
                else:
                    code = encode(embedder.embed_one(picture), model.manifest.embedding_map)
                    rows.insert_code(connection, number, rows.code_bytes(code))
                progress("Embedding again", done, len(listed))
    finally:
        embedder.close()
    return missing


def _leave_behind(store: Store, source: Store, missing: list[int]) -> dict[str, int]:
    """Forget the samples that have no code here but had one, and return their number per label."""
    coded = {number for (number,) in source.database.rows("SELECT sample FROM codes")}
    lost = [number for number in missing if number in coded]
    taught = rows.labels(store.database, lost)
    if lost:
        leave_behind(store, sorted(taught))
    left: dict[str, int] = {}
    for stored in taught.values():
        label = describe(*split_label(plain_label(stored)))
        left[label] = left.get(label, 0) + 1
    return dict(sorted(left.items()))


def _summarized(
    store: Store, source: Store, out: Path, pictures: PictureFinder, left: dict[str, int], model: ModelFile
) -> Reembedding:
    samples = store.counts()
    embedded = pictures.from_photos + pictures.from_thumbnails
    notes = []
    if pictures.from_thumbnails:
        notes.append(
            "a thumbnail has less detail than the camera's image: expect less accuracy and more 'unknown' until each"
            " label has about five fresh samples"
        )
    if store.position() > source.position():
        notes.append("undo and rollback do not reach back before the samples that were left behind")
    if store.versions():
        notes.append("the accuracies stored with versions are those of the old model")
    gone = sorted(label for label, name in store.host_labels().items() if name is None)
    if isinstance(model.memory, Sums) and (back := sorted(set(gone) & set(model.memory.labels))):
        notes.append(
            f"{', '.join(back)} was deleted here, but is in the new model's memory as sums, and is present again"
        )
    forgotten = embedded - sum(samples.values()) - sum(store.hidden_counts().values())
    found = pictures.from_photos, pictures.from_thumbnails
    return Reembedding(out, samples, *found, forgotten, left, tuple(notes))
