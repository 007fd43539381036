"""Uncertain frames and a learner: opening their queue, and teaching the frames that were labeled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError, LabelError, PhotoError
from ..heads.influence import View, look
from ..images import Image, read_photo
from ..labels import check_label
from ..model.codes import Codes, encode
from ..store import Sample
from ..store.doubtfile import DoubtFile
from ..store.records import new_burst
from .doubts import REMEMBERED, Doubts

if TYPE_CHECKING:
    from .learner import Learner

SUFFIX = ".doubts"


def open_doubts(learner: Learner, *, keep: bool) -> Doubts:
    """Open the queue of a learner.

    Args:
        learner: The learner.
        keep: Write the queue to the file beside the state file. Otherwise the file is only read.
    """
    path, manifest = learner.store.path, learner.model.manifest
    file = None
    if path is not None:
        beside = Path(f"{path}{SUFFIX}")
        file = DoubtFile(beside, learner.model.sha256, manifest.dimensions, REMEMBERED, read_only=not keep)

    def coded(embedding: NDArray[np.float32]) -> Codes:
        return encode(embedding, manifest.embedding_map)

    def looked(codes: Codes, seen: Codes) -> View | None:
        with learner.lock:
            try:
                return look(learner.head, codes, seen)
            except HeadError:  # nothing is taught
                return None

    return Doubts(looked, learner.store.position, coded, manifest.dimensions, file)


def answer(learner: Learner, labels: Mapping[int, str | None], not_labels: Mapping[int, str]) -> list[Sample]:
    """Teach frames of the queue in one transaction, and remove them and their near-duplicates from the queue.

    Args:
        learner: The learner.
        labels: The label of each frame, by its id; None makes it background.
        not_labels: The label that each negative denies, by its id.

    Returns:
        The samples, first those of `labels`, then those of `not_labels`, in order.

    Raises:
        SampleNotFoundError: A frame is no longer in the queue; then none is taught.
        LabelError: A text cannot be a label, a frame has several answers, or nothing was taught as a denied label.
        StorageError: The samples cannot be written; then the frames stay in the queue.
    """
    if twice := labels.keys() & not_labels.keys():
        raise LabelError(f"frame {min(twice)} has a label and is a negative too; choose one of them")
    shown = {number: None if label is None else check_label(label) for number, label in labels.items()}
    answers = {number: (label, None) for number, label in shown.items()} | {
        number: (None, label) for number, label in not_labels.items()
    }
    taken = learner.doubts.take(answers)
    if not taken:
        return []
    samples = learner.learn_many(
        (_picture(doubt.jpeg) for doubt in taken),  # one picture in RAM at a time
        [answers[doubt.id][0] for doubt in taken],
        [doubt.source for doubt in taken],
        not_label=[answers[doubt.id][1] for doubt in taken],
        times=[doubt.time for doubt in taken],
        bursts=[new_burst() for _ in taken],  # no two of them are near-duplicates
        embeddings=np.stack([doubt.embedding for doubt in taken]),
    )
    learner.doubts.settle(answers)
    for doubt in taken:
        learner.doubts.drop_like(doubt.embedding)
    return samples


def _picture(jpeg: bytes) -> Image:
    """Return the picture for the thumbnail; a gray one where it cannot be read, because only the embedding teaches."""
    try:
        return read_photo(jpeg)
    except PhotoError:
        return np.full((8, 8, 3), 128, np.uint8)
