"""A folder of photos as a camera: sorted, with the subfolders' names as labels."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..errors import CameraError, PhotoError
from ..images import PHOTO_SUFFIXES, read_photo
from .base import Camera, EndOfSource, Frame, Notice, Pace
from .options import Options


class FolderCamera(Camera):
    """Photos of a folder (or a single photo), in the order of their paths.

    Photos in subfolders carry the first subfolder's name as `Frame.label`. A photo that cannot be read is
    told and skipped; `skipped` holds the paths. Hidden files and folders are left out.
    """

    kind = "folder"

    def __init__(
        self, source: str | Path, options: Options | None = None, notice: Notice | None = None
    ) -> None:
        """List the photos.

        Raises:
            CameraError: The path is missing, may not be read, or holds no photo.
        """
        super().__init__(str(source), options, notice)
        self._root = Path(source)
        self._paths = _photos_below(self._root)
        if not self._paths:
            raise CameraError(
                f"{source} holds no photo to show; expected files such as NAME.jpg or LABEL/NAME.jpg "
                f"({', '.join(sorted(PHOTO_SUFFIXES))})"
            )
        self._position = 0
        self._pace = Pace(self.options.fps)
        self.skipped: list[str] = []

    def __len__(self) -> int:
        """Count the photos found, readable or not."""
        return len(self._paths)

    def _next(self, timeout: float | None) -> Frame:
        unreadable = 0
        while unreadable < len(self._paths):  # with `loop`, a folder of damaged photos must not spin for ever
            if self._position == len(self._paths) and self.options.loop:
                self._position = 0
            if self._position == len(self._paths):
                raise EndOfSource(f"all {len(self._paths)} photos of {self.source} have been shown")
            index, path = self._position, self._paths[self._position]
            self._position += 1
            try:
                image = read_photo(path)
            except PhotoError as error:
                unreadable += 1
                self._skip(path, error)
                continue
            self._pace.wait()
            return Frame(image, time.time(), index, self._name(path), self._label(path))
        raise CameraError(
            f"none of the {len(self._paths)} photos of {self.source} can be read; see the notices above"
        )

    def _skip(self, path: Path, error: PhotoError) -> None:
        name = self._name(path)
        if name not in self.skipped:  # a looping folder tells each damaged photo once
            self.skipped.append(name)
            self.tell(f"skipped: {error}")

    def _name(self, path: Path) -> str:
        return path.name if path == self._root else path.relative_to(self._root).as_posix()

    def _label(self, path: Path) -> str | None:
        parts = () if path == self._root else path.relative_to(self._root).parts
        return parts[0] if len(parts) > 1 else None


def _photos_below(root: Path) -> list[Path]:
    """List photos at any depth, sorted by path; symbolic links to folders are not followed (they may circle)."""
    if root.is_file():
        return [root]

    def refuse(error: OSError) -> None:
        raise CameraError(
            f"{error.filename} cannot be listed: {error.strerror}; check the path and its permissions"
        )

    found: list[Path] = []
    for folder, subfolders, names in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES
        ]
    return sorted(found, key=lambda path: path.relative_to(root).parts)
