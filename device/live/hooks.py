"""Doing something when what is seen changes: a command, a web address, a message broker.

None of them may hold up the camera: commands run beside it, messages go out from a thread that keeps only
the newest few.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ..errors import PeripheralError
from .watching import Sighting

Tell = Callable[[str], None]
SECONDS = 5.0  # a receiver may take to answer
_WAITING = 16  # messages kept for a slow receiver; older ones are dropped


class Hook(ABC):
    """Something that is told when what is seen changes."""

    @abstractmethod
    def seen(self, sighting: Sighting) -> None:
        """Take in a sighting; returns at once."""

    def close(self) -> None:  # noqa: B027 - most hooks hold nothing
        """Finish what is under way."""


class CommandHook(Hook):
    """Run a command when a label comes into view.

    The command is split into words here and never goes through a shell, unless `shell` is given. What was
    seen is passed in the environment, where no quoting can go wrong: EDGETL_LABEL, EDGETL_PROBABILITY and
    EDGETL_SIGHTING (JSON).

    Args:
        label: Runs on this label; ``*`` on every change.
        command: The command line.
        shell: Let ``/bin/sh`` read it, for pipes and the like.
        every: Seconds that pass at least between two starts.
        tell: Called with remarks for the user.
        clock: Gives seconds.

    Raises:
        PeripheralError: The command is empty, not well quoted, or not there.
    """

    def __init__(
        self,
        label: str,
        command: str,
        *,
        shell: bool = False,
        every: float = 1.0,
        tell: Tell = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._tell, self._clock, self._every = label, tell, clock, every
        self._words = ["/bin/sh", "-c", command] if shell else _words(command)
        self._text = command
        self._started = -float("inf")
        self._process: subprocess.Popen[bytes] | None = None

    def seen(self, sighting: Sighting) -> None:
        """Start the command if the label has come into view, none is running, and it is not too soon."""
        if not sighting.changed or self._label not in ("*", sighting.label):
            return
        if self._running() or self._clock() - self._started < self._every:
            return
        self._started = self._clock()
        environment = {
            **os.environ,
            "EDGETL_LABEL": sighting.label,
            "EDGETL_PROBABILITY": f"{sighting.probability:.4f}",
            "EDGETL_SIGHTING": json.dumps(sighting.to_dict(), ensure_ascii=False),
        }
        try:
            self._process = subprocess.Popen(
                self._words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        except OSError as error:
            self._tell(f"the command {self._text!r} could not be started: {error.strerror}")

    def close(self) -> None:
        """Wait a little for a command under way; one that goes on is left to itself."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS)
            self._running()

    def _running(self) -> bool:
        if self._process is None:
            return False
        code = self._process.poll()
        if code is None:
            return True
        if code:
            self._tell(f"the command {self._text!r} ended with {code}")
        self._process = None
        return False


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise PeripheralError(f"the command {command!r} is not well quoted: {error}") from error
    if not words:
        raise PeripheralError("the command after the label is empty; give for example: --on mug './ring.sh'")
    import shutil

    if shutil.which(words[0]) is None:
        raise PeripheralError(
            f"there is no command {words[0]!r} that can be run; check the path, make it executable with chmod +x,"
            " or add --shell if it is meant for a shell"
        )
    return words


class Messages(Hook):
    """Send changes as JSON from a thread of its own; a slow receiver misses the oldest ones."""

    def __init__(self, name: str, tell: Tell = print) -> None:
        self._name, self._tell = name, tell
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._failing = False
        self._thread = threading.Thread(target=self._work, name=f"edgetl {name}", daemon=True)
        self._thread.start()

    def seen(self, sighting: Sighting) -> None:
        """Queue a change."""
        if sighting.changed:
            self._put(json.dumps(sighting.to_dict(), ensure_ascii=False).encode())

    def close(self) -> None:
        """Send what is queued, within a few seconds."""
        self._put(None)
        self._thread.join(2 * SECONDS)

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Deliver one message or raise OSError."""

    def _put(self, message: bytes | None) -> None:
        while True:
            try:
                self._queue.put_nowait(message)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._queue.get_nowait()

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                self.send(message)
                if self._failing:
                    self._tell(f"{self._name} works again")
                self._failing = False
            except (OSError, ValueError) as error:
                if not self._failing:  # told once, not for every frame
                    self._tell(f"{self._name} cannot be reached, going on without: {error}")
                self._failing = True


class Webhook(Messages):
    """POST each change as JSON to a web address.

    Raises:
        PeripheralError: The address is not http or https.
    """

    def __init__(self, url: str, tell: Tell = print) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PeripheralError(f"a webhook is an address such as http://host:8080/path, got {url!r}")
        self._url = url
        super().__init__(f"the webhook {parts.scheme}://{parts.hostname}", tell)  # a path may hold a secret

    def send(self, message: bytes) -> None:
        """POST one message."""
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._url, data=message, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310 - the scheme was checked
            pass


class Mqtt(Messages):
    """Publish each change to a broker, retained, so that whoever joins later knows the present.

    The address is ``mqtt://[user[:password]@]host[:port]/topic`` (``mqtts`` for TLS); the password may also be in
    the environment variable EDGETL_MQTT_PASSWORD, where other users of the machine do not see it.

    Messages go out once (quality of service 0), and the newest again whenever the broker is joined anew. With
    acknowledged messages the client sends old ones once more after newer ones, and the broker would keep an old one.

    Raises:
        PeripheralError: The address is wrong or paho-mqtt is not installed.
    """

    def __init__(self, url: str, tell: Tell = print) -> None:
        parts = urllib.parse.urlsplit(url)
        self._topic = urllib.parse.unquote(parts.path.strip("/"))
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not self._topic:
            raise PeripheralError(
                f"a broker is an address such as mqtt://host:1883/shed/camera, got {_hidden(url)!r}"
            )
        self._newest: bytes | None = None
        self._joined, self._order = threading.Event(), threading.Lock()
        self._client = _client(parts)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.connect_async(parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883))
        self._client.loop_start()
        super().__init__(f"the broker {parts.hostname}", tell)

    def send(self, message: bytes) -> None:
        """Publish one message, and wait until it is on its way."""
        with self._order:
            self._newest = message
            info = self._publish(message) if self._joined.is_set() else None
        if info is None:  # joining publishes it
            if not self._joined.wait(SECONDS):
                raise OSError("no connection")
            return
        try:
            info.wait_for_publish(SECONDS)
        except RuntimeError as error:
            raise OSError(str(error)) from error
        if not info.is_published():
            raise OSError("no answer")

    def close(self) -> None:
        """Send what is queued and take leave of the broker."""
        super().close()
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, message: bytes) -> Any:
        return self._client.publish(self._topic, message, qos=0, retain=True)

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            return
        with self._order:
            if self._newest is not None:
                self._publish(self._newest)
            self._joined.set()

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._joined.clear()


def _client(parts: urllib.parse.SplitResult) -> Any:
    try:
        import paho.mqtt.client as mqtt
    except ImportError as error:
        raise PeripheralError("MQTT needs the package paho-mqtt: pip install 'edgetl[mqtt]'") from error
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    password = parts.password or os.environ.get("EDGETL_MQTT_PASSWORD")
    if parts.username:
        client.username_pw_set(
            urllib.parse.unquote(parts.username), password and urllib.parse.unquote(password)
        )
    if parts.scheme == "mqtts":
        client.tls_set()
    return client


def _hidden(url: str) -> str:
    """Give an address without its password."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://...@{after}" if at else url
