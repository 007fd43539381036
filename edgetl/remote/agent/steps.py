"""The steps that the host calls by name."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .folder import Folder, StepError, disk_free, link, sha256, write_record
from .programs import status
from .staging import check_device, copy_state, install, prepare, stage
from .switching import Switch, probe
from .unit import Unit

KEPT_RELEASES = 3  # the current one and two to return to


def survey(folder: str, unit: str) -> dict[str, Any]:
    """Report what is in the folder and on the device, without changing anything."""
    place = Folder(folder)
    name = place.release_name()
    return {
        "release": name,
        "record": place.release(name),
        "venvs": sorted(path.parent.name for path in place.venvs.glob("*/.complete")),
        "free": disk_free(place.path),
        "systemd": Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None,
        "unit": Unit(unit).state(),
    }


def activate(
    folder: str,
    release: str,
    expected: str | None,
    edgetl: Sequence[str],
    unit: str,
    service: Sequence[str],
    watch: float,
) -> dict[str, Any]:
    """Switch to a release, start the service, test it, and return to the old release if the test fails."""
    place = Folder(folder)
    with place.locked():
        before, record = place.release_name(), place.release(release)
        if before != expected:
            raise StepError(f"another deployment changed {folder} meanwhile (now {before}); try again")
        if record is None:
            raise StepError(f"the release {release} is not in {folder}; deploy the model again")
        switch = Switch(place, before, release, record, place.lasting(edgetl), unit, watch)
        reason = switch.attempt(service)
        if not reason:
            prune(place, release)
        return switch.result(reason)


def retest(folder: str, edgetl: Sequence[str]) -> dict[str, Any]:
    """Test the release in use again, without a change."""
    place = Folder(folder)
    with place.locked():
        name = place.release_name()
        if name is None or (record := place.release(name)) is None:
            raise StepError(f"nothing was deployed in {folder}")
        found = probe(place, record, edgetl)
        write_record(place.releases / name, record | {"verified": True})
        return {"release": name, "probe": found, "state": record["state"]}


def rollback(folder: str, edgetl: Sequence[str], unit: str, watch: float) -> dict[str, Any]:
    """Return to the release before the one in use, and test it; if the test fails, nothing changes."""
    place = Folder(folder)
    before = place.release_name()
    if before is None or (record := place.release(before)) is None:
        raise StepError(f"nothing was deployed in {folder}")
    with place.locked():
        back = record.get("previous")
        if back is None or (target := place.release(back)) is None:
            raise StepError(f"there is no release before {before} in {folder}")
        own, newer = (place.releases / each / "venv" for each in (back, before))
        if not own.exists() and newer.is_symlink():  # the service may use it
            link(str(newer.readlink()), own)
        words = (
            [str(Path(os.path.realpath(own), "bin", "python")), "-m", "edgetl"] if own.exists() else edgetl
        )
        switch = Switch(place, before, back, target, place.lasting(words), unit, watch)
        reason = switch.attempt(new=False)
        states = [os.path.realpath(place.releases / each / "model.db") for each in (back, before)]
        aside = states[1] if states[0] != states[1] and Path(states[1]).exists() else ""
        return switch.result(reason) | {"name": target["name"], "sha256": target["sha256"], "aside": aside}


def prune(place: Folder, release: str) -> None:
    """Remove old releases and virtual environments that no release uses; states are never removed."""
    kept: list[str] = []
    name: str | None = release
    while name is not None and len(kept) < KEPT_RELEASES and (record := place.release(name)):
        kept.append(name)
        name = record.get("previous")
    for path in place.releases.iterdir():
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
    used = {Path(os.path.realpath(place.releases / each / "venv")).name for each in kept}
    for path in place.venvs.iterdir():
        if path.name not in used:
            shutil.rmtree(path, ignore_errors=True)


def describe(folder: str, edgetl: Sequence[str], unit: str) -> dict[str, Any]:
    """Report what runs here, and how the device is."""
    place = Folder(folder)
    used, release = place.old(""), place.release_name()
    if used is None:
        raise StepError(f"there is no model in {folder}; deploy one with: edgetl deploy MODEL")
    model, state = used
    record = place.release(release) or {"name": model.stem, "verified": None, "time": None}
    return {
        "name": record["name"],
        "path": str(place.path / f"{record['name']}.tflite"),
        "sha256": sha256(model),
        "release": release,
        "verified": record["verified"],
        "deployed": record["time"],
        "status": status(edgetl, model, state),
        "unit": Unit(unit).state().get("ActiveState"),
        "temperature": temperature(),
        "free": disk_free(place.path),
        "board": board(),
    }


def temperature() -> float | None:
    """Return the temperature of the CPU in degrees Celsius."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/sys/class/thermal/thermal_zone0/temp").read_text()) / 1000
    return None


def board() -> str:
    """Return the name of the board, or the kind of processor."""
    with contextlib.suppress(OSError):
        return Path("/proc/device-tree/model").read_text(errors="replace").strip("\0\n ")
    return platform.machine()


def snapshot(folder: str, edgetl: Sequence[str], thumbnails: bool) -> dict[str, Any]:
    """Copy the state, also while it is in use, to a file that can be fetched."""
    place = Folder(folder)
    used = place.old("")
    if used is None:
        raise StepError(f"there is no model in {folder}")
    state = Path(os.path.realpath(used[1]))
    if not state.exists():
        raise StepError(f"nothing was taught there: {state} does not exist")
    place.incoming.mkdir(exist_ok=True)
    out = place.incoming / f"pull-{os.getpid()}.db"
    warning = copy_state(edgetl, state, out, *(() if thumbnails else ("--no-thumbnails",)))
    return {"path": str(out), "warning": warning, "model": sha256(used[0])}


def discard(folder: str, path: str) -> dict[str, Any]:
    """Remove a snapshot."""
    found = Path(path)
    if found.parent == Folder(folder).incoming and re.fullmatch(r"pull-\d+\.db", found.name):
        found.unlink(missing_ok=True)
    return {}


STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    step.__name__: step
    for step in (
        survey,
        prepare,
        install,
        check_device,
        stage,
        activate,
        retest,
        rollback,
        describe,
        snapshot,
        discard,
    )
}


def main(step: str, arguments: dict[str, Any]) -> None:
    """Run a step and write its result, or why it failed, as one line of JSON."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a lost connection does not interrupt a step
    for name in list(os.environ):  # the test of a model must not reach other programs
        if name.startswith(("EDGETL_WEBHOOK", "EDGETL_MQTT", "EDGETL_CAMERA")):
            del os.environ[name]
    os.environ["PYTHONUTF8"] = "1"
    try:
        answer: dict[str, Any] = {"result": STEPS[step](**arguments)}
    except StepError as error:
        answer = {"error": str(error)}
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        answer = {"error": f"{error.strerror or error}:{where}; check the disk and the permissions there"}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer), flush=True)
