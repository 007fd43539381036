"""Measure how long a device takes per frame and per lesson, for several models in turn."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PhotoError
from ..files import may_write, shown
from ..images import Image, read_photo
from ..leftout import count_reasons
from ..photos import list_photo_files
from ..progress import Progress, no_progress
from . import health
from .conditions import Conditions, Meter, changes, file_system, peak_ram
from .subject import Subject, Teaching
from .timing import Timing
from .warming import Clock, WarmUp, warm_up

SCHEMA = "edgetl-bench"
VERSION = 1
CAMERA_SIZE = (480, 640)  # height and width of a frame of noise, a common size of cameras
LESSONS = 30
FRAMES = 100
_MOST_PHOTOS = 20  # that are kept in RAM
_SHARE_OF_FRAMES = 0.75  # of the seconds; the rest is for lessons
_FEWEST_LESSONS = 2  # however short the time


@dataclass(frozen=True)
class Frames:
    """The frames that are measured, in turn.

    Attributes:
        source: ``noise`` or ``photos``.
        images: uint8 [H, W, 3] RGB each.
    """

    source: str
    images: tuple[Image, ...]

    @classmethod
    def noise(cls, seed: int = 0) -> Frames:
        """Return one frame of noise of 640x480 pixels."""
        chooser = np.random.default_rng(seed)
        return cls("noise", (chooser.integers(0, 256, (*CAMERA_SIZE, 3), np.uint8),))

    @classmethod
    def photos(cls, folder: Path) -> Frames:
        """Return photos of a folder, at most twenty, spread over the folder; unreadable ones are skipped.

        Raises:
            PhotoError: The folder cannot be listed, or contains no readable photo.
        """
        found = list_photo_files(folder)
        chosen = found.photos[:: max(1, len(found.photos) // _MOST_PHOTOS)]
        images = []
        for photo in chosen:
            with contextlib.suppress(PhotoError):
                images.append(read_photo(photo.path))
            if len(images) == _MOST_PHOTOS:
                break
        if not images:
            why = count_reasons(found.left_out) or f"{len(chosen)} damaged"
            raise PhotoError(
                f"{shown(folder)} contains no readable photo ({why}); expected files such as NAME.jpg or LABEL/NAME.jpg"
            )
        return cls("photos", tuple(images))

    def __getitem__(self, number: int) -> Image:
        return self.images[number % len(self.images)]

    def describe(self) -> dict[str, Any]:
        """Return the source, the number of images, and the width and height of the first."""
        height, width = self.images[0].shape[:2]
        return {"source": self.source, "images": len(self.images), "width": width, "height": height}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        frames: Number of frames per model; None is unlimited.
        seconds: Duration of the measurement, all models together; None is unlimited. One of the two is given.
        lessons: Number of lessons per model.
        warm_up: Number of frames before; None is until the time is steady.
    """

    frames: int | None = FRAMES
    seconds: float | None = None
    lessons: int = LESSONS
    warm_up: int | None = None


@dataclass(frozen=True)
class Measured:
    """The times of one model.

    Attributes:
        model: Name, backbone, dimensions, quantization, checksum, size and cold start.
        runtime: Name, version, threads and delegate.
        head: Name of the head, and its number of samples and labels.
        warm_up: How the model was warmed up.
        timings: One per step.
    """

    model: dict[str, Any]
    runtime: dict[str, Any]
    head: dict[str, Any]
    warm_up: WarmUp
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class Bench:
    """The result of `bench`.

    Attributes:
        machine: Board, CPU, governor and load; times mean nothing without them.
        conditions: Frequency, temperature, throttling and load before and after, the CPU time of other programs, peak
            RAM, and the file system of the lessons.
        frames: What was shown.
        results: One per model.
        notes: Reasons not to trust the times.
        partial: Whether Ctrl-C ended the measurement.
    """

    machine: dict[str, Any]
    conditions: dict[str, Any]
    frames: dict[str, Any]
    results: tuple[Measured, ...]
    notes: tuple[str, ...] = ()
    partial: bool = False
    when: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values; docs/json.md describes them."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "when": self.when,
            "partial": self.partial,
            "notes": list(self.notes),
            "machine": self.machine,
            "conditions": self.conditions,
            "frames": self.frames,
            "results": [
                {
                    **{name: getattr(found, name) for name in ("model", "runtime", "head")},
                    "warm_up": asdict(found.warm_up),
                    "timings": [timing.to_dict() for timing in found.timings],
                }
                for found in self.results
            ],
        }


