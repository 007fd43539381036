"""Ways to teach a learner from frames: in a burst, from a folder of photos, with keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..cameras import Camera, EndOfSource, Frame, FrameTimeout
from ..errors import CameraError, LabelError
from ..labels import check_label, check_labels
from ..learner.learner import Learner
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
        labels = sorted(sample.label for sample in self.samples)
        return {label: labels.count(label) for label in dict.fromkeys(labels)}


def teach_burst(
    learner: Learner,
    camera: Camera,
    label: str,
    *,
    frames: int,
    every: float = 0.0,
    lesson: Lesson | None = None,
    progress: Progress = no_progress,
    sleep: Callable[[float], object] = time.sleep,
) -> Lesson:
    """Teach `frames` frames from the camera, one every `every` seconds; each is durable when it is taught.

    The burst ends early where the source ends.

    Raises:
        LabelError: `label` cannot be a label.
        CameraError: The camera failed or delivers no frames. Samples taught before remain; `lesson` lists them.
    """
    label = check_label(label)
    lesson = lesson or Lesson()
    due = time.monotonic()
    for frame in _some(camera, frames):
        lesson.samples.append(learner.learn_one(frame.image, label, _origin(camera, frame)))
        progress(f"Teaching {label}", len(lesson.samples), frames)
        due += every
        if camera.live and len(lesson.samples) < frames:
            sleep(max(0.0, due - time.monotonic()))
    return lesson


def teach_photos(
    learner: Learner,
    photos: Iterable[Frame],
    label: str | None = None,
    *,
    total: int | None = None,
    again: bool = False,
    views: Mapping[str, int] | None = None,
    lesson: Lesson | None = None,
    progress: Progress = no_progress,
) -> Lesson:
    """Teach a folder of photos, several per transaction.

    A photo that was taught before with the same name, label and embedding is skipped, so an interrupted run can
    simply be started again.

    Args:
        learner: The learner.
        photos: Frames from a folder camera.
        label: Label of all photos; None uses the folder of each photo.
        total: Number of photos, for `progress`.
        again: Teach photos again that were taught before.
        views: Source of a photo -> number of its view, see `device.lookalikes`. Photos of one view become one burst,
            so that they do not judge each other. Without it, each photo is a separate burst.
        lesson: Updated while teaching.
        progress: Called after each photo.
    """
    lesson = lesson or Lesson()
    label = None if label is None else check_label(label)
    taught = {} if again else _by_origin(learner)
    bursts = _BurstOfView(learner, views or {})
    batch: list[tuple[Frame, str, np.ndarray]] = []
    for done, frame in enumerate(photos, 1):
        name = label or frame.label
        if name is None:
            lesson.unlabeled += 1
        else:
            embedding = learner.embed_one(frame.image)
            known = taught.get((frame.source, check_label(name)), ())
            if learner.knows(embedding, known):
                lesson.known += 1
                bursts.recall(frame.source, known)
            else:
                batch.append((frame, name, embedding))
        if len(batch) == BATCH:
            lesson.samples += _taught(learner, batch, bursts)
            batch = []
        progress("Teaching photos", done, total)
    lesson.samples += _taught(learner, batch, bursts)
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

    ``u`` undoes the last sample; ``q``, Escape or the end of input stops.

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
        return f"undid {sample.label} (sample {sample.id})"
    if not (key.isascii() and key.isdigit() and 1 <= int(key) <= len(labels)):
        return f"no label on key {key!r}" if key else ""
    sample = learner.learn_one(frame.image, labels[int(key) - 1], _origin(camera, frame))
    lesson.samples.append(sample)
    return f"taught {sample.label} (sample {sample.id})"


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
        found.setdefault((sample.source, sample.label), []).append(sample.id)
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
        ids, _, bursts = learner.store.ids()
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
    learner: Learner, batch: Sequence[tuple[Frame, str, np.ndarray]], bursts: _BurstOfView
) -> list[Sample]:
    if not batch:
        return []
    return learner.learn_many(
        [frame.image for frame, _, _ in batch],
        [name for _, name, _ in batch],
        [frame.source for frame, _, _ in batch],
        bursts=[bursts.of(frame.source) for frame, _, _ in batch],
        embeddings=np.stack([embedding for _, _, embedding in batch]),
    )
