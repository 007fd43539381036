"""The steps before the switch: edgetl, the model, and the state that it will use."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .folder import (
    Folder,
    StepError,
    disk_free,
    has_memory,
    is_plain,
    same_backbone,
    sha256,
    sync,
    write_record,
)
from .programs import ask, check, complaint, run, status

STALE_SECONDS = 86_400.0  # after a day nobody continues a copy
_LEFT_ASIDE = ("has no picture of its", "would count twice", "has no sample, so")


def prepare(folder: str, digests: Sequence[str]) -> dict[str, Any]:
    """Make the folders, remove what was left by a lost connection long ago, and report which files are there already."""
    place = Folder(folder)
    place.path.mkdir(parents=True, exist_ok=True)
    with place.locked():
        for each in (place.releases, place.states, place.venvs, place.incoming):
            each.mkdir(exist_ok=True)
        for path in place.incoming.iterdir():
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink() if path.is_file() else shutil.rmtree(path)
        here = {digest: place.incoming / digest for digest in digests}
        # of a deployment that was cut off, or an earlier one
        for model in place.releases.glob("*/model.tflite"):
            if (digest := sha256(model)) in here and not here[digest].exists():
                os.link(model, here[digest])
        return {
            "incoming": str(place.incoming),
            "present": [digest for digest, path in here.items() if path.is_file() and sha256(path) == digest],
        }


def install(
    folder: str, key: str, wheel: Sequence[str], wheels: Sequence[Sequence[str]], extras: str, python: str
) -> dict[str, Any]:
    """Make a virtual environment with edgetl, unless a complete one is there.

    `wheel` and each of `wheels` is (name of the file, its sha256 under which it arrived); without `wheels` the dependencies
    come from PyPI.
    """
    place = Folder(folder)
    home = place.venvs / key
    with place.locked():
        if not (home / ".complete").is_file():
            shutil.rmtree(home, ignore_errors=True)
            with named_files(place, [wheel, *wheels]) as named:
                offline = ["--no-index", "--find-links", str(named)] if wheels else []
                _make_venv(home, python, [*offline, f"{named / wheel[0]}" + f"[{extras}]" * bool(extras)])
    return {"python": str(home / "bin" / "python")}


@contextlib.contextmanager
def named_files(place: Folder, files: Sequence[Sequence[str]]) -> Iterator[Path]:
    """Yield a folder with arrived files under their names, which pip needs."""
    named = place.incoming / f"wheels-{os.getpid()}"
    named.mkdir()
    try:
        for name, digest in files:
            if Path(name).name != name or sha256(place.incoming / digest) != digest:
                raise StepError(f"{name} did not arrive complete; try again")
            os.link(place.incoming / digest, named / name)
        yield named
    finally:
        shutil.rmtree(named, ignore_errors=True)


def _make_venv(home: Path, python: str, requirement: list[str]) -> None:
    # with the packages of the system, for picamera2
    done = run([python, "-m", "venv", "--system-site-packages", str(home)])
    if done.returncode:
        shutil.rmtree(home, ignore_errors=True)
        raise StepError(
            f"no virtual environment can be made: {complaint(done)}; sudo apt-get install python3-venv"
        )
    mine = str(home / "bin" / "python")
    done = run(
        [mine, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *requirement]
    )
    if done.returncode:
        shutil.rmtree(home, ignore_errors=True)
        raise StepError(f"pip cannot install edgetl: {complaint(done)}")
    done = run([mine, "-m", "edgetl", "--version"])
    if done.returncode:
        raise StepError(f"the installed edgetl does not start: {complaint(done)}")
    os.sync()
    (home / ".complete").touch()
    sync(home)


def check_device(folder: str, name: str, edgetl: Sequence[str], needed: int) -> dict[str, Any]:
    """Run ``edgetl check`` for the disk of the folder; `needed` bytes and space for a copy of the state must be free."""
    place = Folder(folder)
    lines = check(edgetl, "--state", place.states / "new.db")
    old = place.old(name)
    if old is not None and old[1].exists():
        needed += 2 * old[1].stat().st_size
    free = disk_free(place.path)
    if free < needed:
        raise StepError(
            f"disk: {free / 1e6:.0f} MB free at {folder}, {needed / 1e6:.0f} MB needed; free some space"
        )
    return {"checks": lines}


def stage(folder: str, name: str, digest: str, edgetl: Sequence[str], venv: str) -> dict[str, Any]:
    """Make a release beside the one in use: the model, checked here, and the state that it will use."""
    place = Folder(folder)
    with place.locked():
        arrived = place.incoming / digest
        check_model(arrived, digest, edgetl)
        release, edgetl = place.next_release(digest), place.lasting(edgetl)
        record = {"name": name, "sha256": digest, "venv": venv or place.venv_name(), "verified": False}
        with drafted(place, release) as draft:
            os.link(arrived, draft / "model.tflite")
            moved = plan_state(place, release, draft / "model.tflite", name, edgetl)
            (draft / "model.db").symlink_to(moved.pop("target"))
            if record["venv"]:
                (draft / "venv").symlink_to(f"../../venvs/{record['venv']}")
            more = {"state": moved, "time": time.time(), "previous": place.release_name()}
            write_record(draft, record | more)
        arrived.unlink()
    return {"release": release, "state": moved}


def check_model(arrived: Path, digest: str, edgetl: Sequence[str]) -> None:
    """Check that the model arrived complete, and that the edgetl here accepts and runs it."""
    if not arrived.is_file() or sha256(arrived) != digest:
        raise StepError("the model did not arrive complete; try again")
    named = arrived.with_suffix(".tflite")
    named.unlink(missing_ok=True)
    os.link(arrived, named)
    try:
        check(edgetl, named)
    finally:
        named.unlink()


@contextlib.contextmanager
def drafted(place: Folder, release: str) -> Iterator[Path]:
    """Yield a folder that becomes the release at the end of the block; it is removed if the block fails."""
    draft = place.releases / f".{release}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        draft.rename(place.releases / release)
        sync(place.releases)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def plan_state(place: Folder, release: str, model: Path, name: str, edgetl: Sequence[str]) -> dict[str, Any]:
    """Return where the state of a new release is, and how it came there.

    ``how`` is ``kept`` if the old and the new model share it, ``reduced`` if the new model contains a part of it,
    ``embedded`` if it was embedded again for another backbone, ``aside`` if that is impossible and only the old model can
    use it, or ``new`` if nothing was taught. ``another`` is whether the two models have different states.
    """
    fresh = {
        "how": "new",
        "target": f"../../states/{release}.db",
        "samples": {},
        "note": "",
        "another": False,
    }
    old = place.old(name)
    if old is None:  # a state file that was copied here without its model
        alone = place.path / f"{name}.db"
        return fresh | keep_state(place, release, model, (None, alone), edgetl) if is_plain(alone) else fresh
    if not same_backbone(old[0], model):
        return fresh | embed_again(place, release, model, old, edgetl)
    if old[1].exists():
        # A state of an earlier edgetl names its backbone once its model opened it for writing. That model may be refused
        # by now, because it is not signed and a key was pinned.
        with contextlib.suppress(StepError):
            ask(edgetl, "rollback", old[0], "--state", os.path.realpath(old[1]))
    try:
        return fresh | keep_state(place, release, model, old, edgetl)
    except StepError:  # such as one that was taught with other views of each frame
        return fresh | embed_again(place, release, model, old, edgetl)


def keep_state(
    place: Folder, release: str, model: Path, old: tuple[Path | None, Path], edgetl: Sequence[str]
) -> dict[str, Any]:
    """Use the state of the old model; edgetl itself confirms that it belongs to the new one too."""
    target = Path(os.path.realpath(old[1]))
    here = Path(os.path.realpath(place.releases), release)
    shared = {"how": "kept", "target": os.path.relpath(target, here)}
    if not target.exists():
        return shared | {"how": "new"}
    if has_memory(model) and (found := without_known(place, release, model, (old[0], target), edgetl)):
        return found
    return shared | {"samples": status(edgetl, model, target)["samples"]}


def without_known(
    place: Folder, release: str, model: Path, old: tuple[Path | None, Path], edgetl: Sequence[str]
) -> dict[str, Any] | None:
    """Copy a state without the samples that the model contains already, such as an export of this device; None if none are.

    The old model does not contain them, so it keeps the old state.
    """
    out = place.states / f"{release}.db"
    copy_state(edgetl, old[1], out)
    position = position_of(out)
    found = ask(edgetl, "forget", model, "--state", out, "--known")
    if not found["forgotten"]:
        remove_state(out)
        return None
    note = f"{len(found['forgotten'])} samples are in the new model itself, and were forgotten in its state"
    return {
        "how": "reduced",
        "another": True,
        "from": str(old[1]),
        "position": position,
        "samples": found["samples"],
        "note": note,
    }


def copy_state(edgetl: Sequence[str], state: Path, out: Path, *options: str) -> str:
    """Copy a state, also while it is in use; return a warning, such as of pictures that cannot be read, or ""."""
    remove_state(out)
    done = run([*edgetl, "backup", str(state), "--out", str(out), *options, "--json"])
    if done.returncode and not out.exists():
        raise StepError(complaint(done))
    return complaint(done) if done.returncode else ""


def remove_state(path: Path) -> None:
    """Remove a state file that was never in use."""
    for ending in ("", "-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def take_over(
    place: Folder, release: str, model: Path, old: tuple[Path, Path], edgetl: Sequence[str]
) -> dict[str, Any]:
    """Make the state of a release again, from what the old model was taught until now."""
    if same_backbone(old[0], model):
        found = without_known(place, release, model, (old[0], Path(os.path.realpath(old[1]))), edgetl)
        if found is None:
            raise StepError("samples were forgotten meanwhile; deploy again")
        return found
    return embed_again(place, release, model, old, edgetl)


def embed_again(
    place: Folder, release: str, model: Path, old: tuple[Path, Path], edgetl: Sequence[str]
) -> dict[str, Any]:
    """Take over the state of another backbone, from its pictures; if that is impossible, it is kept aside."""
    source, position = Path(os.path.realpath(old[1])), position_of(old[1])
    found: dict[str, Any] = {"another": True, "from": str(source), "position": position}
    if not position:
        return found
    out = place.states / f"{release}.db"
    done = run([*edgetl, "reembed", str(model), str(source), "--state", str(out), "--force", "--json"])
    if done.returncode:
        reason = complaint(done)
        if not any(sign in reason for sign in _LEFT_ASIDE):
            raise StepError(f"the state cannot be taken over: {reason}")
        return found | {"how": "aside", "note": reason}
    result = json.loads(done.stdout)
    note = "; ".join(result["notes"])
    return found | {
        "how": "embedded",
        "samples": result["samples"],
        "left_behind": result["left_behind"],
        "note": note,
    }


def position_of(state: Path) -> int:
    """Return the number of changes in a state file; 0 without a file. No model is needed, so that any may be refused."""
    found = Path(os.path.realpath(state))
    if not found.exists():
        return 0
    try:
        with contextlib.closing(
            sqlite3.connect(f"{found.as_uri()}?mode=ro", uri=True, timeout=10)
        ) as connection:
            return int(connection.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()[0])
    except sqlite3.Error as error:
        raise StepError(f"{found} cannot be read: {error}") from error
