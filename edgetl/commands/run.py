"""``edgetl run``: show what the camera sees."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from device.addresses import redact
from device.printable import printable

from .options import camera_options, json_option
from .receivers import check_labels, check_receivers, open_receivers, receiver_options
from .session import learner_options, open_learner, open_source, plural, say

if TYPE_CHECKING:
    from device.heads.drift import Drift
    from device.live.watching import Observation

DRIFT = (
    "Most of the last frames are unlike anything that was taught: has the light changed, the camera moved, its lens"
    " fogged? Teach a few samples of how it looks now."
)


@click.command()
@learner_options
@camera_options
@click.option("--frames", type=click.IntRange(1), help="Stop after this number of frames.")
@click.option(
    "--smooth",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Number of frames to average over.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Minimum probability; below it the prediction is unknown.",
)
@receiver_options
@json_option
def command(as_json: bool, **options: Any) -> None:
    """Show what the camera sees, frame by frame; on a terminal as a live table.

    --on, --webhook and --mqtt act when the label in view changes; Home Assistant finds what --mqtt publishes. A receiver
    that is busy or cannot be reached gets the current state as soon as possible, never a queue of old ones. A command of
    --on finds what is in view in the environment variables EDGETL_LABEL, EDGETL_PROBABILITY and EDGETL_OBSERVATION
    (JSON); its output goes to stderr.

    Other users of this machine can read passwords on a command line: set EDGETL_CAMERA, EDGETL_WEBHOOK_PASSWORD or
    EDGETL_MQTT_PASSWORD instead; docs/raspberry-pi.md lists all variables. With --json each frame is one line of
    JSON, as docs/json.md describes. Press Ctrl-C to stop.

    \b
    Examples:
      edgetl run mugs.tflite --camera 0 --smooth 5
      edgetl run mugs.tflite --camera rtsp://door/stream --on visitor ./ring.sh
      edgetl run mugs.tflite --camera 0 --mqtt mqtt://broker/shed/camera --mqtt-commands
      edgetl run mugs.tflite --webhook https://host/hook --webhook-header 'Authorization: Bearer ${TOKEN}'
    """
    from device.heads.drift import ENOUGH, Drift
    from device.learner.status import keep_drift
    from device.live.mqtt_commands import FramePupil
    from device.live.watching import watch

    check_receivers(options)
    teaching = options["mqtt_commands"]
    with ExitStack() as stack:
        display = stack.enter_context(Display(as_json))
        learner = stack.enter_context(open_learner(options, read_only=not teaching))
        if not teaching:
            learner.require_taught()
        pupil = FramePupil(learner)
        hooks = open_receivers(stack, options, display.say, pupil=pupil)
        check_labels(learner, options, display.say)
        stack.enter_context(learner.settling())
        camera = stack.enter_context(open_source(options, notice=display.say))
        summary, drift = Summary(), Drift()
        try:
            for observation in watch(
                learner,
                _first(camera, options["frames"]),
                smooth=options["smooth"],
                threshold=options["threshold"],
                need_labels=not teaching,
            ):
                pupil.see(observation)
                display.show(observation)
                summary.add(observation)
                hooks.update(observation)
                if _begins_to_drift(drift, observation):
                    display.say(DRIFT)
                    keep_drift(learner.store, learner.head, drift.state)
        except KeyboardInterrupt:
            pass  # this is how watching ends
        if drift.state.predictions >= ENOUGH:
            keep_drift(learner.store, learner.head, drift.state)
    say(summary.text())


def _begins_to_drift(drift: Drift, observation: Observation) -> bool:
    if observation.prediction is None:
        return False
    before = drift.state.drifted  # a probability below the threshold is no drift
    return drift.update(replace(observation.prediction, known=observation.familiar)).drifted and not before


class Summary:
    """Count the labels seen, and measure the time per frame."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.right = self.judged = 0
        self._embed: list[float] = []

    def add(self, observation: Observation) -> None:
        """Add a frame."""
        self.seen[observation.label] = self.seen.get(observation.label, 0) + 1
        if observation.truth is not None:
            self.judged += 1
            seen = observation.prediction
            self.right += seen is not None and seen.label == observation.truth
        if len(self._embed) < 10_000:
            self._embed.append(observation.embed_ms)

    def text(self) -> str:
        """Return the summary, one or two lines."""
        if not self.seen:
            return "No frame was seen."
        middle = sorted(self._embed)[len(self._embed) // 2]
        counts = ", ".join(
            f"{label} {count}" for label, count in sorted(self.seen.items(), key=lambda i: -i[1])
        )
        total = plural(sum(self.seen.values()), "frame")
        lines = [f"{total}: {counts}; {middle:.1f} ms per frame for preprocessing and backbone (median)"]
        if self.judged:
            lines.append(
                f"{self.right} of {self.judged} agree with their folders ({self.right / self.judged:.1%})"
            )
        return "\n".join(lines)


def _first(frames: Iterable[Any], count: int | None) -> Iterator[Any]:
    if count is None:
        yield from frames
        return
    for given, frame in enumerate(frames, 1):
        yield frame
        if given == count:
            return


class Display:
    """Show observations as JSON lines, as a live table on a terminal, or as plain lines; and messages."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._table = not as_json and sys.stdout.isatty()
        self._live: Any = None

    def show(self, observation: Observation) -> None:
        """Show an observation."""
        if self._as_json:
            click.echo(printable(json.dumps(observation.to_dict(), ensure_ascii=False)))
        elif not self._table:
            click.echo(_line(observation))
        else:
            self._started().update(_table(observation), refresh=True)

    def say(self, message: str) -> None:
        """Write a message to stderr; above the live table, which would otherwise overwrite it."""
        if self._live is not None and sys.stderr.isatty():
            self._live.console.print(redact(message), markup=False, highlight=False)
        else:
            say(message)

    def _started(self) -> Any:
        if self._live is None:
            from rich.live import Live

            self._live = Live(auto_refresh=False, transient=False).__enter__()
        return self._live

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: Any) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.__exit__(*error)


def _line(observation: Observation) -> str:
    seen = observation.prediction
    start = f"{observation.source}  {observation.frame}  {observation.label}"
    if seen is None:
        return printable(start)
    nearest = "" if seen.known else f" (nearest: {seen.label})"
    return printable(f"{start}{nearest}  {seen.probability:.0%}")


def _table(observation: Observation) -> Any:
    from rich.bar import Bar
    from rich.table import Table
    from rich.text import Text

    title = Text(
        f"{observation.label}  ·  frame {observation.frame}  ·  {observation.embed_ms + observation.head_ms:.0f} ms"
    )
    seen = observation.prediction
    table = Table(
        title=title, box=None, show_header=False, title_style="bold" if seen and seen.known else "dim"
    )
    for label, score in seen.scores.items() if seen else ():
        strong = label == observation.label
        table.add_row(Text(label, style="bold" if strong else ""), Bar(1, 0, score, width=40), f"{score:.0%}")
    return table
