"""Dataset folders of Frigate's custom classification: one folder per class, and ``none`` for everything else.

https://docs.frigate.video/configuration/custom_classification/object_classification: Frigate keeps them in
``/media/frigate/clips/MODEL/dataset``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from device.errors import OutputExistsError, PhotoError
from device.files import shown, storage_error
from device.images import read_photo
from device.photos import has_label_folders, list_labeled

from .photos import Collection, Photo, file_reader, skipped_files

if TYPE_CHECKING:
    from device.learner import Learner
    from device.store import Sample

NONE = "none"
"""Class of objects that belong to no other class."""

_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f]')


def read_dataset(source: Path) -> Collection:
    """List the photos of a dataset.

    Args:
        source: The folder of the model, with ``dataset`` inside, or the dataset itself.

    Raises:
        PhotoError: There are no folders of classes.
        LabelError: The name of a folder cannot be a label.
    """
    root = source / "dataset" if (source / "dataset").is_dir() else source
    if not has_label_folders(root):
        raise PhotoError(
            f"{shown(root)} has no folders of classes; expected Frigate's /media/frigate/clips/MODEL/dataset"
        )
    found = list_labeled(root)
    photos = tuple(
        Photo(
            photo.path.relative_to(root).as_posix(),
            None if photo.label == NONE else photo.label,
            file_reader(photo.path),
        )
        for photo in found.photos
    )
    return Collection(photos, skipped_files(found.left_out, root))


def write_dataset(learner: Learner, folder: Path, *, force: bool = False) -> dict[str, tuple[str, int]]:
    """Write the pictures of all samples as a dataset.

    Samples keep small pictures of at most 96 pixels. Samples that were taught without a picture, and those of the host, are
    left out; so are negatives, which Frigate does not have.

    Args:
        learner: The learner.
        folder: The dataset; it is created.
        force: Write into a folder that is not empty; its files stay.

    Returns:
        Label -> name of its folder and number of pictures; background is the label "", in the folder ``none``.

    Raises:
        OutputExistsError: The folder is not empty and `force` is false.
        StorageError: The folder cannot be written.
    """
    if folder.exists() and not force and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputExistsError(f"{shown(folder)} exists and is not empty; choose another, or add --force")
    names = folder_names(sorted(learner.store.counts()))
    written = {}
    try:
        for label, name in names.items():
            written[label] = (name, _write_class(learner.samples(label), folder / name))
        if background := learner.samples(background=True):
            written[""] = (NONE, _write_class(background, folder / NONE))
    except OSError as error:
        raise storage_error(error, folder) from error
    return written


def _write_class(samples: Sequence[Sample], folder: Path) -> int:
    """Write the pictures of samples into a folder, and return their number."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = 0
    for sample in samples:
        if sample.thumbnail is not None:
            place = folder / f"{folder.name}-{_when(sample.time)}-{sample.id}.png"
            place.write_bytes(_png(sample.thumbnail))
            pictures += 1
    return pictures


def folder_names(labels: list[str]) -> dict[str, str]:
    """Return a folder name for each label: without characters that file systems forbid, and all different.

    Example:
        >>> folder_names(["a/b", "a:b", "mug", "None"])
        {'a/b': 'a_b', 'a:b': 'a_b_2', 'mug': 'mug', 'None': 'None_2'}
    """
    taken = {NONE}
    names = {}
    for label in labels:
        name = _FORBIDDEN.sub("_", label).strip(". ") or "_"
        while len(name.encode()) > 120:  # a file name has at most 255 bytes, and its pictures repeat it
            name = name[:-1]
        number, base = 2, name
        while name.casefold() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.casefold())
        names[label] = name
    return names


def _when(seconds: float) -> str:
    try:
        return time.strftime("%Y%m%d_%H%M%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _png(jpeg: bytes) -> bytes:
    import cv2

    _, data = cv2.imencode(".png", cv2.cvtColor(read_photo(jpeg), cv2.COLOR_RGB2BGR))
    return bytes(data)
