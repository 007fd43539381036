"""What happens when the scene changes: commands, web addresses, brokers; none holds up the camera."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.errors import PeripheralError
from device.hooks import CommandHook, Messages, Mqtt
from device.watching import Sighting, Smoother


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


@pytest.fixture
def broker() -> Iterator[tuple[int, list[tuple[str, str, bool]]]]:
    """A broker that speaks just enough of MQTT 3.1.1 for a publisher: (port, [(topic, message, retained)])."""
    pytest.importorskip("paho.mqtt", reason="needs the extra mqtt")
    published: list[tuple[str, str, bool]] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)
    thread = threading.Thread(target=serve, args=(listener, published))
    thread.start()
    yield listener.getsockname()[1], published
    listener.close()
    thread.join(30)


def serve(listener: socket.socket, published: list[tuple[str, str, bool]]) -> None:
    """Answer one client until it leaves."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        while head := stream.read(1):
            length, shift = 0, 0
            while True:
                byte = stream.read(1)[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            body = stream.read(length)
            if head[0] >> 4 == 1:  # CONNECT
                connection.sendall(b"\x20\x02\x00\x00")
            elif head[0] >> 4 == 3:  # PUBLISH, quality of service 1
                end = 2 + int.from_bytes(body[:2], "big")
                published.append((body[2:end].decode(), body[end + 2 :].decode(), bool(head[0] & 1)))
                connection.sendall(b"\x40\x02" + body[end : end + 2])
            elif head[0] >> 4 == 14:  # DISCONNECT
                return


def test_changes_are_published_to_a_broker_and_retained(
    broker: tuple[int, list[tuple[str, str, bool]]],
) -> None:
    """Staying in view publishes nothing."""
    port, published = broker
    hook = Mqtt(f"mqtt://127.0.0.1:{port}/shed/camera")
    for label, changed in (("mug", True), ("mug", False), ("bowl", True)):
        hook.seen(sighting(label, changed))
    hook.close()
    assert [(topic, json.loads(message)["label"], kept) for topic, message, kept in published] == [
        ("shed/camera", "mug", True),
        ("shed/camera", "bowl", True),
    ]


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
