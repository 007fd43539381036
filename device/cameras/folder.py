"""A folder of photos as a camera: sorted, with the names of subfolders as labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import CameraError, EndOfSource, PhotoError
from ..files import shown
from ..images import read_photo
from ..leftout import count_reasons
from ..photos import LeftOut, PhotoFile, list_photo_files
from .base import Camera, Frame, Notice, Pace
from .options import Options


class FolderCamera(Camera):
    """Photos of a folder (or a single photo), in the order of their paths.

    `Frame.label` of photos in subfolders is the name of the first subfolder; `device.photos` has the rules. A photo
    that cannot be decoded is skipped with a notice.

    Attributes:
        left_out: Files that are not shown, each with its reason; damaged photos are added when they are read.
    """

    kind = "folder"

    def __init__(
        self,
        source: str | Path,
        options: Options | None = None,
        notice: Notice | None = None,
        *,
        photos: Sequence[PhotoFile] | None = None,
    ) -> None:
        """List the photos.

        Args:
            source: The folder or photo.
            options: Size, rotation and other options.
            notice: Called with messages.
            photos: Show only these, with their labels. Default: all photos in the folder.

        Raises:
            CameraError: The path is missing, cannot be listed, or contains no photo.
        """
        super().__init__(str(source), options, notice)
        self._root = Path(source)
        self.left_out: list[LeftOut] = []
        self._photos = self._list() if photos is None else list(photos)
        if not self._photos:
            why = count_reasons(self.left_out)
            raise CameraError(
                f"{shown(source)} contains no photo to show{f', but {why}' if why else ''}; "
                "expected files such as NAME.jpg or LABEL/NAME.jpg"
            )
        self._position = 0
        self._pace = Pace(self.options.fps)

    def __len__(self) -> int:
        """Return the number of photos found, readable or not."""
        return len(self._photos)

    def files(self) -> list[tuple[str, PhotoFile]]:
        """Return the photos to be shown, each with its `Frame.source`."""
        return [(self._name(photo.path), photo) for photo in self._photos]

    def _list(self) -> list[PhotoFile]:
        try:
            found = list_photo_files(self._root)
        except PhotoError as error:
            raise CameraError(str(error)) from error
        self.left_out += found.left_out
        if found.photos and found.left_out:
            self.notify(f"not shown: {count_reasons(found.left_out)}")
        return list(found.photos)

    def _next(self, timeout: float | None) -> Frame:
        unreadable = 0
        while unreadable < len(self._photos):  # with `loop`, a folder of damaged photos must not loop forever
            if self._position == len(self._photos) and self.options.loop:
                self._position = 0
            if self._position == len(self._photos):
                raise EndOfSource(f"all {len(self._photos)} photos of {self.source} have been shown")
            index, photo = self._position, self._photos[self._position]
            self._position += 1
            try:
                image = read_photo(photo.path)
            except PhotoError as error:
                unreadable += 1
                self._skip(photo, error)
                continue
            self._pace.wait()
            return Frame(image, time.time(), index, self._name(photo.path), photo.label)
        raise CameraError(
            f"none of the {len(self._photos)} photos of {self.source} can be read; see the notices above"
        )

    def _skip(self, photo: PhotoFile, error: PhotoError) -> None:
        if all(item.path != photo.path for item in self.left_out):  # a looping folder reports each photo once
            self.left_out.append(LeftOut(photo.path, error.reason, photo.label))
            self.notify(f"skipped: {error}")

    def _name(self, path: Path) -> str:
        return path.name if path == self._root else path.relative_to(self._root).as_posix()
