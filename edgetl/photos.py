"""Folders of photos with one folder per label, split into training, validation and test parts."""

from __future__ import annotations

import csv
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.errors import PhotoError
from device.files import shown
from device.formats import Reason
from device.leftout import count_reasons, describe_left_out
from device.photos import LeftOut, PhotoList, list_labelled, require_labels, same_content

from .errors import PhotosError

TRAINING, VALIDATION, TEST = "training", "validation", "test"
PARTS = {
    "train": TRAINING,
    "training": TRAINING,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
_NAMED = 5  # how many names a warning gives before it only counts


@dataclass(frozen=True)
class Photo:
    """A photo file, its class and the part it is in ("" while that is open)."""

    path: Path
    label: str
    part: str = ""


@dataclass(frozen=True)
class PhotoSet:
    """The photos of a folder.

    Attributes:
        root: The folder.
        photos: Sorted by part, label and path.
        left_out: Files that are not used, with the reason of each; hidden files are not counted.
        warnings: What the user should know, a sentence each.
    """

    root: Path
    photos: tuple[Photo, ...]
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ignored(self) -> int:
        """The number of files that are not used."""
        return len(self.left_out)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted({photo.label for photo in self.photos}))

    def part(self, name: str) -> tuple[Photo, ...]:
        """Give the photos of one part."""
        return tuple(photo for photo in self.photos if photo.part == name)

    def counts(self, part: str | None = None) -> dict[str, int]:
        """Count the photos of each class, in one part or in all."""
        counted = Counter(photo.label for photo in self.photos if part in (None, photo.part))
        return {label: counted[label] for label in self.labels}


def find_photos(root: str | Path, split: str | Path | None = None, *, skip_empty: bool = False) -> PhotoSet:
    """List the photos of a folder that holds one folder per label; `device.photos` has the rules.

    A folder with ``train`` and, if wanted, ``val`` and ``test`` folders, each with the labels inside,
    gives the parts; so does a split file. Photos that are bit for bit the same are counted once in
    training and are kept out of the parts that judge; the same photo under two labels is left out.

    Args:
        root: The folder.
        split: A CSV file of lines ``path,part`` with paths relative to `root`; photos it does not name
            are left out.
        skip_empty: Leave labels without a readable photo out instead of raising.

    Raises:
        PhotosError: The folder is missing, holds no labels, or has them one level deeper; a label has no
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
            raise PhotosError(_nothing_found(found))
        warnings: list[str] = []
        if split is not None:
            photos, warnings = _apply_split(root, photos, Path(split))
        found = require_labels(found.without(_copies(photos)), skip_empty=skip_empty)
    except PhotosError:
        raise
    except PhotoError as error:
        raise PhotosError(str(error)) from error
    kept = {photo.path for photo in found.photos}
    photos = [photo for photo in photos if photo.path in kept]
    warnings += [*found.remarks, *describe_left_out(found.left_out)]
    return PhotoSet(root, tuple(sorted(photos, key=_order)), found.left_out, tuple(warnings))


def split_photos(photo_set: PhotoSet, validation: float = 0.2, seed: int = 0) -> PhotoSet:
    """Assign the photos whose part is open, and cut a validation part off the training part.

    The cut is stratified and depends on the seed and each class's own photos alone: another class more
    changes nothing for the others. A class of one or two photos stays in training whole.

    Args:
        photo_set: What `find_photos` gave.
        validation: The part of each class to set aside, 0 for none; not used where the folder or the
            split file names the validation photos.
        seed: Of the cut.

    Raises:
        PhotosError: `validation` is out of range, or fewer than two classes have training photos.
    """
    if not 0 <= validation <= 0.9:
        raise PhotosError(f"the validation part must be 0 to 0.9 of the photos, got {validation}")
    given = any(photo.part == VALIDATION for photo in photo_set.photos)
    kept = [photo for photo in photo_set.photos if photo.part in (VALIDATION, TEST)]
    grouped = defaultdict(list)
    for photo in photo_set.photos:
        if photo.part in ("", TRAINING):
            grouped[photo.label].append(photo)
    for label, photos in grouped.items():
        chosen = set() if given else _choose(photos, label, validation, seed)
        kept += [
            replace(photo, part=VALIDATION if index in chosen else TRAINING)
            for index, photo in enumerate(photos)
        ]
    whole = replace(photo_set, photos=tuple(sorted(kept, key=_order)))
    check_classes(whole)
    return replace(whole, warnings=whole.warnings + _small_classes(whole))


def check_classes(photo_set: PhotoSet) -> None:
    """Raise `PhotosError` unless at least two classes have a training photo, and every class has one."""
    counts = photo_set.counts(TRAINING)
    taught = [label for label, count in counts.items() if count]
    if len(taught) < 2:
        only = f"only {taught[0]!r}" if taught else "none"
        raise PhotosError(
            f"{photo_set.root} must hold training photos of two classes or more, found {only}; "
            "add a folder with photos of something else, for example 'background'"
        )
    untaught = [label for label, count in counts.items() if not count]
    if untaught:
        raise PhotosError(
            f"these classes are in the validation or test part alone: {', '.join(untaught)}; "
            "add training photos of them, or take them out"
        )


def name_some(names: Iterable[object], limit: int = _NAMED) -> str:
    """Name the first few and count the rest: ``a, b and 3 more``."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def _list_parts(root: Path) -> tuple[list[Photo], PhotoList]:
    """List the photos with their parts, and all that was found in one list."""
    parted = _part_folders(_folders(root)) or [(root, "")]
    lists = [(list_labelled(folder), part) for folder, part in parted]
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
        f"{shown(found.root)} holds no photos under a label: expected a folder for each label with its photos inside, "
        f"found {there}; put the photos of each label into a folder of its own"
    )


