"""Folders of photos: which files are read under which label, and why each other file is left out.

One set of rules for teaching, fine-tuning, evaluation and the folder camera:

- A folder directly inside the root is a label; photos at any depth below it have that label.
- Symbolic links to files and folders are followed; each folder is read once for a label, so loops end.
- The content decides whether a file is a photo, not its name.
- Hidden files and what operating systems leave behind are ignored. Every other file that is not read is listed with
  its reason.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import heif
from .errors import LabelError, PhotoError
from .files import shown
from .formats import HEAD_BYTES, Reason, reason_to_skip
from .labels import check_label

_CLUTTER = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "__macosx", "__pycache__"}
    | {"$recycle.bin", "system volume information", "lost+found"}
)
_PARTS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
UNKNOWN_LABEL = "unknown"


@dataclass(frozen=True)
class PhotoFile:
    """A file that may be a readable photo; `label` is None for one directly in the root."""

    path: Path
    label: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """A file that is not read, with the reason."""

    path: Path
    reason: Reason
    label: str | None = None

    def __repr__(self) -> str:
        return f"<LeftOut {self.path.name}: {self.reason}>"


@dataclass(frozen=True)
class PhotoList:
    """The photos of a folder.

    Attributes:
        root: The folder, or the one photo.
        photos: The photos, sorted by path below the root.
        left_out: Files that are not read.
        labels: Sorted; labels without a photo are included.
        remarks: Remarks about the labels for the user, one sentence each.
    """

    root: Path
    photos: tuple[PhotoFile, ...]
    left_out: tuple[LeftOut, ...]
    labels: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def without(self, more: Sequence[LeftOut]) -> PhotoList:
        """Return the list with the files `more` moved to `left_out`."""
        gone = {item.path for item in more}
        kept = tuple(photo for photo in self.photos if photo.path not in gone)
        return replace(self, photos=kept, left_out=(*self.left_out, *more))


def list_photo_files(root: str | Path) -> PhotoList:
    """List the files of a folder at any depth; labels are the unchanged names of the folders.

    Raises:
        PhotoError: A folder cannot be listed.
    """
    root = Path(root)
    if root.is_file():
        return PhotoList(root, (PhotoFile(root),), (), ())
    photos: list[PhotoFile] = []
    left_out: list[LeftOut] = []
    labels = []
    for entry in _entries(root):
        is_folder = _is_folder(entry)
        if is_folder:
            labels.append(entry.name)
        for path in _files_below(entry, root) if is_folder else [entry]:
            label = entry.name if is_folder else None
            reason = _reason(path, root)
            if reason is None:
                photos.append(PhotoFile(path, label))
            else:
                left_out.append(LeftOut(path, reason, label))
    photos.sort(key=lambda photo: photo.path.relative_to(root).parts)
    return PhotoList(root, tuple(photos), tuple(left_out), tuple(labels))


def has_label_folders(root: str | Path) -> bool:
    """Return whether a path is a folder with folders inside."""
    return _is_folder(Path(root)) and bool(_folders(Path(root)))


def list_photos(folder: str | Path, *, deep: bool = False) -> list[Path]:
    """Return the photos directly in `folder`, or `deep` at any depth, sorted."""
    if deep:
        return [photo.path for photo in list_photo_files(folder).photos]
    folder = Path(folder)
    return [path for path in _entries(folder) if not _is_folder(path) and _reason(path, folder) is None]


def list_labeled(root: str | Path) -> PhotoList:
    """List the photos of a folder with one folder per label; labels are in canonical form.

    Raises:
        PhotoError: A folder cannot be listed, or the labels are one level deeper.
        LabelError: The name of a folder cannot be a label.
    """
    found = list_photo_files(root)
    _refuse_other_levels(found)
    names = {name: _label_of(found.root, name) for name in found.labels}
    photos = [replace(photo, label=names[photo.label]) for photo in found.photos if photo.label is not None]
    loose = [LeftOut(photo.path, Reason.LOOSE) for photo in found.photos if photo.label is None]
    left_out = [
        item if item.label is None else replace(item, label=names[item.label]) for item in found.left_out
    ]
    labels = tuple(sorted(set(names.values())))
    return PhotoList(found.root, tuple(photos), (*left_out, *loose), labels, tuple(_name_remarks(names)))


def photos_to_teach(root: str | Path, label: str | None = None, *, skip_empty: bool = False) -> PhotoList:
    """List the photos to teach: all as `label`, or each under the label of its folder.

    Args:
        root: The folder; with a label, it may also be one photo.
        label: The label of all photos.
        skip_empty: Leave labels without a readable photo out instead of raising.

    Raises:
        PhotoError: The folder cannot be listed, has the labels one level deeper, or a label has no readable photo.
        LabelError: `label` or the name of a folder cannot be a label.
    """
    if label is None:
        return require_labels(leave_out_copies(list_labeled(root)), skip_empty=skip_empty)
    label, found = check_label(label), list_photo_files(root)
    photos = tuple(replace(photo, label=label) for photo in found.photos)
    left_out = tuple(replace(item, label=label) for item in found.left_out)
    remarks = (unknown_remark(),) if label.casefold() == UNKNOWN_LABEL else ()
    return require_labels(leave_out_copies(PhotoList(found.root, photos, left_out, (label,), remarks)))


def leave_out_copies(found: PhotoList) -> PhotoList:
    """Keep one of the files with the same content under one label, and none of those under several labels."""
    labels = {photo.path: photo.label for photo in found.photos}
    gone = []
    for group in same_content([photo.path for photo in found.photos]):
        torn = len({labels[path] for path in group}) > 1
        reason = Reason.TWO_LABELS if torn else Reason.COPY
        gone += [LeftOut(path, reason, labels[path]) for path in (group if torn else group[1:])]
    return found.without(gone)


def same_content(paths: Sequence[Path]) -> list[list[Path]]:
    """Group files whose bytes are equal; each group is in the order given."""
    # only files of equal size can be equal, so most are not read for this
    sizes = defaultdict(list)
    for path in paths:
        sizes[_size(path)].append(path)
    groups: dict[object, list[Path]] = defaultdict(list)
    for size, members in sizes.items():
        for path in members:
            groups[_digest(path) if len(members) > 1 and size else str(path)].append(path)
    return list(groups.values())


def find_unreadable(paths: Mapping[str, Sequence[Path]]) -> dict[str, list[LeftOut]]:
    """Return, per label, the files that could not be decoded before the first that could.

    Usually one photo per label is decoded. A label whose files are all in the result has no readable photo.
    """
    from .images import read_photo

    failed: dict[str, list[LeftOut]] = {}
    for label, files in paths.items():
        failed[label] = []
        for path in files:
            try:
                read_photo(path)
            except PhotoError as error:
                failed[label].append(LeftOut(path, error.reason, label))
            else:
                break
    return failed


def require_labels(found: PhotoList, *, skip_empty: bool = False) -> PhotoList:
    """Check that each label has a usable photo: readable, and not the same under another label.

    Args:
        found: The list.
        skip_empty: Leave labels without a readable photo out instead of raising.

    Raises:
        PhotoError: A label has no usable photo, or no label has one.
    """
    paths: dict[str, list[Path]] = {label: [] for label in found.labels}
    for photo in found.photos:
        if photo.label in paths:
            paths[photo.label].append(photo.path)
    failed = find_unreadable(paths)
    empty = [label for label in found.labels if len(failed[label]) == len(paths[label])]
    found = found.without([item for items in failed.values() for item in items])
    if not empty:
        return found
    remark = _empty_remark(empty, found, skip_empty=skip_empty)
    return replace(
        found,
        labels=tuple(label for label in found.labels if label not in empty),
        remarks=(*found.remarks, remark),
    )


def _empty_remark(empty: Sequence[str], found: PhotoList, *, skip_empty: bool) -> str:
    """Return the remark that the labels `empty` are skipped, or raise where that is not allowed or leaves no label."""
    from .leftout import count_reasons, next_steps

    why = {label: count_reasons([item for item in found.left_out if item.label == label]) for label in empty}
    listed = "; ".join(f"{label} ({why[label] or 'an empty folder'})" for label in empty)
    what = "this label has" if len(empty) == 1 else f"these {len(empty)} labels have"
    if skip_empty and set(empty) != set(found.labels):
        return f"skipped, because {what} no photo that can be used: {listed}"
    steps = next_steps([item for item in found.left_out if item.label in empty])
    skip = "" if set(empty) == set(found.labels) else "; to continue without, use --skip-empty"
    raise PhotoError(
        f"{shown(found.root)}: {what} no photo that can be used: {listed}. "
        f"{steps or 'Add photos or remove the folder'}{skip}"
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not _is_clutter(path.name))
    except OSError as error:
        raise PhotoError(
            f"{shown(folder)} cannot be listed: {error.strerror}; expected a folder of photos that you may read"
        ) from error


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def _files_below(folder: Path, root: Path) -> Iterator[Path]:
    seen = {os.path.realpath(root)}
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        for entry in _entries(folder):
            if _is_folder(entry):
                waiting.append(entry)
            else:
                yield entry


def _reason(path: Path, root: Path) -> Reason | None:
    if not _is_text(str(path.relative_to(root))):
        return Reason.NAME
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block
            return Reason.SPECIAL
        with path.open("rb") as stream:
            return reason_to_skip(path, stream.read(HEAD_BYTES), can_read_heif=heif.can_read_heif())
    except OSError:
        return Reason.LINK if path.is_symlink() and not path.exists() else Reason.DENIED


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_other_levels(found: PhotoList) -> None:
    """Raise `PhotoError` where the folders of labels are one level deeper than expected."""
    inside = {name: _folders(found.root / name) for name in found.labels}
    parts = [name for name in found.labels if name.lower() in _PARTS and inside[name]]
    direct = {photo.path.parent for photo in found.photos}
    if parts and len(parts) in (len(found.labels), 2, 3):
        only, what = parts[0], "the folders of a split"
    elif len(found.labels) == 1 and len(inside[found.labels[0]]) > 1:
        only, what = found.labels[0], "one folder"
    else:
        return
    if found.root / only in direct:
        return
    within = inside[only]
    raise PhotoError(
        f"{shown(found.root)} contains {what} ({shown(', '.join(found.labels))}) with the folders "
        f"{shown(', '.join(within[:5]))}{' ...' if len(within) > 5 else ''} inside; expected one folder per label. "
        f"Did you mean {shown(found.root / only)}?"
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # inside a folder that may be listed but not entered
        return False


def _folders(folder: Path) -> list[str]:
    return [path.name for path in _entries(folder) if _is_folder(path)]


def _label_of(root: Path, name: str) -> str:
    try:
        return check_label(name)
    except LabelError as error:
        raise LabelError(
            f"the folder {shown(root / name)} cannot be a label: {error}; rename the folder"
        ) from error


def _name_remarks(names: Mapping[str, str]) -> Iterator[str]:
    joined, similar = defaultdict(list), defaultdict(set)
    for name, label in names.items():
        joined[label].append(name)
        similar[label.casefold()].add(label)
    for label, folders in sorted(joined.items()):
        if len(folders) > 1:
            yield (
                f"{len(folders)} folders are one label, {label}: their names differ only in spaces at the ends "
                "or in how accents are encoded"
            )
    for labels in similar.values():
        if len(labels) > 1:
            yield f"these labels differ only in upper and lower case and stay apart: {', '.join(sorted(labels))}"
    if UNKNOWN_LABEL in similar:
        yield unknown_remark()


def unknown_remark() -> str:
    """Return a remark for users who name a label "unknown"."""
    return (
        f"the label {UNKNOWN_LABEL!r} is easy to confuse with frames that match no label, which 'edgetl run --on unknown' "
        "means; another name such as 'background' is clearer"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it will raise the error


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return str(path)
