"""Buttons and LEDs through the real gpiozero on its mock pins. No Pi was available."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from device.cameras import open_camera
from device.errors import LabelError, PeripheralError
from device.learner import Learner
from device.live.gpio import ButtonPanel, Wiring, teach_by_buttons
from tests.tiny import TINY

pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'edgetl[gpio]'")

MUG, CUP, UNDO, MUG_LED, UNKNOWN_LED, TAUGHT_LED = 17, 27, 22, 5, 6, 13


@pytest.fixture
def panel(pins: Any) -> Iterator[ButtonPanel]:
    """Two teaching buttons, undo, three LEDs."""
    wiring = Wiring.of(
        [f"mug={MUG}", f"cup={CUP}"],
        UNDO,
        [f"mug={MUG_LED}", f"unknown={UNKNOWN_LED}", f"taught={TAUGHT_LED}"],
    )
    with ButtonPanel(wiring) as panel:
        yield panel


def press(pins: Any, pin: int) -> None:
    """Hold a button: it pulls its pin to ground."""
    pins.pin(pin).drive_low()


def release(pins: Any, pin: int) -> None:
    """Release the button."""
    pins.pin(pin).drive_high()


def test_a_held_button_is_pressed_until_it_is_released(pins: Any, panel: ButtonPanel) -> None:
    """Each call returns a held button."""
    assert panel.pressed() == []
    press(pins, MUG)
    assert panel.pressed() == ["mug"]
    assert panel.pressed() == ["mug"]
    release(pins, MUG)
    assert panel.pressed() == []


def test_a_tap_between_two_frames_is_not_missed(pins: Any, panel: ButtonPanel) -> None:
    """A button that was pressed and released between two calls counts once."""
    press(pins, CUP)
    release(pins, CUP)
    press(pins, UNDO)
    release(pins, UNDO)
    assert (panel.pressed(), panel.undo_taps()) == (["cup"], 1)
    assert (panel.pressed(), panel.undo_taps()) == ([], 0)


def test_leds_show_exactly_the_given_names(pins: Any, panel: ButtonPanel) -> None:
    """Others are off, names without an LED are ignored, and closing switches all off."""
    panel.show({"mug", "known", "nobody"})
    assert [pins.pin(pin).state for pin in (MUG_LED, UNKNOWN_LED)] == [1, 0]
    panel.show({"unknown"})
    assert [pins.pin(pin).state for pin in (MUG_LED, UNKNOWN_LED)] == [0, 1]
    panel.close()
    assert pins.pin(UNKNOWN_LED).function == "input"


def test_holding_a_button_teaches_and_leds_show_it(pins: Any, panel: ButtonPanel) -> None:
    """Two labels are taught and distinguished, and undo removes the last sample."""
    now = [0.0]
    with Learner.open(TINY, None) as learner, open_camera("fake:red*10,blue*10,red,blue") as camera:
        steps = teach_by_buttons(learner, camera, panel, every=0.2, clock=lambda: now[0])

        def step() -> Any:
            now[0] += 0.1
            return next(steps)

        assert step().observation.prediction is None
        press(pins, MUG)
        assert [step().taught for _ in range(4)] == [("mug",), (), ("mug",), ()]
        release(pins, MUG)
        for _ in range(5):
            step()
        press(pins, CUP)
        taught = step()
        assert taught.taught == ("cup",)
        assert pins.pin(TAUGHT_LED).state == 1
        for _ in range(4):
            step()
        release(pins, CUP)
        for _ in range(5):
            step()
        assert step().observation.prediction.label == "mug"
        assert pins.pin(TAUGHT_LED).state == 0
        assert step().observation.prediction.label == "cup"
        before = len(learner.samples("cup"))
        press(pins, UNDO)
        assert step().undone == "learn (1)"
        assert len(learner.samples("cup")) == before - 1


def test_buttons_teach_what_a_frame_is_not(pins: Any) -> None:
    """One denies the predicted label, once there is one; the other teaches background."""
    with (
        ButtonPanel(Wiring.of(["mug=17"], deny=23, background=24)) as panel,
        Learner.open(TINY, None) as learner,
        open_camera("fake:red") as camera,
    ):
        steps = teach_by_buttons(learner, camera, panel, every=0)

        def taught(pin: int) -> tuple[str, ...]:
            press(pins, pin)
            meanings = next(steps).taught
            release(pins, pin)
            next(steps)  # a tap that was noted is taught too
            return tuple(meanings)

        assert [taught(pin) for pin in (23, 17, 23, 24)] == [(), ("mug",), ("not mug",), ("background",)]
        assert set(learner.store.hidden_counts()) == {"\x15", "\x15mug"}


def test_a_step_is_written_as_json_before_anything_is_taught(panel: ButtonPanel) -> None:
    """`buttons --json` writes an observation without a prediction, and the names of version 0.1."""
    with Learner.open(TINY, None) as learner, open_camera("fake:red") as camera:
        step = next(teach_by_buttons(learner, camera, panel))
    fields = step.to_dict()
    assert (fields["frame"], fields["changed"], fields["prediction"]) == (0, True, None)
    assert (fields["taught"], fields["undone"]) == ([], None)
    old = {name: fields[name] for name in ("index", "label", "probability", "known")}
    assert old == {"index": 0, "label": None, "probability": None, "known": False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teach": ["mug"]}, "LABEL=PIN"),
        ({"teach": ["=17"]}, "LABEL=PIN"),
        ({"teach": ["mug=x"]}, "LABEL=PIN"),
        ({"teach": ["mug=40"]}, "no pin 40"),
        ({"teach": ["mug=17"], "undo": 17}, "pin 17 is used twice"),
    ],
)
def test_wrong_wiring_is_refused_before_a_pin_is_opened(arguments: dict[str, Any], message: str) -> None:
    """A typing error costs nothing."""
    with pytest.raises(PeripheralError, match=message):
        Wiring.of(**arguments)


def test_a_label_may_contain_an_equals_sign_but_no_line_break() -> None:
    """The last equals sign is the one before the pin."""
    assert Wiring.of(["a=b=4"]).teach == {"a=b": 4}
    with pytest.raises(LabelError):
        Wiring.of(["a\nb=4"])


def test_a_pin_in_use_is_an_error(panel: ButtonPanel) -> None:
    """The second panel on a pin fails, and the first continues to work."""
    with pytest.raises(PeripheralError, match="another program"):
        ButtonPanel(Wiring.of(["mug=17"]))
    assert panel.pressed() == []


def test_without_pins_the_error_shows_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is not a Pi, the search of gpiozero ends in one clear message."""
    from gpiozero import Device
    from gpiozero.exc import BadPinFactory

    def refuse(*_: object) -> None:
        raise BadPinFactory("Unable to load any default pin factory!")

    monkeypatch.setattr(Device, "pin_factory", None)
    monkeypatch.setattr(Device, "_default_pin_factory", refuse)
    with pytest.raises(PeripheralError, match=r"lgpio.*GPIOZERO_PIN_FACTORY=mock"):
        ButtonPanel(Wiring.of(["mug=17"]))


def test_without_gpiozero_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next step is a command."""
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    with pytest.raises(PeripheralError, match=r"pip install 'edgetl\[gpio\]'"):
        ButtonPanel(Wiring.of(["mug=17"]))
