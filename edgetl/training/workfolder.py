"""The work folder of a run, from which an interrupted run continues."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.source import is_trained_model
from device.arrays import pack_arrays, unpack_arrays
from device.errors import ArraysError
from device.files import atomic_output, storage_error

from ..errors import OutputExistsError, TrainingError
from ..photos import Photo

_IDENTITY, _CHECKPOINT, _LOCK = "run.json", "checkpoint.npz", "lock"
Arrays = dict[str, NDArray[Any]]


class WorkFolder:
    """The work folder ``.NAME.training`` beside the output folder NAME.

    Args:
        out: The final folder.
        worker: Number of this process where several train together; each has a folder of its own.

    Attributes:
        out: The final folder.
        path: The work folder.
        resumed: Whether an interrupted run was continued.
    """

    def __init__(self, out: Path, worker: int = 0) -> None:
        self.out = out
        self.path = out.parent / f".{out.name}.training{worker or ''}"
        self.resumed = False

    @contextlib.contextmanager
    def open(self, identity: Mapping[str, Any], restart: bool = False) -> Iterator[WorkFolder]:
        """Lock the folder for one run.

        Args:
            identity: Settings, photos and versions, which must be the same to continue a run.
            restart: Discard the work of an earlier run.

        Raises:
            TrainingError: Another run uses it, or it belongs to a run with other settings or photos.
            StorageError: The folder cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / _LOCK).open("w")
        except OSError as error:
            raise storage_error(error, self.path) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise TrainingError(
                    f"{self.path} is in use: another run is training {self.out}; wait for it or choose another name"
                ) from error
            self._claim(identity, restart)
            yield self

    def save(self, arrays: Arrays, state: Mapping[str, Any]) -> None:
        """Write a checkpoint; the one before is kept until this one is complete."""
        packed = arrays | {"state": np.frombuffer(json.dumps(dict(state)).encode(), np.uint8)}
        with atomic_output(self.path / _CHECKPOINT, force=True) as temporary:
            temporary.write_bytes(pack_arrays(packed, compress=False))

    def load(self) -> tuple[Arrays, dict[str, Any]] | None:
        """Read the checkpoint, if there is one."""
        path = self.path / _CHECKPOINT
        if not path.is_file():
            return None
        try:
            arrays = unpack_arrays(path.read_bytes(), max_bytes=2**33)
            state = json.loads(arrays.pop("state").tobytes())
        except (ArraysError, KeyError, ValueError) as error:
            raise TrainingError(f"the checkpoint {path} is damaged ({error}); use --restart") from error
        return arrays, state

    def finish(self, built: Path) -> None:
        """Rename the folder `built` (inside this one) to the output folder, and remove the work folder."""
        try:
            if self.out.exists():
                self.out.replace(self.path / "replaced")
            built.replace(self.out)
        except OSError as error:
            raise storage_error(error, self.out) from error
        self.remove()

    def remove(self) -> None:
        """Remove the work folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _claim(self, identity: Mapping[str, Any], restart: bool) -> None:
        record = self.path / _IDENTITY
        wanted = json.loads(json.dumps(identity))
        if restart:
            self._clear()
        if record.is_file():
            differing = _differences(_read(record), wanted)
            if differing:
                raise TrainingError(
                    f"an interrupted run in {self.path} cannot be continued, because these differ: "
                    f"{'; '.join(differing)}. Use the same settings, or --restart to start again"
                )
            self.resumed = True
            return
        self._clear()
        with atomic_output(record, force=True) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1))

    def _clear(self) -> None:
        for path in self.path.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def remove_folder(path: Path) -> None:
    """Remove a folder of intermediate results, if it exists.

    Raises:
        StorageError: A file cannot be removed.
    """
    try:
        if path.exists():
            shutil.rmtree(path)
    except OSError as error:
        raise storage_error(error, path) from error


def check_output(
    out: Path,
    force: bool,
    *,
    content: str = "trained model",
    recognize: Callable[[Path], bool] = is_trained_model,
) -> None:
    """Raise `OutputExistsError` when `out` exists and may not be replaced.

    With `force` only a folder that `recognize` accepts, by default that of a trained model, or an empty one, is replaced:
    never other files.
    """
    if not out.exists():
        return
    empty = out.is_dir() and not any(out.iterdir())
    if empty or (force and recognize(out)):
        return
    if force:
        raise OutputExistsError(
            errno.EEXIST,
            f"{out} exists and contains no {content}, so it is not replaced even with --force; choose another name",
        )
    raise OutputExistsError(
        errno.EEXIST, f"{out} already exists and is not overwritten; use --force or another name"
    )


def fingerprint(photos: Sequence[Photo], root: Path) -> str:
    """Return a digest of the photos and their parts, by name, size and time of change."""
    digest = hashlib.sha256()
    for photo in photos:
        status = photo.path.stat()
        entry = (
            os.path.relpath(photo.path, root),
            photo.label,
            photo.part,
            status.st_size,
            status.st_mtime_ns,
        )
        digest.update(repr(entry).encode())
    return digest.hexdigest()


def _read(record: Path) -> dict[str, Any]:
    try:
        fields = json.loads(record.read_text())
    except ValueError as error:
        raise TrainingError(f"{record} is damaged ({error}); use --restart") from error
    return dict(fields)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} was {_short(old)} and is {_short(new)}")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
