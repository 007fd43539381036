"""The model file: one .tflite with a zip appended that holds its labels, manifest and memory.

Interpreters ignore what follows the flatbuffer; `zipfile` finds the archive at the end. Nothing in it
is trusted before its size and checksum are checked, and nothing is unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import LabelError, ModelFileError, ModelNotFoundError
from ..files import atomic_output
from ..labels import check_labels
from .manifest import Manifest
from .taught import Taught, TaughtStatistics, pack_taught, unpack_taught

_LIMITS = {"labels.txt": 2**20, "edgetl.json": 4 * 2**20, "taught.npz": 512 * 2**20}
_MAX_MODEL_BYTES = 2**31
_FOREIGN = "convert a model with 'edgetl convert' to get a file that can be taught"


@dataclass(frozen=True)
class ModelFile:
    """An opened model file, checked.

    Attributes:
        path: Where it lies.
        manifest: What it says of itself.
        labels: Labels the host taught, sorted; the first columns of the head in the file.
        taught: The host's memory, or None.
        taught_bytes: Size of the memory in the file.
    """

    path: Path
    manifest: Manifest
    labels: tuple[str, ...]
    taught: Taught | TaughtStatistics | None
    taught_bytes: int = 0

    @property
    def sha256(self) -> str:
        """Checksum of the model part, in hexadecimal."""
        return self.manifest.model_sha256

    @classmethod
    def open(cls, path: str | Path) -> ModelFile:
        """Read and check a model file.

        Raises:
            ModelFileError: It is missing, truncated, foreign, altered, or of an unknown version.
        """
        path = Path(path)
        data = _read(path)
        members = _members(path, data)
        manifest = Manifest.from_json(members["edgetl.json"])
        if hashlib.sha256(memoryview(data)[: manifest.model_bytes]).hexdigest() != manifest.model_sha256:
            raise ModelFileError(
                f"{path} was altered or damaged: its model part does not match the checksum in its manifest; "
                "copy or convert it again"
            )
        try:
            labels = check_labels(members["labels.txt"].decode().splitlines())
        except (LabelError, UnicodeDecodeError) as error:
            raise ModelFileError(f"labels.txt in {path} is damaged: {error}") from error
        packed = members.get("taught.npz")
        taught = unpack_taught(packed, manifest.dimensions) if packed else None
        return cls(path, manifest, labels, taught, len(packed or b""))

    def model_part(self) -> bytes:
        """Read the flatbuffer alone, without what is appended."""
        return _read(self.path)[: self.manifest.model_bytes]


def write_model_file(
    path: str | Path,
    model: bytes,
    manifest: Manifest,
    labels: tuple[str, ...] = (),
    taught: Taught | TaughtStatistics | None = None,
    *,
    force: bool = False,
) -> ModelFile:
    """Write a model file; it appears under its name only when it is whole.

    Args:
        path: Where to.
        model: The flatbuffer.
        manifest: Its checksum and length are filled in here.
        labels: Columns of the head that are in use, in order.
        taught: The host's memory.
        force: Overwrite what is there.

    Raises:
        StorageError: The file exists, or cannot be written.
        ModelFileError: `model` is no flatbuffer of TFLite, or there are more labels than capacity.
    """
    if model[4:8] != b"TFL3":
        raise ModelFileError(f"a model must be a TFLite flatbuffer, got bytes that start with {model[:8]!r}")
    if len(labels) > manifest.capacity:
        raise ModelFileError(
            f"the head has {manifest.capacity} columns, got {len(labels)} labels; raise the capacity"
        )
    manifest = replace(manifest, model_sha256=hashlib.sha256(model).hexdigest(), model_bytes=len(model))
    members = {
        "labels.txt": "\n".join(check_labels(labels)).encode(),
        "edgetl.json": manifest.to_json().encode(),
    }
    if taught is not None:
        members["taught.npz"] = pack_taught(taught)
    with atomic_output(path, force=force) as temporary:
        temporary.write_bytes(_append(model, members))
    return ModelFile.open(path)


def _append(model: bytes, members: dict[str, bytes]) -> bytes:
    target = io.BytesIO(model)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
    return target.getvalue()


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_MODEL_BYTES:
            raise ModelFileError(
                f"{path} has {path.stat().st_size} bytes, a model file has at most {_MAX_MODEL_BYTES}"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelNotFoundError(errno.ENOENT, f"there is no model file {path}; check the path") from error
    except OSError as error:
        raise ModelFileError(
            f"the model file {path} cannot be read: {error.strerror}; check the path"
        ) from error


def _members(path: Path, data: bytes) -> dict[str, bytes]:
    if data[4:8] != b"TFL3":
        raise ModelFileError(f"{path} is no .tflite file: it starts with {data[:8]!r}; {_FOREIGN}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = {info.filename: info for info in archive.infolist() if info.filename in _LIMITS}
            for name, info in infos.items():
                if info.file_size > _LIMITS[name]:
                    raise ModelFileError(
                        f"{name} in {path} has {info.file_size} bytes, at most {_LIMITS[name]} are read"
                    )
            members = {name: archive.read(info) for name, info in infos.items()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError, zlib.error) as error:
        raise ModelFileError(
            f"{path} has no readable edgetl manifest: it was cut off, or comes from elsewhere ({error}); "
            f"copy it again, or {_FOREIGN}"
        ) from error
    missing = {"labels.txt", "edgetl.json"} - members.keys()
    if missing:
        raise ModelFileError(
            f"{path} is a .tflite but no edgetl model file: {', '.join(sorted(missing))} missing; {_FOREIGN}"
        )
    return members
