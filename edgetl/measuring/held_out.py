"""Photos that teach a head, and photos that judge it: no view is among both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device.errors import MeasurementError
from device.files import shown
from device.progress import Progress, no_progress

from ..photos import TEST, VALIDATION, Photo, find_photos
from ..split import split_photos

HELD_OUT = 0.25  # share of the photos of each label, where the folder has no part that judges


@dataclass(frozen=True)
class Parted:
    """Photos that may be taught, and photos that judge; no view is in both.

    Attributes:
        taught: The former.
        judged: The latter.
        notes: Warnings about them.
    """

    taught: tuple[Photo, ...]
    judged: tuple[Photo, ...]
    notes: tuple[str, ...]


def part_photos(folder: Path, seed: int = 0, progress: Progress = no_progress) -> Parted:
    """Return the photos of a folder that may be taught, and those that judge.

    Raises:
        PhotoFolderError: The folder cannot be used.
        MeasurementError: No photo can judge.
    """
    whole = split_photos(find_photos(folder), HELD_OUT, seed, progress)
    part = TEST if whole.part(TEST) else VALIDATION
    views = {photo.view for photo in whole.part(part)}
    others = [photo for photo in whole.photos if photo.part != part]
    taught = tuple(photo for photo in others if photo.view not in views)
    known = {photo.label for photo in taught}
    judged = tuple(photo for photo in whole.part(part) if photo.label in known)
    if not judged:
        raise MeasurementError(
            f"no photo of {shown(folder)} can judge: each label needs at least three photos of separate views; "
            "add photos taken at another time, place or angle"
        )
    alike = len(others) - len(taught)
    return Parted(
        taught, judged, (f"{alike} photos look like photos that judge, and are not taught",) if alike else ()
    )
