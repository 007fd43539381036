"""Measure how long a device takes per frame and per lesson, for several models, runtimes, threads and heads in turn."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import EdgetlError, MeasurementError
from ..files import may_write
from ..model.modelfile import ModelFile
from ..model.runtime import load_runtime
from ..progress import Progress, no_progress
from . import health
from .conditions import Conditions, Meter, changes, file_system, peak_ram
from .energy import Energy, PowerMeter, find_meter, measure_energy
from .footprint import Footprint, measure_footprints
from .frames import Frames
from .grid import Combination, Grid
from .outside import OutsideSubject
from .results import Bench, Measured, Unavailable
from .steps import Overhead, timings_of
from .subject import Subject
from .warming import Clock, WarmUp, warm_up

LESSONS = 30
FRAMES = 100
STARTS = 3
ELAPSED, CPU_TIME = CLOCKS = ("elapsed", "cpu")
_SHARE_OF_FRAMES = 0.75  # of the seconds; the rest is for lessons
_FEWEST_LESSONS = 2  # however short the time


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        frames: Number of frames per combination; None is unlimited.
        seconds: Duration of the measurement, all combinations together; None is unlimited. One of the two is given.
        lessons: Number of lessons per combination.
        warm_up: Number of frames before; None is until the time is steady.
        starts: Number of processes that are started per combination, for cold start and peak RAM.
        energy: Whether to measure energy, where there is a meter.
        clock: ``elapsed``, or ``cpu`` for the CPU time of one thread, which other programs hardly disturb; waits for a disk
            or a camera are not part of it.
    """

    frames: int | None = FRAMES
    seconds: float | None = None
    lessons: int = LESSONS
    warm_up: int | None = None
    starts: int = STARTS
    energy: bool = True
    clock: str = ELAPSED


def bench(
    paths: Sequence[Path],
    *,
    plan: Plan | None = None,
    grid: Grid | None = None,
    frames: Frames | None = None,
    progress: Progress = no_progress,
    clock: Clock = time.perf_counter,
    root: Path = health.ROOT,
) -> Bench:
    """Time model files on this machine, in turn: a frame of each combination, then the next frame of each.

    What disturbs the machine for a while then disturbs all alike.

    Args:
        paths: The model files.
        plan: How much is measured.
        grid: The runtimes, threads, delegates and heads.
        frames: What is shown; by default noise, since the time does not depend on the content.
        progress: Receives the number of frames and lessons.
        clock: Returns seconds of elapsed time.
        root: Where the file system of the meters starts.

    Raises:
        ModelFileError: A file is no model file.
        EdgetlError: No combination can be measured; the error is that of the first.
        MeasurementError: CPU time is wanted of several threads, or the grid is empty.
        StorageError: No temporary state can be written.
        KeyboardInterrupt: Ctrl-C came before the first frame was measured. Later, it ends the measurement, and the
            result is marked as partial.
    """
    plan, grid, frames = plan or Plan(), grid or Grid(), frames or Frames.noise()
    _check_clock(plan, grid)
    combinations = list(grid.combinations([ModelFile.open(path) for path in paths]))
    machine, before, meter = health.describe_machine(), Conditions.now(), Meter()
    with _opened(combinations, frames, progress, clock if plan.clock == ELAPSED else time.thread_time) as (
        subjects,
        unavailable,
        disk,
    ):
        run = _Run(subjects, plan, frames, progress, clock, find_meter(root) if plan.energy else None)
        run.complete()
        after, others = Conditions.now(), meter.others()
        results = tuple(run.results())
    conditions = {
        "before": before.to_dict(),
        "after": after.to_dict(),
        "others": others,
        "peak_ram_bytes": peak_ram(),
        "ram_bytes": (health.ram() or (None, None))[1],
        "file_system": disk,
    }
    notes = (*changes(before, after, others, disk), *_unsteady(results))
    return Bench(
        machine,
        conditions,
        frames.describe(),
        results,
        notes,
        run.partial,
        run.error,
        unavailable=tuple(unavailable),
        clock=plan.clock,
    )


def _check_clock(plan: Plan, grid: Grid) -> None:
    if plan.clock not in CLOCKS:
        raise MeasurementError(f"the clock must be one of {', '.join(CLOCKS)}, got {plan.clock!r}")
    if plan.clock == CPU_TIME and tuple(grid.threads) != (1,):
        raise MeasurementError("CPU time is that of one thread; measure it with one thread: --threads 1")


