"""Commands from an MQTT broker: teach a label, forget the last samples.

They arrive on topics of their own, so that a broker can restrict who may publish there:

- ``TOPIC/command/teach``: the message is a label; the newest frame is taught.
- ``TOPIC/command/not``: the message is a label, or empty for the one that is predicted; the newest frame is taught as not
  this label.
- ``TOPIC/command/background``: the newest frame is taught as background; the message is ignored.
- ``TOPIC/command/forget``: the message is ``last``; the newest burst of samples is forgotten.
- ``TOPIC/command/result``: the result of each command, as JSON.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import CameraError, EdgetlError, LabelError, PeripheralError
from ..labels import MAX_LENGTH, check_label
from ..learner.learner import Learner
from ..negatives import describe
from ..printable import printable
from ..store import Sample
from .homeassistant import LAST
from .watching import Observation

COMMANDS = ("teach", "not", "background", "forget")
_WAITING = 16  # maximum number of commands that wait; more are refused
_FRAME_SECONDS = 3.0  # time limit for a frame that was not taught yet
_LONGEST = 4 * MAX_LENGTH  # bytes of a label in UTF-8
_STOP = ("", b"")


class Pupil(Protocol):
    """A learner with a camera, as commands see it."""

    def teach(self, label: str) -> dict[str, Any]:
        """Teach the newest frame, and return ``id``, ``label`` and ``samples``, the number of samples of the label."""

    def deny(self, label: str | None) -> dict[str, Any]:
        """Teach that the newest frame is not `label`, or with None that it is background; returns as `teach`."""

    def in_view(self) -> str | None:
        """Return the label that is predicted; None while nothing is predicted."""

    def forget_last(self) -> list[int]:
        """Forget the newest burst of samples, and return their ids."""


class FramePupil:
    """Teach a learner the frames that a loop observes.

    Args:
        learner: The learner; it can be written to.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._arrived = threading.Condition()
        self._newest: Observation | None = None
        self._number = self._taught = 0

    def see(self, observation: Observation) -> None:
        """Record a frame; the newest one is taught by the next command."""
        with self._arrived:
            self._newest = observation
            self._number += 1
            self._arrived.notify_all()

    def teach(self, label: str) -> dict[str, Any]:
        """Teach the newest frame; returns once it is durable.

        Raises:
            CameraError: No frame arrived that was not taught already.
            EdgetlError: The label cannot be one, or the sample cannot be written.
        """
        sample = self._teach_next(check_label(label), None)
        count = self._learner.store.counts()[str(sample.label)]
        return {"id": sample.id, "label": label, "samples": count}

    def deny(self, label: str | None) -> dict[str, Any]:
        """Teach that the newest frame is not `label`, or with None that it is background.

        Raises:
            CameraError: No frame arrived that was not taught already.
            EdgetlError: Nothing was taught as `label`, or the sample cannot be written.
        """
        self._learner.resolve_label(None, label)  # before waiting for a frame
        sample = self._teach_next(None, label)
        count = self._learner.store.hidden_counts()[sample.stored_label]
        return {"id": sample.id, "label": None, "not_label": sample.not_label, "samples": count}

    def in_view(self) -> str | None:
        """Return the label that is predicted; None while nothing is predicted."""
        newest = self._newest
        return newest.prediction.label if newest is not None and newest.prediction is not None else None

    def _teach_next(self, label: str | None, not_label: str | None) -> Sample:
        with self._arrived:
            self._arrived.wait_for(lambda: self._number > self._taught, _FRAME_SECONDS)
            observation, number = self._newest, self._number
            if observation is None or observation.image is None or number == self._taught:
                raise CameraError("there is no new frame to teach; check the camera")
            self._taught = number
        return self._learner.learn_one(observation.image, label, observation.source, not_label=not_label)

    def forget_last(self) -> list[int]:
        """Forget the newest burst of samples, and return their ids."""
        ids = self._learner.last_burst()
        if ids:
            self._learner.forget(ids)
        return ids


class Commands:
    """Run commands from a broker in a thread, one at a time.

    Args:
        pupil: What is taught.
        publish: Publishes a result, JSON in UTF-8; must not raise.
    """

    def __init__(self, pupil: Pupil, publish: Callable[[bytes], None]) -> None:
        self._pupil, self._publish = pupil, publish
        self._queue: queue.Queue[tuple[str, bytes]] = queue.Queue(_WAITING + 1)
        self._thread = threading.Thread(target=self._work, name="edgetl mqtt commands", daemon=True)
        self._thread.start()

    def receive(self, command: str, message: bytes, retained: bool = False) -> None:
        """Accept a command, without waiting.

        Args:
            command: Last part of the topic.
            message: The payload.
            retained: The broker kept the message. It would come again with every connection, so it is refused.
        """
        if retained:
            return self._answer(command, "the message was retained; publish commands without the retain flag")
        if self._queue.qsize() >= _WAITING:
            return self._answer(
                command, f"{_WAITING} commands are waiting already; send this one again later"
            )
        self._queue.put((command, message))
        return None

    def close(self, seconds: float) -> None:
        """Stop after the command in progress, which may take `seconds`."""
        self._queue.put(_STOP)
        self._thread.join(seconds)

    def _work(self) -> None:
        while (received := self._queue.get()) != _STOP:
            command, message = received
            try:
                result = self._run(command, message)
            except EdgetlError as error:
                self._answer(command, str(error))
            except Exception as error:  # an error in edgetl must not stop the commands after it
                self._answer(command, f"failed: {type(error).__name__}: {error}")
            else:
                self._send({"command": command, "done": True, **result})

    def _run(self, command: str, message: bytes) -> dict[str, Any]:
        if command == "teach":
            taught = self._pupil.teach(_label(message))
            return {**taught, "message": f"taught {taught['label']} (sample {taught['id']})"}
        if command in ("not", "background"):
            taught = self._pupil.deny((_label(message) or self._in_view()) if command == "not" else None)
            meaning = describe(None, taught["not_label"])
            return {**taught, "message": f"taught {meaning} (sample {taught['id']})"}
        if command == "forget" and message == LAST.encode():
            ids = self._pupil.forget_last()
            count = f"{len(ids)} sample{'' if len(ids) == 1 else 's'}"
            return {"ids": ids, "message": f"forgot {count}" if ids else "there was nothing to forget"}
        if command == "forget":
            raise PeripheralError(f"the message must be {LAST!r}, got {message[:30]!r}")
        raise PeripheralError(
            f"there is no command {command[:30]!r}; commands are teach, not, background and forget"
        )

    def _in_view(self) -> str:
        label = self._pupil.in_view()
        if label is None:
            raise LabelError("nothing is predicted; name the label that the frame does not show")
        return label

    def _answer(self, command: str, problem: str) -> None:
        self._send({"command": command, "done": False, "message": problem})

    def _send(self, result: dict[str, Any]) -> None:
        self._publish(printable(json.dumps(result, ensure_ascii=False)).encode())


def _label(message: bytes) -> str:
    if len(message) > _LONGEST:
        raise LabelError(
            f"a label has at most {MAX_LENGTH} characters, got a message of {len(message)} bytes"
        )
    try:
        return message.decode()
    except UnicodeDecodeError as error:
        raise LabelError(f"a label must be UTF-8, got {message[:30]!r}") from error
