"""Ways to teach a learner from frames: in a burst, from a folder of photos, with keys."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..cameras import Camera, EndOfSource, Frame, FrameTimeout
from ..errors import CameraError, LabelError
from ..images import thumbnail_pixels
from ..labels import check_label, check_labels
from ..learner.learner import Learner
from ..negatives import check_stored, describe, split_label, stored_label
from ..photos import LeftOut
from ..progress import Progress, no_progress
from ..store import Sample
from ..store.records import new_burst

BATCH = 32  # photos per transaction; an interruption loses at most this number
PATIENCE = 6  # reads of a live camera without a frame, ten seconds each, before a burst gives up


@dataclass
class Lesson:
    """The result of teaching; updated while it runs, so that it is valid after an interruption.

    Attributes:
        samples: The samples taught, in order; each is durable.
        known: Number of photos skipped because the same picture was taught before.
        unlabeled: Number of photos skipped because they have no label.
        left_out: Files of a photo folder that were not read.
    """

    samples: list[Sample] = field(default_factory=list)
    known: int = 0
    unlabeled: int = 0
    left_out: list[LeftOut] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return the number of samples taught per label."""
        return _counted(sample.label for sample in self.samples if sample.label is not None)

    def negatives(self) -> dict[str, int]:
        """Return the number of negatives taught per denied label."""
        return _counted(sample.not_label for sample in self.samples if sample.not_label is not None)

    def background(self) -> int:
        """Return the number of background samples taught."""
        return sum(sample.background for sample in self.samples)


def _counted(labels: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(labels).items()))


def teach_burst(
    learner: Learner,
    camera: Camera,
    label: str | None,
    *,
    not_label: str | None = None,
    frames: int,
    every: float = 0.0,
    lesson: Lesson | None = None,
    progress: Progress = no_progress,
    sleep: Callable[[float], object] = time.sleep,
) -> Lesson:
    """Teach `frames` frames from the camera, one every `every` seconds; each is durable when it is taught.

    The burst ends early where the source ends. `label` and `not_label` are those of `Learner.learn_one`.

    Raises:
        LabelError: `label` cannot be a label, or nothing was taught as `not_label`.
        CameraError: The camera failed or delivers no frames. Samples taught before remain; `lesson` lists them.
    """
    meaning = describe(None if label is None else check_label(label), not_label)
    lesson = lesson or Lesson()
    due = time.monotonic()
    for frame in _some(camera, frames):
        sample = learner.learn_one(frame.image, label, _origin(camera, frame), not_label=not_label)
        lesson.samples.append(sample)
        progress(f"Teaching {meaning}", len(lesson.samples), frames)
        due += every
        if camera.live and len(lesson.samples) < frames:
            sleep(max(0.0, due - time.monotonic()))
    return lesson


def teach_photos(
    learner: Learner,
    photos: Iterable[Frame],
    label: str | None = None,
    *,
    not_label: str | None = None,
    background: bool = False,
    total: int | None = None,
    again: bool = False,
    views: Mapping[str, int] | None = None,
    lesson: Lesson | None = None,
    progress: Progress = no_progress,
) -> Lesson:
    """Teach a folder of photos, several per transaction; the RAM in use is that of one photo.

    A photo that was taught before with the same name, label and embedding is skipped, so an interrupted run can
    simply be started again.

    Args:
        learner: The learner.
        photos: Frames from a folder camera.
        label: Label of all photos; None uses the folder of each photo.
        not_label: All photos are negatives of this label.
        background: All photos are background.
        total: Number of photos, for `progress`.
        again: Teach photos again that were taught before.
        views: Source of a photo -> number of its view, see `device.lookalikes`. Photos of one view become one burst,
            so that they do not judge each other. Without it, each photo is a separate burst.
        lesson: Updated while teaching.
        progress: Called after each photo.
    """
    lesson = lesson or Lesson()
    hidden = background or not_label is not None
    fixed = stored_label(label, not_label) if hidden or label is not None else None
    taught = {} if again else _by_origin(learner)
    bursts = _BurstOfView(learner, views or {})
    batch: list[tuple[Frame, str, np.ndarray]] = []
    for done, frame in enumerate(photos, 1):
        name = fixed if fixed is not None else frame.label
        if name is None:
            lesson.unlabeled += 1
        else:
            embedding = learner.embed_one(frame.image)
            known = taught.get((frame.source, check_stored(name)), ())
            if learner.knows(embedding, known):
                lesson.known += 1
                bursts.recall(frame.source, known)
            else:
                small = replace(frame, image=thumbnail_pixels(frame.image))  # the embedding is made already
                batch.append((small, name, embedding))
        if len(batch) == BATCH:
            lesson.samples += _taught(learner, batch, bursts, not_label)
            batch = []
        progress("Teaching photos", done, total)
    lesson.samples += _taught(learner, batch, bursts, not_label)
    return lesson


