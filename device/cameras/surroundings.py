"""Facts about a machine's cameras, gathered without opening them: files, groups, processes, packages."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .v4l2_query import Ioctl, VideoNode, list_nodes

_CONFIG_FILES = ("boot/firmware/config.txt", "boot/config.txt")
_LIBCAMERA_SIGNS = (
    "usr/bin/rpicam-hello", "usr/bin/libcamera-hello", "usr/bin/cam", "usr/lib/*/libcamera.so*", "usr/local/lib/*/libcamera.so*",
)  # fmt: skip
_SYSTEM_PICAMERA2 = (
    "usr/lib/python3/dist-packages/picamera2",
    "usr/local/lib/python3*/dist-packages/picamera2",
)


@dataclass(frozen=True)
class Surroundings:
    """Facts about a machine that explain why a camera is available or not."""

    nodes: tuple[VideoNode, ...]
    board: str  # "Raspberry Pi 4 Model B Rev 1.4", or "" elsewhere
    container: bool
    libcamera: bool
    picamera2: bool  # importable from this Python
    picamera2_in_system: bool  # installed by apt
    closed_venv: bool  # in a virtual environment without the packages of the system
    boot_options: frozenset[str]  # lines of the Raspberry Pi's config.txt

    @property
    def is_pi(self) -> bool:
        """Whether the machine is a Raspberry Pi."""
        return "Raspberry Pi" in self.board


def look_around(
    root: Path = Path("/"),
    ioctl: Ioctl | None = None,
    find_spec: Callable[[str], object | None] = importlib.util.find_spec,
    prefix: Path | None = None,
) -> Surroundings:
    """Gather the facts; tests pass arguments of their own."""
    return Surroundings(
        nodes=tuple(list_nodes(root / "dev", ioctl)),
        board=_read(root / "proc/device-tree/model").strip("\0 \n"),
        container=(root / ".dockerenv").exists() or (root / "run/.containerenv").exists(),
        libcamera=any(any(root.glob(sign)) for sign in _LIBCAMERA_SIGNS),
        picamera2=find_spec("picamera2") is not None and find_spec("libcamera") is not None,
        picamera2_in_system=any(any(root.glob(place)) for place in _SYSTEM_PICAMERA2),
        closed_venv=_closed_venv(prefix or Path(sys.prefix)),
        boot_options=_boot_options(root),
    )


def holders(node: str, proc: Path = Path("/proc")) -> list[str]:
    """Return the other processes that have `node` open, as far as this user can list them."""
    target = os.path.realpath(node)
    found = []
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        if int(process.name) != os.getpid() and _has_open(process, target):
            found.append(f"{_read(process / 'comm').strip() or 'a process'} (process {process.name})")
    return found


def _has_open(process: Path, target: str) -> bool:
    try:
        return any(str(link.readlink()) == target for link in (process / "fd").iterdir())
    except OSError:  # a process of another user, or one that has just ended
        return False


def _boot_options(root: Path) -> frozenset[str]:
    text = next((text for name in _CONFIG_FILES if (text := _read(root / name))), "")
    return frozenset(
        re.sub(r"\s", "", line) for line in text.splitlines() if line.strip() and line.strip()[0] not in "#["
    )


def _closed_venv(prefix: Path) -> bool:
    settings = _read(prefix / "pyvenv.cfg")
    return bool(settings) and not re.search(
        r"^include-system-site-packages\s*=\s*true", settings, re.I | re.M
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
