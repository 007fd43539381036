"""What the demo keeps, so that a second run is quick: one folder a stage, each with the key it was made by.

A key names everything the result follows from: photos, settings, versions of the packages and the source
of edgetl itself. A folder whose key differs is made anew; a folder that is not whole never gets its name.
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
_WITHOUT_EFFECT = ("tests", "page", "commands")  # parts of edgetl that no figure of the demo follows from


def default_folder() -> Path:
    """Give ``edgetl/demo`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "edgetl" / "demo"


def kept_or_made(
    folder: Path, key: dict[str, Any], make: Callable[[Path], None], *, fresh: bool = False
) -> bool:
    """Make sure that `folder` holds what belongs to `key`.

    Args:
        folder: Where it lies, or will lie.
        key: What the content follows from; JSON-able.
        make: Fills an existing, empty folder.
        fresh: Make it anew even if it is there.

    Returns:
        Whether the content was there already.

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
        if error.errno is None or not error.filename:  # an error of ours that says more already
            raise
        raise storage_error(error, folder) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return False


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Name the installed versions of `packages`; None where one is not installed."""
    return {name: _version(name) for name in packages}


def digest_files(paths: Iterable[Path]) -> str:
    """Give one SHA-256 over names and contents."""
    whole = hashlib.sha256()
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PhotoFolderError(
                f"{path} cannot be read: {error.strerror}; install the photos again"
            ) from error
        whole.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()


def source_digest() -> str:
    """Give one SHA-256 over the source of edgetl, so that changed code is never answered from the cache."""
    house = Path(__file__).parents[2]
    return digest_files(
        path
        for package in _SOURCES
        for path in sorted((house / package).rglob("*.py"))
        if not set(path.relative_to(house).parts) & set(_WITHOUT_EFFECT)
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
