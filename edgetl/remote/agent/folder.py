"""The folder of a deployment: its layout, its lock, and changes that are complete or not made.

The folder of a deployment::

    NAME.tflite -> current/model.tflite     the paths that commands and services use
    NAME.db     -> current/model.db
    venv        -> current/venv             if edgetl was installed by `deploy --install`
    current     -> releases/0002-4f1c...    the only thing that a deployment switches
    releases/0002-4f1c.../                  model.tflite, model.db -> ../../states/..., venv -> ../../venvs/..., release.json
    states/                                 state files; never removed
    venvs/                                  virtual environments, one per version of edgetl
    incoming/                               files that arrive
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_NO_LOCK = "another deployment is running in {folder}; wait until it has ended"


class StepError(Exception):
    """A step cannot be done; the message is for the user."""


class Folder:
    """The folder of a deployment."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.current = self.path / "current"
        self.releases, self.states = self.path / "releases", self.path / "states"
        self.venvs, self.incoming = self.path / "venvs", self.path / "incoming"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder, so that two deployments do not mix."""
        with (self.path / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StepError(_NO_LOCK.format(folder=self.path)) from None
            yield

    def release_name(self) -> str | None:
        """Return the name of the release in use, or None."""
        with contextlib.suppress(OSError):
            name = self.current.readlink().name
            if (self.releases / name / "release.json").is_file():
                return name
        return None

    def release(self, name: str | None) -> dict[str, Any] | None:
        """Return the record of a release."""
        if name is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            record: dict[str, Any] = json.loads((self.releases / name / "release.json").read_text("utf-8"))
            return record
        return None

    def next_release(self, digest: str) -> str:
        """Return the name of a new release of the model with this sha256."""
        matches = (re.match(r"(\d+)-", path.name) for path in self.releases.iterdir())
        return f"{max((int(match[1]) for match in matches if match), default=0) + 1:04d}-{digest[:12]}"

    def venv_name(self) -> str:
        """Return the name of the virtual environment of the release in use, or ""."""
        venv = self.current / "venv"
        return venv.resolve().name if venv.exists() else ""

    def unmanaged(self, name: str) -> str | None:
        """Return the name of a model file that a user copied here by hand: that of the new one, or the only one."""
        plain = sorted(path.stem for path in self.path.glob("*.tflite") if is_plain(path))
        return name if name in plain else plain[0] if len(plain) == 1 else None

    def aliases(self) -> set[str]:
        """Return the names under which the model in use can be opened."""
        links = (path for path in self.path.glob("*.tflite") if path.is_symlink())
        return {path.stem for path in links if path.readlink() == Path("current/model.tflite")}

    def lasting(self, edgetl: Sequence[str]) -> list[str]:
        """Return the words that run edgetl, with a path that stays valid when `current` changes."""
        program = Path(edgetl[0])
        if program.parent.parent == self.path / "venv":
            program = Path(os.path.realpath(self.path / "venv"), "bin", program.name)
        return [str(program), *edgetl[1:]]

    def old(self, name: str) -> tuple[Path, Path] | None:
        """Return the model and state that are in use now; None without a model."""
        release = self.release_name()
        if release is not None:
            folder = self.releases / release
            return folder / "model.tflite", folder / "model.db"
        found = self.unmanaged(name)
        return None if found is None else (self.path / f"{found}.tflite", self.path / f"{found}.db")


def write_record(release: Path, record: dict[str, Any]) -> None:
    """Write the record of a release into its folder."""
    part = release / ".release.part"
    with part.open("w", encoding="utf-8") as stream:
        json.dump(record, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(release / "release.json")
    sync(release)


def is_plain(path: Path) -> bool:
    """Return whether `path` is a file and no link."""
    return path.is_file() and not path.is_symlink()


def sync(path: Path) -> None:
    """Flush the names in a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link(target: str, path: Path) -> None:
    """Make `path` a link to `target`, in one step if it exists."""
    part = path.with_name(f".{path.name}.link")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(path)
    sync(path.parent)


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def backbone_digest(model: Path) -> str:
    """Return a checksum of all that decides an embedding, as `ModelFile.backbone_digest` does; "" for a damaged file."""
    try:
        with zipfile.ZipFile(model) as archive:
            manifest = json.loads(archive.read("edgetl.json"))
        with model.open("rb") as stream:
            part = bytearray(stream.read(int(manifest["model_bytes"])))
        for start, length in manifest["head_weights"].values():
            part[start : start + length] = bytes(length)
        how = {name: manifest[name] for name in ("preprocessing", "dimensions", "embedding_map")}
        how["preprocessing"].setdefault("channels", 3)  # files of earlier versions lack it
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
        return ""
    return hashlib.sha256(bytes(part) + json.dumps(how, sort_keys=True).encode()).hexdigest()


def same_backbone(old: Path, new: Path) -> bool:
    """Return whether two model files make the same embeddings, so that they can use one state."""
    digest = backbone_digest(old)
    return bool(digest) and digest == backbone_digest(new)


def has_memory(model: Path) -> bool:
    """Return whether a model file contains what the host taught."""
    with zipfile.ZipFile(model) as archive:
        return bool({"taught.npz", "negatives.npz"} & set(archive.namelist()))


def disk_free(path: Path) -> int:
    """Return the free bytes of the disk that has, or will have, the folder."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
