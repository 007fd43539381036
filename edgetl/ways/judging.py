"""Judge the model file of a way: the exact head learns photos on the file's own embeddings and predicts others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.errors import PhotoError
from device.heads import create_head
from device.heads.memory import learn_memory
from device.images import read_photo
from device.model.codes import Codes, encode
from device.model.embedder import Embedder
from device.model.memory import Samples
from device.model.modelfile import ModelFile
from device.progress import Progress

from ..photos import TEST, VALIDATION, Photo, PhotoSet
from ..training.comparison import divide

Mask = NDArray[np.bool_]


def judging_part(photo_set: PhotoSet) -> str:
    """Return the part whose photos judge: the test part, else the validation part, "" where there is neither."""
    return next((part for part in (TEST, VALIDATION) if photo_set.part(part)), "")


def predict(
    file: Path, photos: tuple[Photo, ...], part: str, tuned: bool, progress: Progress
) -> list[str | None]:
    """Return the predicted label of each photo of a part, in order; None for photos that cannot be read.

    The head learns all photos of the other parts. Photos held out for validation are judged in folds, as
    `training.comparison` does, so that the head learns most of them too.

    Args:
        file: A model file.
        photos: All photos, each in its part.
        part: The part to judge.
        tuned: Whether the training photos tuned the backbone; then the held-out ones choose the head's ridge.
        progress: Called as task "judging" with the number of photos.
    """
    codes, readable = _embed(file, photos, progress)
    kept = [photo for photo, good in zip(photos, readable, strict=True) if good]
    judged = np.array([photo.part == part for photo in kept])
    held_out = np.array([photo.part == VALIDATION for photo in kept]) if tuned else None
    labels = tuple(photo.label for photo in kept)
    folds = (
        divide(labels, judged, np.array([photo.view for photo in kept], np.int32))
        if part == VALIDATION
        else [judged]
    )
    unknown = np.array([photo.part == TEST for photo in kept])
    predicted: list[str | None] = [None] * len(kept)
    for fold in folds:
        taught = ~(fold | unknown)
        answers = _answer(codes, labels, taught, held_out, fold)
        for place, answer in zip(np.flatnonzero(fold), answers, strict=True):
            predicted[place] = answer
    places = iter(predicted)
    answers_of_all = [next(places) if good else None for good in readable]
    return [answer for answer, photo in zip(answers_of_all, photos, strict=True) if photo.part == part]


def _answer(
    codes: Codes, labels: tuple[str, ...], taught: Mask, judge: Mask | None, asked: Mask
) -> list[str]:
    head = create_head("exact", codes.shape[1])
    known = tuple(label for label, one in zip(labels, taught, strict=True) if one)
    learn_memory(head, Samples(codes[taught], known, None if judge is None else judge[taught]))
    best = head.probabilities(codes[asked]).argmax(axis=1)
    return [head.labels[column] for column in best]


def _embed(file: Path, photos: tuple[Photo, ...], progress: Progress) -> tuple[Codes, list[bool]]:
    """Return the codes of the photos that can be read, and which they are."""
    model = ModelFile.open(file, trusted=True)
    embedder = Embedder(model)
    codes, readable = [], []
    try:
        for number, photo in enumerate(photos, 1):
            try:
                image = read_photo(photo.path)
            except PhotoError:
                readable.append(False)
            else:
                codes.append(encode(embedder.embed_one(image), model.manifest.embedding_map))
                readable.append(True)
            progress("judging", number, len(photos))
    finally:
        embedder.close()
    return np.stack(codes), readable
