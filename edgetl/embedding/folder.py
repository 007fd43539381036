"""The folder of a job: its description, its lock, and which job it belongs to."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from device.errors import OutputExistsError, StateError
from device.files import atomic_output, shown, storage_error

DESCRIPTION = "embed.json"
STATISTICS = "statistics.npz"
TAUGHT = "taught.tflite"
_LOCK = ".lock"
_FORMAT = 1
_OURS = frozenset({DESCRIPTION, STATISTICS, TAUGHT, _LOCK, "shards"})
_MEANINGS = {
    "identity": "another model file",
    "runtime": "another TFLite runtime",
    "views": "other views of a frame",
    "plan": "other photos, or photos that changed since",
    "embeddings": "another choice of --embeddings",
    "format": "another version of edgetl",
}


class Result(msgspec.Struct, frozen=True):
    """The result of a finished job.

    Attributes:
        photos: Number of embedded photos.
        labels: Number of photos per label; empty without labels.
        known: Number of photos that the model file was taught already.
    """

    photos: int
    labels: dict[str, int]
    known: int


class Description(msgspec.Struct, frozen=True):
    """What the description of a finished job says about its embeddings.

    Attributes:
        model: Name of the model file.
        backbone: Checksum of all that decides an embedding.
        views: Views of a frame.
        dimensions: Length D of an embedding.
        result: Counts of the finished job.
    """

    model: str
    backbone: str
    views: str
    dimensions: int
    result: Result


def read_description(folder: Path) -> Description:
    """Return the description of a finished job.

    Raises:
        StateError: The folder is not that of a job, the job is not finished, or the photos have no labels.
    """
    try:
        found = msgspec.json.decode((folder / DESCRIPTION).read_bytes(), type=Description)
    except (OSError, msgspec.DecodeError) as error:
        raise StateError(
            f"{shown(folder)} is not a complete result of edgetl embed ({error}); expected a folder with {DESCRIPTION}; run "
            "edgetl embed, again if it was interrupted"
        ) from error
    if not found.result.labels and not found.result.known:
        raise StateError(
            f"the photos in {shown(folder)} have no labels, so they cannot be taught; embed a folder with one folder per label"
        )
    return found


@dataclass(frozen=True)
class Folder:
    """The folder that a job writes.

    Attributes:
        path: The folder.
        description: What decides its content; a run with the same description continues an interrupted one.
    """

    path: Path
    description: Mapping[str, Any]

    @contextlib.contextmanager
    def open(self, force: bool) -> Iterator[None]:
        """Lock the folder for one run, and make it if it does not exist.

        Args:
            force: Discard what another job wrote there.

        Raises:
            OutputExistsError: Another run uses it, or it contains something else.
            StorageError: It cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign()
            lock = (self.path / _LOCK).open("w")
        except OutputExistsError:
            raise
        except OSError as error:
            raise storage_error(error, self.path) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise _exists(
                    f"{shown(self.path)} is in use: another run writes it; wait for it or choose another folder"
                ) from error
            self._claim(force)
            yield

    def describe(self, result: Mapping[str, Any]) -> None:
        """Write the description with the result of the finished job."""
        self._write({**self._all(), "result": dict(result)})

    def _all(self) -> dict[str, Any]:
        return {"format": _FORMAT, **self.description}

    def _refuse_foreign(self) -> None:
        foreign = sorted(entry.name for entry in self.path.iterdir() if entry.name not in _OURS)
        if foreign:
            raise _exists(
                f"{shown(self.path)} contains other files, such as {shown(foreign[0])}; choose another folder"
            )

    def _claim(self, force: bool) -> None:
        earlier = self._earlier()
        mine = self._all()
        if earlier is not None and not force:
            different = [meaning for key, meaning in _MEANINGS.items() if earlier.get(key) != mine[key]]
            if different:
                raise _exists(
                    f"{shown(self.path)} was written with {' and '.join(different)}; choose another folder, or use --force to "
                    "write it again"
                )
        elif force:
            self._clear()
        with contextlib.suppress(FileExistsError):
            (self.path / "shards").mkdir()
        if earlier is None or force:
            self._write(mine)

    def _earlier(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / DESCRIPTION).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _clear(self) -> None:
        for name in (DESCRIPTION, STATISTICS, TAUGHT):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "shards", ignore_errors=True)

    def _write(self, fields: Mapping[str, Any]) -> None:
        with atomic_output(self.path / DESCRIPTION, force=True) as temporary:
            temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def _exists(message: str) -> OutputExistsError:
    return OutputExistsError(errno.EEXIST, message)
