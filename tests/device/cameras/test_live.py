"""Live cameras with a driver that the test controls: newest frame, loss, recovery, black."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from device.cameras import FrameTimeout
from device.cameras.base import Image
from device.cameras.live import Backoff, BlackWatch, Driver, LiveCamera
from device.cameras.options import Options
from device.errors import CameraError

WAIT = 10.0  # seconds a test waits before it fails; no test waits that long when all is well
BRIGHT = np.full((16, 16, 3), 200, np.uint8)
BLACK = np.zeros((16, 16, 3), np.uint8)


class ScriptedDriver(Driver):
    """Deliver the frames and errors that the test puts into its queue."""

    kind = "scripted"

    def __init__(self) -> None:
        """Start with an empty queue: a device that is silent."""
        super().__init__("scripted")
        self.script: queue.Queue[Any] = queue.Queue()
        self.asked = threading.Semaphore(0)  # released each time a frame is asked for
        self.opens = 0
        self.closes = 0
        self.refuse: CameraError | None = None

    def open(self) -> None:
        """Count, or refuse."""
        self.opens += 1
        if self.refuse is not None:
            raise self.refuse

    def grab(self) -> Any:
        """Take the next item; an exception is raised."""
        self.asked.release()
        item = self.script.get(timeout=WAIT)
        if isinstance(item, Exception):
            raise item
        return item

    def decode(self, packet: Any) -> Image:
        """Turn a number into a frame of that gray."""
        if packet == "broken":
            raise CameraError("half a frame")
        return np.full((16, 16, 3), packet, np.uint8)

    def close(self) -> None:
        """Count."""
        self.closes += 1

    def film(self, *items: Any) -> None:
        """Give items, and return when the last was taken and the next asked for."""
        while self.asked.acquire(blocking=False):
            pass
        for item in items:
            self.script.put(item)
        for _ in items:
            assert self.asked.acquire(timeout=WAIT)


@pytest.fixture
def driver() -> ScriptedDriver:
    """A silent device."""
    return ScriptedDriver()


@pytest.fixture
def live(driver: ScriptedDriver, notices: list[str]) -> Iterator[Callable[..., LiveCamera]]:
    """Open live cameras on the driver; they are closed at the end."""
    cameras: list[LiveCamera] = []

    def start(**options: Any) -> LiveCamera:
        camera = LiveCamera(
            driver, Options.of(**options), notices.append, timeout=WAIT, backoff=Backoff(0.001, 0.004)
        )
        assert driver.asked.acquire(timeout=WAIT)  # the reader waits for the first frame
        cameras.append(camera)
        return camera

    yield start
    for camera in cameras:
        driver.script.put(CameraError("the test is over"))
        camera.close()


def test_the_newest_frame_is_delivered_and_the_others_are_counted(
    driver: ScriptedDriver, live: Callable[..., LiveCamera]
) -> None:
    """A slow reader gets the newest frame; `dropped` counts the others, and the numbers show the gap."""
    camera = live()
    driver.film(10, 20, 30, 40)
    frame = camera.read()
    assert (int(frame.image[0, 0, 0]), frame.index) == (40, 3)
    assert camera.dropped == 3
    driver.film(50)
    assert camera.read().index == 4
    assert camera.describe()["dropped"] == 3


def test_no_frame_is_delivered_twice(driver: ScriptedDriver, live: Callable[..., LiveCamera]) -> None:
    """After the newest frame, `read` waits for the next one."""
    camera = live()
    driver.film(10)
    camera.read()
    with pytest.raises(FrameTimeout, match="does not respond"):
        camera.read(timeout=0.01)


def test_a_silent_device_is_reported_once(
    driver: ScriptedDriver, live: Callable[..., LiveCamera], notices: list[str]
) -> None:
    """A stall is one message until frames arrive again, for any number of reads."""
    camera = live()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            camera.read(timeout=0.001)
    assert len(notices) == 1
    assert "no frame" in notices[0]
    driver.film(10)
    assert camera.read().index == 0


def test_a_lost_device_is_opened_again_and_reported(
    driver: ScriptedDriver, live: Callable[..., LiveCamera], notices: list[str]
) -> None:
    """After unplugging and plugging in, the reading loop has only a pause."""
    camera = live()
    driver.film(10)
    camera.read()
    driver.film(CameraError("unplugged"), 20)
    assert camera.read().image[0, 0, 0] == 20
    assert (driver.opens, camera.reconnects) == (2, 1)
    assert "is lost: unplugged; trying again in 0.001 s" in notices[0]
    assert "is back" in notices[1]


def test_the_last_frame_before_a_loss_is_not_delivered(
    driver: ScriptedDriver, live: Callable[..., LiveCamera]
) -> None:
    """A frame that was not read is dropped with its connection."""
    camera = live()
    driver.film(10, CameraError("unplugged"))
    with pytest.raises(FrameTimeout, match="unplugged"):
        camera.read(timeout=0.01)
    assert camera.describe()["connected"] is False


def test_waiting_for_a_lost_camera_does_not_flood_the_log(
    driver: ScriptedDriver, live: Callable[..., LiveCamera], notices: list[str]
) -> None:
    """Increasing delays are reported; at the longest delay nothing more until the camera is back."""
    camera = live()
    driver.film(*[CameraError("unplugged")] * 20, 30)
    assert camera.read().image[0, 0, 0] == 30
    assert [notice.split("trying again ")[-1] for notice in notices[:-1]] == [
        "in 0.001 s",
        "in 0.002 s",
        "from now on every 0.004 s",
    ]
    assert "is back" in notices[-1]


def test_any_exception_of_a_driver_leaves_the_reader_running(
    driver: ScriptedDriver, live: Callable[..., LiveCamera], notices: list[str]
) -> None:
    """An unexpected exception means a lost camera, not a dead thread."""
    camera = live()
    driver.film(ZeroDivisionError("in the driver"), 30)
    assert camera.read().image[0, 0, 0] == 30
    assert "in the driver" in notices[0]


def test_a_message_that_cannot_be_written_does_not_stop_the_reader(driver: ScriptedDriver) -> None:
    """Stderr may be a closed pipe."""

    def broken(_: str) -> None:
        raise BrokenPipeError

    with LiveCamera(driver, notice=broken, timeout=WAIT, backoff=Backoff(0.001, 0.004)) as camera:
        assert driver.asked.acquire(timeout=WAIT)
        driver.film(CameraError("unplugged"), 30)
        assert camera.read().image[0, 0, 0] == 30
        driver.script.put(CameraError("the test is over"))


def test_damaged_frames_are_dropped_and_reported_with_decreasing_frequency(
    driver: ScriptedDriver, live: Callable[..., LiveCamera], notices: list[str]
) -> None:
    """Other frames are not affected."""
    camera = live()
    for _ in range(9):
        driver.film("broken")
        with pytest.raises(FrameTimeout):
            camera.read(timeout=0.001)
    driver.film(30)
    assert camera.read().image[0, 0, 0] == 30
    assert camera.damaged == 9
    assert len([notice for notice in notices if "dropped" in notice]) == 4  # the 1st, 2nd, 4th, 8th


def test_fps_limits_the_rate_and_delivers_the_newest_frame(
    driver: ScriptedDriver, live: Callable[..., LiveCamera]
) -> None:
    """Between two deliveries the newest frame waits, and newer ones replace it."""
    camera = live(fps=20)
    driver.film(10)
    camera.read()
    driver.film(20, 30)
    assert camera.read(timeout=0).image[0, 0, 0] == 30  # the pause that fps sets is no timeout


def test_iteration_continues_after_a_loss(driver: ScriptedDriver, live: Callable[..., LiveCamera]) -> None:
    """`for frame in camera` waits until the camera is back."""
    camera = live()
    seen = []
    driver.film(10)
    for frame in camera:
        seen.append(int(frame.image[0, 0, 0]))
        if len(seen) == 3:
            break
        driver.film(CameraError("unplugged"), 10 * len(seen) + 10)
    assert seen == [10, 20, 30]


def test_a_camera_that_cannot_be_opened_fails_at_once(driver: ScriptedDriver) -> None:
    """Retries are only for cameras that worked before; a wrong name is an error."""
    driver.refuse = CameraError("no such camera")
    with pytest.raises(CameraError, match="no such camera"):
        LiveCamera(driver)


def test_closing_ends_a_waiting_read_and_closes_the_device(
    driver: ScriptedDriver, live: Callable[..., LiveCamera]
) -> None:
    """A thread that waits for a frame gets a clear error."""
    camera = live()
    answers: queue.Queue[Exception] = queue.Queue()

    def wait() -> None:
        try:
            camera.read()
        except CameraError as error:
            answers.put(error)

    reader = threading.Thread(target=wait)
    reader.start()
    driver.script.put(CameraError("the test is over"))
    camera.close()
    reader.join(WAIT)
    assert "is closed" in str(answers.get(timeout=WAIT))
    assert driver.closes >= 1


def test_black_frames_reopen_the_device(
    driver: ScriptedDriver,
    live: Callable[..., LiveCamera],
    notices: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lasting black frames are reported and the device is opened again, until there is light."""
    monkeypatch.setattr(BlackWatch, "_SECONDS", 0.0)
    camera = live()
    driver.film(0)
    assert camera.read().image.max() == 0
    driver.film(0, 200)
    camera.read()
    assert driver.opens == 2
    assert "black" in notices[0]
    assert "no longer black" in notices[-1]


