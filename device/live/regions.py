"""Several cameras and regions in one process: what is watched, and the loop over all of it."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ..cameras import Camera, EndOfSource, Frame, FrameTimeout, Notice
from ..cameras.regions import NAME, Region, check_name
from ..errors import CameraError
from .hours import Hours
from .watching import Observation, Watcher, closed_observation

_NAMED = re.compile(rf"({NAME.pattern})=(.+)", re.DOTALL)
_RETRY = (0.5, 8.0)  # seconds before a camera that failed is read again: first and maximum
_LOOK = 0.5  # seconds between two looks at the clock while a camera is closed
_WAITING = 2  # observations per camera that may wait for the consumer


@dataclass(frozen=True)
class CameraPlan:
    """A camera and its regions.

    Attributes:
        name: Name of the camera.
        source: Source for `open_camera`; None for the default camera.
        regions: Parts of its frames; empty for whole frames.
    """

    name: str
    source: str | None
    regions: tuple[Region, ...] = ()

    @property
    def watched(self) -> tuple[tuple[str, Region | None], ...]:
        """The names of what is watched, with their regions."""
        return tuple((region.name, region) for region in self.regions) or ((self.name, None),)


def plan_cameras(sources: Sequence[str], regions: Sequence[str] = ()) -> list[CameraPlan]:
    """Return what to watch.

    Args:
        sources: ``SOURCE`` or ``NAME=SOURCE`` each; without a name, cameras are named camera1, camera2 ... and a single
            one camera. Empty: the default camera.
        regions: ``NAME=LEFT,TOP,RIGHT,BOTTOM`` of the first camera, or ``CAMERA/NAME=...``.

    Raises:
        CameraError: A name is not a name or is used twice, a region is malformed, or its camera is not named.

    Example:
        >>> plan = plan_cameras(["front=0", "back=1"], ["back/gate=0,0,0.5,1"])
        >>> [name for camera in plan for name, _ in camera.watched]
        ['front', 'gate']
    """
    plans = {}
    for number, text in enumerate(sources or [""], 1):
        default = f"camera{number}" if len(sources) > 1 else "camera"
        name, source = _split(text, default)
        if name in plans:
            raise CameraError(f"two cameras are named {name}; names must differ")
        plans[name] = CameraPlan(name, source or None)
    for text in regions:
        camera, slash, _ = text.partition("=")[0].rpartition("/")
        camera = camera or next(iter(plans))
        if camera not in plans:
            raise CameraError(
                f"the region {text[:100]!r} is of the camera {camera}; cameras are: {', '.join(plans)}"
            )
        region = Region.parse(text[len(camera) + 1 :] if slash else text)
        plans[camera] = replace(plans[camera], regions=(*plans[camera].regions, region))
    found = list(plans.values())
    names = [name for plan in found for name, _ in plan.watched]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CameraError(f"names of cameras and regions must differ; used twice: {', '.join(twice)}")
    return found


def _split(text: str, default: str) -> tuple[str, str]:
    matched = _NAMED.fullmatch(text.strip())
    if matched is None or os.path.exists(text):  # noqa: PTH110 - a text of any form, such as an address
        return default, text
    return check_name(matched[1], "a camera"), matched[2]


@dataclass
class WatchedRegion:
    """A camera or region that is watched.

    Attributes:
        name: Its name.
        part: The part of the frames; None for whole frames.
        watcher: Makes the observations.
        fps: Maximum number of frames per second; None for all frames of the camera.
        hours: When the region is watched; None for always.
        clock: Returns seconds.
        now: Returns seconds since the epoch.
    """

    name: str
    part: Region | None
    watcher: Watcher
    fps: float | None = None
    hours: Hours | None = None
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    now: Callable[[], float] = field(default=time.time, repr=False)
    _problem: str = field(default="", repr=False)
    _due: float = field(default=-float("inf"), repr=False)
    _closed: bool = field(default=False, repr=False)

    def is_open(self) -> bool:
        """Return whether the region is watched at this time."""
        return self.hours is None or self.hours.is_open(self.now())

    def close(self, notice: Notice) -> Observation | None:
        """Report that the hours have ended, and return that nothing is in view; None where that was done before."""
        if self._closed or self.hours is None:
            return None
        self._closed = True
        notice(f"{self.name or 'the camera'} is {self.hours.closed(self.now())}")
        return closed_observation(0, self.now(), self.name)

    def observe(self, frame: Frame, notice: Notice) -> Observation | None:
        """Return what the region shows in a frame.

        Returns:
            The observation; None for a frame that comes too early for the rate, or cannot be used, which is reported once.
        """
        if not self.is_open():
            return self.close(notice)
        self._closed = False
        if self.fps is not None and not self._is_due(self.fps):
            return None
        try:
            part = frame if self.part is None else self.part.cut(frame)
        except CameraError as error:
            if str(error) != self._problem:
                notice(str(error))
            self._problem = str(error)
            return None
        self._problem = ""
        return replace(self.watcher.observe(part), region=self.name)

    def _is_due(self, fps: float) -> bool:
        """Return whether a frame may be observed now."""
        now = self.clock()
        if now < self._due:
            return False
        late = now - self._due  # by less than a frame: the next one is due as if this one had been on time
        self._due = (self._due if late < 1 / fps else now) + 1 / fps
        return True


Opener = Callable[[], Camera]


def watch_regions(
    cameras: Sequence[tuple[str, Opener, Sequence[WatchedRegion]]], notice: Notice
) -> Iterator[tuple[WatchedRegion, Observation]]:
    """Yield the observations of all regions; each camera has a thread, and the backbone runs for one at a time.

    A camera that fails, or cannot be opened, is reported and opened again after a while; the others continue. A recording
    ends, also where it is damaged. A camera of which no region is watched at the time is closed.

    Args:
        cameras: Name of the camera, its opener, its regions.
        notice: Called with messages for the user, from any thread.

    Raises:
        CameraError: The others have ended, and a camera cannot be opened or a recording has failed.
        HeadError: Nothing was taught yet.
    """
    found: queue.Queue[tuple[WatchedRegion, Observation] | Exception | None] = queue.Queue(
        _WAITING * len(cameras)
    )
    stop, crowd = threading.Event(), _Crowd(len(cameras))

    def put(item: tuple[WatchedRegion, Observation] | Exception | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                return found.put(item, timeout=0.2)

    def work(name: str, opener: Opener, regions: Sequence[WatchedRegion]) -> None:
        try:
            for frame in _frames(name, opener, regions, notice, stop, crowd):
                for region in regions:
                    observation = region.close(notice) if frame is None else region.observe(frame, notice)
                    if observation is not None:
                        put((region, observation))
        except Exception as error:  # raised again in the thread of the consumer
            put(error)
        crowd.end(name)
        put(None)

    with ExitStack() as stack:
        threads = [threading.Thread(target=work, args=camera, daemon=True) for camera in cameras]
        for thread in threads:
            thread.start()
            stack.callback(thread.join, 10.0)
        stack.callback(stop.set)
        yield from _collected(found, len(threads))


def _collected(
    found: queue.Queue[tuple[WatchedRegion, Observation] | Exception | None], running: int
) -> Iterator[tuple[WatchedRegion, Observation]]:
    failures: list[Exception] = []
    total = running
    while running:
        item = found.get()
        if item is None:
            running -= 1
        elif isinstance(item, CameraError):
            failures.append(item)
        elif isinstance(item, Exception):
            raise item
        else:
            yield item
    if failures and total == 1:
        raise failures[0]
    if failures:
        raise CameraError(f"{len(failures)} of {total} cameras failed: {failures[0]}") from failures[0]


class _Crowd:
    """The cameras that run, and those of them that were never opened; thread-safe."""

    def __init__(self, running: int) -> None:
        self._lock = threading.Lock()
        self._running, self._closed = running, set[str]()

    def hope(self, name: str) -> bool:
        """Record that a camera cannot be opened, and return whether another one runs meanwhile."""
        with self._lock:
            self._closed.add(name)
            return len(self._closed) < self._running

    def open(self, name: str) -> None:
        """Record that a camera is open."""
        with self._lock:
            self._closed.discard(name)

    def end(self, name: str) -> None:
        """Record that a camera has ended."""
        with self._lock:
            self._closed.discard(name)
            self._running -= 1


def _frames(
    name: str,
    opener: Opener,
    regions: Sequence[WatchedRegion],
    notice: Notice,
    stop: threading.Event,
    crowd: _Crowd,
) -> Iterator[Frame | None]:
    """Yield the frames of a camera, and None while it is closed.

    One that cannot be opened, and a live one that fails, is opened again.
    """
    delay, problem, live = _RETRY[0], "", None
    while not stop.is_set():
        if not _wanted(regions):
            yield None
            stop.wait(_LOOK)
            continue
        try:
            with opener() as camera:
                live = camera.live
                crowd.open(name)
                while not stop.is_set() and _wanted(regions):
                    with contextlib.suppress(FrameTimeout):
                        frame = camera.read(1.0)
                        delay, problem = _RETRY[0], ""
                        yield frame
        except EndOfSource:
            return
        except CameraError as error:
            if live is False or (live is None and not crowd.hope(name)):
                raise
            if str(error) != problem:
                notice(f"the camera {name} failed, trying again: {error}")
            problem = str(error)
            stop.wait(delay)
            delay = min(2 * delay, _RETRY[1])


def _wanted(regions: Sequence[WatchedRegion]) -> bool:
    return any(region.is_open() for region in regions)
