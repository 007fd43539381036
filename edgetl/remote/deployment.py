"""Deploying a model file to devices: copied, tested and switched there, or the old one stays in use."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from device.errors import ModelFileError
from device.model.modelfile import ModelFile
from device.printable import printable
from device.progress import Progress, no_progress

from .. import __version__
from ..errors import RemoteCommandError
from .device import Device
from .program import find_place
from .several import for_each, machines_of
from .ssh import Ssh
from .wheel import make_wheel

FOLDER = "edgetl-device"  # in the home folder there
WATCH_SECONDS = 8.0  # a service that cannot start its camera or model ends within these
_VENV_BYTES = 500_000_000  # runtime, OpenCV and NumPy, and what pip unpacks meanwhile
_SPARE_BYTES = 20_000_000


@dataclass(frozen=True)
class Plan:
    """What is deployed, and how.

    Attributes:
        model: The model file.
        folder: Folder of the deployment there; a relative path starts at the home folder.
        python: A Python there; "" finds one.
        install: Install this version of edgetl there, in a virtual environment of the deployment.
        wheels: Folder of wheels for the installation without a network; None uses PyPI there.
        extras: Extras of edgetl to install, separated by commas.
        service: Words of the command that a systemd service runs; empty leaves the service as it is.
        unit: Name of the systemd unit.
        config: Configuration file of ssh instead of the user's.
        watch: Seconds during which the service must stay up.
    """

    model: Path
    folder: str = FOLDER
    python: str = ""
    install: bool = False
    wheels: Path | None = None
    extras: str = "device,serve,sign"
    service: tuple[str, ...] = ()
    unit: str = "edgetl"
    config: Path | None = None
    watch: float = WATCH_SECONDS


@dataclass(frozen=True)
class Deployment:
    """The result on one device.

    Attributes:
        target: The device.
        outcome: ``deployed``; ``returned`` to the model before; ``unchanged``: it had this model already; ``rolled back``:
            the test failed and the old model is in use again; ``failed``: the old model stayed in use, or nothing is known
            after a lost connection.
        reason: Why it was rolled back or failed.
        model: Name of the model, without its suffix.
        sha256: Checksum of its file.
        release: The release in use.
        previous: The release before; None for the first.
        state: What happened to the state: ``how`` (``kept``, ``reduced``, ``embedded``, ``aside`` or ``new``), ``samples``,
            ``note``, and where the old state is (``from``) if it is another file.
        probe: What the test found: ``samples``, ``host``, ``accuracy`` and ``prediction``.
        warnings: Remarks for the user.
    """

    target: str
    outcome: str
    reason: str = ""
    model: str = ""
    sha256: str = ""
    release: str | None = None
    previous: str | None = None
    state: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the device runs the wanted model."""
        return self.outcome in ("deployed", "unchanged", "returned")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-serializable dict."""
        return {**vars(self), "warnings": list(self.warnings)}


def deploy(
    plan: Plan, targets: Sequence[str], *, parallel: int = 4, progress: Progress = no_progress
) -> list[Deployment]:
    """Deploy a model file to devices, some of them at a time; a failure on one does not stop the others.

    Args:
        plan: What is deployed, and how.
        targets: The devices, as ssh names them.
        parallel: Number of devices at a time.
        progress: Called as task "TARGET: STEP", with the number of bytes while files are copied.

    Returns:
        A result per device, in the order of `targets`.

    Raises:
        ModelFileError: The model file cannot be used; then no device is reached.
        RemoteError: A target cannot be the name of a device, or no wheel can be made.
    """
    machines = machines_of(targets, plan.config)
    with Package(plan) as package:
        return for_each(machines, package.deploy, _failed, parallel=parallel, progress=progress)


def roll_back(
    targets: Sequence[str],
    folder: str = FOLDER,
    *,
    python: str = "",
    unit: str = "edgetl",
    config: Path | None = None,
    watch: float = WATCH_SECONDS,
    parallel: int = 4,
    progress: Progress = no_progress,
) -> list[Deployment]:
    """Return devices to the model that they had before.

    The arguments are those of `Plan` and `deploy`. The outcome is ``returned``, or ``failed`` if the newer model stayed in use.

    Raises:
        RemoteError: A target cannot be the name of a device.
    """

    def one(ssh: Ssh, progress: Progress) -> Deployment:
        progress("reaching it", 0, None)
        device = Device(find_place(ssh, folder, python))
        progress("switching and testing", 0, None)
        found = device.do("rollback", edgetl=device.place.edgetl_words(), unit=unit, watch=watch)
        notes = [f"what was taught to the newer model is in {found['aside']}"] if found["aside"] else []
        outcome = "failed" if found["reason"] else "returned"
        return _result(device, outcome, found, found["name"], found["sha256"], notes)

    return for_each(machines_of(targets, config), one, _failed, parallel=parallel, progress=progress)


class Package:
    """A model file that is ready for any number of devices; the wheel is made once, when the first device needs it.

    Raises:
        ModelFileError: The model file is damaged, foreign, or has a name that is not portable.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.model = ModelFile.open(plan.model)
        self.name = plan.model.stem
        if self.name.startswith((".", "-")) or printable(self.name) != self.name:
            raise ModelFileError(f"a model file with the name {plan.model.name!r} is not deployed; rename it")
        content = plan.model.read_bytes()
        self.digest, self.size = hashlib.sha256(content).hexdigest(), len(content)
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory()
        self._wheels: list[tuple[Path, str]] = []

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def deploy(self, ssh: Ssh, progress: Progress) -> Deployment:
        """Deploy to one device.

        Raises:
            RemoteError: The device cannot be reached, or the connection ended.
            RemoteCommandError: A step failed; the device keeps its old model.
        """
        plan = self.plan
        progress("reaching it", 0, None)
        warnings = [warning for warning in [ssh.unverified()] if warning]
        device = Device(find_place(ssh, plan.folder, plan.python))
        before = device.do("survey", unit=plan.unit)
        if plan.service and not before["systemd"]:
            raise RemoteCommandError(
                f"{ssh.target}: systemd does not run there, so --service cannot install a service"
            )
        edgetl, venv = device.place.edgetl_words() if not plan.install else [], ""
        if plan.install:
            edgetl, venv = self._install(device, before, progress)
        elif device.place.edgetl != __version__:
            warnings.append(
                f"edgetl {device.place.edgetl} is installed there, and {__version__} here; --install updates it"
            )
        record = before["record"] or {}
        same_venv = not venv or record.get("venv") == venv
        if (
            record.get("sha256") == self.digest
            and record.get("name") == self.name
            and same_venv
            and not plan.service
        ):
            progress("testing", 0, None)
            found = device.do("retest", edgetl=edgetl)
            return _result(device, "unchanged", found, self.name, self.digest, warnings)
        progress("checking the device", 0, None)
        ready = device.do("prepare", digests=[self.digest])
        device.do("check_device", name=self.name, edgetl=edgetl, needed=2 * self.size + _SPARE_BYTES)
        self._send(device, ready, [(plan.model, self.digest)], "copying the model", progress)
        progress("preparing the state", 0, None)
        staged = device.do("stage", name=self.name, digest=self.digest, edgetl=edgetl, venv=venv)
        progress("switching and testing", 0, None)
        switch = {
            "expected": before["release"],
            "unit": plan.unit,
            "service": list(plan.service),
            "watch": plan.watch,
        }
        found = device.do("activate", release=staged["release"], edgetl=edgetl, **switch)
        outcome = "rolled back" if found["reason"] else "deployed"
        return _result(device, outcome, found, self.name, self.digest, warnings)

    def _install(self, device: Device, before: dict[str, Any], progress: Progress) -> tuple[list[str], str]:
        """Install edgetl there unless it is; return the words that run it, and the name of its environment."""
        files, place = self._made_wheels(), device.place
        parts = [self.plan.extras, place.python_version, *(digest for _, digest in files)]
        key = f"{__version__}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:12]}"
        if key not in before["venvs"]:
            if before["free"] < _VENV_BYTES:
                free = before["free"] / 1e6
                raise RemoteCommandError(
                    f"{device.target}: {free:.0f} MB free at {place.folder}, {_VENV_BYTES / 1e6:.0f} MB needed to install"
                    " edgetl; free some space"
                )
            ready = device.do("prepare", digests=[digest for _, digest in files])
            self._send(device, ready, files, "copying edgetl", progress)
            progress("installing edgetl", 0, None)
            named = [(path.name, digest) for path, digest in files]
            device.do(
                "install",
                key=key,
                wheel=named[0],
                wheels=named[1:],
                extras=self.plan.extras,
                python=place.python,
            )
        return [f"{place.folder}/venvs/{key}/bin/python", "-m", "edgetl"], key

    def _send(
        self,
        device: Device,
        ready: dict[str, Any],
        files: Sequence[tuple[Path, str]],
        step: str,
        progress: Progress,
    ) -> None:
        for path, digest in files:
            if digest in ready["present"]:
                continue
            note = partial(_noted, progress, step)
            if device.place.ssh.send(path, f"{ready['incoming']}/{digest}", note) != digest:
                raise RemoteCommandError(f"{path} was changed while it was deployed; deploy it again")

    def _made_wheels(self) -> list[tuple[Path, str]]:
        """Return edgetl's wheel and those of ``--wheels``, each with its sha256."""
        with self._lock:
            if not self._wheels:
                more = sorted(self.plan.wheels.glob("*.whl")) if self.plan.wheels else []
                paths = [make_wheel(Path(self._folder.name)), *more]
                self._wheels = [(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
            return self._wheels


def _noted(progress: Progress, step: str, _: str, done: int, total: int | None) -> None:
    progress(step, done, total)


def _result(
    device: Device, outcome: str, found: dict[str, Any], name: str, digest: str, warnings: Sequence[str]
) -> Deployment:
    state = {
        name: value
        for name, value in found["state"].items()
        if name in ("how", "samples", "left_behind", "note", "from")
    }
    return Deployment(
        device.target,
        outcome,
        printable(found.get("reason", "")),
        name,
        digest,
        found["release"],
        found.get("previous"),
        state,
        found["probe"],
        tuple(warnings),
    )


def _failed(target: str, reason: str) -> Deployment:
    return Deployment(target, "failed", reason)
