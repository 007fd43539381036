"""The photos in an export of another tool: where they are, their labels, and what is not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from device.errors import LabelError, PhotoError
from device.files import shown
from device.formats import HEAD_BYTES, Reason, photo_format
from device.heif import read_heif
from device.images import Image, read_photo
from device.labels import check_label
from device.photo_size import photo_size
from device.photos import LeftOut
from device.printable import printable

MOST_BYTES = 64 * 2**20
"""Maximum number of bytes of a photo in its file."""
MOST_PIXELS = 50_000_000
"""Maximum number of pixels of a photo; decoded they take 150 MB of RAM."""


@dataclass(frozen=True)
class Photo:
    """A photo of another tool.

    Attributes:
        name: Its path below the export, for messages, and to recognize a photo that was taught before.
        label: Its label; None means background.
        read: Returns the bytes of the file.
    """

    name: str
    label: str | None
    read: Callable[[], bytes] = field(repr=False)

    def image(self) -> Image:
        """Decode the photo: uint8 [H, W, 3] RGB.

        Raises:
            PhotoError: It is not a photo, is damaged, or is too large.
        """
        return decode(self.read(), printable(self.name))


@dataclass(frozen=True)
class Skipped:
    """A file that is not taught, with the reason as text."""

    name: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """The photos of an export.

    Attributes:
        photos: The photos, in order.
        skipped: Files that are not taught.
    """

    photos: tuple[Photo, ...]
    skipped: tuple[Skipped, ...] = ()

    def __add__(self, other: Collection) -> Collection:
        return Collection(self.photos + other.photos, self.skipped + other.skipped)


def decode(data: bytes, name: str) -> Image:
    """Decode a photo, unless its header declares too many pixels.

    Raises:
        PhotoError: It is not a photo, is damaged, or is too large.
    """
    form = photo_format(data[:HEAD_BYTES])
    if form == "HEIC":
        return read_heif(data, name, MOST_PIXELS)
    if form not in ("JPEG", "PNG", "WebP", "BMP"):
        raise PhotoError(f"{name} is not a JPEG, PNG, WebP, BMP or HEIC photo", Reason.NOT_A_PHOTO)
    width, height = photo_size(data) or (0, 0)
    if width * height > MOST_PIXELS:
        raise PhotoError(
            f"{name} has {width}x{height} pixels, a photo has at most {MOST_PIXELS}", Reason.TOO_LARGE
        )
    if not width * height:
        raise PhotoError(f"the header of {name} is damaged")
    return read_photo(data)


def label_of(name: str, where: str) -> str:
    """Return a label in its canonical form.

    Raises:
        LabelError: The text cannot be a label; the message names the place.
    """
    try:
        return check_label(name)
    except LabelError as error:
        raise LabelError(f"{printable(where)} cannot be a label: {error}; rename it") from error


def file_reader(path: Path) -> Callable[[], bytes]:
    """Return a function that reads a file of at most `MOST_BYTES`."""

    def read() -> bytes:
        try:
            if path.stat().st_size > MOST_BYTES:
                raise PhotoError(f"{shown(path)} is larger than {MOST_BYTES} bytes", Reason.TOO_LARGE)
            return path.read_bytes()
        except OSError as error:
            raise PhotoError(f"{shown(path)} cannot be read: {error.strerror}", Reason.DENIED) from error

    return read


def skipped_files(left_out: Iterable[LeftOut], root: Path) -> tuple[Skipped, ...]:
    """Return what a list of a folder of photos leaves out."""
    return tuple(Skipped(shown(item.path.relative_to(root)), str(item.reason)) for item in left_out)
