"""The process that waits for messages on a device and hands each to `client_process`.

Flower would start any of several programs here, as the server wishes. This one starts only the program of edgetl.
Run as ``python -m edgetl.fleet.executor ADDRESS SECRET_FILE``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from .processes import follow_parent


def main() -> None:
    """Serve the SuperNode at ADDRESS until its end."""
    from flwr.supercore.constant import TaskType
    from flwr.supercore.superexec import run_superexec
    from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
    from flwr.supercore.superexec.executor.types import LaunchResult

    class InstalledProgram(SubprocessExecutor):  # type: ignore[misc]  # Flower is not installed where mypy runs
        """Runs the ClientApp that is installed here."""

        def __init__(self) -> None:
            command = [sys.executable, "-m", "edgetl.fleet.client_process"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)

        def get_eligible_capacity(self, supported: Any, **_: Any) -> tuple[set[Any], set[str]]:
            """Return the kinds of program that may run: one."""
            return supported & {TaskType.CLIENT_APP}, set()

        def launch(self, spec: Any) -> Any:
            """Run it for one message; without its process, this one ends too, which edgetl notices."""
            if spec.task_type != TaskType.CLIENT_APP:
                return LaunchResult.failed(f"this device does not run {spec.task_type}")
            pipe = self._process.stdin
            assert pipe is not None  # noqa: S101 - it was asked for
            pipe.write(f"{spec.runtime_api_address} {spec.token}\n")
            pipe.flush()
            return LaunchResult.accepted()

    # in another release of Flower, rather fail than run foreign code
    if not hasattr(run_superexec, "get_executor"):
        sys.exit("this release of Flower has no get_executor; install the release that edgetl requires")
    run_superexec.get_executor = lambda *_, **__: InstalledProgram()
    address, secret = sys.argv[1:]
    follow_parent()
    run_superexec.run_superexec(address, insecure=True, superexec_auth_secret=Path(secret).read_bytes())


if __name__ == "__main__":
    main()
