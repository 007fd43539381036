"""The work of one worker: the photos of a shard to embeddings, codes and their sums.

Workers only read: they open the photos and the model file by their paths, and return arrays.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device.errors import EdgetlError, EmbeddingError, PhotoError
from device.images import read_photo
from device.model.codes import Keys, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile

from .shards import Content, Shard
from .sums import Sum


class Stop(Protocol):
    """An event of `threading` or `multiprocessing`."""

    def is_set(self) -> bool:
        """Return whether the worker should stop."""


@dataclass(frozen=True)
class Job:
    """What every worker needs to know.

    Attributes:
        model: Path of the model file.
        identity: Checksum of the model file; a worker refuses another file.
        runtime: Name and version of the TFLite runtime; another one may round differently.
        root: The folder of the photos, or the one photo.
        views: Views of a frame.
        embeddings: Whether to return the float embeddings too.
    """

    model: str
    identity: str
    runtime: str
    root: str
    views: str
    embeddings: bool


@dataclass(frozen=True)
class Done:
    """The result of a worker.

    Attributes:
        shard: The shard.
        content: Its embeddings; None if the work failed.
        sum: The sums of its codes.
        error: Why the work failed. A text, because not every error survives the way between processes.
    """

    shard: Shard
    content: Content | None = None
    sum: Sum | None = None
    error: str = ""


class Stopped(Exception):  # noqa: N818 - not an error
    """The job ends before the work is done."""


@dataclass(frozen=True)
class _Opened:
    job: Job
    embedder: Embedder
    known: Keys = field(repr=False)  # content keys of what the model file was taught


_mine = threading.local()  # an interpreter runs for one thread at a time


def obey(stop: Stop) -> None:
    """Prepare a worker: it stops at the next photo once `stop` is set, and leaves Ctrl-C to the main process."""
    _mine.stop = stop
    parent = multiprocessing.parent_process()
    if parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def embed_shard(job: Job, shard: Shard) -> Done:
    """Embed the photos of a shard; photos that cannot be read are listed.

    Raises:
        Stopped: The job ends.
    """
    try:
        opened = _opened(job)
        content = _content(opened, shard)
        total = Sum.of(content, opened.known) if any(label is not None for label in content.labels) else None
    except EdgetlError as error:
        return Done(shard, error=str(error))
    return Done(shard, content, total)


def known_keys(model: ModelFile) -> Keys:
    """Return the content keys of what a model file was taught; its samples would count twice."""
    return np.zeros(0, np.uint64) if model.memory is None else model.memory.content_keys()


def identity_of(model: ModelFile) -> str:
    """Return a checksum of all of a model file that decides an embedding and what it was taught."""
    return model.digest or model.sha256


def _opened(job: Job) -> _Opened:
    found: _Opened | None = getattr(_mine, "opened", None)
    if found is None or found.job != job:
        model = ModelFile.open(job.model)
        if identity_of(model) != job.identity:
            raise EmbeddingError(
                f"{job.model} is another model file on a worker; copy the file of the job to it"
            )
        # one thread per worker: processes share the cores better than threads
        embedder = Embedder(model, threads=1, views=job.views)
        if str(embedder.runtime) != job.runtime:
            raise EmbeddingError(
                f"a worker runs {embedder.runtime}, the job {job.runtime}, which may round differently; install the same "
                "runtime everywhere"
            )
        found = _mine.opened = _Opened(job, embedder, known_keys(model))
    return found


def _content(opened: _Opened, shard: Shard) -> Content:
    rows, left_out = [], []
    labels = dict(shard.photos)
    for name in labels:
        try:
            rows.append((name, _embedding(opened, name)))
        except PhotoError as error:
            left_out.append((name, str(error.reason)))
        if (stop := getattr(_mine, "stop", None)) is not None and stop.is_set():
            raise Stopped
    dimensions = opened.embedder.model.manifest.dimensions
    embeddings: NDArray[np.float32] = (
        np.stack([row for _, row in rows]) if rows else np.zeros((0, dimensions), np.float32)
    )
    return Content(
        tuple(name for name, _ in rows),
        tuple(labels[name] for name, _ in rows),
        encode(embeddings, opened.embedder.model.manifest.embedding_map),
        embeddings if opened.job.embeddings else None,
        tuple(left_out),
    )


def _embedding(opened: _Opened, name: str) -> NDArray[np.float32]:
    root = Path(opened.job.root)
    path = root if root.is_file() else root / name
    image = read_photo(path)
    try:
        return opened.embedder.embed_one(image)
    except EmbeddingError as error:
        raise EmbeddingError(f"{path}: {error}") from error


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """End this process when its parent has ended, even by kill -9: otherwise it would wait for work forever."""
    parent.join()
    os._exit(1)
