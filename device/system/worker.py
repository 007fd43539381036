"""A combination measured in a process of its own, with another runtime or another Python.

Usage: ``python -m device.system.worker``. Each line of standard input is a JSON object; if it has a ``shape``, the bytes of
an image follow. Each is answered by one line of JSON. The process ends with its input. `device.system.outside` is the
other side.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import EdgetlError, MeasurementError
from ..images import Image
from .grid import Combination, RuntimeChoice, Teaching
from .subject import Subject

PROTOCOL = 1  # both sides must have the same
_MOST_BYTES = 2**28  # of an image


class Worker:
    """Answers the messages for one combination."""

    def __init__(self) -> None:
        self._opened: Subject | None = None

    def answer(self, message: dict[str, Any], image: Image | None) -> dict[str, Any]:
        """Do what a message asks for, and return the answer; the answer to an error has the field ``error``."""
        try:
            return self._act(message, image)
        except EdgetlError as error:
            return {"error": str(error)}

    def close(self) -> None:
        """Close the model."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _act(self, message: dict[str, Any], image: Image | None) -> dict[str, Any]:
        action = message["do"]
        if action == "open":
            return self._open(message, image)
        subject = self._opened
        if subject is None:
            raise MeasurementError("no model is open")
        if action == "report":
            return {"described": subject.describe(), "seconds": subject.seconds, "cpu": subject.cpu}
        if image is None:
            raise MeasurementError(f"{action} needs an image")
        if action == "warm":
            subject.warm(image)
        elif action == "frame":
            subject.time_frame(image, message["capture"])
        else:
            subject.time_lesson(image, message["number"], message["capture"])
        return {}

    def _open(self, message: dict[str, Any], image: Image | None) -> dict[str, Any]:
        if message["protocol"] != PROTOCOL or image is None:
            raise MeasurementError(
                f"the other Python has another version of edgetl (protocol {PROTOCOL}, expected {message['protocol']}); "
                "install the same version there"
            )
        combination = Combination(
            Path(message["path"]),
            RuntimeChoice(),
            message["threads"],
            message["delegate"],
            Teaching(**message["teaching"]),
        )
        clock = time.thread_time if message["cpu_time"] else time.perf_counter
        self._opened = Subject.open(combination, Path(message["state"]), image, clock=clock)
        return {}


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], Image | None] | None:
    """Return the next message and its image, uint8 [H, W, 3]; None at the end.

    Raises:
        ValueError: The message is not JSON, or announces an image of another size than follows.
    """
    line = stream.readline()
    if not line:
        return None
    message: dict[str, Any] = json.loads(line)
    shape = message.get("shape")
    if shape is None:
        return message, None
    size = math.prod(shape)
    if not 0 < size <= _MOST_BYTES:
        raise ValueError(f"an image of the shape {shape} is announced")
    return message, np.frombuffer(stream.read(size), np.uint8).reshape(shape)


def main() -> None:
    """Answer until standard input ends. Ctrl-C in the terminal is for the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not reach the answers
        worker = Worker()
        try:
            while (message := read_message(sys.stdin.buffer)) is not None:
                answers.write(json.dumps(worker.answer(*message)) + "\n")
                answers.flush()
        finally:
            worker.close()


if __name__ == "__main__":
    main()
