"""The demo's cache, which makes a second run fast: one folder per stage, with the key of its content.

A key names everything that the result depends on: photos, settings, versions of the packages and the source of
edgetl itself. A folder with another key is made again; an incomplete folder never gets its final name.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from device.files import storage_error

from ..errors import PhotoFolderError

KEY = "key.json"
_SOURCES = ("device", "converters", "edgetl")
_WITHOUT_EFFECT = ("tests", "page", "commands")  # parts of edgetl that affect no figure of the demo


def default_folder() -> Path:
    """Return ``edgetl/demo`` in the user's cache folder (``XDG_CACHE_HOME``, or ``~/.cache``)."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "edgetl" / "demo"


def kept_or_made(
    folder: Path, key: dict[str, Any], make: Callable[[Path], None], *, fresh: bool = False
) -> bool:
    """Make sure that `folder` has the content for `key`.

    Args:
        folder: The folder, which may not exist yet.
        key: Everything that the content depends on; JSON-serializable.
        make: A function that fills an existing, empty folder.
        fresh: Make the content again even if it exists.

    Returns:
        Whether the content existed already.

    Raises:
        StorageError: The folder cannot be written.
    """
    text = json.dumps(key, indent=1, sort_keys=True)
    if not fresh and _read(folder / KEY) == text:
        return True
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        (part / KEY).write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        # one of edgetl's own errors, which has a better message
        if error.errno is None or not error.filename:
            raise
        raise storage_error(error, folder) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return False


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Return the installed version per package; None if a package is not installed."""
    return {name: _version(name) for name in packages}


def digest_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 over the names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PhotoFolderError(
                f"{path} cannot be read: {error.strerror}; install the photos again"
            ) from error
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def source_digest() -> str:
    """Return the SHA-256 over the source of edgetl, so that changed code never uses old results."""
    root = Path(__file__).parents[2]
    return digest_files(
        path
        for package in _SOURCES
        for path in sorted((root / package).rglob("*.py"))
        if not set(path.relative_to(root).parts) & set(_WITHOUT_EFFECT)
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