def bench(
    paths: Sequence[Path],
    *,
    plan: Plan | None = None,
    teaching: Teaching | None = None,
    frames: Frames | None = None,
    threads: int | None = None,
    delegate: str | None = None,
    progress: Progress = no_progress,
    clock: Clock = time.perf_counter,
) -> Bench:
    """Time model files on this machine, in turn: a frame of each, then the next frame of each.

    What disturbs the machine for a while then disturbs all models alike.

    Args:
        paths: The model files.
        plan: How much is measured.
        teaching: The head.
        frames: What is shown; by default noise, since the time does not depend on the content.
        threads: CPU threads.
        delegate: ``edgetpu`` for a Coral.
        progress: Receives the number of frames and lessons.
        clock: Returns seconds.

    Raises:
        ModelFileError: A file cannot be run.
        StorageError: No temporary state can be written.
        KeyboardInterrupt: Ctrl-C came before a frame of each model was measured. Later, it ends the measurement, and
            the result is marked as partial.
    """
    plan, teaching, frames = plan or Plan(), teaching or Teaching(), frames or Frames.noise()
    machine, before, meter = health.describe_machine(), Conditions.now(), Meter()
    with _opened(paths, teaching, frames, threads, delegate, clock) as (subjects, disk):
        warmed = warm_up(
            [lambda subject=subject: subject.warm(frames[0]) for subject in subjects],  # type: ignore[misc]  # bound now
            plan.warm_up,
            progress,
            clock,
        )
        partial = False
        try:
            _measure(subjects, plan, frames, progress, clock)
        except KeyboardInterrupt:
            if not all(subject.timings() for subject in subjects):
                raise
            partial = True
        after, others = Conditions.now(), meter.others()
        results = tuple(
            Measured(**subject.describe(), warm_up=warm, timings=subject.timings())
            for subject, warm in zip(subjects, warmed, strict=True)
        )
    conditions = {
        "before": before.to_dict(),
        "after": after.to_dict(),
        "others": others,
        "peak_ram_bytes": peak_ram(),
        "ram_bytes": (health.ram() or (None, None))[1],
        "file_system": disk,
    }
    notes = (*changes(before, after, others, disk), *_unsteady(results))
    return Bench(machine, conditions, frames.describe(), results, notes, partial)


def _measure(
    subjects: Sequence[Subject], plan: Plan, frames: Frames, progress: Progress, clock: Clock
) -> None:
    began = clock()

    def over(share: float) -> bool:
        return plan.seconds is not None and clock() - began >= share * plan.seconds

    number = 0
    while number != plan.frames and not (number and over(_SHARE_OF_FRAMES)):
        for subject in subjects:
            subject.time_frame(frames[number])
        number += 1
        progress("frames", number, plan.frames)
    progress("frames", number, number)
    for lesson in range(plan.lessons):
        if lesson >= _FEWEST_LESSONS and over(1):
            break
        for subject in subjects:
            subject.time_lesson(frames[lesson], lesson)
        progress("lessons", lesson + 1, plan.lessons)


@contextlib.contextmanager
def _opened(
    paths: Sequence[Path],
    teaching: Teaching,
    frames: Frames,
    threads: int | None,
    delegate: str | None,
    clock: Clock,
) -> Iterator[tuple[list[Subject], str | None]]:
    """Yield the models, opened, and the type of the file system of their states."""
    with (
        tempfile.TemporaryDirectory(prefix=".edgetl-bench-", dir=_folder(paths[0])) as folder,
        contextlib.ExitStack() as stack,
    ):
        subjects = []
        for number, path in enumerate(paths):
            state = Path(folder) / str(number)
            state.mkdir()
            subject = Subject.open(
                path, teaching, state, frames[0], threads=threads, delegate=delegate, clock=clock
            )
            stack.callback(subject.close)
            subjects.append(subject)
        yield subjects, file_system(Path(folder))


def _folder(model: Path) -> Path | None:
    """Return where a state file would be: beside the model file, else in the current folder, else None."""
    for folder in (model.absolute().parent, Path.cwd()):
        if folder.is_dir() and may_write(folder) and os.access(folder, os.X_OK):
            return folder
    return None


def _unsteady(results: Sequence[Measured]) -> Iterator[str]:
    for found in results:
        if found.warm_up.steady is False:
            yield (
                f"{found.model['name']} was not steady after {found.warm_up.runs} frames of warm-up; "
                "close other programs and measure again"
            )
