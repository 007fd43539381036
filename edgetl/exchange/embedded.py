"""Teach the photos in a folder that `edgetl embed` wrote, without embedding them again."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.errors import ArraysError, StateError
from device.files import shown
from device.learner import Learner
from device.learner.learner import identity_of
from device.model.codes import content_keys
from device.progress import Progress, no_progress
from device.store import SampleRun, Store
from device.store.records import UUID_BYTES, NewSample, new_burst

from ..embedding.folder import Description, read_description
from ..embedding.shards import Content, read_content
from ..embedding.work import known_keys

_TASK = "Teaching embeddings"


@dataclass
class EmbeddedImport:
    """The result of teaching embeddings.

    Attributes:
        taught: Number of samples taught per label.
        known: Number of photos that were taught before, here or in the model file.
    """

    taught: dict[str, int] = field(default_factory=dict)
    known: int = 0


def teach_embedded(learner: Learner, folder: Path, *, progress: Progress = no_progress) -> EmbeddedImport:
    """Teach the labeled photos of a folder in one change: all of them or, on any error, none.

    A sample has a name that depends only on its path, label and embedding, so a second import, or a merge with another
    state that imported the same folder, teaches nothing twice.

    Args:
        learner: The learner.
        folder: The folder that `edgetl embed` wrote.
        progress: Called after each shard.

    Raises:
        StateError: The folder is not one of `edgetl embed`, is not complete, has no labels, or belongs to a model with
            another backbone or other views.
        ArraysError: A shard is damaged.
        StorageError: The state cannot be written.
    """
    description = read_description(folder)
    _refuse_other(learner, description, folder)
    result = EmbeddedImport()
    place = learner.store.path
    with tempfile.TemporaryDirectory(prefix=".import-", dir=place.parent if place else None) as temporary:
        source = Path(temporary) / "embedded.db"
        found = _write_state(learner, description, folder, source, result, progress)
        entry = learner.merge(source) if found else None
    runs = [] if entry is None else [change for change in entry.changes if isinstance(change, SampleRun)]
    taught = Counter[str]()
    for run in runs:
        taught[str(run.new)] += run.last - run.first + 1
    result.taught = dict(sorted(taught.items()))
    result.known += found - taught.total()
    return result


def _refuse_other(learner: Learner, description: Description, folder: Path) -> None:
    model = learner.model
    if description.backbone != model.backbone_digest():
        raise StateError(
            f"{shown(folder)} was embedded with another backbone ({description.model}) than that of {model.path.name}; embed"
            f" the photos with it: edgetl embed {model.path.name} PHOTOS --out FOLDER"
        )
    views = learner.store.identity.views
    if description.views != views:
        raise StateError(
            f"{shown(folder)} was embedded with the views {description.views!r}, this state is taught with {views!r}; embed"
            f" the photos with --views {views}"
        )


def _write_state(
    learner: Learner,
    description: Description,
    folder: Path,
    path: Path,
    result: EmbeddedImport,
    progress: Progress,
) -> int:
    """Write the samples as a state file to merge, and return their number; those that the model contains are left out."""
    known, total = known_keys(learner.model), 0
    identity = replace(identity_of(learner.model), views=description.views)
    files = sorted((folder / "shards").glob("*.npz"))
    with Store.open(path, identity) as store:
        for done, file in enumerate(files, 1):
            content = _read(file, description)
            fresh = ~np.isin(content_keys(content.codes), known)
            samples = list(_samples(content, fresh))
            if samples:
                store.learn(samples)
            total += len(samples)
            result.known += int(len(fresh) - fresh.sum())
            progress(_TASK, done, len(files))
    return total


def _read(file: Path, description: Description) -> Content:
    try:
        content = read_content(file)
    except OSError as error:
        raise StateError(f"{shown(file)} cannot be read: {error.strerror}") from error
    except ArraysError as error:
        raise ArraysError(f"{error}; run edgetl embed again to write the shard again") from error
    if content.codes.shape[1] != description.dimensions:
        raise ArraysError(
            f"{shown(file)} has embeddings of {content.codes.shape[1]} numbers, expected {description.dimensions}"
        )
    return content


def _samples(content: Content, fresh: NDArray[np.bool_]) -> Iterator[NewSample]:
    now = time.time()
    for name, label, code, new in zip(
        content.names, content.labels, content.codes, fresh.tolist(), strict=True
    ):
        if new and label is not None:
            uuid = hashlib.blake2b(f"{name}\0{label}\0".encode(), digest_size=UUID_BYTES)
            uuid.update(code.tobytes())
            yield NewSample(label, code, now, name, new_burst(), None, uuid.digest())
