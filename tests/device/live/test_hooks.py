"""What happens when the scene changes: commands, web addresses, brokers; none holds up the camera."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from device.errors import PeripheralError
from device.live.hooks import CommandHook, Messages, Mqtt
from device.live.watching import Sighting, Smoother


def sighting(label: str, changed: bool = True) -> Sighting:
    """Something seen."""
    return Sighting(3, 5.0, "0", label, label, 0.9, True, True, 0.0, {label: 0.9}, None, 1.0, 0.1, changed)


def test_a_command_runs_on_its_label_only_and_not_too_often(tmp_path: Path) -> None:
    """Changes to other labels, staying in view, and changes too soon start nothing."""
    script, clock = tmp_path / "note.sh", [0.0]
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$EDGETL_SIGHTING" >> "{tmp_path}/notes"\n')
    script.chmod(0o755)
    hook = CommandHook("mug", str(script), every=2.0, clock=lambda: clock[0])
    for at, label, changed in (
        (0, "mug", True),
        (1, "bowl", True),
        (1, "mug", True),
        (3, "mug", False),
        (3, "mug", True),
    ):
        clock[0] = at
        hook.seen(sighting(label, changed))
        hook.close()
    notes = (tmp_path / "notes").read_text().splitlines()
    assert [json.loads(note)["label"] for note in notes] == ["mug", "mug"]


def test_a_star_stands_for_every_change(tmp_path: Path) -> None:
    """Unknown included."""
    hook = CommandHook("*", f"touch {tmp_path}/touched", every=0.0)
    hook.seen(sighting("unknown"))
    hook.close()
    assert (tmp_path / "touched").exists()


def test_a_shell_reads_the_command_only_when_asked(tmp_path: Path) -> None:
    """With it, pipes work; without, the words are arguments."""
    hook = CommandHook("mug", f"echo one | cat > {tmp_path}/out", shell=True)
    hook.seen(sighting("mug"))
    hook.close()
    assert (tmp_path / "out").read_text() == "one\n"


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    """With the code it ended with."""
    told: list[str] = []
    hook = CommandHook("mug", "false", tell=told.append)
    hook.seen(sighting("mug"))
    hook.close()
    assert told == ["the command 'false' ended with 1"]


class Stuck(Messages):
    """A receiver that does not answer until it is let go."""

    def __init__(self) -> None:
        self.let_go, self.sent = threading.Event(), []
        super().__init__("stuck")

    def send(self, message: bytes) -> None:
        """Wait, then take it."""
        self.let_go.wait(30)
        self.sent.append(json.loads(message)["label"])


def test_a_slow_receiver_misses_the_oldest_and_never_the_newest() -> None:
    """And `seen` returns at once however many are waiting."""
    receiver = Stuck()
    for number in range(100):
        receiver.seen(sighting(f"label {number}"))
    receiver.let_go.set()
    receiver.close()
    assert receiver.sent[-1] == "label 99"
    assert len(receiver.sent) < 30


class Broker:
    """A broker that speaks just enough of MQTT 3.1.1 for a publisher.

    Attributes:
        port: Where it listens.
        published: (topic, message, retained) in the order they came.
    """

    def __init__(self) -> None:
        self.published: list[tuple[str, str, bool]] = []
        self.accepts, self.came = threading.Event(), threading.Condition()
        self.accepts.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def labels(self) -> list[str]:
        """The labels of what was published."""
        return [json.loads(message)["label"] for _, message, _ in self.published]

    def wait_for(self, label: str) -> None:
        """Wait until the newest message has this label."""
        with self.came:
            assert self.came.wait_for(lambda: self.labels[-1:] == [label], 30), self.labels

    def hang_up(self) -> None:
        """End the connection as a broker does that is restarted."""
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)

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
                self.accepts.wait(30)
                connection.sendall(b"\x20\x02\x00\x00")
            elif head[0] >> 4 == 3:  # PUBLISH, quality of service 0
                assert not head[0] & 0b110
                end = 2 + int.from_bytes(body[:2], "big")
                with self.came:
                    self.published.append((body[2:end].decode(), body[end:].decode(), bool(head[0] & 1)))
                    self.came.notify_all()
            elif head[0] >> 4 == 14:  # DISCONNECT
                return


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker of one's own."""
    pytest.importorskip("paho.mqtt", reason="no paho-mqtt: pip install 'edgetl[mqtt]'")
    broker = Broker()
    yield broker
    broker.close()


def test_changes_are_published_to_a_broker_and_retained(broker: Broker) -> None:
    """Staying in view publishes nothing."""
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed/camera")
    for label, changed in (("mug", True), ("mug", False), ("bowl", True)):
        hook.seen(sighting(label, changed))
    hook.close()
    broker.wait_for("bowl")
    assert [(topic, kept) for topic, _, kept in broker.published] == [("shed/camera", True)] * 2
    assert broker.labels == ["mug", "bowl"]


def test_what_is_seen_while_the_broker_is_slow_to_answer_is_published_in_its_order(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest comes last, or the broker would keep an old one for whoever joins."""
    monkeypatch.setattr("device.live.hooks.SECONDS", 0.05)
    broker.accepts.clear()
    told: list[str] = []
    failed = threading.Event()
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", tell=lambda text: (told.append(text), failed.set()))
    hook.seen(sighting("mug"))
    assert failed.wait(30)
    assert "no connection" in told[0]
    hook.seen(sighting("bowl"))
    broker.accepts.set()
    broker.wait_for("bowl")
    hook.close()
    assert broker.labels[-1] == "bowl"


def test_the_newest_is_published_again_when_the_broker_comes_back(broker: Broker) -> None:
    """A broker that was restarted may have kept nothing."""
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", tell=lambda text: None)
    hook.seen(sighting("mug"))
    broker.wait_for("mug")
    with broker.came:
        broker.hang_up()
        assert broker.came.wait_for(lambda: broker.labels == ["mug", "mug"], 30), broker.labels
    hook.close()


def test_a_missing_mqtt_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.client", None)
    with pytest.raises(PeripheralError, match=r"edgetl\[mqtt\]"):
        Mqtt("mqtt://127.0.0.1/topic")


def test_smoothing_weighs_frames_alike_and_known_is_the_majority() -> None:
    """A label missing from a frame counts as nothing there."""
    smoother = Smoother(4)
    for scores, known in (({"a": 1.0}, True), ({"b": 1.0}, False), ({"b": 0.6, "a": 0.4}, False)):
        averages, majority = smoother.add(scores, known)
    assert averages == {"a": pytest.approx(1.4 / 3), "b": pytest.approx(1.6 / 3)}
    assert not majority
