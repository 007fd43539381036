"""Find cameras, and for each reason why there is none, the next step."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import CameraError
from .surroundings import Surroundings, holders, look_around
from .v4l2_query import VideoNode, list_nodes, query

_INSTALL = "sudo apt install -y python3-picamera2 --no-install-recommends"
_RIBBON = (
    "switch the Pi off, push the ribbon cable fully into both connectors (contacts facing contacts, latch closed), "
    "switch it on and run: rpicam-hello --list-cameras"
)


@dataclass(frozen=True)
class FoundCamera:
    """A camera that `open_camera` can open by its `source`."""

    source: str
    name: str
    kind: str
    formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advice:
    """A reason why a camera cannot be used, and the next step."""

    problem: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.next_step}"


@dataclass(frozen=True)
class Discovery:
    """The cameras of a machine, and advice where there are none or fewer than expected."""

    cameras: tuple[FoundCamera, ...]
    advice: tuple[Advice, ...]
    nodes: tuple[VideoNode, ...]
    picamera2: str  # "ready", "not installed", or why it cannot be used

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {
            "cameras": [asdict(camera) for camera in self.cameras],
            "advice": [asdict(advice) for advice in self.advice],
            "nodes": [node.to_dict() for node in self.nodes],
            "picamera2": self.picamera2,
        }


def discover(surroundings: Surroundings | None = None) -> Discovery:
    """Find cameras of every kind."""
    around = surroundings or look_around()
    attached, picamera2 = _libcamera_cameras(around)
    usable = tuple(
        FoundCamera(node.path, node.card, "v4l2", describe_formats(node))
        for node in around.nodes
        if node.usable
    )
    cameras = usable + attached
    advice = [*_node_advice(around), *_libcamera_advice(around, picamera2, bool(attached))]
    if not cameras and not advice:
        advice.append(_nothing_there(around))
    return Discovery(cameras, tuple(advice), around.nodes, picamera2)


def first_camera() -> str:
    """Return the source of the first camera found.

    Raises:
        CameraError: There is none; the message contains the next step.
    """
    found = discover()
    if found.cameras:
        return found.cameras[0].source
    reasons = " ".join(f"{advice}." for advice in found.advice)
    raise CameraError(
        f"no camera was found. {reasons} To try without one, use a folder of photos, a video file, or `fake` as the camera"
    )


def advise_on_node(node: str, failed: bool = False) -> None:
    """Raise `CameraError` with the next step if the device file `node` cannot be opened.

    Args:
        node: The device file.
        failed: Opening it has failed already; find out why.
    """
    path = Path(node)
    if not path.exists():
        others = ", ".join(str(other) for other in sorted(Path("/dev").glob("video*"))) or "none"
        raise CameraError(
            f"there is no {node} (video devices: {others}); plug the camera in, or run `edgetl cameras`"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraError(str(_forbidden(node)))
    if failed:
        raise CameraError(str(_why_not(query(path))))


def same_camera(fingerprint: tuple[str, str] | None) -> str | None:
    """Return the present device file of the camera with this name and port; its number may have changed."""
    if fingerprint is None:
        return None
    nodes = [
        node for node in list_nodes(Path("/dev")) if node.usable and (node.card, node.bus) == fingerprint
    ]
    return nodes[0].path if nodes else None


def fingerprint(node: str) -> tuple[str, str]:
    """Return the name and the port of the camera at `node`."""
    asked = query(Path(node))
    return asked.card, asked.bus


def describe_formats(node: VideoNode) -> tuple[str, ...]:
    """Return one line per pixel format, largest size first: ``"MJPG 1920x1080@30 1280x720@30"``."""
    lines = []
    for form in node.formats:
        sizes = sorted(set(form.sizes), reverse=True)
        lines.append(" ".join([form.fourcc, *(f"{width}x{height}@{fps:g}" for width, height, fps in sizes)]))
    return tuple(lines)


def _why_not(node: VideoNode) -> Advice:
    users = holders(node.path)
    if users:
        return Advice(f"{node.path} is in use by {', '.join(users)}", "stop that program first")
    if node.pipeline:
        return Advice(
            f"{node.path} is part of the Pi's camera hardware ({node.driver})", "use the camera `picamera2`"
        )
    if not node.usable:
        return Advice(
            f"{node.path} delivers no pictures ({node.problem or node.card or 'no capture device'})",
            "choose another from `edgetl cameras`",
        )
    return Advice(
        f"{node.path} ({node.card}) does not start",
        "unplug it and plug it in again, without a hub if there is one",
    )


def _node_advice(around: Surroundings) -> list[Advice]:
    advice = []
    for node in around.nodes:
        if node.problem == os.strerror(13):  # EACCES
            advice.append(_forbidden(node.path, around.container))
        elif node.problem:
            advice.append(
                Advice(f"{node.path} cannot be queried: {node.problem}", "unplug it and plug it in again")
            )
        elif node.usable and (users := holders(node.path)):
            advice.append(
                Advice(f"{node.path} is in use by {', '.join(users)}", "stop that program to use it here")
            )
    return advice


def _forbidden(node: str, container: bool = False) -> Advice:
    step = "add yourself to the group `video` (sudo usermod -aG video $USER), then log out and in again"
    if container:
        step = f"start the container with --device {node} --group-add video"
    return Advice(f"{node} cannot be opened by this user: permission is missing", step)


def _libcamera_advice(around: Surroundings, picamera2: str, attached: bool) -> list[Advice]:
    if attached:
        return []
    if "start_x=1" in around.boot_options:
        return [
            Advice(
                "the Pi uses the legacy camera stack (start_x=1 in config.txt)",
                "sudo raspi-config > Interface Options > Legacy Camera > disable, then reboot and use `picamera2`",
            )
        ]
    if around.is_pi and "camera_auto_detect=0" in around.boot_options:
        return [
            Advice(
                "config.txt contains camera_auto_detect=0",
                "set camera_auto_detect=1 in /boot/firmware/config.txt (unless a dtoverlay names your camera), reboot",
            )
        ]
    if not around.picamera2:
        return _missing_picamera2(around)
    return [_from_picamera2(picamera2)]


def _missing_picamera2(around: Surroundings) -> list[Advice]:
    if around.picamera2_in_system and around.closed_venv:
        return [
            Advice(
                "picamera2 is installed for the system's Python, but this virtual environment does not see it",
                "create it with: python3 -m venv --system-site-packages .venv (or set include-system-site-packages = true "
                "in its pyvenv.cfg)",
            )
        ]
    if around.libcamera or around.is_pi or any(node.pipeline for node in around.nodes):
        also = "; create the virtual environment with --system-site-packages" if around.closed_venv else ""
        return [
            Advice(
                "libcamera is installed, but its Python module picamera2 is not",
                f"for a ribbon camera: {_INSTALL}{also}",
            )
        ]
    return []


def _from_picamera2(state: str) -> Advice:
    if "numpy.dtype size changed" in state or "numpy.core.multiarray" in state:
        return Advice(
            "apt's picamera2 was built for NumPy 1, and this environment has NumPy 2", "pip install 'numpy<2'"
        )
    if state != "ready":
        return Advice(f"picamera2 cannot be used: {state}", f"install it again: {_INSTALL}")
    return Advice("picamera2 works but detects no camera", _RIBBON)


def _nothing_there(around: Surroundings) -> Advice:
    if around.container:
        return Advice(
            "no /dev/video* in this container", "start it with --device /dev/video0 --group-add video"
        )
    return Advice("no /dev/video* is a camera", "plug in a USB camera, then run: lsusb; sudo dmesg | tail")


def _libcamera_cameras(around: Surroundings) -> tuple[tuple[FoundCamera, ...], str]:
    if not around.picamera2:
        hidden = around.picamera2_in_system and around.closed_venv
        return (), "not visible in this virtual environment" if hidden else "not installed"
    from .picamera import list_cameras

    try:
        found = list_cameras()
    except CameraError as error:
        return (), str(error)
    return tuple(FoundCamera(f"picamera2:{number}", name, "picamera2") for number, name in found), "ready"
