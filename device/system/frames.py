"""The frames that a measurement shows: noise, photos, or those of a camera."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..addresses import redact
from ..cameras import Camera
from ..errors import PhotoError
from ..files import shown
from ..images import Image, read_photo
from ..leftout import count_reasons
from ..photos import list_photo_files
from .warming import Clock

CAMERA_SIZE = (480, 640)  # height and width of a frame of noise, a common size of cameras
_MOST_PHOTOS = 20  # that are kept in RAM


@dataclass(frozen=True)
class Frames:
    """The frames that are measured, in turn.

    Attributes:
        source: ``noise``, ``photos``, or the name of a camera.
        images: uint8 [H, W, 3] RGB each; of a camera, its first frame.
        camera: The camera that delivers a new frame each time; None without one.
    """

    source: str
    images: tuple[Image, ...]
    camera: Camera | None = None

    @classmethod
    def noise(cls, seed: int = 0) -> Frames:
        """Return one frame of noise of 640x480 pixels."""
        chooser = np.random.default_rng(seed)
        return cls("noise", (chooser.integers(0, 256, (*CAMERA_SIZE, 3), np.uint8),))

    @classmethod
    def photos(cls, folder: Path) -> Frames:
        """Return photos of a folder, at most twenty, spread over the folder; unreadable ones are skipped.

        Raises:
            PhotoError: The folder cannot be listed, or contains no readable photo.
        """
        found = list_photo_files(folder)
        chosen = found.photos[:: max(1, len(found.photos) // _MOST_PHOTOS)]
        images = []
        for photo in chosen:
            with contextlib.suppress(PhotoError):
                images.append(read_photo(photo.path))
            if len(images) == _MOST_PHOTOS:
                break
        if not images:
            why = count_reasons(found.left_out) or f"{len(chosen)} damaged"
            raise PhotoError(
                f"{shown(folder)} contains no readable photo ({why}); expected files such as NAME.jpg or LABEL/NAME.jpg"
            )
        return cls("photos", tuple(images))

    @classmethod
    def of_camera(cls, camera: Camera) -> Frames:
        """Return the frames of an open camera; its first frame is read now.

        Raises:
            CameraError: The camera delivers no frame.
        """
        return cls(redact(camera.source), (camera.read().image,), camera)

    def __getitem__(self, number: int) -> Image:
        return self.images[number % len(self.images)]

    def take(self, number: int, clock: Clock) -> tuple[Image, float | None]:
        """Return a frame, and the seconds that its capture took; None where there is no camera.

        Raises:
            CameraError: The camera delivers no frame.
        """
        if self.camera is None:
            return self[number], None
        start = clock()
        image = self.camera.read().image
        return image, clock() - start

    def describe(self) -> dict[str, Any]:
        """Return the source, the number of images, and the width and height of the first."""
        height, width = self.images[0].shape[:2]
        return {"source": self.source, "images": len(self.images), "width": width, "height": height}
