"""`evaluate`: the accuracy of a model on labeled photos that it was not taught."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from device.errors import PhotoError
from device.images import read_photo
from device.photos import LeftOut, same_content
from device.progress import Progress, no_progress

from ..errors import PhotoFolderError
from ..photos import TEST, VALIDATION, Photo, PhotoSet, find_photos
from .figures import Evaluation, Mistake, judge, tabulate
from .subject import Answer, Subject, open_device, open_trained

__all__ = ["Evaluation", "evaluate", "judge", "tabulate"]


def evaluate(
    model: str | Path,
    photos: str | Path,
    *,
    state: str | Path | None = None,
    head: str = "exact",
    priors: str | None = None,
    skip_empty: bool = False,
    progress: Progress = no_progress,
) -> Evaluation:
    """Evaluate a model on a folder of photos with one folder per label.

    Photos that the model was taught are recognized and not judged.

    Args:
        model: A model file, which runs as on a device, or the folder of a trained model.
        photos: The folder. Its test part is used, else its validation part, else all photos.
        state: State file with what a device learned; only for a model file. None uses the model file alone.
        head: Kind of head: ``exact``, ``lda``, ``ncm``, ``softmax`` or ``knn``.
        priors: How frequent labels are expected: ``even``, or as frequent as they were ``taught``; only for a model
            file. None is the default of the head.
        skip_empty: Skip labels without a readable photo instead of raising.
        progress: Called as task "photos" with the number of photos.

    Raises:
        PhotoFolderError: No photo can be judged: there is none, none can be read, the model was taught all of
            them, or it knows none of their labels; or `state` was passed with the folder of a trained model.
        EdgetlError: The model or the state cannot be used.
    """
    found = find_photos(Path(photos), skip_empty=skip_empty)
    chosen, part = _judged_part(found)
    if Path(model).is_dir():
        if state is not None:
            raise PhotoFolderError(
                f"{model} is the folder of a trained model, which has no state; convert it, or leave --state out"
            )
        return _judge(open_trained(Path(model)), found, chosen, part, progress)
    with open_device(Path(model), state, head, priors) as subject:
        return _judge(subject, found, chosen, part, progress)


def _judged_part(found: PhotoSet) -> tuple[Sequence[Photo], str]:
    for part in (TEST, VALIDATION):
        if photos := found.part(part):
            return photos, part
    return found.photos, ""


def _judge(
    subject: Subject, found: PhotoSet, chosen: Sequence[Photo], part: str, progress: Progress
) -> Evaluation:
    known = set(subject.labels)
    if not known & {photo.label for photo in chosen}:
        raise PhotoFolderError(
            f"{subject.name} knows none of the labels in {found.root}, so the accuracy cannot be measured; "
            f"it knows {_some(subject.labels)}, the folders are {_some(found.labels)}"
        )
    chosen, same_files = _without_training_files(chosen, subject.training_files)
    answers, unreadable = _ask(subject, chosen, progress)
    fresh = [answer for answer in answers if not answer.taught]
    taught = [*same_files, *(answer.photo.path for answer in answers if answer.taught)]
    if known.isdisjoint(answer.photo.label for answer in fresh):
        raise PhotoFolderError(_no_figure(subject, found, taught, unreadable))
    result = tabulate(
        [answer.photo.label for answer in fresh], [answer.label for answer in fresh], known=subject.labels
    )
    return replace(
        result,
        part=part,
        root=found.root,
        taught=tuple(taught),
        unrecognizable=subject.unrecognizable,
        left_out=(*found.left_out, *unreadable),
        remarks=found.remarks,
        absent=tuple(sorted((known | set(found.labels)) - set(result.judged))),
        mistakes=_mistakes(fresh),
        rejected=sum(answer.rejected for answer in fresh),
    )


def _mistakes(answers: Sequence[Answer]) -> tuple[Mistake, ...]:
    """Return the wrong answers, most confident first."""
    wrong = [answer for answer in answers if answer.label != answer.photo.label]
    wrong.sort(key=lambda answer: (-answer.probability, str(answer.photo.path)))
    return tuple(
        Mistake(answer.photo.path, answer.photo.label, answer.label, answer.probability) for answer in wrong
    )


def _ask(subject: Subject, photos: Sequence[Photo], progress: Progress) -> tuple[list[Answer], list[LeftOut]]:
    answers, unreadable = [], []
    for number, photo in enumerate(photos, 1):
        try:
            image = read_photo(photo.path)
        except PhotoError as error:
            unreadable.append(LeftOut(photo.path, error.reason, photo.label))
        else:
            answers.append(subject.answer(photo, image))
        progress("photos", number, len(photos))
    return answers, unreadable


def _without_training_files(
    photos: Sequence[Photo], training: Sequence[Path]
) -> tuple[Sequence[Photo], list[Path]]:
    """Separate the photos that are identical to a training photo."""
    if not training:
        return photos, []
    trained = {os.path.realpath(path) for path in training}
    groups = same_content([*training, *(photo.path for photo in photos)])
    taught = {
        str(path)
        for group in groups
        if any(os.path.realpath(path) in trained for path in group)
        for path in group
    }
    kept = [photo for photo in photos if str(photo.path) not in taught]
    return kept, [photo.path for photo in photos if str(photo.path) in taught]


def _no_figure(
    subject: Subject, found: PhotoSet, taught: Sequence[Path], unreadable: Sequence[LeftOut]
) -> str:
    if not taught:
        return f"none of the {len(unreadable)} photos in {found.root} can be read, so the accuracy cannot be measured"
    return (
        f"{subject.name} was taught all {len(taught)} photos of {found.root} that could judge it, so the accuracy "
        "cannot be measured; use photos that it was not taught: a test folder beside train and val, or another folder"
    )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (" ..." if len(labels) > 5 else "")
