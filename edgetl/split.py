"""Split photos into parts: look-alikes stay in one part, so that no photo is judged by a look-alike of its own."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from device.grouping import chained, join
from device.lookalikes import Lookalikes, group_lookalikes, read_shots
from device.progress import Progress, no_progress

from .errors import PhotoFolderError
from .photos import TEST, TRAINING, VALIDATION, Photo, PhotoSet, name_some


def split_photos(
    photo_set: PhotoSet,
    validation: float = 0.2,
    seed: int = 0,
    progress: Progress = no_progress,
) -> PhotoSet:
    """Assign parts to the photos that have none, and split a validation part off the training part.

    Photos that look alike, follow each other in a recording or were taken within seconds form a view
    (`device.lookalikes`); a view stays in one part. The split is stratified. For each label it depends on the seed and the
    photos of that label only: adding a label changes nothing for the others. A label with one view, or with one or
    two photos, stays in training entirely.

    Args:
        photo_set: The photos, from `edgetl.photos.find_photos`.
        validation: Fraction of each label to hold out; not used where the folder or the split file names the
            validation photos.
        seed: Seed of the split.
        progress: Called as task "comparing photos" with the number of photos.

    Raises:
        PhotoFolderError: `validation` is out of range, or fewer than two labels have training photos.
    """
    if not 0 <= validation <= 0.9:
        raise PhotoFolderError(f"the validation part must be 0 to 0.9 of the photos, got {validation}")
    given = any(photo.part == VALIDATION for photo in photo_set.photos)
    alike = group_lookalikes(read_shots([(photo.path, photo.label) for photo in photo_set.photos], progress))
    photos = _with_views(photo_set.photos, alike)
    chosen = set() if given else _choose(photos, validation, seed)
    parted = [_assign(photo, chosen) for photo in photos]
    parted.sort(key=lambda photo: (photo.part, photo.label, str(photo.path)))
    whole = replace(photo_set, photos=tuple(parted))
    check_classes(whole)
    cut = validation > 0 and not given
    more = [*_look_warnings(photo_set.photos, alike), *_across(whole), *_small_labels(whole, cut)]
    return replace(whole, warnings=(*whole.warnings, *more))


def number_views(photos: Sequence[Photo], progress: Progress = no_progress) -> list[Photo]:
    """Return the photos with the numbers of their views; parts stay as they are."""
    shots = read_shots([(photo.path, photo.label) for photo in photos], progress)
    return _with_views(photos, group_lookalikes(shots))


def check_classes(photo_set: PhotoSet) -> None:
    """Raise `PhotoFolderError` unless at least two labels have a training photo, and every label has one."""
    counts = photo_set.counts(TRAINING)
    taught = [label for label, count in counts.items() if count]
    if len(taught) < 2:
        only = f"only {taught[0]!r}" if taught else "none"
        raise PhotoFolderError(
            f"{photo_set.root} must contain training photos of at least two labels, found {only}; "
            "add a folder with photos of something else, for example 'background'"
        )
    untaught = [label for label, count in counts.items() if not count]
    if untaught:
        raise PhotoFolderError(
            f"these labels have no training photos, only validation or test photos: {', '.join(untaught)}; "
            "add training photos of them, or remove them"
        )


@dataclass
class _View:
    """Photos that stay together, with the number per label."""

    number: int
    counts: Counter[str]


def _with_views(photos: Sequence[Photo], alike: Lookalikes) -> list[Photo]:
    """Number the views; an identical picture under two labels is one view too."""
    views = join(len(photos), [*chained(alike.groups.astype(np.int64)), *alike.conflicts])
    return [replace(photo, view=int(view)) for photo, view in zip(photos, views, strict=True)]


def _assign(photo: Photo, chosen: set[int]) -> Photo:
    if photo.part in (VALIDATION, TEST):
        return photo
    return replace(photo, part=VALIDATION if photo.view in chosen else TRAINING)


def _choose(photos: Sequence[Photo], fraction: float, seed: int) -> set[int]:
    """Choose the validation views: label by label, whole views, with at least one view per label left for training."""
    views: dict[int, _View] = {}
    of_label: dict[str, list[_View]] = defaultdict(list)
    for photo in photos:
        if photo.part in ("", TRAINING):
            view = views.setdefault(photo.view, _View(photo.view, Counter()))
            if not view.counts[photo.label]:
                of_label[photo.label].append(view)
            view.counts[photo.label] += 1
    chosen: set[int] = set()
    for label, mine in of_label.items():
        count = sum(view.counts[label] for view in mine)
        if fraction == 0 or count < 3:
            continue
        wanted = min(count - 1, max(1, round(fraction * count)))
        generator = np.random.default_rng([seed, zlib.crc32(label.encode())])
        order = [mine[place] for place in generator.permutation(len(mine)).tolist()]
        _take(label, order, wanted, chosen, of_label)
    return chosen


def _take(
    label: str,
    order: Sequence[_View],
    wanted: int,
    chosen: set[int],
    of_label: Mapping[str, Sequence[_View]],
) -> None:
    """Add views of a label to `chosen` while they contain at most `wanted` of its photos."""
    taken = sum(view.counts[label] for view in order if view.number in chosen)
    open_ = [view for view in order if view.number not in chosen and _may_leave(view, chosen, of_label)]
    for view in open_:
        if taken + view.counts[label] <= wanted and _may_leave(view, chosen, of_label):
            chosen.add(view.number)
            taken += view.counts[label]
    if not taken and open_:  # every view is larger than the fraction: choose the smallest
        chosen.add(min(open_, key=lambda view: view.counts[label]).number)


def _may_leave(view: _View, chosen: set[int], of_label: Mapping[str, Sequence[_View]]) -> bool:
    """Return whether each label of the view keeps another view to train on."""
    return all(
        any(other.number not in chosen and other is not view for other in of_label[label])
        for label in view.counts
    )


def _look_warnings(photos: Sequence[Photo], alike: Lookalikes) -> list[str]:
    warnings = []
    if alike.conflicts:
        pairs = [f"{photos[one].path} = {photos[other].path}" for one, other in alike.conflicts]
        warnings.append(
            "the same picture is under two labels, in different files; remove one of each pair: "
            f"{name_some(pairs, 3)}"
        )
    if alike.flat == len(photos):
        warnings.append(
            "all photos look alike: each shows a single shade, such as black; nothing can be learned from them"
        )
    elif alike.flat:
        warnings.append(f"{alike.flat} photos show only a single shade, such as black; remove them")
    if alike.count <= len(photos) / 2:
        warnings.append(
            f"{len(photos)} photos, {alike.count} separate views: shots of one thing in a row stay in one part; "
            "photos of other views teach more than further shots"
        )
    return warnings


def _across(photo_set: PhotoSet) -> list[str]:
    """Warn where the folder or the split file puts look-alikes on both sides."""
    training = {photo.view for photo in photo_set.part(TRAINING)}
    warnings = []
    for part in (VALIDATION, TEST):
        photos = photo_set.part(part)
        twins = sum(photo.view in training for photo in photos)
        if twins:
            warnings.append(
                f"{twins} of {len(photos)} {part} photos look like training photos, so the {part} figure is too good; "
                "move all shots of one thing to one part"
            )
    return warnings


def _small_labels(photo_set: PhotoSet, cut: bool) -> list[str]:
    counts = photo_set.counts(TRAINING)
    warnings = []
    if single := [label for label, count in counts.items() if count == 1]:
        warnings.append(
            f"these labels have only one training photo, so their accuracy will be low: {name_some(single)}"
        )
    views = defaultdict(set)
    for photo in photo_set.photos:
        views[photo.label].add(photo.view)
    judged = photo_set.counts(VALIDATION)
    alone = [
        label for label, seen in views.items() if len(seen) == 1 and counts[label] > 2 and not judged[label]
    ]
    if cut and alone:
        warnings.append(
            f"all photos of these labels are one view, so none can be used for validation: {name_some(sorted(alone))}; "
            "add photos taken at another time, place or angle"
        )
    return warnings
