"""Stage 4: the embeddings of the training photos, and what the file keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.learner.views import ViewsComparison, judge_views
from device.lookalikes import group_lookalikes, read_shots
from device.model.codes import Codes, encode
from device.model.manifest import HeldOut
from device.model.memory import Memory, Samples, remember
from device.model.runtime import open_interpreter
from device.progress import Progress
from device.views import ONE, views_of

from .memory import judge_held_out
from .parity import converted_embeddings
from .photos import prepare
from .source import TrainedModel

_JUDGED = 2000  # photos that the views are compared on


@dataclass(frozen=True)
class Lesson:
    """The training photos as the device would embed them.

    Attributes:
        embeddings: float32 [N, D] of the converted backbone.
        labels: The label of each photo.
        held_out: bool [N], see `TrainedModel`.
        judges: bool [N], see `TrainedModel`.
        groups: int32 [N]; look-alikes share a number.
        mirrored: float32 [N, D], the embeddings of the mirror images, or None with one view.
    """

    embeddings: NDArray[np.float32]
    labels: tuple[str, ...]
    held_out: NDArray[np.bool_]
    judges: NDArray[np.bool_]
    groups: NDArray[np.int32]
    mirrored: NDArray[np.float32] | None = None


def embed_training_photos(
    model: TrainedModel, backbone: bytes, progress: Progress, views: str = ONE
) -> Lesson | None:
    """Embed the training photos of a model with its converted backbone; None when it has no photos or no labels."""
    if not model.photos or not model.labels:
        return None
    total = len(model.photos)

    def images() -> Iterator[Image]:
        for number, (path, _) in enumerate(model.photos):
            yield from views_of(prepare(path, model.preprocessing), views)
            progress("embedding training photos", number + 1, total)

    embeddings = converted_embeddings(open_interpreter(backbone), images())
    mirrored = None if views == ONE else embeddings[1::2]
    embeddings = embeddings if mirrored is None else embeddings[::2]
    held_out = np.array(model.held_out or [False] * total, bool)
    groups = group_lookalikes(read_shots(model.photos, progress)).groups
    labels = tuple(label for _, label in model.photos)
    return Lesson(embeddings, labels, held_out, model.judges, groups, mirrored)


@dataclass(frozen=True)
class Taught:
    """A lesson in fixed point.

    Attributes:
        samples: The samples themselves.
        memory: The memory that the file carries.
        held_out: The figure on photos that were held out, or None.
        views: Number of separate views among the photos; look-alikes count as one.
        flip: One view against the average with the mirror image, or None with one view.
    """

    samples: Samples
    memory: Memory
    held_out: HeldOut | None
    views: int
    flip: ViewsComparison | None = None

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
        embeddings, flip = extend(lesson.embeddings), None
        if lesson.mirrored is not None:
            both = ((embeddings + extend(lesson.mirrored)) / 2).astype(np.float32)
            flip = _compared(encode(embeddings, map_name), encode(both, map_name), lesson)
            embeddings = both
        codes = encode(embeddings, map_name)
        judge = None if lesson.judges.all() else lesson.judges
        samples = Samples(codes, lesson.labels, judge, lesson.groups)
        memory = remember(codes, lesson.labels, judge, lesson.groups)
        views = len(np.unique(lesson.groups))
        return cls(samples, memory, judge_held_out(samples, lesson.held_out), views, flip)

    @property
    def form(self) -> str:
        """``samples`` or ``sums``."""
        return "samples" if isinstance(self.memory, Samples) else "sums"


def _compared(one: Codes, flip: Codes, lesson: Lesson) -> ViewsComparison:
    """Compare the views on the photos that may judge and, for a short wait, on at most `_JUDGED` of them."""
    judges = np.flatnonzero(lesson.judges)
    chosen = judges[np.unique(np.linspace(0, len(judges) - 1, min(len(judges), _JUDGED)).astype(np.int64))]
    labels = [lesson.labels[place] for place in chosen]
    return judge_views(one[chosen], flip[chosen], labels, lesson.groups[chosen].astype(np.int64))
