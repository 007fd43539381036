"""The near side of a combination that is measured in another process (`device.system.worker`)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import MeasurementError, RuntimeMissingError
from ..files import shown
from ..images import Image
from ..printable import printable
from .grid import Combination, RuntimeChoice
from .worker import PROTOCOL

_PATIENCE = 10.0  # seconds for a process to end


def environment(runtime: RuntimeChoice) -> dict[str, str]:
    """Return the environment of a process that uses a runtime."""
    return {**os.environ, **({"EDGETL_RUNTIME": runtime.name} if runtime.name else {})}


class OutsideSubject:
    """A combination in a process of its own; it has the methods of `Subject`.

    Attributes:
        combination: What is measured.
    """

    def __init__(self, combination: Combination, process: subprocess.Popen[bytes], errors: BinaryIO) -> None:
        self.combination = combination
        self._process = process
        self._errors = errors
        self._report: dict[str, Any] | None = None

    @classmethod
    def open(
        cls, combination: Combination, state: Path, image: Image, *, cpu_time: bool = False
    ) -> OutsideSubject:
        """Start the process, open the model there, and teach it.

        Args:
            combination: What is measured.
            state: A folder for temporary states.
            image: The first frame.
            cpu_time: Whether to measure CPU time instead of elapsed time.

        Raises:
            RuntimeMissingError: The Python cannot be started, or has no edgetl of this version.
            MeasurementError: The runtime or the model cannot be used there.
        """
        python = combination.runtime.python or sys.executable
        errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the subject)
        try:
            process = subprocess.Popen(
                [python, "-m", "device.system.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(combination.runtime),
                start_new_session=True,
            )
        except OSError as error:
            errors.close()
            raise RuntimeMissingError(
                f"{shown(python)} cannot be started: {error.strerror or error}"
            ) from error
        subject = cls(combination, process, errors)
        try:
            subject._ask(
                {
                    "do": "open",
                    "protocol": PROTOCOL,
                    "path": str(combination.path.absolute()),
                    "state": str(state.absolute()),
                    "threads": combination.threads,
                    "delegate": combination.delegate,
                    "cpu_time": cpu_time,
                    "teaching": asdict(combination.teaching),
                },
                image,
            )
        except BaseException:
            subject.close()
            raise
        return subject

    @property
    def seconds(self) -> Mapping[str, list[float]]:
        """The times so far, per step."""
        times: Mapping[str, list[float]] = self._reported()["seconds"]
        return times

    @property
    def cpu(self) -> Mapping[str, list[float]]:
        """CPU times per step; empty with several threads."""
        times: Mapping[str, list[float]] = self._reported()["cpu"]
        return times

    def warm(self, image: Image) -> None:
        """Run what `time_frame` times, to warm up."""
        self._ask({"do": "warm"}, image)

    def time_frame(self, image: Image, capture: float | None = None) -> None:
        """Time the steps of a frame there."""
        self._ask({"do": "frame", "capture": capture}, image)

    def time_lesson(self, image: Image, number: int, capture: float | None = None) -> None:
        """Time the steps of a lesson there."""
        self._ask({"do": "lesson", "number": number, "capture": capture}, image)

    def describe(self) -> dict[str, Any]:
        """Return the model, the runtime and the head, JSON-serializable."""
        described: dict[str, Any] = self._reported()["described"]
        return described

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # it has ended already
                    stream.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _reported(self) -> dict[str, Any]:
        if self._report is None:
            self._report = self._ask({"do": "report"})
        return self._report

    def _ask(self, message: dict[str, Any], image: Image | None = None) -> dict[str, Any]:
        self._report = None
        if image is not None:
            message = {**message, "shape": image.shape}
        assert self._process.stdin is not None  # noqa: S101 - opened with pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            if image is not None:
                self._process.stdin.write(image.tobytes())
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or "null")
        except (OSError, ValueError):
            answer = None
        if not isinstance(answer, dict):
            raise RuntimeMissingError(self._why())
        if "error" in answer:
            raise MeasurementError(str(answer["error"]))
        return answer

    def _why(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = printable(lines[-1]) if lines else f"exit code {self._process.returncode}"
        python = shown(self.combination.runtime.python or sys.executable)
        if "No module named" in last:
            return f"{python} has no edgetl of this version ({last}); install it there: {python} -m pip install edgetl"
        return f"the process of {python} ended: {last}"
