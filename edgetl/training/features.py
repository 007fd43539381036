"""Features of the frozen trunk for every photo and its copies, computed once and kept on disk."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import PhotoError
from device.files import atomic_output, storage_error
from device.images import Image, read_photo
from device.model.preprocess import Preprocessing
from device.progress import Progress, no_progress

from ..errors import PhotoFolderError
from ..photos import TRAINING, Photo, name_some
from .augment import vary
from .settings import Augmentation
from .trunk import Trunk

_CHUNK = 32  # photos
_VALUES, _PROGRESS = "features.bin", "features.json"
_FLOAT16_LIMIT = 1e4  # well below 65504, the largest float16


@dataclass(frozen=True)
class Features:
    """The features of all photos.

    Attributes:
        values: [R, ...], read from disk as needed.
        first: int64 [P], the row of each unchanged photo; its copies follow.
        rows: int64 [P], number of rows of each photo; 0 if it cannot be read.
        problems: The error of each photo that cannot be read.
    """

    values: NDArray[Any]
    first: NDArray[np.int64]
    rows: NDArray[np.int64]
    problems: tuple[str, ...]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features of `rows` as float32."""
        return self.values[rows].astype(np.float32)


@dataclass
class _State:
    """The progress of the file of values; written after each chunk."""

    done: int = 0
    bad: dict[int, str] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    dtype: str = "float32"

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def save(self, folder: Path) -> None:
        fields = {"done": self.done, "bad": self.bad, "shape": self.shape, "dtype": self.dtype}
        with atomic_output(folder / _PROGRESS, force=True) as temporary:
            temporary.write_text(json.dumps(fields))

    @classmethod
    def load(cls, folder: Path) -> _State:
        path = folder / _PROGRESS
        if not path.is_file():
            return cls()
        fields = json.loads(path.read_text())
        bad = {int(index): str(problem) for index, problem in fields["bad"].items()}
        return cls(int(fields["done"]), bad, tuple(fields["shape"]), str(fields["dtype"]))


def extract(
    photos: Sequence[Photo],
    make_trunk: Callable[[], Trunk],
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    *,
    seed: int,
    folder: Path,
    progress: Progress = no_progress,
) -> Features:
    """Compute the features of `photos`, and of the copies of those for training.

    Each photo is read once. An interrupted call is continued from `folder`.

    Args:
        photos: In a fixed order; the copies of a photo depend on the seed and its place only.
        make_trunk: Called when there is something to compute.
        preprocessing: Prepares the photos.
        augmentation: Ranges of the copies.
        seed: Seed of the copies.
        folder: Folder of the features.
        progress: Called as task "features" with the number of photos.

    Raises:
        PhotoFolderError: Too many photos cannot be read.
        StorageError: The disk is full.
    """
    state = _State.load(folder)
    planned = [1 + (augmentation.copies if photo.part == TRAINING else 0) for photo in photos]
    _cut_to(folder, state, planned)
    if state.done < len(photos):
        reader = _Reader(photos, preprocessing, augmentation, seed)
        _compute(reader, make_trunk(), state, folder, progress)
    rows = np.array([0 if index in state.bad else count for index, count in enumerate(planned)], np.int64)
    first = np.concatenate([[0], np.cumsum(rows)[:-1]]).astype(np.int64)
    shape = (int(rows.sum()), *state.shape)
    values = np.memmap(folder / _VALUES, state.dtype, "r", shape=shape)
    return Features(values, first, rows, tuple(state.bad.values()))


@dataclass(frozen=True)
class _Reader:
    photos: Sequence[Photo]
    preprocessing: Preprocessing
    augmentation: Augmentation
    seed: int

    def read(self, index: int) -> list[Image] | str:
        """Return the prepared photo and its copies, or the error message."""
        photo = self.photos[index]
        try:
            image = read_photo(photo.path)
        except PhotoError as error:
            return str(error)
        images = [self.preprocessing.prepare(image)]
        if photo.part == TRAINING:
            generator = np.random.default_rng([self.seed, index])
            copies = range(self.augmentation.copies)
            images += [vary(image, self.preprocessing, self.augmentation, generator) for _ in copies]
        return images

    def chunks(self, start: int) -> Iterator[list[list[Image] | str]]:
        """Yield chunks; the next one is read while the trunk computes."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            pending: list[Future[list[Image] | str]] = []
            for first in range(start, len(self.photos), _CHUNK):
                indices = range(first, min(first + _CHUNK, len(self.photos)))
                ahead = [pool.submit(self.read, index) for index in indices]
                if pending:
                    yield [future.result() for future in pending]
                pending = ahead
            yield [future.result() for future in pending]


def _compute(reader: _Reader, trunk: Trunk, state: _State, folder: Path, progress: Progress) -> None:
    total = len(reader.photos)
    for chunk in reader.chunks(state.done):
        for index, result in enumerate(chunk, state.done):
            if isinstance(result, str):
                state.bad[index] = result
        _refuse_too_many(state.bad, total)
        images = [image for result in chunk if not isinstance(result, str) for image in result]
        if images:
            _append(folder, state, trunk(np.stack(images)))
        state.done += len(chunk)
        state.save(folder)
        progress("features", state.done, total)
    if len(state.bad) == total:
        raise PhotoFolderError(
            f"none of the {total} photos can be read; the first: {next(iter(state.bad.values()))}"
        )


def _append(folder: Path, state: _State, features: NDArray[np.float32]) -> None:
    if not state.shape:
        state.shape = features.shape[1:]
        # half the disk space for feature maps; embeddings are small and stay float32
        small = len(state.shape) > 1 and float(np.abs(features).max()) < _FLOAT16_LIMIT
        state.dtype = "float16" if small else "float32"
    values = features.astype(state.dtype)
    if not np.isfinite(values).all():
        raise PhotoFolderError("the backbone returns NaN or infinity for a photo; choose another backbone")
    path = folder / _VALUES
    try:
        # appended, not mapped: a full disk is then an error and not a bus error
        with path.open("ab") as stream:
            stream.write(values.tobytes())
    except OSError as error:
        raise storage_error(error, path) from error


def _cut_to(folder: Path, state: _State, planned: Sequence[int]) -> None:
    """Cut the file of values to the length that `state` needs; start again when it is shorter."""
    path = folder / _VALUES
    rows = sum(planned[index] for index in range(state.done) if index not in state.bad)
    path.touch()
    if path.stat().st_size < rows * state.row_bytes:
        state.done, state.bad, state.shape = 0, {}, ()
        rows = 0
    os.truncate(path, rows * state.row_bytes)


def _refuse_too_many(bad: dict[int, str], total: int) -> None:
    limit = max(10, total // 10)
    if len(bad) > limit:
        raise PhotoFolderError(
            f"more than {limit} of {total} photos cannot be read; is this the right folder? "
            f"{name_some(bad.values(), 3)}"
        )