def _order(photo: Photo) -> tuple[str, str, str]:
    return photo.part, photo.label, str(photo.path)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise PhotosError(
            f"{shown(root)} cannot be listed: {error.strerror}; expected a folder with one folder of photos per label"
        ) from error


def _part_folders(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    # classes may be called "test" and "train" too: those hold photos, parts hold folders
    parts = [(folder, PARTS.get(folder.name.lower(), "")) for folder in folders]
    names = {part for _, part in parts}
    whole = TRAINING in names and "" not in names
    return parts if whole and all(_folders(folder) for folder, _ in parts) else []


def _apply_split(root: Path, photos: list[Photo], split: Path) -> tuple[list[Photo], list[str]]:
    parts = _read_split(split)
    known = {os.path.normpath(photo.path.relative_to(root)): photo for photo in photos}
    strangers = sorted(set(parts) - set(known))
    if strangers:
        raise PhotosError(
            f"{split} names photos that are not in {root}: {name_some(strangers)}; "
            "give paths relative to that folder"
        )
    left_out = len(known) - len(parts)
    told = [f"{left_out} photos are not named in {split} and were left out"] if left_out else []
    return [replace(known[path], part=part) for path, part in parts.items()], told


def _read_split(split: Path) -> dict[str, str]:
    try:
        rows = list(csv.reader(split.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeError, csv.Error) as error:
        raise PhotosError(f"the split file {split} cannot be read: {error}") from error
    parts: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if not row or (number == 1 and row[0].strip().lower() == "path"):
            continue
        part = PARTS.get(row[-1].strip().lower()) if len(row) == 2 else None
        if part is None:
            raise PhotosError(
                f"{split}, line {number}: expected 'path,part' with part train, val or test, got {','.join(row)!r}"
            )
        path = os.path.normpath(row[0].strip())
        if parts.setdefault(path, part) != part:
            raise PhotosError(
                f"{split}, line {number}: {path} is put into two parts, {parts[path]} and {part}"
            )
    return parts


def _copies(photos: Sequence[Photo]) -> list[LeftOut]:
    """Return the photos to leave out because the same bytes stand elsewhere."""
    # training first: a copy of a training photo would flatter the parts that judge
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


def _choose(photos: Sequence[Photo], label: str, fraction: float, seed: int) -> set[int]:
    if fraction == 0 or len(photos) < 3:
        return set()
    count = min(len(photos) - 1, max(1, round(fraction * len(photos))))
    generator = np.random.default_rng([seed, zlib.crc32(label.encode())])
    return {int(index) for index in generator.permutation(len(photos))[:count]}


def _small_classes(photo_set: PhotoSet) -> tuple[str, ...]:
    counts = photo_set.counts(TRAINING)
    single = [label for label, count in counts.items() if count == 1]
    if not single:
        return ()
    return (f"these classes have one training photo alone, expect little of them: {name_some(single)}",)
