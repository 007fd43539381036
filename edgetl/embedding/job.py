"""`embed`: every photo of a folder to its embedding, by several workers, with the exact statistics of all of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device.arrays import pack_arrays
from device.errors import EdgetlError, EmbeddingError, HeadError
from device.files import atomic_output, shown
from device.formats import Reason
from device.heads.statistics import MAX_SAMPLES
from device.model.modelfile import ModelFile
from device.model.runtime import load_runtime
from device.photos import (
    LeftOut,
    PhotoList,
    has_label_folders,
    leave_out_copies,
    list_photo_files,
    photos_to_teach,
)
from device.progress import Progress, no_progress
from device.views import check_views

from ..errors import PhotoFolderError
from .engines import Engine, open_engine
from .folder import STATISTICS, TAUGHT, Folder
from .result import Embedded
from .shards import Content, Shard, divide, plan_digest, read_content, read_shard, write_shard
from .sums import Sum
from .teaching import write_taught
from .work import Job, embed_shard, identity_of, known_keys

_TASK = "Embedding photos"


def embed(
    model: str | Path,
    photos: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    engine: str = "local",
    scheduler: str | None = None,
    views: str | None = None,
    embeddings: bool = True,
    skip_empty: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> Embedded:
    """Embed every photo of a folder, and sum up the embeddings exactly.

    The files are the same to the bit for any number of workers and any engine. After an interruption, the same call
    continues with the photos that are missing. A script that calls this with several workers needs
    ``if __name__ == "__main__":``, because each worker imports it.

    Args:
        model: The model file; neither TensorFlow nor anything else but a TFLite runtime is needed.
        photos: The folder. With one folder of photos per label, the statistics are written, too.
        out: Folder to write: ``shards/*.npz`` with the embeddings, ``statistics.npz``, and ``taught.tflite``, a copy of the
            model file that was taught the photos.
        workers: Number of workers on this machine; None is one per core.
        engine: ``local`` for processes of this machine, ``dask`` for a Dask cluster.
        scheduler: Address of a running Dask scheduler; its workers must find the model file and the photos under the same
            paths. None starts workers on this machine.
        views: ``one``, or ``flip`` to average each photo with its mirror image; None uses the views of the model file.
        embeddings: Keep the float embeddings; without them the shards contain only the fixed-point codes.
        skip_empty: Leave labels without a readable photo out instead of raising.
        force: Discard what another job wrote to `out`.
        progress: Called after each shard with the number of photos.

    Raises:
        PhotoError: The folder cannot be listed, contains no photo, or a label has none that can be read.
        LabelError: The name of a folder cannot be a label.
        ModelFileError: The model file is damaged or foreign.
        OutputExistsError: `out` contains something else, the result of another job, or is in use.
        StorageError: `out` cannot be written.
        WorkerError: A worker was killed, or the cluster cannot be reached.
        EmbeddingError: The backbone returned NaN, or a worker has another model file or runtime.

    Example:
        >>> edgetl.embed("mugs.tflite", "photos", "embedded", workers=4)  # doctest: +SKIP
        <Embedded 10000 photos of 12 labels in embedded>
    """
    opened, root, out = ModelFile.open(Path(model).absolute()), Path(photos).absolute(), Path(out)
    chosen = _views(opened, views)
    found = _list(root, skip_empty)
    shards = divide(root, found.photos)
    runtime = str(load_runtime())
    job = Job(str(opened.path), identity_of(opened), runtime, str(root), chosen, embeddings)
    run = _Run(opened, found, shards, job, Folder(out, _description(opened, found, shards, job)), progress)
    with run.folder.open(force):
        missing = run.take_over()
        if missing:
            with open_engine(engine, workers, scheduler) as ready:
                run.finish(ready, missing)
        return run.result()


def _description(model: ModelFile, found: PhotoList, shards: Sequence[Shard], job: Job) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "identity": job.identity,
        "runtime": job.runtime,
        "views": job.views,
        "plan": plan_digest(found.photos, shards),
        "embeddings": job.embeddings,
        "model": model.path.name,
        "backbone": model.backbone_digest(),
        "embedding_map": manifest.embedding_map,
        "dimensions": manifest.dimensions,
        "photos": len(found.photos),
        "root": job.root,
    }


def _views(model: ModelFile, wanted: str | None) -> str:
    known = model.manifest.views
    chosen = known if wanted is None else check_views(wanted)
    if chosen != known and (model.memory is not None or model.negatives is not None):
        raise EmbeddingError(
            f"what {model.path.name} was taught has the views {known!r}, so {chosen!r} cannot be added; use --views {known}"
        )
    return chosen


def _list(root: Path, skip_empty: bool) -> PhotoList:
    """List the photos, with labels if the folder has folders inside."""
    if has_label_folders(root):
        found = photos_to_teach(root, skip_empty=skip_empty)
        if len(found.photos) > MAX_SAMPLES:
            raise HeadError(
                f"at most {MAX_SAMPLES} samples can be summed exactly, {shown(root)} has {len(found.photos)} photos"
            )
        return found
    found = leave_out_copies(list_photo_files(root))
    if not found.photos:
        raise PhotoFolderError(
            f"{shown(root)} contains no photo; expected photos, or one folder of photos per label"
        )
    remark = (
        f"{shown(root)} has no folders with the names of labels: only embeddings are written, no statistics"
    )
    return replace(found, remarks=(*found.remarks, remark))


@dataclass
class _Run:
    """One run of a job."""

    model: ModelFile
    found: PhotoList
    shards: Sequence[Shard]
    job: Job
    folder: Folder
    progress: Progress

    def __post_init__(self) -> None:
        self.total = Sum.empty(self.model.manifest.dimensions)
        self.left_out: dict[str, str] = {}
        self.photos = self.resumed = self._done = 0

    def take_over(self) -> list[Shard]:
        """Sum up the shards that an earlier run wrote, and return the missing ones."""
        missing, known = [], known_keys(self.model)
        dimensions, embeddings = self.model.manifest.dimensions, self.job.embeddings
        for shard in self.shards:
            content = read_shard(self.folder.path, shard, dimensions, embeddings=embeddings)
            if content is None:
                missing.append(shard)
            else:
                self._count(shard, content, Sum.of(content, known))
                self.resumed += len(content.names)
        return missing

    def finish(self, engine: Engine, missing: Sequence[Shard]) -> None:
        """Let the workers embed the missing shards; each is on the disk before it counts."""
        self.progress(_TASK, self._done, len(self.found.photos))
        for done in engine.completed(functools.partial(embed_shard, self.job), missing):
            if done.content is None:
                raise EmbeddingError(done.error)
            write_shard(self.folder.path, done.shard, done.content)
            self._count(done.shard, done.content, done.sum)

    def result(self) -> Embedded:
        """Write the statistics and the taught model file, and return the result."""
        if not self.photos:
            raise PhotoFolderError(
                f"none of the {len(self.found.photos)} photos in {shown(self.found.root)} can be read"
            )
        statistics = taught = None
        remarks = list(self.found.remarks)
        if self.total.statistics.total:
            statistics = self._write_statistics()
            taught, remark = self._write_taught()
            remarks += [remark] if remark else []
        elif self.total.known:
            remarks.append(f"{self.model.path.name} was taught all of these photos already")
        result = Embedded(
            self.folder.path,
            self.found.root,
            tuple(shard.path(self.folder.path) for shard in self.shards),
            self.photos,
            self.total.statistics.counts,
            self.total.known,
            self.resumed,
            self.total.statistics.digest() if statistics else "",
            statistics,
            taught,
            (*self.found.left_out, *self._unreadable()),
            tuple(remarks),
        )
        fields = result.to_dict()
        self.folder.describe(
            {name: fields[name] for name in ("photos", "labels", "known", "digest", "left_out")}
        )
        return result

    def _count(self, shard: Shard, content: Content, total: Sum | None) -> None:
        if total is not None:
            self.total.add(total)
        self.left_out |= dict(content.left_out)
        self.photos += len(content.names)
        self._done += len(shard.photos)
        self.progress(_TASK, self._done, len(self.found.photos))

    def _write_statistics(self) -> Path:
        path = self.folder.path / STATISTICS
        with atomic_output(path, force=True) as temporary:
            temporary.write_bytes(pack_arrays(self.total.statistics.state()))
        return path

    def _write_taught(self) -> tuple[Path | None, str]:
        """Write the taught model file, or return why it cannot be written: the embeddings are worth keeping without it."""
        path, name = self.folder.path / TAUGHT, self.model.path.name
        if self.model.manifest.kept_labels:
            return (
                None,
                f"{name} keeps an old classifier, which sums cannot continue, so no taught model file was written",
            )
        try:
            write_taught(
                self.model, path, self.total, self._contents(), self.found.root, self.job.views, self.progress
            )
        except EdgetlError as error:
            if isinstance(error, OSError):  # a full disk is no reason to go on
                raise
            return None, f"no taught model file was written: {error}"
        return path, ""

    def _contents(self) -> Iterator[Content]:
        return (read_content(shard.path(self.folder.path)) for shard in self.shards)

    def _unreadable(self) -> list[LeftOut]:
        labels = {
            name: label for shard in self.shards for name, label in shard.photos if name in self.left_out
        }
        return [
            LeftOut(self.found.root / name, Reason(reason), labels[name])
            for name, reason in sorted(self.left_out.items())
        ]
