"""Folders of photos with one folder per label, split into training, validation and test parts."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from device.errors import PhotoError
from device.files import shown
from device.formats import Reason
from device.leftout import count_reasons, describe_left_out
from device.photos import LeftOut, PhotoList, list_labeled, list_photos, require_labels, same_content

from .errors import PhotoFolderError

TRAINING, VALIDATION, TEST = "training", "validation", "test"
OLD, OLD_HELD_OUT = "old", "old held out"  # photos of an earlier model, which do not train the backbone again
PARTS = {
    "train": TRAINING,
    "training": TRAINING,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
_NAMED = 5  # number of names in a warning; the others are counted


@dataclass(frozen=True)
class Photo:
    """A photo file.

    Attributes:
        path: The file.
        label: Its label.
        part: Its part; "" while it is not assigned.
        view: Number of its group of look-alikes; -1 until `edgetl.split.split_photos` sets it.
    """

    path: Path
    label: str
    part: str = ""
    view: int = -1


@dataclass(frozen=True)
class PhotoSet:
    """The photos of a folder.

    Attributes:
        root: The folder.
        photos: Sorted by part, label and path.
        left_out: Files that are not used, with the reason of each; hidden files are not counted.
        warnings: Warnings for the user, one sentence each.
        remarks: The warnings about labels, without those about files left out.
        unlabeled: Further photos, without labels.
    """

    root: Path
    photos: tuple[Photo, ...]
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    unlabeled: tuple[Path, ...] = ()

    @property
    def ignored(self) -> int:
        """The number of files that are not used."""
        return len(self.left_out)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted({photo.label for photo in self.photos}))

    def part(self, name: str) -> tuple[Photo, ...]:
        """Return the photos of one part."""
        return tuple(photo for photo in self.photos if photo.part == name)

    def views(self, part: str | None = None) -> int:
        """Return the number of separate views in one part or in all: look-alikes count as one."""
        return len({photo.view for photo in self.photos if part in (None, photo.part)})

    def counts(self, part: str | None = None) -> dict[str, int]:
        """Return the number of photos per label, in one part or in all."""
        counted = Counter(photo.label for photo in self.photos if part in (None, photo.part))
        return {label: counted[label] for label in self.labels}


def find_unlabeled(root: str | Path, labeled: PhotoSet) -> tuple[Path, ...]:
    """List the photos of a folder at any depth, without copies of one another or of labeled photos.

    Raises:
        PhotoFolderError: The folder is missing or contains no other photo.
    """
    root = Path(root)
    if not root.is_dir():
        raise PhotoFolderError(f"the folder of unlabeled photos {shown(root)} does not exist; check the path")
    known = [photo.path for photo in labeled.photos]
    groups = same_content([*known, *list_photos(root, deep=True)])
    found = tuple(group[0] for group in groups if group[0] not in set(known))
    if not found:
        raise PhotoFolderError(
            f"{shown(root)} contains no photo that is not among the labeled ones; name a folder with more photos"
        )
    return found


def find_photos(root: str | Path, split: str | Path | None = None, *, skip_empty: bool = False) -> PhotoSet:
    """List the photos of a folder with one folder per label, by the rules of `device.photos`.

    The parts come from ``train``, ``val`` and ``test`` folders that contain the label folders, or from a split file;
    ``val`` and ``test`` may be missing. Identical files are used once for training and never in the other parts; a
    photo under two labels is left out.

    Args:
        root: The folder.
        split: A CSV file of lines ``path,part`` with paths relative to `root`; photos it does not name
            are left out.
        skip_empty: Leave labels without a readable photo out instead of raising.

    Raises:
        PhotoFolderError: The folder is missing, contains no labels, or has them one level deeper; a label has no
            photo that can be read; or the split file does not fit.
        LabelError: A folder's name cannot be a label.

    Example:
        >>> find_photos("photos").counts()  # doctest: +SKIP
        {'mug': 40, 'scissors': 38}
    """
    root = Path(root)
    try:
        photos, found = _list_parts(root)
        if not found.labels:
            raise PhotoFolderError(_nothing_found(found))
        warnings: list[str] = []
        if split is not None:
            photos, warnings = _apply_split(root, photos, Path(split))
        found = require_labels(found.without(_copies(photos)), skip_empty=skip_empty)
    except PhotoFolderError:
        raise
    except PhotoError as error:
        raise PhotoFolderError(str(error)) from error
    kept = {photo.path for photo in found.photos}
    photos = [photo for photo in photos if photo.path in kept]
    remarks = (*warnings, *found.remarks)
    warnings = [*remarks, *describe_left_out(found.left_out)]
    return PhotoSet(root, tuple(sorted(photos, key=_order)), found.left_out, tuple(warnings), remarks)


def name_some(names: Iterable[object], limit: int = _NAMED) -> str:
    """Name the first few and count the rest: ``a, b and 3 more``."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def _list_parts(root: Path) -> tuple[list[Photo], PhotoList]:
    """List the photos with their parts, and all that was found in one list."""
    parted = _part_folders(_folders(root)) or [(root, "")]
    lists = [(list_labeled(folder), part) for folder, part in parted]
    photos = [Photo(photo.path, str(photo.label), part) for found, part in lists for photo in found.photos]
    whole = PhotoList(
        root,
        tuple(photo for found, _ in lists for photo in found.photos),
        tuple(item for found, _ in lists for item in found.left_out),
        tuple(sorted({label for found, _ in lists for label in found.labels})),
        tuple(dict.fromkeys(remark for found, _ in lists for remark in found.remarks)),
    )
    return photos, whole


