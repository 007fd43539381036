"""Folders of photos: one folder a class, cut into training, validation and test parts."""

from __future__ import annotations

import csv
import hashlib
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.images import PHOTO_SUFFIXES
from device.labels import check_label

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
        ignored: Files that are no photos by their name: hidden ones and unknown suffixes.
        warnings: What the user should know, a sentence each.
    """

    root: Path
    photos: tuple[Photo, ...]
    ignored: int = 0
    warnings: tuple[str, ...] = ()

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


def find_photos(root: str | Path, split: str | Path | None = None) -> PhotoSet:
    """List the photos of a folder that holds one folder a class.

    A folder with ``train`` and, if wanted, ``val`` and ``test`` folders, each with the classes inside,
    gives the parts; so does a split file. Photos that are bit for bit the same are counted once in
    training and are kept out of the parts that judge; the same photo under two classes is left out.

    Args:
        root: The folder.
        split: A CSV file of lines ``path,part`` with paths relative to `root`; photos it does not name
            are left out.

    Raises:
        PhotosError: No such folder, no class or no photo in it, or the split file does not fit.
        LabelError: A folder's name cannot be a label.

    Example:
        >>> find_photos("photos").counts()  # doctest: +SKIP
        {'mug': 40, 'scissors': 38}
    """
    root = Path(root)
    folders = _folders(root)
    parted = _part_folders(folders)
    found = _Finder(root)
    if parted:
        for folder, part in parted:
            found.classes(_folders(folder), part)
    else:
        found.classes(folders, "")
    photos = found.photos
    warnings = found.warnings()
    if not photos:
        raise PhotosError(
            f"{root} holds no photos: expected a folder for each class with "
            f"{', '.join(sorted(PHOTO_SUFFIXES))} files inside, found {len(folders)} folders; "
            "put the photos of each class into a folder of its own"
        )
    if split is not None:
        photos, more = _apply_split(root, photos, Path(split))
        warnings += more
    photos, more = _without_copies(photos)
    return PhotoSet(root, tuple(sorted(photos, key=_order)), found.ignored, tuple(warnings + more))


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


class _Finder:
    """Collects photos, and what was passed over on the way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos: list[Photo] = []
        self.ignored = 0
        self.empty: list[str] = []
        self.nested: list[str] = []
        self.unnamed: list[str] = []
        self.loose = sum(_is_photo(path) for path in _entries(root))

    def classes(self, folders: Sequence[Path], part: str) -> None:
        for folder in folders:
            label = check_label(folder.name)
            before = len(self.photos)
            for path in _entries(folder):
                self._take(path, label, part)
            if len(self.photos) == before:
                self.empty.append(label)

    def _take(self, path: Path, label: str, part: str) -> None:
        if path.is_dir():
            if not path.name.startswith("."):
                self.nested.append(str(path.relative_to(self.root)))
        elif not _is_photo(path):
            self.ignored += 1
        elif not _is_text(path.name):
            self.unnamed.append(repr(path.name))
        else:
            self.photos.append(Photo(path, label, part))

    def warnings(self) -> list[str]:
        told = []
        if self.ignored:
            told.append(f"{self.ignored} files are no photos by their names and were ignored")
        if self.loose:
            told.append(f"{self.loose} photos lie outside the class folders and were ignored")
        if self.nested:
            told.append(f"folders inside a class folder were ignored: {name_some(self.nested)}")
        if self.empty:
            told.append(f"class folders without photos were ignored: {name_some(self.empty)}")
        if self.unnamed:
            told.append(
                f"photos whose names are not UTF-8 were ignored, rename them: {name_some(self.unnamed)}"
            )
        return told


def _order(photo: Photo) -> tuple[str, str, str]:
    return photo.part, photo.label, str(photo.path)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise PhotosError(
            f"{folder} cannot be listed: {error.strerror}; expected a folder with one folder of photos a class"
        ) from error


def _folders(root: Path) -> list[Path]:
    return [path for path in _entries(root) if path.is_dir() and not path.name.startswith(".")]


def _part_folders(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    # classes may be called "test" and "train" too: those hold photos, parts hold folders
    parts = [(folder, PARTS.get(folder.name.lower(), "")) for folder in folders]
    names = {part for _, part in parts}
    whole = TRAINING in names and "" not in names
    return parts if whole and all(_folders(folder) for folder, _ in parts) else []


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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


def _without_copies(photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    kept, across, torn, doubled = [], [], [], 0
    for group in _same_content(photos):
        # training first: a copy of a training photo would flatter the parts that judge
        ranked = sorted(group, key=lambda photo: (photo.part not in ("", TRAINING), _order(photo)))
        if len({photo.label for photo in group}) > 1:
            torn.append(" = ".join(str(photo.path) for photo in ranked))
            continue
        kept.append(ranked[0])
        across += [str(photo.path) for photo in ranked[1:] if photo.part != ranked[0].part]
        doubled += sum(photo.part == ranked[0].part for photo in ranked[1:])
    told = []
    if across:
        told.append(f"copies of photos of another part were left out: {name_some(across)}")
    if doubled:
        told.append(f"{doubled} photos are copies of others and were counted once")
    if torn:
        told.append(f"the same photo stands in two classes and was left out of both: {name_some(torn, 3)}")
    return kept, told


def _same_content(photos: list[Photo]) -> list[list[Photo]]:
    # only files of equal size can be equal: most are never read for this
    sizes = defaultdict(list)
    for photo in photos:
        sizes[_size(photo.path)].append(photo)
    groups: dict[object, list[Photo]] = defaultdict(list)
    for size, members in sizes.items():
        for photo in members:
            digest = _digest(photo.path) if len(members) > 1 and size else str(photo.path)
            groups[digest].append(photo)
    return list(groups.values())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it will say what is wrong


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return str(path)


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