def teach_keys(
    learner: Learner,
    camera: Camera,
    labels: Sequence[str],
    keys: Callable[[], str],
    *,
    lesson: Lesson | None = None,
    show: Callable[[Frame, str], None] = lambda frame, note: None,
) -> Lesson:
    """Teach several labels with keys: digit 1 teaches the frame in view as the first label, and so on.

    ``0`` teaches background, and ``x`` that the frame is not the label that is predicted for it. ``u`` undoes the last
    sample; ``q``, Escape or the end of input stops.

    Args:
        learner: The learner.
        camera: The camera.
        labels: One to nine labels.
        keys: Returns the key pressed since the last call: "" for none, "q" at the end of input.
        lesson: Updated while teaching.
        show: Called for each frame with a note on what was just done, or "".
    """
    names = check_labels(labels)
    if not 1 <= len(names) <= 9:
        raise LabelError(f"there are nine digit keys, so name 1 to 9 labels, got {len(names)}")
    lesson = lesson or Lesson()
    for frame in _some(camera, None):
        key = keys()
        if key in ("q", "\x1b"):
            break
        show(frame, _pressed(learner, camera, frame, names, key, lesson))
    return lesson


def _pressed(
    learner: Learner, camera: Camera, frame: Frame, labels: Sequence[str], key: str, lesson: Lesson
) -> str:
    if key == "u":
        if not lesson.samples:
            return "nothing to undo"
        sample = lesson.samples.pop()
        learner.forget(sample.id)
        return f"undid {sample.meaning} (sample {sample.id})"
    origin = _origin(camera, frame)
    if key == "x":
        if not learner.labels:
            return "nothing is taught yet, so there is nothing to deny"
        sample = learner.learn_one(
            frame.image, source=origin, not_label=learner.predict_one(frame.image).label
        )
    elif key == "0":
        sample = learner.learn_one(frame.image, None, origin)
    elif key.isascii() and key.isdigit() and int(key) <= len(labels):
        sample = learner.learn_one(frame.image, labels[int(key) - 1], origin)
    else:
        return f"no label on key {key!r}" if key else ""
    lesson.samples.append(sample)
    return f"taught {sample.meaning} (sample {sample.id})"


def _some(camera: Camera, frames: int | None) -> Iterator[Frame]:
    """Yield frames until there are `frames` or the source ends."""
    given, silent = 0, 0
    while frames is None or given < frames:
        try:
            frame = camera.read()
        except EndOfSource:
            return
        except FrameTimeout as error:
            silent += 1
            if silent >= PATIENCE:
                raise CameraError(
                    f"{camera.source} delivered no frame in {PATIENCE} attempts, giving up: {error}"
                ) from error
            continue
        given, silent = given + 1, 0
        yield frame


def _origin(camera: Camera, frame: Frame) -> str:
    return camera.source if camera.live else frame.source


def _by_origin(learner: Learner) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for sample in learner.store.samples(thumbnails=False):
        found.setdefault((sample.source, sample.stored_label), []).append(sample.id)
    return found


class _BurstOfView:
    """The burst number of each view; a view that was taught before keeps its burst.

    Args:
        learner: The learner.
        views: Source of a photo -> number of its view.
    """

    def __init__(self, learner: Learner, views: Mapping[str, int]) -> None:
        self._views = views
        self._bursts: dict[int, int] = {}
        ids, _, bursts = learner.store.ids(hidden=None)
        self._taught = dict(zip(ids.tolist(), bursts.tolist(), strict=True))

    def recall(self, source: str, ids: Sequence[int]) -> None:
        """Note that a photo is known as one of the samples `ids`."""
        if source in self._views and ids[0] in self._taught:
            self._bursts.setdefault(self._views[source], self._taught[ids[0]])

    def of(self, source: str) -> int:
        """Return the burst of a photo; a new one where its view has none yet."""
        if source not in self._views:
            return new_burst()
        return self._bursts.setdefault(self._views[source], new_burst())


def _taught(
    learner: Learner,
    batch: Sequence[tuple[Frame, str, np.ndarray]],
    bursts: _BurstOfView,
    not_label: str | None,
) -> list[Sample]:
    if not batch:
        return []
    return learner.learn_many(
        [frame.image for frame, _, _ in batch],
        [split_label(name)[0] for _, name, _ in batch],
        [frame.source for frame, _, _ in batch],
        not_label=not_label,
        bursts=[bursts.of(frame.source) for frame, _, _ in batch],
        embeddings=np.stack([embedding for _, _, embedding in batch]),
    )
