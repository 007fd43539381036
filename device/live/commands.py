"""Run a command when a label comes into view."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from typing import IO

from ..addresses import SECRET_VARIABLES, redact
from ..cameras import Notice
from ..errors import PeripheralError
from .delivery import Clock, Receiver, Undelivered
from .watching import Observation

LINES, WIDTH = 20, 300  # limits of the output that is shown per run
_OUTPUT_SECONDS = 1.0  # time to wait for the remaining output of a command that has ended


class CommandHook(Receiver):
    """Run a command when a label comes into view.

    One run at a time. While a command runs, and until `every` seconds have passed since its start, changes wait.
    Then the command runs for the label in view, unless the last run was for that label. A command that fails is
    reported and not run again.

    The command is split into words here and is not passed to a shell unless `shell` is true. The observation is
    passed in environment variables, which need no quoting: EDGETL_LABEL, EDGETL_PROBABILITY and
    EDGETL_OBSERVATION (JSON). `SECRET_VARIABLES` are not passed on.

    Args:
        label: Label that starts the command; ``*`` means every change.
        command: The command line.
        shell: Run the command with ``/bin/sh``, for pipes and other shell syntax.
        every: Minimum seconds between two starts.
        notice: Called with the output of the command and with messages, line by line.
        clock: Returns seconds.

    Raises:
        PeripheralError: The command is empty, wrongly quoted, or cannot be found.
    """

    def __init__(
        self,
        label: str,
        command: str,
        *,
        shell: bool = False,
        every: float = 1.0,
        notice: Notice = print,
        clock: Clock = time.monotonic,
    ) -> None:
        self._label = label
        self._words = ["/bin/sh", "-c", command] if shell else _words(command)
        self._text = redact(command)
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(f"the command {self._text!r}", notice, every=every, clock=clock)

    def wants(self, observation: Observation) -> bool:
        """Return whether the command runs for this label."""
        return self._label in ("*", observation.label)

    def deliver(self, observation: Observation) -> None:
        """Run the command and wait until it ends."""
        try:
            process = subprocess.Popen(
                self._words,
                env=_environment(observation),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise Undelivered(f"cannot be started: {error.strerror}") from error
        self._process = process
        output = threading.Thread(target=self._show, args=(process.stdout, observation.label), daemon=True)
        output.start()
        code = process.wait()
        output.join(_OUTPUT_SECONDS)  # a program that it started in the background may keep the pipe open
        self._process = None
        if code:
            self.report(f"the command {self._text!r} {_ending(code)}")

    def close(self, seconds: float = 10.0) -> None:
        """Stop; a command that takes longer than `seconds` is left running."""
        super().close(seconds)
        process = self._process
        if process is not None:
            self.report(
                f"the command {self._text!r} is still running (process {process.pid}) and is not stopped"
            )

    def _show(self, pipe: IO[bytes], label: str) -> None:
        """Report the first lines of the output and read the rest, so that the command never blocks."""
        with pipe:
            shown = 0
            while line := pipe.readline(4 * WIDTH):
                shown += 1
                text = line.decode(errors="replace").rstrip("\r\n")
                if shown <= LINES:
                    self.report(f"[{label}] {text[:WIDTH]}{'...' if len(text) > WIDTH else ''}")
                elif shown == LINES + 1:
                    self.report(f"[{label}] ... more lines are not shown")


def _environment(observation: Observation) -> dict[str, str]:
    text = json.dumps(observation.to_dict(), ensure_ascii=False)
    inherited = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
    return {
        **inherited,
        "EDGETL_LABEL": observation.label,
        "EDGETL_PROBABILITY": f"{observation.prediction.probability if observation.prediction else 0.0:.4f}",
        "EDGETL_OBSERVATION": text,
        "EDGETL_SIGHTING": text,  # the name of version 0.1
    }


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise PeripheralError(f"the command {redact(command)!r} is wrongly quoted: {error}") from error
    if not words:
        raise PeripheralError("the command after the label is empty; for example: --on mug './ring.sh'")
    if shutil.which(words[0]) is None:
        raise PeripheralError(
            f"there is no command {redact(words[0])!r} that can be run; check the path, make it executable with"
            " chmod +x, or add --shell for shell syntax"
        )
    return words
