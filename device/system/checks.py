"""The self-test of a device: everything it needs, a result for each, and how to fix it."""

from __future__ import annotations

import ctypes.util
import importlib
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import CameraError, DelegateError, EdgetlError, RuntimeMissingError, SignatureError
from ..files import may_write
from . import health

CheckResult = Literal["good", "note", "warning", "failed"]
HOT, VERY_HOT = 70.0, 80.0  # degrees Celsius; a Raspberry Pi slows down from 80
LITTLE_DISK, SCARCE_DISK = 500e6, 50e6  # bytes
LITTLE_RAM = 150e6  # bytes; a learner with Lite0 needs about 90 MB
CAMERA_SECONDS = 10.0
TIMED_FRAMES = 5
DARK, FLAT = 8.0, 2.0  # mean and standard deviation, in 8-bit levels, below which a picture shows nothing


@dataclass(frozen=True)
class Check:
    """One line of the self-test.

    Attributes:
        name: What was checked.
        result: ``good``; ``note``: worth knowing; ``warning``: works with problems; ``failed``: does not work.
        finding: What was found.
        fix: What to do; empty when there is nothing to do.
    """

    name: str
    result: CheckResult
    finding: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the fields as JSON-serializable values; ``verdict`` is the old name of ``result`` (until 0.3)."""
        return asdict(self) | {"verdict": self.result}


@dataclass(frozen=True)
class Subject:
    """What to check, besides the machine itself.

    Attributes:
        model: A model file to load and run, or None.
        state: The state file, whose disk must have space. None means the current folder.
        camera: A source for `open_camera`; None means the first camera found.
        look: Whether to open a camera.
        edgetpu: Whether a Coral is required.
        threads: CPU threads for the model.
        root: Where the file system starts; tests use another one.
    """

    model: Path | None = None
    state: Path | None = None
    camera: str | None = None
    look: bool = True
    edgetpu: bool = False
    threads: int | None = None
    root: Path = health.ROOT


def self_test(subject: Subject) -> Iterator[Check]:
    """Yield one check after another, each as soon as it is done.

    Example:
        >>> checks = list(self_test(Subject(camera="fake")))
        >>> [check.result for check in checks if check.name == "camera"]
        ['good']
    """
    for check in CHECKS:
        found = check(subject)
        if found is not None:
            yield found


def _board(subject: Subject) -> Check:
    name = health.board(subject.root)
    if health.is_raspberry_pi(subject.root):
        return Check("board", "good", str(name))
    kind = name or f"{health.cpu(subject.root)}, {platform.machine()}"
    return Check("board", "note", f"not a Raspberry Pi: {kind}")


def _system(subject: Subject) -> Check:
    python = f"Python {platform.python_version()}"
    finding = f"{health.operating_system(subject.root)}, {health.bits()}-bit, {python}"
    if health.bits() == 64:
        return Check("system", "good", finding)
    return Check(
        "system",
        "warning",
        finding,
        "LiteRT has no 32-bit version: install the 64-bit Raspberry Pi OS, "
        "or use Python 3.11 with pip install 'edgetl[tflite-runtime]'",
    )


def _runtime(subject: Subject) -> Check:
    from ..model.runtime import load_runtime

    try:
        return Check("runtime", "good", str(load_runtime()))
    except RuntimeMissingError as error:
        return Check("runtime", "failed", str(error), "pip install 'edgetl[device]'")


def _opencv(subject: Subject) -> Check:
    try:
        version = importlib.import_module("cv2").__version__
    except ImportError as error:
        return Check("opencv", "failed", f"cannot be imported: {error}", "pip install 'edgetl[device]'")
    return Check("opencv", "good", f"OpenCV {version}, NumPy {np.__version__}")


def _delegate(subject: Subject) -> Check:
    if not subject.edgetpu and not ctypes.util.find_library("edgetpu"):
        return Check("edge tpu", "note", "no Coral library (libedgetpu); the CPU is used")
    from ..model.runtime import load_edgetpu

    try:
        load_edgetpu()
    except (DelegateError, RuntimeMissingError) as error:
        return Check(
            "edge tpu",
            "failed" if subject.edgetpu else "note",
            str(error),
            "plug the Coral into a USB 3 port, then: sudo apt install libedgetpu1-std, and unplug and plug it once",
        )
    return Check("edge tpu", "good", "the Coral responds")


def _signature(subject: Subject) -> Check | None:
    if subject.model is None:
        return None
    from ..model.trust import describe_signature, examine_signature

    try:
        found = examine_signature(subject.model)
    except SignatureError as error:
        return _failed("signature", error, "edgetl key list")
    except EdgetlError:
        return None  # the model's own line has the reason
    finding = describe_signature(found)
    if found.valid is False:
        return Check("signature", "failed", finding, "copy the file again, or sign it again")
    if found.required:
        fix = (
            ""
            if found.pinned and found.valid
            else "sign the file with a pinned key, or pin its key: edgetl key pin"
        )
        return Check("signature", "failed" if fix else "good", finding, fix)
    return Check("signature", "good" if found.key else "note", finding)


def _model(subject: Subject) -> Check | None:
    if subject.model is None:
        return None
    try:
        return _run_model(subject, subject.model)
    except EdgetlError as error:
        return _failed("model", error, "copy the file again, or convert it again")


def _run_model(subject: Subject, path: Path) -> Check:
    from ..model.embedder import Embedder
    from ..model.modelfile import ModelFile

    model = ModelFile.open(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embedder = Embedder(model, threads=subject.threads, delegate="edgetpu" if subject.edgetpu else None)
    sides = model.manifest.preprocessing
    frame = np.full((sides.height, sides.width, 3), 127, np.uint8)
    seconds = [_seconds(lambda: embedder.embed_one(frame)) for _ in range(TIMED_FRAMES)]
    where = embedder.delegate or f"{embedder.threads} CPU threads"
    finding = (
        f"{model.manifest.backbone}, {1000 * min(seconds):.1f} ms per frame on {embedder.runtime}, {where}"
    )
    embedder.close()
    if caught:
        return Check("model", "warning", f"{finding}; {caught[0].message}", "see the line 'edge tpu'")
    return Check("model", "good", finding)


def _camera(subject: Subject) -> Check | None:
    if not subject.look:
        return None
    from ..cameras import open_camera

    messages: list[str] = []
    try:
        with open_camera(subject.camera, timeout=CAMERA_SECONDS, notice=messages.append) as camera:
            frame = camera.read()
    except CameraError as error:
        # a camera that was named is needed; without one, photos can be taught
        return _failed("camera", error, "edgetl cameras", "failed" if subject.camera else "warning")
    height, width = frame.image.shape[:2]
    finding = f"{frame.source}, {width} x {height}"
    if float(frame.image.mean()) < DARK or float(frame.image.std()) < FLAT:
        return Check(
            "camera",
            "warning",
            f"{finding}, but the picture shows nothing",
            "remove the lens cap and check the light",
        )
    return Check("camera", "good", finding)


def _disk(subject: Subject) -> Check:
    folder = (subject.state.absolute() if subject.state else Path.cwd() / "state").parent
    free = health.disk_free(folder)
    if not folder.is_dir():
        return Check("disk", "failed", f"the folder {folder} does not exist", f"mkdir -p {folder}")
    if not may_write(folder):
        return Check(
            "disk",
            "failed",
            f"no file can be written in {folder}",
            "check its owner with ls -ld; after power cuts a card can be read-only: sudo mount -o remount,rw /",
        )
    if free is None:
        return Check("disk", "note", f"the free space at {folder} is not known")
    finding = f"{free / 1e9:.1f} GB free at {folder}"
    fix = "free some space: sudo apt clean, or put the state on another disk with --state"
    if free < SCARCE_DISK:
        return Check("disk", "failed", finding, fix)
    return Check("disk", "warning", finding, fix) if free < LITTLE_DISK else Check("disk", "good", finding)


def _ram(subject: Subject) -> Check:
    amounts = health.ram(subject.root)
    if amounts is None:
        return Check("RAM", "note", "the free RAM is not known")
    finding = f"{amounts[0] / 1e6:.0f} MB free of {amounts[1] / 1e6:.0f} MB"
    if amounts[0] >= LITTLE_RAM:
        return Check("RAM", "good", finding)
    return Check("RAM", "warning", finding, "close other programs; the desktop alone needs about 300 MB")


def _temperature(subject: Subject) -> Check:
    degrees = health.temperature(subject.root)
    if degrees is None:
        return Check("temperature", "note", "no sensor")
    finding = f"{degrees:.0f} °C"
    if degrees < HOT:
        return Check("temperature", "good", finding)
    fix = "add a heat sink or a fan, or run with --fps or fewer --threads"
    return Check(
        "temperature", "warning", finding + (", the CPU slows down" if degrees >= VERY_HOT else ""), fix
    )


def _throttling(subject: Subject) -> Check:
    state = health.throttling(subject.root)
    if state is None:
        return Check("throttling", "note", "only the firmware of a Raspberry Pi reports it")
    fix = "use the power supply made for this board, and a heat sink or a fan"
    if state.now:
        return Check("throttling", "warning", "; ".join(state.now), fix)
    if state.since_boot:
        return Check("throttling", "note", f"not now; since boot: {'; '.join(state.since_boot)}", fix)
    return Check("throttling", "good", "none since boot")


def _governor(subject: Subject) -> Check:
    names = health.governors(subject.root)
    if not names:
        return Check("governor", "note", "the CPU frequency has no governor")
    finding = ", ".join(names)
    if names == ("performance",):
        return Check("governor", "good", finding)
    return Check(
        "governor",
        "note",
        f"{finding}; times vary with it",
        "before measuring: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    )


def _clock(subject: Subject) -> Check:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    if not health.clock_is_plausible():
        return Check(
            "clock",
            "warning",
            f"{now} is in the past; samples would have that time",
            "connect to a network once (timedatectl shows whether the clock is set), or add a clock module",
        )
    if health.clock_is_synchronized() is False:
        return Check("clock", "note", f"{now}, not set by a time server", "sudo timedatectl set-ntp true")
    return Check("clock", "good", now)


def _failed(name: str, error: EdgetlError, fix: str, result: CheckResult = "failed") -> Check:
    # messages of edgetl end in the next step, after a semicolon
    problem, _, step = str(error).rpartition("; ")
    return Check(name, result, problem, step) if problem else Check(name, result, step, fix)


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


CHECKS: tuple[Callable[[Subject], Check | None], ...] = (
    _board,
    _system,
    _runtime,
    _opencv,
    _delegate,
    _signature,
    _model,
    _camera,
    _disk,
    _ram,
    _temperature,
    _throttling,
    _governor,
    _clock,
)