class _Run:
    """The measurement of opened combinations; Ctrl-C leaves what was measured so far."""

    def __init__(
        self,
        subjects: Sequence[Subject | OutsideSubject],
        plan: Plan,
        frames: Frames,
        progress: Progress,
        clock: Clock,
        meter: PowerMeter | None,
    ) -> None:
        self.partial = False
        self.error: str | None = None
        self._frames_timed = 0
        self._subjects, self._plan, self._frames = subjects, plan, frames
        self._progress, self._clock, self._meter = progress, clock, meter
        self._warmed: list[WarmUp] = []
        self._footprints: list[Footprint | None] = [None] * len(subjects)
        self._energies: list[Energy | None] = [None] * len(subjects)

    def complete(self) -> None:
        """Measure everything, or until Ctrl-C or an error, such as that of a camera.

        Raises:
            KeyboardInterrupt: Ctrl-C came before the first frame was measured.
            EdgetlError: The error came before.
        """
        first = self._frames[0]
        self._warmed = warm_up(
            [lambda subject=subject: subject.warm(first) for subject in self._subjects],  # type: ignore[misc]  # bound now
            self._plan.warm_up,
            self._progress,
            self._clock,
        )
        try:
            self._time()
            self._footprints = measure_footprints(
                [subject.combination for subject in self._subjects], self._plan.starts, self._progress
            )
            self._measure_energy()
        except (KeyboardInterrupt, EdgetlError) as error:
            if not self._frames_timed:
                raise
            self.partial = True
            self.error = str(error) if isinstance(error, EdgetlError) else None

    def results(self) -> Iterator[Measured]:
        """Yield what was measured, without the combinations whose turn did not come."""
        parts = zip(self._subjects, self._warmed, self._footprints, self._energies, strict=True)
        for subject, warmed, footprint, energy in parts:
            try:
                described, seconds, cpu = subject.describe(), subject.seconds, subject.cpu
            except EdgetlError:  # its process has ended, so its times are lost
                continue
            if timings := timings_of(seconds):
                yield Measured(
                    **described,
                    warm_up=warmed,
                    timings=timings,
                    overhead=Overhead.of(seconds, cpu),
                    footprint=footprint,
                    energy=energy,
                )

    def _time(self) -> None:
        began = self._clock()
        self._time_frames(began)
        for lesson in range(self._plan.lessons):
            if lesson >= _FEWEST_LESSONS and self._over(began, 1):
                break
            for subject in self._subjects:
                image, capture = self._frames.take(lesson, self._clock)
                subject.time_lesson(image, lesson, capture)
            self._progress("lessons", lesson + 1, self._plan.lessons)

    def _time_frames(self, began: float) -> None:
        number, plan = 0, self._plan
        while number != plan.frames and not (number and self._over(began, _SHARE_OF_FRAMES)):
            for subject in self._subjects:
                image, capture = self._frames.take(number, self._clock)
                subject.time_frame(image, capture)
                self._frames_timed += 1
            number += 1
            if plan.frames is None and plan.seconds is not None:
                self._progress("seconds", int(self._clock() - began), round(_SHARE_OF_FRAMES * plan.seconds))
            else:
                self._progress("frames", number, plan.frames)
        self._progress("frames", number, number)

    def _over(self, began: float, share: float) -> bool:
        return self._plan.seconds is not None and self._clock() - began >= share * self._plan.seconds

    def _measure_energy(self) -> None:
        if self._meter is None:
            return
        for place, subject in enumerate(self._subjects):
            if isinstance(subject, Subject):
                predict = functools.partial(subject.learner.predict_one, self._frames[0])
                self._energies[place] = measure_energy(self._meter, predict)
            self._progress("energy", place + 1, len(self._subjects))


@contextlib.contextmanager
def _opened(
    combinations: Sequence[Combination], frames: Frames, progress: Progress, clock: Clock
) -> Iterator[tuple[list[Subject | OutsideSubject], list[Unavailable], str | None]]:
    """Yield the combinations, opened, those that cannot be, and the type of the file system of their states."""
    parent = _folder(combinations[0].path)
    with (
        tempfile.TemporaryDirectory(prefix=".edgetl-bench-", dir=parent) as folder,
        contextlib.ExitStack() as stack,
    ):
        subjects: list[Subject | OutsideSubject] = []
        unavailable: list[tuple[Unavailable, EdgetlError]] = []
        for number, combination in enumerate(combinations):
            state = Path(folder) / str(number)
            state.mkdir()
            try:
                subject = _open(combination, state, frames, clock)
            except EdgetlError as error:
                unavailable.append((Unavailable(combination, str(error)), error))
            else:
                stack.callback(subject.close)
                subjects.append(subject)
            progress("opening", number + 1, len(combinations))
        if not subjects:
            raise unavailable[0][1]
        yield subjects, [found for found, _ in unavailable], file_system(Path(folder))


def _open(combination: Combination, state: Path, frames: Frames, clock: Clock) -> Subject | OutsideSubject:
    if combination.runtime.python is None and combination.runtime.name in (None, load_runtime().name):
        return Subject.open(combination, state, frames[0], clock=clock)
    return OutsideSubject.open(combination, state, frames[0], cpu_time=clock is time.thread_time)


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
