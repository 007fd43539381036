"""The folder beside the output where a run keeps what it has, so that it can be continued."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
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
    """What a run has done so far: ``.NAME.training`` beside the folder NAME it will become.

    Attributes:
        out: The final folder.
        path: The work folder.
        resumed: Whether there was something to go on from.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.parent / f".{out.name}.training"
        self.resumed = False

    @contextlib.contextmanager
    def open(self, identity: Mapping[str, Any], restart: bool = False) -> Iterator[WorkFolder]:
        """Hold the folder for one run.

        Args:
            identity: What must be the same for the work to be continued.
            restart: Throw away what an earlier run left.

        Raises:
            TrainingError: Another run holds it, or it belongs to a run with other settings or photos.
            StorageError: The folder cannot be made.
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
        """Write a checkpoint; the one before stays until this one is whole."""
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
            raise TrainingError(f"the checkpoint {path} is damaged ({error}); give --restart") from error
        return arrays, state

    def finish(self, built: Path) -> None:
        """Give the folder `built` (inside this one) the final name and remove the work."""
        try:
            if self.out.exists():
                self.out.replace(self.path / "replaced")
            built.replace(self.out)
        except OSError as error:
            raise storage_error(error, self.out) from error
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
                    f"{'; '.join(differing)}. Give the same settings, or --restart to begin anew"
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


def check_output(out: Path, force: bool) -> None:
    """Raise `OutputExistsError` when `out` is there and may not be replaced.

    With `force` only the folder of a trained model, or an empty one, is replaced: never other files.
    """
    if not out.exists():
        return
    empty = out.is_dir() and not any(out.iterdir())
    if empty or (force and is_trained_model(out)):
        return
    if force:
        raise OutputExistsError(
            errno.EEXIST,
            f"{out} is there and is no trained model, so it is not replaced even with --force; choose another name",
        )
    raise OutputExistsError(
        errno.EEXIST, f"{out} already exists and is not overwritten; use --force or another name"
    )


def fingerprint(photos: Sequence[Photo], root: Path) -> str:
    """Give a digest of which photos are trained on, and in which parts; their sizes and times stand for them."""
    digest = hashlib.sha256()
    for photo in photos:
        status = photo.path.stat()
        entry = (
            str(photo.path.relative_to(root)),
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
        raise TrainingError(f"{record} is damaged ({error}); give --restart") from error
    return dict(fields)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    told = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            told += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            told.append(f"{prefix}{name} was {_short(old)} and is {_short(new)}")
    return told


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
