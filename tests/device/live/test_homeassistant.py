"""Home Assistant finds a camera on a broker, shows what it sees, and teaches it."""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.cameras.fake import draw
from device.errors import CameraError, LabelError, PeripheralError
from device.images import read_photo
from device.learner import Learner
from device.live.homeassistant import configurations, identifier
from device.live.mqtt import Mqtt
from device.live.mqtt_commands import Commands, FramePupil
from device.live.watching import Observation

from ...tiny import TINY
from .mosquitto import MISSING, MOSQUITTO, PATIENCE, Mosquitto, Subscriber
from .seen import observation

# https://www.home-assistant.io/integrations/mqtt/ and the pages of its components: the keys that a configuration may have
SHARED = {
    "availability", "availability_mode", "availability_template", "availability_topic", "default_entity_id", "device",
    "enabled_by_default", "encoding", "entity_category", "entity_picture", "icon", "json_attributes_template",
    "json_attributes_topic", "name", "origin", "payload_available", "payload_not_available", "platform", "qos", "unique_id",
}  # fmt: skip
ACCEPTED = {
    "sensor": {
        "device_class", "expire_after", "force_update", "last_reset_value_template", "options", "state_class",
        "state_topic", "suggested_display_precision", "unit_of_measurement", "value_template",
    },
    "binary_sensor": {
        "device_class", "expire_after", "force_update", "off_delay", "payload_off", "payload_on", "state_topic",
        "value_template",
    },
    "image": {"content_type", "image_encoding", "image_topic", "url_template", "url_topic"},
    "text": {
        "command_template", "command_topic", "max", "min", "mode", "pattern", "retain", "state_topic", "value_template",
    },
    "button": {"command_template", "command_topic", "device_class", "payload_press", "retain"},
}  # fmt: skip
REQUIRED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "image": {"image_topic"},
    "text": {"command_topic"},
    "button": {"command_topic"},
}
DEVICE = {
    "configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model", "model_id", "name",
    "serial_number", "suggested_area", "sw_version", "via_device",
}  # fmt: skip
HARD_TOPICS = ["shed/camera", "Küche/日本", "a" * 300, "café & 'bar' \"x\"", "😀"]


@pytest.mark.parametrize("topic", HARD_TOPICS)
def test_configurations_have_only_keys_that_home_assistant_accepts(topic: str) -> None:
    """Home Assistant ignores an entity with another key, so a typing error would lose it."""
    found = configurations(topic, model="mugs.tflite", commands=True)
    ids = set()
    for place, entity in found.items():
        matched = re.fullmatch(r"homeassistant/(\w+)/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)/config", place)
        assert matched, place
        component = matched[1]
        assert entity.keys() <= SHARED | ACCEPTED[component]
        assert REQUIRED[component] <= entity.keys()
        assert entity["device"].keys() <= DEVICE
        assert entity["origin"].keys() <= {"name", "sw_version", "support_url"}
        assert len(entity["device"]["name"]) <= 255
        assert entity["availability_topic"] == f"{topic}/availability"
        ids.add(entity["unique_id"])
    assert len(ids) == len(found) == 9
    assert len({json.dumps(entity["device"]) for entity in found.values()}) == 1


def test_different_topics_have_different_identifiers() -> None:
    """Also where they differ only in characters that Home Assistant does not allow."""
    topics = [*HARD_TOPICS, "shed-camera", "shed camera", "Shed/Camera", "a" * 301]
    assert len({identifier(topic) for topic in topics}) == len(topics)


def rendered(template: str, value: dict[str, Any]) -> str:
    """Return what Home Assistant shows for a message."""
    jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install jinja2")
    return str(jinja2.Environment().from_string(template).render(value_json=value))


@pytest.mark.parametrize("label", ["mug", 'a "b" c', "a/b", "it's", "{{ 1 + 1 }}", "😀 猫", "x" * 100])
def test_templates_show_the_label_of_a_message(label: str) -> None:
    """As Jinja2, which Home Assistant uses, renders them; a label is text and never a template."""
    known = observation(label).to_dict()
    unknown = observation("unknown").to_dict()
    empty = replace(observation("mug"), prediction=None).to_dict()
    entities = {place.split("/")[3]: entity for place, entity in configurations("shed").items()}
    values = {
        name: [rendered(entities[name]["value_template"], message) for message in (known, unknown, empty)]
        for name in ("label", "probability", "known")
    }
    assert values["label"] == [label, "unknown", "unknown"]
    assert values["probability"] == ["90.0", "90.0", "None"]
    assert values["known"] == ["ON", "OFF", "OFF"]
    details = rendered(entities["label"]["json_attributes_template"], known)
    assert json.loads(details)["label"] == label
    assert rendered(entities["label"]["json_attributes_template"], empty) == "{}"


