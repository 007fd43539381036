"""Buttons and LEDs on the pins of a Raspberry Pi, through gpiozero: teaching without a screen.

Pins have the numbers of the chip (BCM: "17" is physical pin 11). Connect a button between its pin and ground, and
an LED with its resistor between its pin and ground.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..cameras import Frame
from ..errors import PeripheralError
from ..labels import check_label
from ..learner.learner import Learner
from ..negatives import BACKGROUND, MARK
from ..store import Sample
from .watching import UNKNOWN, Observation, shown_label

BOUNCE_SECONDS = 0.05  # a worn switch closes several times within this time
DENY = MARK * 2  # button without a label of its own: the frame is not the predicted label
KNOWN, TAUGHT = "known", "taught"  # names of LEDs that are not labels; so is `UNKNOWN`
_PINS = range(28)  # BCM numbers of the 40-pin header


@dataclass(frozen=True)
class Wiring:
    """The pins of buttons and LEDs.

    >>> Wiring.of(teach=["mug=17"], undo=27, leds=["mug=5", "unknown=6"]).leds
    {'mug': 5, 'unknown': 6}

    Attributes:
        teach: Label -> pin of the button that teaches it.
        undo: Pin of the button that undoes the last change, or None.
        leds: Label, or "known", "unknown", "taught" -> pin of the LED that shows it.
        deny: Pin of the button that teaches that the frame is not the predicted label, or None.
        background: Pin of the button that teaches background, or None.
    """

    teach: dict[str, int]
    undo: int | None
    leds: dict[str, int]
    deny: int | None = None
    background: int | None = None

    @classmethod
    def of(
        cls,
        teach: Iterable[str] = (),
        undo: int | None = None,
        leds: Iterable[str] = (),
        deny: int | None = None,
        background: int | None = None,
    ) -> Wiring:
        """Return the wiring from texts of the form ``LABEL=PIN``.

        Raises:
            PeripheralError: A text has another form, a pin does not exist, or is used twice.
        """
        wiring = cls(dict(map(_pair, teach)), undo, dict(map(_pair, leds)), deny, background)
        single = [pin for pin in (undo, deny, background) if pin is not None]
        pins = [*wiring.teach.values(), *wiring.leds.values(), *single]
        for pin in pins:
            if pin not in _PINS:
                raise PeripheralError(f"there is no pin {pin}; expected a BCM number from 0 to {_PINS[-1]}")
            if pins.count(pin) > 1:
                raise PeripheralError(f"pin {pin} is used twice; every button and LED needs a pin of its own")
        for label in wiring.teach:
            check_label(label)
        return wiring


class ButtonPanel:
    """The buttons and LEDs of a wiring; use it in a ``with`` statement."""

    def __init__(self, wiring: Wiring) -> None:
        """Open the pins.

        Raises:
            PeripheralError: gpiozero is not installed, there are no pins, a pin is in use, or permission is missing.
        """
        gpiozero = _load_gpiozero()
        self.wiring = wiring
        self._lock = threading.Lock()
        self._tapped: set[str] = set()
        self._undo_taps = 0
        self._buttons: dict[str, Any] = {}
        self._leds: dict[str, Any] = {}
        self._undo: Any = None
        try:
            with warnings.catch_warnings():
                # gpiozero warns about every library that it tries; the error names the reason
                warnings.simplefilter("ignore")
                self._open_pins(gpiozero)
        except Exception as error:  # gpiozero, lgpio and RPi.GPIO each raise exceptions of their own
            self.close()
            raise PeripheralError(f"the pins cannot be used: {_reason(error)}") from error

    def _open_pins(self, gpiozero: Any) -> None:
        corrections = {DENY: self.wiring.deny, BACKGROUND: self.wiring.background}
        wired = {name: pin for name, pin in corrections.items() if pin is not None}
        for label, pin in (self.wiring.teach | wired).items():
            self._buttons[label] = gpiozero.Button(pin, bounce_time=BOUNCE_SECONDS)
            self._buttons[label].when_pressed = self._tapper(label)
        if self.wiring.undo is not None:
            self._undo = gpiozero.Button(self.wiring.undo, bounce_time=BOUNCE_SECONDS)
            self._undo.when_pressed = self._tap_undo
        self._leds = {name: gpiozero.LED(pin) for name, pin in self.wiring.leds.items()}

    def _tapper(self, label: str) -> Callable[[], None]:
        def tap() -> None:
            with self._lock:
                self._tapped.add(label)

        return tap

    def _tap_undo(self) -> None:
        with self._lock:
            self._undo_taps += 1

    def pressed(self) -> list[str]:
        """Return the labels whose buttons are held now or were tapped since the last call; also `DENY`, `BACKGROUND`."""
        with self._lock:
            tapped, self._tapped = self._tapped, set()
        return [label for label, button in self._buttons.items() if label in tapped or button.is_pressed]

    def undo_taps(self) -> int:
        """Return the number of presses of the undo button since the last call."""
        with self._lock:
            taps, self._undo_taps = self._undo_taps, 0
        return taps

    def show(self, names: Iterable[str]) -> None:
        """Light the LEDs with these names and no others; names without an LED are ignored."""
        lit = set(names)
        for name, led in self._leds.items():
            led.value = name in lit

    def close(self) -> None:
        """Switch the LEDs off and release the pins."""
        for device in (*self._buttons.values(), *self._leds.values(), self._undo):
            if device is not None:
                with contextlib.suppress(Exception):  # an error at one pin must not keep the others open
                    device.close()
        self._buttons, self._leds, self._undo = {}, {}, None

    def __enter__(self) -> Self:
        """Return the panel itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the panel."""
        self.close()


@dataclass(frozen=True)
class ButtonStep:
    """What one frame shows, and what the buttons did with it.

    Attributes:
        observation: What the frame shows, after teaching.
        taught: What the frame was taught as: labels, such as "mug", "not mug" or "background".
        undone: What was undone, with the number of samples, such as "learn (1)"; None for nothing.
    """

    observation: Observation
    taught: tuple[str, ...] = ()
    undone: str | None = None

    def lights(self) -> set[str]:
        """Return the names of the LEDs that should be lit."""
        seen = self.observation.prediction
        if self.taught:
            return {TAUGHT, *self.taught}
        if seen is None:
            return set()
        return {KNOWN, seen.label} if seen.known else {UNKNOWN}

    def to_dict(self) -> dict[str, Any]:
        """Return the observation as JSON-serializable values, with ``taught`` and ``undone``; see docs/json.md.

        In version 0.1 ``label`` was the most probable label, known or not; it stays so until version 0.3.
        """
        seen = self.observation.prediction
        fields = self.observation.to_dict() | {"label": seen.label if seen else None}
        return fields | {"taught": list(self.taught), "undone": self.undone}


def teach_by_buttons(
    learner: Learner,
    frames: Iterable[Frame],
    panel: ButtonPanel,
    every: float = 0.2,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ButtonStep]:
    """Predict each frame, teach it while a button is held, and show both on the LEDs.

    Args:
        learner: The learner. Each sample is on the disk before the LED shows it.
        frames: Frames from a camera.
        panel: Buttons and LEDs.
        every: Seconds between two samples while a button is held; a tap teaches one sample.
        clock: Returns seconds.

    Yields:
        One step per frame.
    """
    last: dict[str, float] = {}
    before = None
    for frame in frames:
        undone = _undo(learner, panel.undo_taps())
        start = time.perf_counter()
        embedding = learner.embed_one(frame.image)
        embed_ms = 1e3 * (time.perf_counter() - start)
        taught = []
        for label in panel.pressed():
            if clock() - last.get(label, -every) >= every and (label != DENY or learner.labels):
                taught.append(_teach(learner, frame, embedding, label).meaning)
                last[label] = clock()
        observation = _observed(learner, frame, embedding, before, embed_ms)
        step = ButtonStep(observation, tuple(taught), undone)
        panel.show(step.lights())
        yield step
        before = observation.label


def _teach(learner: Learner, frame: Frame, embedding: NDArray[np.float32], pressed: str) -> Sample:
    """Teach a frame what the button with this label means."""
    if pressed == DENY:
        denied = learner.predict_embedding(embedding).label
        return learner.learn_one(frame.image, source=frame.source, not_label=denied, embedding=embedding)
    label = None if pressed == BACKGROUND else pressed
    return learner.learn_one(frame.image, label, frame.source, embedding=embedding)


def _observed(
    learner: Learner, frame: Frame, embedding: NDArray[np.float32], before: str | None, embed_ms: float
) -> Observation:
    start = time.perf_counter()
    prediction = learner.predict_embedding(embedding) if learner.labels else None
    return Observation(
        frame=frame.index,
        time=frame.time,
        source=frame.source,
        changed=shown_label(prediction) != before,
        prediction=prediction,
        familiar=prediction is not None and prediction.known,
        truth=frame.label,
        embed_ms=embed_ms,
        head_ms=1e3 * (time.perf_counter() - start),
    )


def _undo(learner: Learner, taps: int) -> str | None:
    entries = [entry for _ in range(taps) if (entry := learner.undo()) is not None]
    return ", ".join(f"{entry.action} ({entry.samples()})" for entry in entries) or None


def _pair(text: str) -> tuple[str, int]:
    name, equals, pin = text.rpartition("=")
    if not equals or not name.strip() or not pin.strip().isdecimal():
        raise PeripheralError(f"expected LABEL=PIN such as mug=17, got {text!r}")
    return name.strip(), int(pin)


def _load_gpiozero() -> Any:
    try:
        import gpiozero
    except ImportError as error:
        raise PeripheralError(
            f"buttons and LEDs need gpiozero, which cannot be imported ({error}); install it with: "
            "pip install 'edgetl[gpio]'"
        ) from error
    return gpiozero


def _reason(error: Exception) -> str:
    text, kind = str(error) or type(error).__name__, type(error).__name__
    if kind == "BadPinFactory":
        return (
            f"{text}; on a Raspberry Pi: pip install lgpio, elsewhere there are no pins "
            "(GPIOZERO_PIN_FACTORY=mock simulates them)"
        )
    if kind == "GPIOPinInUse" or "busy" in text.lower():
        return f"{text}; another program uses that pin: stop the program or choose another pin"
    if isinstance(error, PermissionError) or "can not open gpiochip" in text.lower():
        return f"{text}; add yourself to the group `gpio` (sudo usermod -aG gpio $USER), then log out and in again"
    return text


def wiring_text(wiring: Mapping[str, int]) -> str:
    """Return the wiring as text: ``mug on pin 17, cup on pin 27``."""
    return ", ".join(f"{name} on pin {pin}" for name, pin in wiring.items())
