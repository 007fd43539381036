"""``edgetl buttons``: teach with buttons and show labels on LEDs, on the pins of a Raspberry Pi."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from .options import camera_options, json_option, views_option
from .session import learner_options, open_learner, open_source, plural, say

if TYPE_CHECKING:
    from device.live.gpio import ButtonStep


@click.command()
@learner_options
@views_option
@camera_options
@click.option(
    "--teach", metavar="LABEL=PIN", multiple=True, help="A button that teaches LABEL while it is held."
)
@click.option(
    "--not", "deny", type=int, metavar="PIN", help="A button: the frame is not the label predicted for it."
)
@click.option("--background", type=int, metavar="PIN", help="A button: the frame belongs to no label.")
@click.option("--undo", type=int, metavar="PIN", help="A button that undoes the last change.")
@click.option(
    "--led",
    "leds",
    metavar="NAME=PIN",
    multiple=True,
    help="An LED for a label, or for: known, unknown, taught.",
)
@click.option(
    "--every",
    type=click.FloatRange(0),
    default=0.2,
    show_default=True,
    help="Seconds between two samples while a button is held.",
)
@click.option("--frames", type=click.IntRange(1), help="Stop after this number of frames.")
@json_option
def command(
    teach: tuple[str, ...],
    deny: int | None,
    background: int | None,
    undo: int | None,
    leds: tuple[str, ...],
    every: float,
    frames: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Teach MODEL with buttons and show on LEDs what the camera sees; no screen is needed.

    Pins have BCM numbers. Connect a button between its pin and ground, and an LED with its resistor between its pin
    and ground. Each sample is on the disk before the LED shows it. Needs the extra `gpio`. Press Ctrl-C to stop.

    \b
    Example:
      edgetl buttons mugs.tflite --teach mug=17 --teach cup=27 --undo 22 --led mug=5 --led cup=6 --led unknown=13
    """
    from device.live.gpio import ButtonPanel, Wiring, teach_by_buttons, wiring_text

    if not (teach or leds) and undo is None and deny is None and background is None:
        raise click.UsageError(
            "name at least one button or LED: --teach LABEL=PIN, --not PIN, --background PIN, --undo PIN, --led NAME=PIN"
        )
    wiring = Wiring.of(teach, undo, leds, deny, background)
    samples = 0
    with (
        ButtonPanel(wiring) as panel,
        open_learner(options) as learner,
        learner.settling(),
        open_source(options) as camera,
    ):
        say(f"Buttons: {wiring_text(wiring.teach) or 'none'}. LEDs: {wiring_text(wiring.leds) or 'none'}.")
        try:
            for step in islice(teach_by_buttons(learner, camera, panel, every), frames):
                samples += len(step.taught)
                _write(step, as_json)
        except KeyboardInterrupt:
            pass  # this is how it ends
    say(f"{plural(samples, 'sample')} taught.")


def _write(step: ButtonStep, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(step.to_dict(), ensure_ascii=False))
    elif step.taught:
        click.echo(f"taught {', '.join(step.taught)}")
    elif step.undone:
        click.echo(f"undone: {step.undone}")
