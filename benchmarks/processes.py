"""Start processes and measure them from outside: seconds, processor time, peak RAM, and what they import."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The kernel counts the RAM of the forking process as its child's peak, so a small process starts the child.
_START = """
import os, sys, time
before = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - before
print(os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


@dataclass(frozen=True)
class Process:
    """What a process took.

    Attributes:
        seconds: On the clock.
        processor: Seconds of all its threads.
        memory: Peak RAM in MB.
    """

    seconds: float
    processor: float
    memory: float


def start(command: list[str], compiled: Path | None = None) -> Process:
    """Run a command to its end.

    Args:
        command: The program as an absolute path, and its arguments.
        compiled: Folder for compiled modules; overrides the caller's environment.

    Raises:
        SystemExit: The command failed, or the program does not exist.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _START, *command]
    done = subprocess.run(launcher, capture_output=True, text=True, check=False, env=_environment(compiled))
    if done.returncode:
        raise SystemExit(f"cannot start {command[0]}: {done.stderr.strip().splitlines()[-1]}")
    code, seconds, processor, memory = done.stdout.split()
    if code != "0":
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return Process(float(seconds), float(processor), float(memory))


def import_times(command: list[str], compiled: Path | None = None) -> dict[str, float]:
    """Return the milliseconds that each module imported by `command` takes, its own imports excluded."""
    traced = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(traced, capture_output=True, text=True, check=True, env=_environment(compiled))
    times: dict[str, float] = {}
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and parts[0].strip().isdigit():
            times[parts[2].strip()] = int(parts[0]) / 1000
    return times


def _environment(compiled: Path | None) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return variables if compiled is None else {**variables, "PYTHONPYCACHEPREFIX": str(compiled)}