def _nothing_found(found: PhotoList) -> str:
    there = count_reasons(found.left_out) or "nothing"
    return (
        f"{shown(found.root)} contains no labeled photos: expected one folder of photos per label, "
        f"found {there}; put the photos of each label into a folder of its own"
    )


def _order(photo: Photo) -> tuple[str, str, str]:
    return photo.part, photo.label, str(photo.path)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise PhotoFolderError(
            f"{shown(root)} cannot be listed: {error.strerror}; expected a folder with one folder of photos per label"
        ) from error


def _part_folders(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    # labels may be named "test" and "train" too: those folders contain photos, parts contain folders
    parts = [(folder, PARTS.get(folder.name.lower(), "")) for folder in folders]
    names = {part for _, part in parts}
    whole = TRAINING in names and "" not in names
    return parts if whole and all(_folders(folder) for folder, _ in parts) else []


def _apply_split(root: Path, photos: list[Photo], split: Path) -> tuple[list[Photo], list[str]]:
    parts = _read_split(split)
    known = {os.path.normpath(photo.path.relative_to(root)): photo for photo in photos}
    strangers = sorted(set(parts) - set(known))
    if strangers:
        raise PhotoFolderError(
            f"{split} names photos that are not in {root}: {name_some(strangers)}; "
            "use paths relative to that folder"
        )
    left_out = len(known) - len(parts)
    warnings = [f"{left_out} photos are not named in {split} and were left out"] if left_out else []
    return [replace(known[path], part=part) for path, part in parts.items()], warnings


def _read_split(split: Path) -> dict[str, str]:
    try:
        rows = list(csv.reader(split.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeError, csv.Error) as error:
        raise PhotoFolderError(f"the split file {split} cannot be read: {error}") from error
    parts: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if not row or (number == 1 and row[0].strip().lower() == "path"):
            continue
        part = PARTS.get(row[-1].strip().lower()) if len(row) == 2 else None
        if part is None:
            raise PhotoFolderError(
                f"{split}, line {number}: expected 'path,part' with part train, val or test, got {','.join(row)!r}"
            )
        path = os.path.normpath(row[0].strip())
        if parts.setdefault(path, part) != part:
            raise PhotoFolderError(
                f"{split}, line {number}: {path} is put into two parts, {parts[path]} and {part}"
            )
    return parts


def _copies(photos: Sequence[Photo]) -> list[LeftOut]:
    """Return the photos to leave out because an identical file is used."""
    # training first: a copy of a training photo would make the other parts look too good
    ranked = sorted(photos, key=lambda photo: (photo.part not in ("", TRAINING), _order(photo)))
    known = {photo.path: photo for photo in ranked}
    gone = []
    for paths in same_content(list(known)):
        first, *rest = (known[path] for path in paths)
        if any(photo.label != first.label for photo in rest):
            gone += [LeftOut(path, Reason.TWO_LABELS, known[path].label) for path in paths]
            continue
        for photo in rest:
            reason = Reason.COPY if photo.part == first.part else Reason.OTHER_PART
            gone.append(LeftOut(photo.path, reason, photo.label))
    return gone
