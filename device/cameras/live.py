"""Live cameras: a reader thread keeps the newest frame and reconnects a lost camera.

The driver of a camera, a socket and a decoder all queue frames. A reader that is slower than the camera would
get frames that are seconds old. So a thread reads as fast as frames arrive and keeps only the last one; frames
that were not delivered are counted in `dropped`. The expensive steps (decoding a JPEG, converting colors) are
done for delivered frames only.
"""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from ..addresses import redact
from ..errors import CameraError, FrameTimeout
from .base import Camera, Frame, Image, Notice, Pace
from .options import Options

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
_STEADY_FRAMES = 30  # frames in a row after which a camera counts as working again
_JOIN_SECONDS = 2.0


class Driver(ABC):
    """The hardware or network side of a live camera, which one thread opens, reads and closes repeatedly."""

    kind: ClassVar[str]

    def __init__(self, source: str) -> None:
        """Store the name of the source; it must not contain a password."""
        self.source = source

    @abstractmethod
    def open(self) -> None:
        """Connect.

        Raises:
            CameraError: The connection fails; the message contains the next step.
        """

    @abstractmethod
    def grab(self) -> Any:
        """Wait for the next frame and return it undecoded.

        Raises:
            CameraError: No frame arrives.
        """

    @abstractmethod
    def decode(self, packet: Any) -> Image:
        """Return a result of `grab` as uint8 [H, W, 3] RGB; may run in another thread."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; never raises, not even when there is no connection."""

    def describe(self) -> dict[str, Any]:
        """Return the properties of the device, JSON-serializable."""
        return {}


@dataclass(frozen=True, slots=True)
class _Packet:
    data: Any
    time: float
    index: int


class Backoff:
    """Delays that double from `first` to `longest` and start again after a steady run of frames."""

    def __init__(self, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY) -> None:
        """Start without failures."""
        self._first, self._longest = first, longest
        self.failures = 0
        self._frames = 0

    def fail(self) -> float:
        """Record a failure and return the seconds to wait."""
        self._frames = 0
        self.failures += 1
        return min(self._longest, self._first * 2.0 ** min(self.failures - 1, 60))

    def succeed(self) -> None:
        """Record a frame."""
        self._frames += 1
        if self._frames >= _STEADY_FRAMES:
            self.failures = 0

    @property
    def at_longest(self) -> bool:
        """Whether the delays have reached the maximum."""
        return self._first * 2.0 ** min(self.failures - 1, 60) >= self._longest


