"""A real broker for tests, and a client that records what it holds."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 30.0
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
MISSING = "mosquitto is not installed: apt install mosquitto"


class Mosquitto:
    """Mosquitto on a free port of loopback; it keeps nothing over a restart.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the broker."""
        self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._conf)], stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End the broker as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Subscriber:
    """A client that subscribes to everything, and records the newest message of each topic.

    Attributes:
        held: Topic -> newest payload.
        retained: Topics whose newest message the broker had kept.
    """

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as mqtt

        self.held: dict[str, bytes] = {}
        self.retained: set[str] = set()
        self._came = threading.Condition()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = self._record
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._joined = threading.Event()
        self._client.on_subscribe = lambda *_: self._joined.set()
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def _record(self, client: Any, userdata: Any, message: Any) -> None:
        with self._came:
            self.held[message.topic] = message.payload
            (self.retained.add if message.retain else self.retained.discard)(message.topic)
            self._came.notify_all()

    def publish(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        """Publish a message, at least once."""
        assert self._joined.wait(PATIENCE), "the broker does not respond"
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE)

    def forget(self) -> None:
        """Forget what was recorded."""
        with self._came:
            self.held.clear()

    def until(self, topic: str, right: bytes | Callable[[bytes], bool]) -> bytes:
        """Wait until the newest message of a topic contains a text, or is right, and return it."""
        check = right if callable(right) else (lambda payload: right in payload)
        with self._came:
            assert self._came.wait_for(lambda: topic in self.held and check(self.held[topic]), PATIENCE), (
                topic,
                self.held.get(topic, b"")[:500],
                sorted(self.held),
            )
            return self.held[topic]

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
