"""Samples that Teachable Machine downloads: zip archives of pictures, one per class or one with a folder per class.

https://teachablemachine.withgoogle.com. A project file (.tm) is such an archive, too.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from device.errors import PhotoError
from device.files import shown
from device.formats import PHOTO_SUFFIXES
from device.photos import has_label_folders, list_labeled
from device.printable import printable

from .archive import Archive
from .photos import Collection, Photo, Skipped, file_reader, label_of, skipped_files

_ARCHIVES = (".zip", ".tm")
_SAMPLES = re.compile(r"[-_ ]?(image[-_ ])?samples( ?\(\d+\))?$", re.IGNORECASE)
_NOT_LABELS = {"samples", "images", "data", "train", "training"}


def read_samples(source: Path, stack: ExitStack) -> Collection:
    """List the photos of an archive, or of a folder of archives and of folders of classes.

    Args:
        source: The archive or folder.
        stack: Closes the archives; photos cannot be read afterwards.

    Raises:
        PhotoError: An archive is damaged or too large, or there is no photo.
        LabelError: The name of a class cannot be a label.
    """
    archives = [source] if source.is_file() else _archives_in(source)
    found = Collection(())
    for path in archives:
        found += _read_archive(stack.enter_context(Archive(path)))
    if source.is_dir() and has_label_folders(source):
        listed = list_labeled(source)
        photos = [
            Photo(photo.path.relative_to(source).as_posix(), photo.label, file_reader(photo.path))
            for photo in listed.photos
        ]
        loose = [item for item in listed.left_out if item.path not in archives]
        found += Collection(tuple(photos), skipped_files(loose, source))
    if not found.photos:
        raise PhotoError(
            f"{shown(source)} contains no photos; expected the samples that Teachable Machine downloads"
        )
    return found


def _archives_in(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.suffix.lower() in _ARCHIVES and path.is_file()
        )
    except OSError as error:
        raise PhotoError(f"{shown(folder)} cannot be listed: {error.strerror}") from error


def _read_archive(archive: Archive) -> Collection:
    photos, skipped = [], []
    for name, read in sorted(archive.files.items()):
        path = PurePosixPath(name)
        where = f"{archive.path.name}/{name}"
        if path.suffix.lower() in PHOTO_SUFFIXES:
            photos.append(Photo(where, _label(path, archive.path), read))
        else:
            skipped.append(Skipped(printable(where), "not-a-photo"))
    return Collection(tuple(photos), tuple(skipped))


def _label(path: PurePosixPath, archive: Path) -> str:
    """Return the label of a photo: the folder that contains it, or else the name of the archive."""
    folders = [part for part in path.parts[:-1] if part.casefold() not in _NOT_LABELS]
    name = folders[-1] if folders else _SAMPLES.sub("", archive.stem) or archive.stem
    return label_of(name, f"the class {name[:100]!r} in {archive.name}")