def test_darkness_is_reported_once_and_retried_with_decreasing_frequency() -> None:
    """A night of black frames means few attempts, not one per second."""
    watch = BlackWatch()
    events = [(second, *watch.see(BLACK, float(second))) for second in range(4000)]
    attempts = [second for second, _, reopen in events if reopen]
    assert attempts[:4] == [3, 6, 12, 24]
    assert len(attempts) < 20
    assert len([remark for _, remark, _ in events if remark]) == 1
    assert watch.see(BRIGHT, 4000.0) == ("no longer black after 4000 s", False)
    assert watch.see(BLACK, 4001.0) == (None, False)


def test_noise_of_a_covered_sensor_is_black_and_one_lamp_is_not() -> None:
    """Dark is not black."""
    noise = np.random.default_rng(0).integers(0, 12, (64, 64, 3), dtype=np.uint8)
    watch = BlackWatch()
    watch.see(noise, 0.0)
    assert watch.see(noise, 3.0)[1]
    lamp = noise.copy()
    lamp[:9, :9] = 255
    assert BlackWatch().see(lamp, 0.0) == (None, False)


def test_backoff_doubles_and_resets_only_after_a_steady_run() -> None:
    """A camera that fails often is not opened every half second forever."""
    backoff = Backoff(0.5, 30)
    assert [backoff.fail() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.succeed()
    assert backoff.fail() == 30
    for _ in range(30):
        backoff.succeed()
    assert backoff.fail() == 0.5
