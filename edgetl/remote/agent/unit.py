"""The systemd unit that runs the model."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence

from .folder import Folder, StepError
from .programs import complaint, run

_POLL_SECONDS = 0.25


class Unit:
    """The systemd unit of the deployment, of the system or of the user."""

    def __init__(self, name: str) -> None:
        self.name = f"{name}.service"
        if os.geteuid() and "XDG_RUNTIME_DIR" not in os.environ:  # an ssh session may lack it
            os.environ["XDG_RUNTIME_DIR"] = f"/run/user/{os.getuid()}"
        self.scope: list[str] | None = None
        for scope in ([], ["--user"]):
            if self.scope is None and self._show(scope).get("LoadState") == "loaded":
                self.scope = scope

    def _show(self, scope: list[str]) -> dict[str, str]:
        if not shutil.which("systemctl"):
            return {}
        properties = "--property=LoadState,ActiveState,SubState,NRestarts"
        done = run(["systemctl", *scope, "show", properties, self.name])
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    def state(self) -> dict[str, str]:
        """Return the properties of the unit; empty without a unit."""
        return {} if self.scope is None else self._show(self.scope)

    @property
    def wanted(self) -> bool:
        """Whether it runs, or is about to start again."""
        return self.state().get("ActiveState") in ("active", "activating", "reloading")

    def do(self, verb: str) -> None:
        """Start, stop or restart it."""
        scope = self.scope or []
        prefix = ["sudo", "-n"] if os.geteuid() and not scope else []
        done = run([*prefix, "systemctl", *scope, verb, self.name])
        if done.returncode:
            raise StepError(f"systemctl {verb} {self.name} failed: {complaint(done)}")

    def watch(self, seconds: float) -> None:
        """Raise StepError unless the unit stays active for some seconds."""
        first, end = self.state(), time.monotonic() + seconds
        while True:
            now = self.state()
            if now.get("ActiveState") == "failed" or now.get("SubState") == "auto-restart":
                raise StepError(
                    f"{self.name} does not stay up ({now.get('SubState')}); see journalctl -u {self.name}"
                )
            if now.get("NRestarts") != first.get("NRestarts"):
                raise StepError(f"{self.name} ended and was started again; see journalctl -u {self.name}")
            if time.monotonic() >= end:
                return
            time.sleep(_POLL_SECONDS)


def install_service(folder: Folder, edgetl: Sequence[str], unit: str, words: Sequence[str]) -> None:
    """Write and start the unit with the commands that `edgetl service` has for it."""
    root = not os.geteuid()
    sudo = not root and shutil.which("sudo") is not None and not run(["sudo", "-n", "true"]).returncode
    command = [*(["sudo", "-n"] if sudo else []), *edgetl, "service", "install", "--name", unit, "--force"]
    done = run([*command, *([] if root or sudo else ["--user"]), "--", *words], folder.path)
    if done.returncode:
        raise StepError(f"the service cannot be installed: {complaint(done)}")