class LiveCamera(Camera):
    """The newest frame of a device that films continuously.

    A device that is unplugged, stalls or shows black is closed and opened again after increasing delays until it
    works; each step is reported through `notice`, which is also called from the reader thread. Meanwhile `read`
    raises `FrameTimeout`, and iteration waits.
    """

    live = True

    def __init__(
        self,
        driver: Driver,
        options: Options | None = None,
        notice: Notice | None = None,
        *,
        timeout: float = 10.0,
        backoff: Backoff | None = None,
    ) -> None:
        """Open the device and start reading.

        Raises:
            CameraError: The device cannot be opened.
        """
        super().__init__(driver.source, options, notice)
        self.kind = driver.kind
        self.timeout = timeout
        self.dropped = self.damaged = self.reconnects = 0
        self._driver = driver
        self._backoff = backoff or Backoff()
        self._pace = Pace(self.options.fps)
        self._black = BlackWatch()
        self._newest: _Packet | None = None
        self._arrived = threading.Condition()
        self._stop = threading.Event()
        self._reopen = threading.Event()
        self._trouble: CameraError | None = None
        self._stall_reported = False
        driver.open()
        self._thread = threading.Thread(target=self._run, name=f"camera {driver.source}", daemon=True)
        self._thread.start()

    def describe(self) -> dict[str, Any]:
        """Return the properties of the camera and its counters, JSON-serializable."""
        return {
            **super().describe(),
            **self._driver.describe(),
            "dropped": self.dropped,
            "damaged": self.damaged,
            "reconnects": self.reconnects,
            "connected": self._trouble is None and not self.closed,
        }

    def _next(self, timeout: float | None) -> Frame:
        wait = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + self._pace.delay() + wait
        while True:
            try:
                packet = self._take(deadline, wait)
            except FrameTimeout:
                self._notify_stall(wait)
                raise
            try:
                image = self._driver.decode(packet.data)
            except CameraError as error:
                self._note_damaged(error)
                continue
            self._watch_for_black(image, packet.time)
            return Frame(image, packet.time, packet.index, self.source)

    def _take(self, deadline: float, wait: float) -> _Packet:
        """Wait for a packet that was not delivered yet, at the rate that `fps` sets."""
        with self._arrived:
            while True:
                self._check_open()
                now, due = time.monotonic(), self._pace.delay()
                if self._newest is not None and not due:
                    packet, self._newest = self._newest, None
                    self._pace.mark()
                    self._stall_reported = False
                    return packet
                if now >= deadline:
                    raise self._timed_out(wait)
                self._arrived.wait(due or deadline - now)

    def notify(self, message: str) -> None:
        """Pass a message on; one that cannot be written must not stop the reader thread."""
        with contextlib.suppress(Exception):
            super().notify(message)

    def _notify_stall(self, wait: float) -> None:
        if self._trouble is None and not self._stall_reported:
            self._stall_reported = True
            self.notify(f"{self.source} has delivered no frame for {wait:g} s; still waiting")

    def _timed_out(self, wait: float) -> FrameTimeout:
        reason = self._trouble or "it is connected but does not respond"
        return FrameTimeout(
            f"{self.source} delivered no frame within {wait:g} s: {reason}; reading keeps trying"
        )

    def _note_damaged(self, error: CameraError) -> None:
        self.damaged += 1
        if self.damaged & (self.damaged - 1) == 0:  # the 1st, 2nd, 4th, 8th...
            self.notify(f"{self.source}: a frame was dropped, {error} ({self.damaged} so far)")

    def _watch_for_black(self, image: Image, at: float) -> None:
        remark, reopen = self._black.see(image, at)
        if remark:
            self.notify(f"{self.source}: {remark}")
        if reopen:
            self._reopen.set()

    def _run(self) -> None:
        """Read until closed (the reader thread)."""
        index, connected = 0, True
        try:
            while not self._stop.is_set():
                try:
                    connected = self._reconnect() if not connected or self._reopen.is_set() else connected
                    data = self._driver.grab()
                except Exception as error:
                    # whatever a driver raises, the thread must survive to try again
                    connected = False
                    self._lose(error)
                    continue
                self._keep(_Packet(data, time.time(), index))
                index += 1
        finally:
            self._driver.close()

    def _keep(self, packet: _Packet) -> None:
        self._backoff.succeed()
        recovered = self._trouble is not None
        with self._arrived:
            self.dropped += self._newest is not None
            self._newest = packet
            self._trouble = None
            self._arrived.notify_all()
        if recovered:
            self.reconnects += 1
            self.notify(f"{self.source} is back: frames are arriving again")

    def _reconnect(self) -> bool:
        self._reopen.clear()
        self._driver.close()
        self._driver.open()
        return True

    def _lose(self, error: Exception) -> None:
        if self._stop.is_set():
            return
        self._driver.close()
        known = self._backoff.at_longest and self._trouble is not None
        delay = self._backoff.fail()
        with self._arrived:
            self._newest = None  # the last frame of a lost camera is out of date
            self._trouble = error if isinstance(error, CameraError) else CameraError(redact(str(error)))
        if not known:
            when = f"from now on every {delay:g} s" if self._backoff.at_longest else f"in {delay:g} s"
            reason = str(error).removeprefix(f"{self.source} ")  # the message names it already
            self.notify(f"{self.source} is lost: {reason}; trying again {when}")
        self._stop.wait(delay)

    def _release(self) -> None:
        self._stop.set()
        with self._arrived:
            self._arrived.notify_all()
        if threading.current_thread() is not self._thread:
            # a driver that hangs stays with its thread, which closes it when the call returns
            self._thread.join(_JOIN_SECONDS)


class BlackWatch:
    """Detect that a camera shows only black, and decide when to open it again.

    Black is correct at night and wrong from a driver that hangs, and both look the same. So it is reported once,
    and the device is opened again at increasing intervals.
    """

    _LEVEL = 16  # a covered sensor's noise stays below
    _SECONDS = 3.0
    _LONGEST = 600.0

    def __init__(self) -> None:
        """Start as if the last frame was not black."""
        self._reset()

    def _reset(self) -> None:
        self._since: float | None = None
        self._reported = False
        self._patience = self._SECONDS

    def see(self, image: Image, at: float) -> tuple[str | None, bool]:
        """Check a frame.

        Returns:
            A remark to report, or None; and whether to open the device again.
        """
        if int(image[::8, ::8].max()) >= self._LEVEL:
            return self._light(at), False
        if self._since is None:
            self._since = at
        if at - self._since < self._patience:
            return None, False
        self._patience = min(at - self._since + self._LONGEST, self._patience * 2)
        reported, self._reported = self._reported, True
        return (None if reported else self._remark()), True

    def _light(self, at: float) -> str | None:
        since, reported = self._since, self._reported
        self._reset()
        return f"no longer black after {at - since:.0f} s" if reported and since is not None else None

    def _remark(self) -> str:
        return (
            f"the frames have been black for {self._SECONDS:g} s; opening it again. If they stay black, check the lens "
            "cap, the light, and whether the ribbon cable is fully inserted"
        )
