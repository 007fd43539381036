"""What runs on devices, and what they were taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.printable import printable
from device.progress import Progress, no_progress

from .deployment import FOLDER
from .device import Device
from .program import find_place
from .several import for_each, machines_of
from .ssh import Ssh


@dataclass(frozen=True)
class DeviceReport:
    """What runs on one device.

    Attributes:
        target: The device.
        error: Why nothing is known; empty otherwise.
        model: Name of the model, without its suffix.
        path: Path of the model file there; the state file is beside it, with the suffix ``.db``.
        sha256: Checksum of the whole model file.
        edgetl: Version of edgetl.
        python: Version of Python.
        board: Name of the board, or kind of its processor.
        release: The release in use; None for a model that was copied by hand.
        verified: Whether the release passed its test; None for a model that was copied by hand.
        deployed: Time of the deployment by the device's clock, in seconds since the epoch.
        samples: Number of samples taught on the device, per label.
        host: Number of samples taught on the host, per label.
        accuracy: Accuracy that the device estimates itself, or None.
        unknown_share: Share of the frames that were unknown when ``run`` last measured it, or None.
        temperature: Degrees Celsius, or None without a sensor.
        disk_free: Free bytes.
        service: State of the systemd unit, such as ``active``; None without a unit.
        status: The complete result of ``edgetl status --json`` there.
    """

    target: str
    error: str = ""
    model: str = ""
    path: str = ""
    sha256: str = ""
    edgetl: str = ""
    python: str = ""
    board: str = ""
    release: str | None = None
    verified: bool | None = None
    deployed: float | None = None
    samples: dict[str, int] = field(default_factory=dict)
    host: dict[str, int] = field(default_factory=dict)
    accuracy: float | None = None
    unknown_share: float | None = None
    temperature: float | None = None
    disk_free: int | None = None
    service: str | None = None
    status: dict[str, Any] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-serializable dict."""
        return dict(vars(self))


def report_devices(
    targets: Sequence[str],
    folder: str = FOLDER,
    *,
    python: str = "",
    unit: str = "edgetl",
    config: Path | None = None,
    parallel: int = 4,
    progress: Progress = no_progress,
) -> list[DeviceReport]:
    """Return what runs on devices; one that cannot be reached has an `error`.

    Args:
        targets: The devices, as ssh names them.
        folder: Folder of the deployment there; a relative path starts at the home folder.
        python: A Python there; "" finds one.
        unit: Name of the systemd unit.
        config: Configuration file of ssh instead of the user's.
        parallel: Number of devices at a time.
        progress: Called as task "TARGET: STEP".

    Raises:
        RemoteError: A target cannot be the name of a device.
    """

    def one(ssh: Ssh, progress: Progress) -> DeviceReport:
        progress("reading", 0, None)
        device = Device(find_place(ssh, folder, python))
        found = device.do("describe", edgetl=device.place.edgetl_words(), unit=unit)
        return _report(device, found)

    return for_each(machines_of(targets, config), one, DeviceReport, parallel=parallel, progress=progress)


def _report(device: Device, found: dict[str, Any]) -> DeviceReport:
    status = found["status"]
    return DeviceReport(
        target=device.target,
        model=printable(found["name"]),
        path=found["path"],
        sha256=found["sha256"],
        edgetl=device.place.edgetl,
        python=device.place.python_version,
        board=printable(found["board"]),
        release=found["release"],
        verified=found["verified"],
        deployed=found["deployed"],
        samples=status["samples"],
        host=status["host"],
        accuracy=status["accuracy"],
        unknown_share=(status["drift"] or {}).get("unknown_share"),
        temperature=found["temperature"],
        disk_free=found["free"],
        service=found["unit"],
        status=status,
    )