@pytest.mark.parametrize("prefix", ["", "/", "home/#", "a+b"])
def test_a_prefix_that_cannot_start_a_topic_is_refused(prefix: str) -> None:
    """The message shows the usual prefix."""
    with pytest.raises(PeripheralError, match="such as homeassistant"):
        configurations("shed", prefix=prefix)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker."""
    if MOSQUITTO is None:
        pytest.skip(MISSING)
    pytest.importorskip("paho.mqtt", reason="no paho-mqtt: pip install 'edgetl[mqtt]'")
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def viewer(broker: Mosquitto) -> Iterator[Subscriber]:
    """A client that records every topic."""
    viewer = Subscriber(broker.port)
    yield viewer
    viewer.close()


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Learner]:
    """A learner with an empty state file."""
    with Learner.open(TINY, tmp_path / "taught.db", threads=1) as learner:
        yield learner


def seen(label: str, scene: str = "red", number: int = 0) -> Observation:
    """An observation with its frame."""
    return replace(observation(label), image=draw(scene, number))


def test_the_state_the_image_and_the_entities_are_retained(broker: Mosquitto, viewer: Subscriber) -> None:
    """A Home Assistant that starts later shows everything at once; the end is shown as offline."""
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", discovery="homeassistant", model="mugs.tflite")
    hook.update(seen("mug"))
    viewer.until("shed", b'"mug"')
    late = Subscriber(broker.port)
    late.until("shed", b'"mug"')
    picture = read_photo(late.until("shed/image", b"\xff\xd8"))
    assert picture.shape == (240, 320, 3)
    assert abs(int(picture.mean()) - int(draw("red", 0).mean())) < 5
    late.until("shed/availability", b"online")
    for place, entity in configurations("shed", model="mugs.tflite").items():
        assert json.loads(late.until(place, b"unique_id")) == entity
    assert late.retained == late.held.keys()
    hook.close()
    late.until("shed/availability", b"offline")
    late.close()


def test_each_region_is_a_device_of_its_own(broker: Mosquitto, viewer: Subscriber) -> None:
    """With a topic, an availability and a last will of its own below the topic of the address."""
    hooks = [
        Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", discovery="homeassistant", region=name)
        for name in ("door", "gate")
    ]
    for hook, label in zip(hooks, ("visitor", "bike"), strict=True):
        hook.update(seen(label))
    viewer.until("shed/door", b'"visitor"')
    viewer.until("shed/gate", b'"bike"')
    devices = {
        json.loads(viewer.until(place, b"unique_id"))["device"]["name"]
        for name in ("door", "gate")
        for place in configurations(f"shed/{name}")
    }
    assert devices == {"shed door", "shed gate"}
    hooks[0].close()
    viewer.until("shed/door/availability", b"offline")
    assert viewer.held["shed/gate/availability"] == b"online"
    hooks[1].close()


def test_after_a_restart_of_the_broker_everything_is_published_again(
    broker: Mosquitto, viewer: Subscriber
) -> None:
    """The loop continues while the broker is away; then it has the current state, image and entities."""
    notes: list[str] = []
    away = threading.Event()

    def note(line: str) -> None:
        notes.append(line)
        if "is not connected" in line:
            away.set()

    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", note, discovery="ha")
    hook._client.reconnect_delay_set(1, 1)  # seconds
    hook.update(seen("mug"))
    viewer.until("shed", b'"mug"')
    broker.kill()
    assert away.wait(PATIENCE)
    viewer.forget()
    for number in range(500):  # as many changes as an hour brings; none waits for the broker
        hook.update(seen(("bowl", "plate")[number % 2], "blue", number))
    broker.start()
    viewer.until("shed", b'"plate"')
    assert read_photo(viewer.until("shed/image", b"\xff\xd8")).mean(axis=(0, 1)).argmax() == 2
    for place in configurations("shed", prefix="ha"):
        viewer.until(place, b"unique_id")
    viewer.until("shed/availability", b"online")
    hook.close()
    assert len([line for line in notes if "is not connected" in line]) == 1


LABELS = ["mug", "a/b", 'a "quoted" label', "😀 猫", "x" * 100]


def test_commands_teach_and_forget(broker: Mosquitto, viewer: Subscriber, learner: Learner) -> None:
    """Each result is published after the sample is durable; a bad command changes nothing."""
    pupil = FramePupil(learner)
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", discovery="homeassistant", pupil=pupil)
    hook.update(seen("mug"))
    viewer.until("shed", b'"mug"')
    viewer.until(f"homeassistant/text/edgetl_{identifier('shed')}/teach/config", b"command/teach")

    def command(topic: str, message: str | bytes, retain: bool = False) -> dict[str, Any]:
        viewer.held.pop("shed/command/result", None)
        viewer.publish(f"shed/command/{topic}", message, retain)
        result: dict[str, Any] = json.loads(viewer.until("shed/command/result", b"command"))
        return result

    for number, label in enumerate(LABELS):
        pupil.see(seen("mug", "red", number))
        result = command("teach", label)
        assert (result["done"], result["label"], result["samples"]) == (True, label, 1)
    assert learner.store.counts() == dict.fromkeys(LABELS, 1)
    assert command("forget", "last")["ids"] == [len(LABELS)]
    before = learner.store.counts()
    for topic, message in {"teach": "", "forget": "everything"}.items():
        assert command(topic, message)["done"] is False
    for message in ("x" * 10_000, b"\xff\xfe", "two\nlines", "right\u202e left"):
        assert command("teach", message)["done"] is False
    assert learner.store.counts() == before
    hook.close()


def test_commands_teach_what_a_frame_is_not(learner: Learner) -> None:
    """A negative of a label, and background; a label that was never taught is refused."""
    answers: queue.Queue[bytes] = queue.Queue()
    results: list[dict[str, Any]] = []
    pupil = FramePupil(learner)
    commands = Commands(pupil, answers.put)
    pupil.see(seen("mug", "red", 0))
    pupil.teach("mug")
    for number, (command, message) in enumerate(
        (("not", b"mug"), ("background", b""), ("not", b"cup"), ("not", b"\xff")), 1
    ):
        pupil.see(seen("mug", "blue", number))
        commands.receive(command, message)
        results.append(json.loads(answers.get(timeout=PATIENCE)))
    pupil.see(seen("mug", "blue", 9))
    commands.receive("not", b"")  # the label that is predicted
    assert json.loads(answers.get(timeout=PATIENCE))["not_label"] == "mug"
    pupil.see(replace(seen("mug"), prediction=None))
    commands.receive("not", b"")
    assert "nothing is predicted" in json.loads(answers.get(timeout=PATIENCE))["message"]
    commands.close(PATIENCE)
    assert [(one["done"], one["message"]) for one in results[:2]] == [
        (True, "taught not mug (sample 2)"), (True, "taught background (sample 3)"),
    ]  # fmt: skip
    assert [one["done"] for one in results[2:]] == [False, False]
    assert "labels are: mug" in results[2]["message"]
    meanings = [sample.meaning for sample in learner.samples()]
    assert meanings == ["not mug", "background", "not mug", "mug"]


def test_a_retained_command_is_refused(broker: Mosquitto, viewer: Subscriber, learner: Learner) -> None:
    """It would teach again with every connection."""
    viewer.publish("shed/command/teach", "mug", retain=True)
    pupil = FramePupil(learner)
    pupil.see(seen("mug"))
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", pupil=pupil)
    assert b"retain" in viewer.until("shed/command/result", b'"done": false')
    hook.close()
    assert learner.store.counts() == {}


def test_without_commands_nothing_is_subscribed(
    broker: Mosquitto, viewer: Subscriber, learner: Learner
) -> None:
    """Whoever can publish on the broker could teach otherwise."""
    hook = Mqtt(f"mqtt://127.0.0.1:{broker.port}/shed", discovery="homeassistant")
    hook.update(seen("mug"))
    viewer.until("shed", b'"mug"')
    viewer.publish("shed/command/teach", "mug")
    viewer.publish("shed/end", "end")
    viewer.until("shed/end", b"end")
    hook.close()
    assert "shed/command/result" not in viewer.held
    assert not [place for place in viewer.held if "/text/" in place or "/button/" in place]


def test_a_frame_is_not_taught_twice(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second command waits for the next frame."""
    monkeypatch.setattr("device.live.mqtt_commands._FRAME_SECONDS", 0.01)
    pupil = FramePupil(learner)
    with pytest.raises(CameraError, match="no new frame"):
        pupil.teach("mug")
    pupil.see(seen("mug"))
    assert pupil.teach("mug")["id"] == 1
    with pytest.raises(CameraError, match="no new frame"):
        pupil.teach("mug")
    with pytest.raises(LabelError, match="at most 100"):
        pupil.teach("x" * 10_000)


def test_too_many_commands_are_refused_and_the_others_run() -> None:
    """A flood needs no more RAM than a few commands."""
    running, free = threading.Event(), threading.Event()
    results: list[dict[str, Any]] = []

    class Slow:
        def teach(self, label: str) -> dict[str, Any]:
            running.set()
            free.wait(PATIENCE)
            return {"id": 1, "label": label, "samples": 1}

        def deny(self, label: str | None) -> dict[str, Any]:
            raise NotImplementedError

        def in_view(self) -> str | None:
            raise NotImplementedError

        def forget_last(self) -> list[int]:
            raise RuntimeError("a bug")

    commands = Commands(Slow(), lambda result: results.append(json.loads(result)))
    commands.receive("teach", b"mug")
    assert running.wait(PATIENCE)
    for _ in range(20):
        commands.receive("forget", b"last")
    refused = [result for result in results if "waiting already" in result["message"]]
    assert len(refused) == 4
    free.set()
    commands.close(PATIENCE)
    assert [result["done"] for result in results[4:]] == [True] + [False] * 16
    assert "RuntimeError: a bug" in results[-1]["message"]
