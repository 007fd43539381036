"""The processes of Flower that a fleet needs: where they run, what they see, and that they end with edgetl."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from device.errors import FleetError

DEVICE_SETTINGS = "EDGETL_FLEET_DEVICE"
"""Environment variable with the path of a device's settings, for the processes that `joining` starts."""

SERVER_FOLDER = "EDGETL_FLEET_FOLDER"
"""Environment variable with the folder of the server, for the processes that `serving` starts."""

PARENT = "EDGETL_FLEET_PARENT"
"""Environment variable with the process that a process of Flower must not outlive."""

_PATIENCE = 20.0  # seconds until a process that does not end is killed
_LAST_LINES = 5


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process of Flower.

    Flower sends nothing to its makers, does not look for updates, and keeps its files in `home`.
    """
    programs = str(Path(sys.executable).parent)  # Flower starts its own programs by name
    return {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
        PARENT: str(os.getpid()),
        **more,
    }


@contextlib.contextmanager
def running(
    module: str, arguments: Sequence[str], env: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of edgetl in a process of its own, and end it at the end of the context.

    Args:
        module: Its name.
        arguments: Its command line.
        env: Its environment.
        log: File to which its output is appended.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal reaches edgetl alone, which then ends the others
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def require_running(process: subprocess.Popen[bytes], what: str, log: Path) -> None:
    """Raise `FleetError` with the last lines of its output if a process has ended."""
    if process.poll() is not None:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
        raise FleetError(
            f"{what} ended with exit code {process.returncode}; {log} contains its output, which ends with: "
            + " / ".join(lines)
        )


def follow_parent() -> None:
    """End this process when the one that started it ends, however that happens."""
    from flwr.supercore.app_utils import start_parent_process_monitor

    parent = os.environ.get(PARENT)
    if parent:
        start_parent_process_monitor(int(parent))


def free_port() -> int:
    """Return a port of this machine that no program uses at present."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
