"""A broker always has the current state and the availability of the device."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from device.errors import PeripheralError
from device.live.mqtt import Mqtt

from .seen import observation

PATIENCE = 30.0


class Broker:
    """A broker with the part of MQTT 3.1.1 that a publisher needs.

    Attributes:
        port: Where it listens.
        published: (topic, message, retained) in the order they came.
        connects: The bodies of the CONNECT packets.
        refuses: Return code of the next CONNACKs; 0 accepts.
    """

    def __init__(self, port: int = 0) -> None:
        self.published: list[tuple[str, bytes, bool]] = []
        self.connects: list[bytes] = []
        self.refuses = 0
        self.accepts, self.came = threading.Event(), threading.Condition()
        self.accepts.set()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def labels(self) -> list[str]:
        """Return the labels of the published states."""
        return [json.loads(message)["label"] for topic, message, _ in self.published if "/avail" not in topic]

    @property
    def availability(self) -> list[bytes]:
        """Return the published availability of the device."""
        return [message for topic, message, kept in self.published if topic == "shed/availability" and kept]

    def wait_for(self, label: str) -> None:
        """Wait until the newest state has this label."""
        with self.came:
            assert self.came.wait_for(lambda: self.labels[-1:] == [label], PATIENCE), self.labels

    def hang_up(self) -> None:
        """Close the connection as a restarting broker does."""
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        while True:
            try:
                self._connection, _ = self._listener.accept()
            except OSError:
                return
            with self._connection, self._connection.makefile("rb") as stream, contextlib.suppress(OSError):
                self._answer(self._connection, stream)

    def _answer(self, connection: socket.socket, stream: IO[bytes]) -> None:
        while head := stream.read(1):
            length, shift, byte = 0, 0, 0x80
            while byte & 0x80:
                byte = stream.read(1)[0]
                length |= (byte & 0x7F) << shift
                shift += 7
            body = stream.read(length)
            if head[0] >> 4 == 1:  # CONNECT
                self.connects.append(body)
                self.accepts.wait(PATIENCE)
                connection.sendall(bytes([0x20, 2, 0, self.refuses]))
            elif head[0] >> 4 == 3:  # PUBLISH, quality of service 0
                assert not head[0] & 0b110
                end = 2 + int.from_bytes(body[:2], "big")
                with self.came:
                    self.published.append((body[2:end].decode(), body[end:], bool(head[0] & 1)))
                    self.came.notify_all()
            elif head[0] >> 4 == 14:  # DISCONNECT
                return


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker for one test."""
    pytest.importorskip("paho.mqtt", reason="no paho-mqtt: pip install 'edgetl[mqtt]'")
    broker = Broker()
    yield broker
    broker.close()


class Remarks:
    """Messages that a test can wait for."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._came = threading.Condition()

    def __call__(self, line: str) -> None:
        """Add a message."""
        with self._came:
            self._lines.append(line)
            self._came.notify_all()

    def wait_for(self, part: str) -> None:
        """Wait until a remark contains `part`."""
        with self._came:
            assert self._came.wait_for(lambda: any(part in line for line in self._lines), PATIENCE), (
                self._lines
            )


def test_changes_are_published_to_a_broker_and_retained(broker: Broker) -> None:
    """An unchanged label publishes nothing; the end publishes that the device is offline."""
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed")
    hook.update(observation("mug"))
    broker.wait_for("mug")
    count = len(broker.published)
    hook.update(observation("mug", changed=False))
    hook.update(observation("bowl"))
    broker.wait_for("bowl")
    assert len(broker.published) == count + 1
    hook.close()
    with broker.came:
        assert broker.came.wait_for(lambda: broker.availability == [b"online", b"offline"], PATIENCE)
    assert all(kept for _, _, kept in broker.published)
    assert {topic for topic, _, _ in broker.published} == {"shed", "shed/availability"}


def test_the_last_will_is_offline(broker: Broker) -> None:
    """For a device that loses power; retained, delivered at least once."""
    hook = Mqtt(f"mqtt://me:s3cret%2F@127.0.0.1:{broker.port}/shed")
    hook.update(observation("mug"))
    broker.wait_for("mug")
    hook.close()
    body = broker.connects[0]
    flags = body[7]
    assert flags & 0b100  # has a will
    assert flags & 0b100000  # retained
    assert flags >> 3 & 0b11 == 1  # quality of service
    will = b"\x00\x11shed/availability\x00\x07offline"
    assert body.endswith(will + b"\x00\x02me\x00\x07s3cret/")


def test_user_and_password_may_come_from_the_environment(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not percent-encoded there."""
    monkeypatch.setenv("EDGETL_MQTT_USER", "me")
    monkeypatch.setenv("EDGETL_MQTT_PASSWORD", "50%25")
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed")
    hook.update(observation("mug"))
    broker.wait_for("mug")
    hook.close()
    assert broker.connects[0].endswith(b"\x00\x02me\x00\x0550%25")


