"""Re-embedding: a state file for a new model, from the pictures in the state file of another model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PhotoError, StateError, StorageError
from ..files import atomic_output
from ..images import Image, read_photo, thumbnail
from ..model.codes import encode
from ..model.embedder import Embedder
from ..model.memory import Samples, Sums
from ..model.modelfile import ModelFile
from ..progress import Progress, no_progress
from ..store import Store, rows
from ..store.database import copy_database
from ..store.inherit import inherit, leave_behind
from ..store.records import plain_label
from .learner import identity_of

# mean difference of 8-bit values: two JPEGs of one photo differ by less, two photos by more
LOOKS_ALIKE = 12.0


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
        threads: CPU threads of the backbone.
        delegate: ``edgetpu`` to use a Coral.
        force: Overwrite `out`.
        progress: Called as task "Embedding again" with the number of samples.

    Raises:
        StateError: `old` is damaged or empty, belongs to `model` already or was exported into it, or has no picture of
            any sample.
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
        _check_source(source, opened)
        inherit(store, source)
        pictures = _PictureFinder(store, Path(photos) if photos is not None else None)
        missing = _embed_all(store, opened, pictures, threads, delegate, progress)
        left = _leave_behind(store, source, missing)
        if left and not store.counts():
            raise StateError(
                f"{old} has no picture of its {sum(left.values())} samples, so they cannot be embedded again; name the"
                f" photos they were taught from with --photos FOLDER, or teach {opened.path.name} from scratch"
            )
        store.verify()
        copy_database(store.database, temporary)
        return _summarized(store, source, out, pictures, left, opened)


class _PictureFinder:
    """Finds the best picture of a sample."""

    def __init__(self, store: Store, photos: Path | None) -> None:
        self._store, self._photos = store, photos
        self.from_photos = self.from_thumbnails = 0

    def of(self, number: int, source: str) -> Image | None:
        """Return the picture and count its kind; None when no picture can be read."""
        small = self._thumbnail(number)
        photo = self._photo(source, small)
        if photo is not None:
            self.from_photos += 1
        elif small is not None:
            self.from_thumbnails += 1
        return small if photo is None else photo

    def _thumbnail(self, number: int) -> Image | None:
        kept = self._store.database.rows("SELECT jpeg, crc FROM thumbnails WHERE sample = ?", (number,))
        if not kept or rows.thumbnail_checksum(number, kept[0][0]) != kept[0][1]:
            return None
        return _read(kept[0][0])

    def _photo(self, source: str, small: Image | None) -> Image | None:
        if self._photos is None or not source or Path(source).is_absolute() or ".." in Path(source).parts:
            return None
        path = self._photos / source
        photo = _read(path) if path.is_file() else None
        # a photo that was cropped or turned for teaching, or was replaced since, is not what was taught
        return photo if photo is None or small is None or _alike(photo, small) else None


def _read(picture: Path | bytes) -> Image | None:
    try:
        return read_photo(picture)
    except PhotoError:
        return None


def _alike(photo: Image, small: Image) -> bool:
    again = read_photo(thumbnail(photo))
    difference = np.abs(again.astype(np.int16) - small).mean() if again.shape == small.shape else np.inf
    return bool(difference < LOOKS_ALIKE)


def _check_source(source: Store, model: ModelFile) -> None:
    if source.identity.sha256 == model.sha256:
        raise StateError(
            f"{source.path} belongs to {model.path.name} already: use it unchanged, there is nothing to embed again"
        )
    source.verify()
    if not source.counts():
        raise StateError(f"{source.path} has no sample, so there is nothing to embed again")
    if remembered := _remembered(source, model):
        raise StateError(
            f"{model.path.name} already contains {remembered} of the samples in {source.path}, as an export of it does;"
            f" they would count twice: teach {model.path.name} directly"
        )


def _remembered(source: Store, model: ModelFile) -> int:
    """Return the number of taught samples that are in the model's memory."""
    memory = model.memory
    if not isinstance(memory, Samples) or memory.dimensions != source.identity.dimensions:
        return 0
    known = {code.tobytes() for code in memory.codes}
    return sum(code.tobytes() in known for _, _, codes in source.taught_chunks() for code in codes)


def _embed_all(
    store: Store,
    model: ModelFile,
    pictures: _PictureFinder,
    threads: int | None,
    delegate: str | None,
    progress: Progress,
) -> list[int]:
    """Write the code of every sample that has a picture, and return the ids of the others."""
    embedder = Embedder(model, threads=threads, delegate=delegate)
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
    for label in map(plain_label, taught.values()):
        left[label] = left.get(label, 0) + 1
    return dict(sorted(left.items()))


def _summarized(
    store: Store, source: Store, out: Path, pictures: _PictureFinder, left: dict[str, int], model: ModelFile
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
    forgotten = embedded - sum(samples.values())
    found = pictures.from_photos, pictures.from_thumbnails
    return Reembedding(out, samples, *found, forgotten, left, tuple(notes))
