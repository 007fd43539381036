"""The messages by which Home Assistant finds a camera on an MQTT broker.

Home Assistant subscribes to topics below a prefix and adds an entity for each configuration that it finds there
(https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery). All entities of a camera belong to one device.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import re
from typing import Any

from ..errors import PeripheralError
from ..labels import MAX_LENGTH

PREFIX = "homeassistant"
"""Prefix of the topics to which Home Assistant subscribes by default."""

ONLINE, OFFLINE = "online", "offline"
KNOWN, NOT_KNOWN = "ON", "OFF"
LAST = "last"
"""Message on the topic ``command/forget``."""

_LONGEST_STATE = 255  # characters; Home Assistant refuses a longer state
_SUPPORT = "https://github.com/edgetl/edgetl"
_SEEN = "value_json.prediction"  # null while nothing is taught
_LABEL = f"{{{{ {_SEEN}.label if {_SEEN} and {_SEEN}.known else 'unknown' }}}}"
_PROBABILITY = f"{{{{ ({_SEEN}.probability * 100) | round(1) if {_SEEN} else none }}}}"
_KNOWN = f"{{{{ '{KNOWN}' if {_SEEN} and {_SEEN}.known else '{NOT_KNOWN}' }}}}"
_DETAILS = f"{{{{ {_SEEN} | tojson if {_SEEN} else '{{}}' }}}}"
_MESSAGE = f"{{{{ value_json.message[:{_LONGEST_STATE}] }}}}"


def configurations(
    topic: str, *, prefix: str = PREFIX, name: str = "", model: str = "", commands: bool = False
) -> dict[str, dict[str, Any]]:
    """Return the configuration of each entity, by the topic on which it is published (retained).

    Args:
        topic: Topic of the observations.
        prefix: Prefix of the topics of discovery.
        name: Name of the device; by default the words of the topic.
        model: Name of the model file.
        commands: Add the entities that send commands.

    Raises:
        PeripheralError: The prefix cannot be the start of a topic.

    Example:
        >>> list(configurations("shed/camera"))[0]
        'homeassistant/sensor/edgetl_shed_camera_3fc6bae8/label/config'
    """
    if not prefix.strip("/") or re.search("[+#\0]", prefix):
        raise PeripheralError(
            f"the prefix of Home Assistant's topics is text without + and #, such as {PREFIX}; got {prefix!r}"
        )
    node = f"edgetl_{identifier(topic)}"
    shared = {
        "availability_topic": f"{topic}/availability",
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "device": _device(topic, node, name, model),
        "origin": {"name": "edgetl", "sw_version": _version(), "support_url": _SUPPORT},
    }
    entities = _entities(topic) + (_command_entities(topic) if commands else [])
    return {
        f"{prefix.strip('/')}/{component}/{node}/{key}/config": shared | {"unique_id": f"{node}_{key}"} | own
        for component, key, own in entities
    }


def identifier(topic: str) -> str:
    """Return a text of letters, digits and underscores that identifies a topic.

    Home Assistant allows no other characters there. The checksum keeps topics apart that differ in the others only.

    Example:
        >>> identifier("garage/door & gate")
        'garage_door_gate_7ad13c61'
    """
    words = re.sub("[^A-Za-z0-9]+", "_", topic).strip("_")[:40].rstrip("_").lower()
    return "_".join(filter(None, [words, hashlib.sha256(topic.encode()).hexdigest()[:8]]))


def _device(topic: str, node: str, name: str, model: str) -> dict[str, Any]:
    device = {"identifiers": [node], "manufacturer": "edgetl", "sw_version": _version()}
    device["name"] = (name or topic.replace("/", " "))[:_LONGEST_STATE]
    return device | ({"model": model} if model else {})


def _entities(topic: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (component, key, configuration) of the entities that show what the camera sees."""
    label = {
        "name": "Label",
        "icon": "mdi:tag",
        "state_topic": topic,
        "value_template": _LABEL,
        "json_attributes_topic": topic,
        "json_attributes_template": _DETAILS,
    }
    probability = {
        "name": "Probability",
        "icon": "mdi:percent",
        "state_topic": topic,
        "value_template": _PROBABILITY,
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "suggested_display_precision": 0,
    }
    known = {
        "name": "Known",
        "state_topic": topic,
        "value_template": _KNOWN,
        "payload_on": KNOWN,
        "payload_off": NOT_KNOWN,
    }
    image = {"name": "Last image", "image_topic": f"{topic}/image", "content_type": "image/jpeg"}
    return [
        ("sensor", "label", label),
        ("sensor", "probability", probability),
        ("binary_sensor", "known", known),
        ("image", "image", image),
    ]


def _command_entities(topic: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (component, key, configuration) of the entities that teach and forget."""
    teach = {
        "name": "Teach",
        "icon": "mdi:school",
        "command_topic": f"{topic}/command/teach",
        "max": MAX_LENGTH,
    }
    forget = {
        "name": "Forget the last samples",
        "icon": "mdi:undo",
        "command_topic": f"{topic}/command/forget",
        "payload_press": LAST,
    }
    deny = {
        "name": "Not this label",
        "icon": "mdi:tag-off",
        "command_topic": f"{topic}/command/not",
        "payload_press": "",  # the label that is predicted
    }
    background = {
        "name": "Nothing is in view",
        "icon": "mdi:image-off",
        "command_topic": f"{topic}/command/background",
    }
    result = {
        "name": "Last command",
        "entity_category": "diagnostic",
        "state_topic": f"{topic}/command/result",
        "value_template": _MESSAGE,
    }
    return [
        ("text", "teach", teach),
        ("button", "not", deny),
        ("button", "background", background),
        ("button", "forget", forget),
        ("sensor", "result", result),
    ]


def _version() -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("edgetl")
    return "unknown"