def test_with_a_slow_broker_only_the_current_state_is_published(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older state is never published after a newer one."""
    monkeypatch.setattr("device.live.mqtt.SECONDS", 0.05)
    broker.accepts.clear()
    remarks = Remarks()
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", remarks)
    hook.update(observation("mug"))
    remarks.wait_for("is not connected")
    hook.update(observation("plate"))
    hook.update(observation("bowl"))
    broker.accepts.set()
    broker.wait_for("bowl")
    remarks.wait_for("works again")
    hook.close()
    assert set(broker.labels) == {"bowl"}


def test_the_newest_state_is_published_again_when_the_broker_comes_back(broker: Broker) -> None:
    """A broker may lose retained messages at a restart."""
    remarks = Remarks()
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", remarks)
    hook.update(observation("mug"))
    broker.wait_for("mug")
    count = len(broker.labels)
    with broker.came:
        broker.hang_up()
        assert broker.came.wait_for(lambda: len(broker.labels) > count, PATIENCE)
    remarks.wait_for("is not connected; trying again")
    remarks.wait_for("works again")
    hook.close()
    assert set(broker.labels) == {"mug"}
    assert broker.availability[:2] == [b"online", b"online"]


def test_a_refusal_of_the_broker_is_reported_with_its_reason(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password is not reported as a missing connection."""
    monkeypatch.setattr("device.live.mqtt.SECONDS", 0.05)
    broker.refuses = 5
    remarks = Remarks()
    hook = Mqtt(f"mqtt://me:s3cret@127.0.0.1:{broker.port}/shed", remarks)
    hook.update(observation("mug"))
    remarks.wait_for("refuses the connection: Not authorized")
    broker.refuses = 0
    broker.wait_for("mug")
    hook.close()


def test_without_the_mqtt_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.client", None)
    with pytest.raises(PeripheralError, match=r"edgetl\[mqtt\]"):
        Mqtt("mqtt://127.0.0.1/topic")


@pytest.mark.parametrize(
    "url", ["mqtt://h", "mqtt://h/", "mqtt://h/a/%23", "http://h/t", "mqtt://u:s3cret/@h/t", "mqtt://h:x/t"]
)
def test_an_address_that_cannot_work_is_refused(url: str) -> None:
    """Before connecting, and without showing the password."""
    with pytest.raises(PeripheralError) as refusal:
        Mqtt(url)
    assert "s3cret" not in str(refusal.value)


MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: apt install mosquitto")
def test_a_real_broker_keeps_the_current_state_and_publishes_the_last_will(tmp_path: Path) -> None:
    """Mosquitto, killed and started again: subscribers get the current state; a lost device is offline."""
    mqtt = pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install 'edgetl[mqtt]'")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    held: dict[str, bytes] = {}
    came = threading.Condition()

    def on_message(client: Any, userdata: Any, message: Any) -> None:
        with came:
            held[message.topic] = message.payload
            came.notify_all()

    def until(topic: str, part: bytes) -> None:
        with came:
            assert came.wait_for(lambda: part in held.get(topic, b""), PATIENCE), held

    with contextlib.ExitStack() as stack:

        def start() -> subprocess.Popen[bytes]:
            command = [str(MOSQUITTO), "-c", str(tmp_path / "conf")]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        process = start()
        viewer = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        viewer.reconnect_delay_set(1, 1)
        viewer.on_message = on_message
        viewer.on_connect = lambda client, *_: client.subscribe("shed/#")
        viewer.connect_async("127.0.0.1", port)
        viewer.loop_start()
        stack.callback(viewer.loop_stop)
        stack.callback(viewer.disconnect)
        remarks = Remarks()
        hook = Mqtt(f"mqtt://127.0.0.1:{port}/shed", remarks)
        hook.update(observation("mug"))
        until("shed", b'"mug"')
        until("shed/availability", b"online")
        process.kill()
        process.wait()
        remarks.wait_for("is not connected")
        held.clear()
        for label in ("plate", "mug", "bowl"):
            hook.update(observation(label))
        start()
        until("shed", b'"bowl"')
        until("shed/availability", b"online")
        hook._client.socket().shutdown(socket.SHUT_RDWR)  # as when the power fails: no farewell
        until("shed/availability", b"offline")
        until("shed/availability", b"online")
        hook.close()
        until("shed/availability", b"offline")
