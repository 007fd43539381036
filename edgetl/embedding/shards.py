"""Shards: the photos of a job in pieces, and the file with the embeddings of each.

How photos are divided depends only on the photos, not on the workers, so that any number of workers writes the same files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.arrays import pack_arrays, pack_texts, unpack_arrays, unpack_texts
from device.errors import ArraysError
from device.files import atomic_output
from device.model.codes import Codes
from device.photos import PhotoFile

_MOST = 2048  # photos per shard; more would be lost when a worker is killed
_FEWEST = 32
_SHARDS = 64  # of a small set, so that every worker gets some
_UNLABELED = -1


@dataclass(frozen=True)
class Shard:
    """Consecutive photos of a job.

    Attributes:
        number: Its number, from 0.
        photos: Path below the folder of the photos, and label; None without labels.
    """

    number: int
    photos: tuple[tuple[str, str | None], ...]

    def path(self, folder: Path) -> Path:
        """Return the file of this shard in the folder of a job."""
        return folder / "shards" / f"{self.number:05d}.npz"


@dataclass(frozen=True)
class Content:
    """The embeddings of a shard, one row per photo that can be read.

    Attributes:
        names: Paths of the photos.
        labels: Their labels.
        codes: int16 [n, D], the mapped embeddings in fixed point, of which the statistics are the sums.
        embeddings: float32 [n, D] as the backbone returns them; None if they are not kept.
        left_out: Photos that cannot be read, with the reason.
    """

    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    codes: Codes
    embeddings: NDArray[np.float32] | None
    left_out: tuple[tuple[str, str], ...] = ()


def shard_size(photos: int) -> int:
    """Return the number of photos per shard."""
    return min(_MOST, max(_FEWEST, photos // _SHARDS))


def divide(root: Path, photos: Sequence[PhotoFile]) -> list[Shard]:
    """Divide the photos of a folder into shards, in their order."""
    size = shard_size(len(photos))
    return [
        Shard(
            start // size,
            tuple((name_of(root, photo), photo.label) for photo in photos[start : start + size]),
        )
        for start in range(0, len(photos), size)
    ]


def name_of(root: Path, photo: PhotoFile) -> str:
    """Return the path of a photo below the folder."""
    return photo.path.name if photo.path == root else photo.path.relative_to(root).as_posix()


def plan_digest(photos: Sequence[PhotoFile], shards: Sequence[Shard]) -> str:
    """Return a checksum of the names, labels, sizes and times of the photos."""
    digest = hashlib.sha256()
    named = (entry for shard in shards for entry in shard.photos)
    for photo, (name, label) in zip(photos, named, strict=True):
        try:
            status = photo.path.stat()
            seen = [status.st_size, status.st_mtime_ns]
        except OSError:
            seen = []  # it will be left out
        digest.update(json.dumps([name, label, seen]).encode() + b"\n")
    return digest.hexdigest()


def write_shard(folder: Path, shard: Shard, content: Content) -> None:
    """Write the file of a shard; it gets its name only once it is complete.

    Raises:
        StorageError: It cannot be written.
    """
    names = sorted({label for label in content.labels if label is not None})
    places = {name: place for place, name in enumerate(names)}
    index = [_UNLABELED if label is None else places[label] for label in content.labels]
    arrays: dict[str, NDArray[Any]] = {
        "codes": content.codes,
        "label": np.array(index, np.int32),
        "label_names": pack_texts(names),
        "names": _packed(content.names),
        "left_out": _packed(content.left_out),
    }
    if content.embeddings is not None:
        arrays["embeddings"] = content.embeddings
    with atomic_output(shard.path(folder), force=True) as temporary:
        temporary.write_bytes(pack_arrays(arrays, compress=False))


def read_shard(folder: Path, shard: Shard, dimensions: int, *, embeddings: bool) -> Content | None:
    """Return the content of a shard; None if its file is missing, damaged, or of other photos."""
    try:
        content = read_content(shard.path(folder))
    except (OSError, ArraysError):
        return None
    found = {*content.names, *(name for name, _ in content.left_out)}
    whole = found == {name for name, _ in shard.photos} and content.codes.shape[1] == dimensions
    return content if whole and (content.embeddings is not None) == embeddings else None


def read_content(path: Path) -> Content:
    """Return the content of the file of a shard.

    Raises:
        OSError: It cannot be read.
        ArraysError: It is damaged, or not the file of a shard.
    """
    arrays = unpack_arrays(path.read_bytes())
    try:
        labels = [*unpack_texts(arrays["label_names"]), None]
        names = tuple(json.loads(bytes(arrays["names"])))
        content = Content(
            names,
            tuple(labels[place] for place in arrays["label"].tolist()),
            arrays["codes"],
            arrays.get("embeddings"),
            tuple((name, reason) for name, reason in json.loads(bytes(arrays["left_out"]))),
        )
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ArraysError(f"{path} is not a shard of embeddings: {error}") from error
    rows = {
        len(content.labels),
        *(len(array) for array in (content.codes, content.embeddings) if array is not None),
    }
    if content.codes.dtype != np.int16 or content.codes.ndim != 2 or rows != {len(names)}:
        raise ArraysError(f"{path} is not a shard of embeddings: its arrays do not fit one another")
    return content


def _packed(value: Sequence[Any]) -> NDArray[np.uint8]:
    """Return JSON as UTF-8 in uint8; the names of files may contain line breaks."""
    return np.frombuffer(json.dumps(list(value)).encode(), np.uint8)
