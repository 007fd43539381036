"""Publish the current state to an MQTT broker, and receive commands from it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
import urllib.parse
from typing import Any

from ..addresses import Address
from ..cameras import Notice
from ..errors import AddressError, PeripheralError
from ..images import Image, encode_jpeg, preview
from .delivery import CLOSING_SECONDS, SECONDS, Clock, Receiver, Undelivered
from .homeassistant import OFFLINE, ONLINE, configurations
from .mqtt_commands import COMMANDS, Commands, Pupil
from .watching import Observation

_AWAY = "is not connected"
_FAREWELL = 1.0  # seconds for the last message
_KEEPALIVE = 30  # seconds; a broker publishes the last will after one and a half times of it


class Mqtt(Receiver):
    """Publish each change to a broker, retained, so that later subscribers get the current state.

    TOPIC/availability, also retained, is ``online`` while connected and ``offline`` after the end. It is also the
    last will, so the broker publishes ``offline`` when the device loses power or its network.

    Messages have quality of service 0, and the newest is sent again after every connect. With acknowledged
    messages the client would repeat old ones after newer ones, and the broker would retain an old one.

    With `discovery`, the configurations by which Home Assistant finds the camera are published after every connect, and
    TOPIC/image is the frame of the state as JPEG; all of it is retained.

    Args:
        url: ``mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC``; ``mqtts`` for TLS. User and password may instead be in
            the environment variables EDGETL_MQTT_USER and EDGETL_MQTT_PASSWORD.
        notice: Called with messages for the user.
        discovery: Prefix of Home Assistant's topics; None: Home Assistant is not used.
        region: Name of the camera or region, added to the topic; "" for the only one.
        model: Name of the model file, shown by Home Assistant.
        pupil: What commands from the broker teach; None: there are no commands.
        clock: Returns seconds.

    Raises:
        PeripheralError: The address or the prefix is wrong, or paho-mqtt is not installed.
    """

    def __init__(
        self,
        url: str,
        notice: Notice = print,
        *,
        discovery: str | None = None,
        region: str = "",
        model: str = "",
        pupil: Pupil | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        try:
            address = Address.parse(url, ("mqtt", "mqtts"))
        except AddressError as error:
            raise PeripheralError(f"the broker's address is wrong: {error}") from None
        self._topic = f"{_topic(url, address)}/{region}".removesuffix("/")
        self._found_by: dict[str, bytes] = {}
        if discovery is not None:
            found = configurations(self._topic, prefix=discovery, model=model, commands=pupil is not None)
            self._found_by = {topic: _json(entity) for topic, entity in found.items()}
        self._picture: tuple[Observation, bytes] | None = None
        self._joined, self._order = threading.Event(), threading.Lock()
        self._news = threading.Event()  # connected, or about to end
        self._refusal = ""
        self._client = _client(address)
        self._client.will_set(f"{self._topic}/availability", OFFLINE.encode(), qos=1, retain=True)
        port = address.port or (8883 if address.scheme == "mqtts" else 1883)
        super().__init__(f"the broker {address.host}:{port}", notice, clock=clock)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._commands = None if pupil is None else Commands(pupil, self._publish_result)
        self._client.on_message = self._on_message
        self._client.connect_async(address.host, port, _KEEPALIVE)
        self._client.loop_start()

    def deliver(self, observation: Observation) -> None:
        """Publish a state, and wait until it is sent."""
        with self._order:
            info = self._publish(observation) if self._joined.is_set() else None
        if info is None:  # connecting publishes the current state
            self._news.wait(_FAREWELL if self.finishing else SECONDS)
            self._news.clear()
            if not self._joined.is_set():
                raise Undelivered(self._refusal or _AWAY)
            return
        try:
            info.wait_for_publish(SECONDS)
        except (RuntimeError, ValueError) as error:
            raise Undelivered(f"did not accept the message: {error}") from error
        if not info.is_published():
            raise Undelivered("does not respond")

    def finish(self) -> None:
        """Start to stop; a wait for a connection ends early."""
        super().finish()
        self._news.set()

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Deliver the waiting state, publish that the device is offline, and disconnect."""
        if self._commands is not None:
            self._commands.close(_FAREWELL)
        super().close(seconds)
        joined = self._joined.is_set()
        if joined:
            with contextlib.suppress(RuntimeError, ValueError):
                self._availability(OFFLINE).wait_for_publish(_FAREWELL)
        self._client.disconnect()
        if joined:  # otherwise its thread may be waiting for a broker that does not respond
            self._client.loop_stop()

    def _publish(self, observation: Observation) -> Any:
        if self._found_by and observation.image is not None:
            self._client.publish(
                f"{self._topic}/image", self._jpeg(observation, observation.image), qos=0, retain=True
            )
        return self._client.publish(self._topic, _json(observation.to_dict()), qos=0, retain=True)

    def _jpeg(self, observation: Observation, image: Image) -> bytes:
        if self._picture is None or self._picture[0] is not observation:
            self._picture = observation, encode_jpeg(preview(image))
        return self._picture[1]

    def _availability(self, state: str) -> Any:
        return self._client.publish(f"{self._topic}/availability", state.encode(), qos=0, retain=True)

    def _introduce(self) -> None:
        """Publish what a broker may have lost at a restart, and subscribe again."""
        for topic, entity in self._found_by.items():
            self._client.publish(topic, entity, qos=0, retain=True)
        self._availability(ONLINE)
        if self._commands is not None:
            self._client.subscribe([(f"{self._topic}/command/{name}", 1) for name in COMMANDS])

    def _publish_result(self, result: bytes) -> None:
        with contextlib.suppress(RuntimeError, ValueError):
            self._client.publish(f"{self._topic}/command/result", result, qos=0)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if self._commands is not None:
            self._commands.receive(message.topic.rpartition("/")[2], message.payload, message.retain)

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"refuses the connection: {reason}"
            self.note(self._refusal, "trying again")
            return
        self._refusal = ""
        with self._order:
            self._introduce()
            present = self.present
            if present is not None:
                self._publish(present)
            self._joined.set()
            self._news.set()
        self.hurry()
        self.note("")

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._joined.clear()
        if not self._refusal and not self.finishing:
            self.note(_AWAY, "trying again until it has the current state")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _topic(url: str, address: Address) -> str:
    topic = urllib.parse.unquote(address.path).strip("/")
    more = re.search("[?#]", url)  # urllib would drop what follows
    if not topic or more or any(character in topic for character in "+#\0") or len(topic.encode()) > 60_000:
        raise PeripheralError(
            f"a broker's address ends in the topic to publish to, without +, # and ?, such as"
            f" {address.scheme}://{address.host}/shed/camera; got the topic {topic[:80]!r}"
        )
    return topic


def _client(address: Address) -> Any:
    try:
        import paho.mqtt.client as mqtt
    except ImportError as error:
        raise PeripheralError("MQTT needs the package paho-mqtt: pip install 'edgetl[mqtt]'") from error
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.reconnect_delay_set(1, 30)
    user = address.user or os.environ.get("EDGETL_MQTT_USER")
    if user:
        password = address.password
        client.username_pw_set(user, os.environ.get("EDGETL_MQTT_PASSWORD") if password is None else password)
    if address.scheme == "mqtts":
        client.tls_set()
    return client
