"""Exports of Edge Impulse: pictures and ``info.labels``, a JSON file that lists them.

https://docs.edgeimpulse.com: "Edge Impulse exporter acquisition format", version 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

from device.errors import PhotoError
from device.files import shown
from device.printable import printable

from .archive import Archive, safe_path
from .photos import Collection, Photo, Skipped, file_reader, label_of

INFO = "info.labels"
PARTS = ("training", "testing")
_MOST_BYTES = 256 * 2**20  # of info.labels

Readers = Callable[[str], Callable[[], bytes] | None]


def read_export(source: Path, stack: ExitStack, part: str = "training") -> Collection:
    """List the labeled photos of an export.

    Args:
        source: The folder with ``info.labels``, that file, or the zip archive of the export.
        stack: Closes the archive; photos cannot be read afterwards.
        part: ``training``, ``testing`` or ``all``.

    Raises:
        PhotoError: There is no ``info.labels``, or it is damaged.
        LabelError: A label cannot be one.
    """
    text, find = _opened(source, stack)
    photos: list[Photo] = []
    skipped: list[Skipped] = []
    for number, entry in enumerate(_entries(text, source)):
        name, found = _photo(entry, number, find, part)
        if isinstance(found, Photo):
            photos.append(found)
        elif found:
            skipped.append(Skipped(printable(name), found))
    if not photos:
        raise PhotoError(f"{shown(source)} lists no labeled photo of the part {part!r}")
    return Collection(tuple(photos), tuple(skipped))


def _photo(entry: Any, number: int, find: Readers, part: str) -> tuple[str, Photo | str]:
    """Return the name of an entry, and its photo, the reason why it is skipped, or "" for another part."""
    path = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(path, str) or not path:
        return f"entry {number}", "without-a-path"
    if part != "all" and entry.get("category", "training") not in (part, "split"):
        return path, ""
    label = entry.get("label")
    if not isinstance(label, dict) or label.get("type") != "label" or not isinstance(label.get("label"), str):
        return path, "without-one-label"
    if str(safe_path(path)) != path.replace("\\", "/").removeprefix("./"):
        return path, "outside-the-export"
    read = find(path.replace("\\", "/").removeprefix("./"))
    if read is None:
        return path, "missing"
    return path, Photo(path, label_of(label["label"], f"the label of {path[:100]}"), read)


def _opened(source: Path, stack: ExitStack) -> tuple[bytes, Readers]:
    """Return the content of ``info.labels``, and a function that returns the reader of a path beside it."""
    if source.is_file() and source.name != INFO:
        archive = stack.enter_context(Archive(source))
        place = min(
            (name for name in archive.files if PurePosixPath(name).name == INFO), key=len, default=None
        )
        if place is None:
            raise PhotoError(f"{shown(source)} contains no {INFO}; expected an export of Edge Impulse")
        base = PurePosixPath(place).parent
        return archive.files[place](), lambda path: archive.files.get(str(base / path))
    root = source.parent if source.is_file() else source
    return _read(root / INFO), lambda path: _inside(root, path)


def _inside(root: Path, path: str) -> Callable[[], bytes] | None:
    """Return the reader of a file below `root`; None where there is none, or a link leads out of `root`."""
    place = (root / path).resolve()
    if not place.is_relative_to(root.resolve()) or not place.is_file():
        return None
    return file_reader(place)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise PhotoError(f"{shown(path)} is larger than {_MOST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(
            f"{shown(path)} cannot be read: {error.strerror}; expected an export of Edge Impulse with {INFO}"
        ) from error


def _entries(text: bytes, source: Path) -> list[Any]:
    try:
        info = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PhotoError(f"{INFO} of {shown(source)} is not JSON: {error}") from error
    files = info.get("files") if isinstance(info, dict) else None
    if not isinstance(files, list) or info.get("version") != 1:
        raise PhotoError(f'{INFO} of {shown(source)} must be {{"version": 1, "files": [...]}}')
    return files
