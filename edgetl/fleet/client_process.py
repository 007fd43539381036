"""The process that answers messages to a device: Flower's ClientApp process, with the program of edgetl alone.

Flower sends the program of a run from the server to the devices. Here a device runs only what is installed on it: the
program in a message is neither stored nor run, so that whoever controls the server cannot run anything else on the
devices.

Importing Flower takes seconds on a Pi. So this process imports it once, and forks for each message: `executor` writes a line
with the address of the SuperNode and the token of the message to its standard input.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn


def main() -> None:
    """Answer one message per line of standard input, each in a process of its own."""
    from flwr.supernode.runtime import run_clientapp

    from .client_app import app

    def ignore(*_: Any, **__: Any) -> None:
        """Do not unpack the program in the message."""

    def load(**_: Any) -> Any:
        return lambda *names: app

    for name, installed in (("install_from_fab", ignore), ("get_load_client_app_fn", load)):
        # in another release of Flower, rather fail than run foreign code
        if not hasattr(run_clientapp, name):
            sys.exit(f"this release of Flower has no {name}; install the release that edgetl requires")
        setattr(run_clientapp, name, installed)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for the forked processes
    for line in sys.stdin:
        address, token = line.split()
        if os.fork() == 0:
            _answer(run_clientapp.run_clientapp, address, token)


def _answer(run: Any, address: str, token: str) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        run(address, token, insecure=True)  # the SuperNode is on this machine
    except SystemExit as end:  # Flower always ends with it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
