"""The switch to another release, with a way back."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .folder import Folder, StepError, is_plain, link, sha256, sync, write_record
from .programs import ask, check, status
from .staging import position_of, take_over
from .unit import Unit, install_service

ATTEMPTS = 3  # to take over a state that is being taught meanwhile


class Switch:
    """One change of the release in use, with a way back.

    Attributes:
        probed: What the test of the new release found.
    """

    def __init__(
        self,
        place: Folder,
        before: str | None,
        after: str,
        record: dict[str, Any],
        edgetl: Sequence[str],
        unit: str,
        watch: float,
    ) -> None:
        self.place, self.before, self.after, self.record = place, before, after, record
        self.edgetl, self.name, self.unit, self.watch = edgetl, unit, Unit(unit), watch
        self.probed: dict[str, Any] = {}
        self._ran, self._had_unit = self.unit.wanted, self.unit.scope is not None
        self._back = before

    def attempt(self, service: Sequence[str] = (), *, new: bool = True) -> str:
        """Switch and test; return why the old release is in use again, or "".

        Args:
            service: The command of the service to install; empty leaves the service as it is.
            new: The release is a new one, which takes over what the old one was taught.
        """
        # nothing may be taught to the old state any more
        stopped = self._ran and new and self.record["state"]["another"]
        try:
            if stopped:
                self.unit.do("stop")
            if new:
                self._take_over()
            self._replace(new)
        except BaseException:
            if stopped:
                self.unit.do("start")
            raise
        try:
            self._start(service)
            self.probed = probe(self.place, self.record, self.edgetl)
        except Exception as error:
            # whatever it is, the device must not stay on a release that fails its test
            self._return(service)
            return str(error) or type(error).__name__
        with contextlib.suppress(OSError):  # such as a full disk: only the note is missing
            self._note(verified=True, service=list(service) or self._words())
        return ""

    def result(self, reason: str) -> dict[str, Any]:
        """Return what happened, as the host reads it."""
        return {
            "release": self.place.release_name(),
            "previous": self.before,
            "reason": reason,
            "state": self.record["state"],
            "probe": self.probed,
            "unit": self.unit.state().get("ActiveState"),
        }

    def _note(self, **facts: Any) -> None:
        self.record |= facts
        write_record(self.place.releases / self.after, self.record)

    def _take_over(self) -> None:
        """Bring over what the old model was taught since the release was made."""
        moved, old = self.record["state"], self.place.old(self.record["name"])
        if old is None or not moved["another"]:
            return
        for _ in range(ATTEMPTS):
            if position_of(old[1]) == moved["position"]:
                return
            model = self.place.releases / self.after / "model.tflite"
            moved |= take_over(self.place, self.after, model, old, self.edgetl)
            self._note(state=moved)
        raise StepError("the old model is being taught right now; end that, then deploy again")

    def _replace(self, new: bool) -> None:
        """Switch the links. Until the last line, every path leads to the old model and its state."""
        place, name = self.place, str(self.record["name"])
        found = place.unmanaged(name) if self.before is None else None
        if found is not None:
            self._back = adopt(place, found)
        for alias in sorted({name, found or name} | place.aliases()):
            if self.record["state"]["another"]:
                settle_state(place, alias)
            if not is_plain(place.path / f"{alias}.db"):
                link("current/model.db", place.path / f"{alias}.db")
            link("current/model.tflite", place.path / f"{alias}.tflite")
        if (place.releases / self.after / "venv").is_symlink():
            link("current/venv", place.path / "venv")
        if new:
            self._note(previous=self._back)
        if self._back is not None:  # made now, because a full disk would prevent it later
            link(f"releases/{self._back}", place.path / ".back")
        link(f"releases/{self.after}", place.current)

    def _start(self, service: Sequence[str]) -> None:
        if service:
            self._install(service)
            self.unit = Unit(self.name)
        elif self._ran:
            self.unit.do("restart")
        if service or self._ran:
            self.unit.watch(self.watch)

    def _install(self, words: Sequence[str]) -> None:
        venv = self.place.path / "venv"
        own = (venv / "bin" / "python").exists()
        # through the link, so that the unit follows later deployments
        edgetl = [str(venv / "bin" / "python"), "-m", "edgetl"] if own else self.edgetl
        install_service(self.place, edgetl, self.name, words)

    def _return(self, service: Sequence[str]) -> None:
        """Switch back, and let the service run as before."""
        if self._back is None:
            self.place.current.unlink()
        else:
            (self.place.path / ".back").replace(self.place.current)
        sync(self.place.path)
        with contextlib.suppress(StepError):  # the reason for the return is more important
            if service and self._words() and self._had_unit:
                self._install(self._words())
            elif self._ran:
                self.unit.do("restart")
            elif service:
                self.unit.do("disable")
                self.unit.do("stop")

    def _words(self) -> list[str]:
        return list((self.place.release(self.before) or {}).get("service", []))


def adopt(place: Folder, name: str) -> str:
    """Make a release of a model file that was copied by hand, and make it the one in use; its paths stay valid."""
    model, state = place.path / f"{name}.tflite", place.path / f"{name}.db"
    digest = sha256(model)
    release = f"0000-{digest[:12]}"
    if place.release(release) is None:
        draft = place.releases / f".{release}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        os.link(model, draft / "model.tflite")
        (draft / "model.db").symlink_to(
            f"../../{name}.db" if state.exists() else f"../../states/{release}.db"
        )
        draft.rename(place.releases / release)
        moved = {"how": "kept", "samples": {}, "note": "copied by hand", "another": False}
        record = {"name": name, "sha256": digest, "edgetl": [], "state": moved, "verified": True}
        write_record(place.releases / release, record | {"time": model.stat().st_mtime, "previous": None})
    link(f"releases/{release}", place.current)
    return release


def settle_state(place: Folder, name: str) -> None:
    """Move a state file that was made by hand into ``states``, so that its path can become a link.

    That needs a moment in which no program uses it.
    """
    plain = place.path / f"{name}.db"
    if not is_plain(plain):
        return
    home = place.states / f"{name}-by-hand.db"
    while home.exists() and not home.samefile(plain):
        home = home.with_name(f"{home.stem}-.db")
    with unused(plain):
        if not home.exists():
            os.link(plain, home)
        for release in place.releases.iterdir():
            held = release / "model.db"
            if held.is_symlink() and os.path.realpath(held) == os.path.realpath(plain):
                link(f"../../states/{home.name}", held)
        link("current/model.db", plain)


@contextlib.contextmanager
def unused(state: Path) -> Iterator[None]:
    """Keep every other program out of a state file, and fold in its log; fail if one uses it."""
    with contextlib.closing(sqlite3.connect(state, timeout=5, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
            if mode != "delete":
                raise sqlite3.OperationalError("in use")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise StepError(f"{state} is in use; end the program that uses it, then deploy again") from None
        yield
        connection.execute("ROLLBACK")


def probe(place: Folder, record: dict[str, Any], edgetl: Sequence[str]) -> dict[str, Any]:
    """Test the model in use: its status, and one prediction or, without labels, one embedding."""
    model, state = place.path / f"{record['name']}.tflite", place.path / f"{record['name']}.db"
    if sha256(model) != record["sha256"]:
        raise StepError(f"{model} is not the new model")
    found = status(edgetl, model, state)
    if {**found["samples"], **found["host"]}:
        seen = ask(
            edgetl, "run", model, "--state", os.path.realpath(state), "--camera", "fake", "--frames", "1"
        )
        shown = {"label": seen["prediction"]["label"], "embed_ms": seen["embed_ms"]}
    else:
        lines = check(edgetl, model)
        shown = {"label": None, "finding": next(line["finding"] for line in lines if line["name"] == "model")}
    return {
        "samples": found["samples"],
        "host": found["host"],
        "accuracy": found["accuracy"],
        "prediction": shown,
    }
