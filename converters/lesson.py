"""Stage 4: the embeddings of the training photos, and what the file keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.lookalikes import group_lookalikes, read_shots
from device.model.codes import encode
from device.model.manifest import HeldOut
from device.model.memory import Memory, Samples, remember
from device.model.runtime import open_interpreter
from device.progress import Progress

from .memory import judge_held_out
from .parity import converted_embeddings
from .photos import prepare
from .source import TrainedModel


@dataclass(frozen=True)
class Lesson:
    """The training photos as the device would embed them.

    Attributes:
        embeddings: float32 [N, D] of the converted backbone.
        labels: The label of each photo.
        held_out: bool [N], see `TrainedModel`.
        judges: bool [N], see `TrainedModel`.
        groups: int32 [N]; look-alikes share a number.
    """

    embeddings: NDArray[np.float32]
    labels: tuple[str, ...]
    held_out: NDArray[np.bool_]
    judges: NDArray[np.bool_]
    groups: NDArray[np.int32]


def embed_training_photos(model: TrainedModel, backbone: bytes, progress: Progress) -> Lesson | None:
    """Embed the training photos of a model with its converted backbone; None when it has no photos or no labels."""
    if not model.photos or not model.labels:
        return None
    total = len(model.photos)

    def images() -> Iterator[Image]:
        for number, (path, _) in enumerate(model.photos):
            yield prepare(path, model.preprocessing)
            progress("embedding training photos", number + 1, total)

    embeddings = converted_embeddings(open_interpreter(backbone), images())
    held_out = np.array(model.held_out or [False] * total, bool)
    groups = group_lookalikes(read_shots(model.photos, progress)).groups
    return Lesson(embeddings, tuple(label for _, label in model.photos), held_out, model.judges, groups)


@dataclass(frozen=True)
class Taught:
    """A lesson in fixed point.

    Attributes:
        samples: The samples themselves.
        memory: The memory that the file carries.
        held_out: The figure on photos that were held out, or None.
        views: Number of separate views among the photos; look-alikes count as one.
    """

    samples: Samples
    memory: Memory
    held_out: HeldOut | None
    views: int

    @classmethod
    def of(
        cls, lesson: Lesson, extend: Callable[[NDArray[np.float32]], NDArray[np.float32]], map_name: str
    ) -> Taught:
        """Encode a lesson.

        Args:
            lesson: The embeddings with their labels.
            extend: Applied to the embeddings first, as the model file does.
            map_name: Map of the embeddings, see `device.model.codes`.
        """
        codes = encode(extend(lesson.embeddings), map_name)
        judge = None if lesson.judges.all() else lesson.judges
        samples = Samples(codes, lesson.labels, judge, lesson.groups)
        memory = remember(codes, lesson.labels, judge, lesson.groups)
        views = len(np.unique(lesson.groups))
        return cls(samples, memory, judge_held_out(samples, lesson.held_out), views)

    @property
    def form(self) -> str:
        """``samples`` or ``sums``."""
        return "samples" if isinstance(self.memory, Samples) else "sums"
