"""Finding cameras, and the next step for each reason why there is none; a fake ioctl answers for V4L2."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from device.cameras import discover as discover_module
from device.cameras import open_camera
from device.cameras.discover import Discovery, advise_on_node, discover, first_camera
from device.cameras.surroundings import Surroundings, holders, look_around
from device.cameras.v4l2_query import ENUM_FMT, ENUM_FRAMEINTERVALS, ENUM_FRAMESIZES, QUERYCAP, query
from device.errors import CameraError

MJPG, YUYV = (int.from_bytes(code, "little") for code in (b"MJPG", b"YUYV"))


class FakeIoctl:
    """Answers as a driver does, from a description of the device; an enumeration ends with EINVAL."""

    def __init__(
        self,
        driver: str = "uvcvideo",
        card: str = "HD Pro Webcam C920",
        capabilities: int = 0x84A00001,
        own: int = 0x04200001,
        formats: dict[int, dict[tuple[int, int], list[int]]] | None = None,
    ) -> None:
        """Describe a device; formats are {fourcc: {(width, height): [frames per second]}}."""
        self.driver, self.card, self.capabilities, self.own = driver, card, capabilities, own
        self.formats = {MJPG: {(640, 480): [30, 15], (1920, 1080): [30]}, YUYV: {(640, 480): [30]}}
        if formats is not None:
            self.formats = formats

    def __call__(self, handle: int, request: int, buffer: bytearray) -> int:
        """Fill the buffer as VIDIOC_... do."""
        index = struct.unpack_from("=I", buffer)[0]
        if request == QUERYCAP:
            names = (self.driver.encode(), self.card.encode(), b"usb-0000:01:00.0-1.3")
            buffer[:] = struct.pack("=16s32s32sIII12x", *names, 0x60100, self.capabilities, self.own)
        elif request == ENUM_FMT:
            code = self._item(list(self.formats), index)
            struct.pack_into("=32sI", buffer, 12, b"Motion-JPEG" if code == MJPG else b"YUYV 4:2:2", code)
        elif request == ENUM_FRAMESIZES:
            code = struct.unpack_from("=I", buffer, 4)[0]
            struct.pack_into("=III", buffer, 8, 1, *self._item(list(self.formats[code]), index))
        elif request == ENUM_FRAMEINTERVALS:
            code, width, height = struct.unpack_from("=III", buffer, 4)
            struct.pack_into("=III", buffer, 16, 1, 1, self._item(self.formats[code][width, height], index))
        else:
            raise OSError(errno.ENOTTY, "not a request of V4L2")
        return 0

    @staticmethod
    def _item(items: list[Any], index: int) -> Any:
        if index >= len(items):
            raise OSError(errno.EINVAL, "end of the list")
        return items[index]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The root of a machine with nothing on it."""
    (tmp_path / "dev").mkdir()
    return tmp_path


def put(machine: Path, path: str, text: str = "") -> None:
    """Write a file into the machine."""
    (machine / path).parent.mkdir(parents=True, exist_ok=True)
    (machine / path).write_text(text)


def look(
    machine: Path, ioctl: Any = None, modules: tuple[str, ...] = (), prefix: str = "none"
) -> Surroundings:
    """Look around on the machine; `modules` can be imported there."""
    return look_around(
        machine, ioctl or FakeIoctl(), lambda name: True if name in modules else None, machine / prefix
    )


def pi(machine: Path) -> None:
    """Make the machine a Raspberry Pi."""
    put(machine, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")


def advice(found: Discovery) -> str:
    """All that is advised, in one text."""
    return " | ".join(str(one) for one in found.advice)


def test_a_usb_camera_is_listed_with_its_formats(machine: Path) -> None:
    """Name, driver, sizes and rates come out of the ioctl structures."""
    put(machine, "dev/video0")
    found = discover(look(machine))
    assert [camera.name for camera in found.cameras] == ["HD Pro Webcam C920"]
    assert found.cameras[0].formats == ("MJPG 1920x1080@30 640x480@30", "YUYV 640x480@30")
    assert found.nodes[0].driver == "uvcvideo"
    assert found.nodes[0].formats[0].description == "Motion-JPEG"
    assert not found.advice


def test_devices_are_ordered_by_number(machine: Path) -> None:
    """video10 comes after video2."""
    for number in (10, 2, 0):
        put(machine, f"dev/video{number}")
    assert [Path(node.path).name for node in look(machine).nodes] == ["video0", "video2", "video10"]


@pytest.mark.parametrize(
    "ioctl",
    [
        FakeIoctl(own=0x04A00000),  # the metadata twin of every UVC camera
        FakeIoctl(formats={}),
        FakeIoctl(driver="bcm2835-codec", card="bcm2835-codec-decode"),
        FakeIoctl(driver="unicam", card="unicam"),
    ],
)
def test_nodes_without_pictures_are_not_listed_as_cameras(machine: Path, ioctl: FakeIoctl) -> None:
    """Metadata nodes, codecs and internal parts of the Pi's camera are not offered."""
    put(machine, "dev/video0")
    found = discover(look(machine, ioctl))
    assert found.cameras == ()
    assert found.advice


def test_a_device_that_cannot_be_queried_is_reported(machine: Path) -> None:
    """A file that is not a V4L2 device, queried by the real ioctl, becomes a problem and not a crash."""
    put(machine, "dev/video0")
    node = query(machine / "dev/video0")
    assert node.problem
    assert not node.usable


def test_stepwise_sizes_list_the_largest() -> None:
    """A driver that scales continuously is listed with its largest size."""

    class Stepwise(FakeIoctl):
        def __call__(self, handle: int, request: int, buffer: bytearray) -> int:
            if request == ENUM_FRAMESIZES:
                self._item([0], struct.unpack_from("=I", buffer)[0])
                struct.pack_into("=I6I", buffer, 8, 3, 32, 2592, 2, 32, 1944, 2)
                return 0
            if request == ENUM_FRAMEINTERVALS:
                raise OSError(errno.ENOTTY, "cannot enumerate")
            return super().__call__(handle, request, buffer)

    node = query(Path(os.devnull), Stepwise(formats={MJPG: {}}))
    assert node.formats[0].sizes == ((2592, 1944, 0.0),)


def test_advice_without_any_camera(machine: Path) -> None:
    """On a machine without cameras: plug one in, and where to look."""
    assert "lsusb" in advice(discover(look(machine)))


def test_advice_without_a_camera_in_a_container(machine: Path) -> None:
    """A container needs its devices passed in."""
    put(machine, ".dockerenv")
    assert "--device /dev/video0" in advice(discover(look(machine)))


@pytest.mark.parametrize("container", [False, True])
def test_advice_without_permission(machine: Path, container: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group `video` is named, or the option of the container."""
    put(machine, "dev/video0")
    if container:
        put(machine, ".dockerenv")

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    reported = advice(discover(look(machine)))
    assert ("--group-add video" if container else "usermod -aG video") in reported


def test_advice_on_a_pi_without_picamera2(machine: Path) -> None:
    """The apt command, and the hint for virtual environments."""
    pi(machine)
    put(machine, "venv/pyvenv.cfg", "include-system-site-packages = false\n")
    reported = advice(discover(look(machine, prefix="venv")))
    assert "apt install -y python3-picamera2" in reported
    assert "--system-site-packages" in reported


def test_advice_when_a_virtual_environment_hides_picamera2(machine: Path) -> None:
    """It is installed with apt, but this environment does not use the packages of the system."""
    pi(machine)
    put(machine, "usr/lib/python3/dist-packages/picamera2/__init__.py")
    put(machine, "venv/pyvenv.cfg", "include-system-site-packages = false\n")
    reported = advice(discover(look(machine, prefix="venv")))
    assert "does not see it" in reported
    assert "apt install" not in reported


def test_advice_with_the_legacy_camera_stack(machine: Path) -> None:
    """start_x=1 is named, with the steps that disable it."""
    pi(machine)
    put(machine, "boot/config.txt", "# comment\nstart_x=1\n")
    assert "legacy" in advice(discover(look(machine)))


def test_advice_when_camera_detection_is_off(machine: Path) -> None:
    """camera_auto_detect=0 is named."""
    pi(machine)
    put(machine, "boot/firmware/config.txt", "camera_auto_detect = 0\n")
    assert "camera_auto_detect=1" in advice(discover(look(machine)))


@pytest.mark.parametrize(
    ("failure", "reported"),
    [
        (None, "ribbon cable"),
        ("numpy.dtype size changed, may indicate binary incompatibility", "numpy<2"),
        ("libcamera fails: no pipeline", "install it again"),
    ],
)
def test_advice_when_picamera2_finds_nothing_or_fails(
    machine: Path, failure: str | None, reported: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No camera on the cable, a NumPy that it was not built for, or a broken installation."""
    from device.cameras import picamera

    def cameras() -> list[tuple[int, str]]:
        if failure:
            raise CameraError(failure)
        return []

    monkeypatch.setattr(picamera, "list_cameras", cameras)
    pi(machine)
    assert reported in advice(discover(look(machine, modules=("picamera2", "libcamera"))))


def test_a_ribbon_camera_is_listed(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its source can be passed to open_camera."""
    from device.cameras import picamera

    monkeypatch.setattr(picamera, "list_cameras", lambda: [(0, "imx219"), (1, "imx708")])
    pi(machine)
    found = discover(look(machine, modules=("picamera2", "libcamera")))
    assert [(camera.source, camera.name) for camera in found.cameras] == [
        ("picamera2:0", "imx219"),
        ("picamera2:1", "imx708"),
    ]
    assert not found.advice


def test_processes_that_use_a_device_are_named(tmp_path: Path) -> None:
    """They are found by their open files."""
    node = tmp_path / "video0"
    node.touch()
    put(tmp_path, "proc/4321/comm", "motion\n")
    (tmp_path / "proc/4321/fd").mkdir()
    (tmp_path / "proc/4321/fd/3").symlink_to(node)
    put(tmp_path, "proc/99/comm", "other\n")
    assert holders(str(node), tmp_path / "proc") == ["motion (process 4321)"]


@pytest.mark.parametrize(
    ("users", "driver", "reported"),
    [
        (["motion (process 4321)"], "uvcvideo", "in use by motion"),
        ([], "unicam", "use the camera `picamera2`"),
        ([], "uvcvideo", "plug it in again"),
    ],
)
def test_a_device_that_does_not_start_is_reported_with_the_reason(
    tmp_path: Path, users: list[str], driver: str, reported: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Busy, an internal part of the Pi's hardware, or neither."""
    node = tmp_path / "video0"
    node.touch()
    monkeypatch.setattr(discover_module, "holders", lambda _: users)
    monkeypatch.setattr(discover_module, "query", lambda path: query(path, FakeIoctl(driver=driver)))
    with pytest.raises(CameraError, match=reported):
        advise_on_node(str(node), failed=True)


def test_the_first_camera_is_the_default(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a source, the first camera of `edgetl cameras` is opened; without cameras, the advice is the error."""
    put(machine, "dev/video2")
    around = look(machine)
    monkeypatch.setattr(discover_module, "look_around", lambda: around)
    assert first_camera() == str(machine / "dev/video2")
    empty = look(machine / "nothing")
    monkeypatch.setattr(discover_module, "look_around", lambda: empty)
    with pytest.raises(CameraError, match=r"no camera was found.*lsusb.*fake"):
        open_camera()
