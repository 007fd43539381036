"""``edgetl run``: show what the camera sees."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from device.addresses import redact
from device.printable import printable

from .lanes import Lane, by_camera, gate_of, open_lanes, open_plan
from .options import hours_of, json_option, several_cameras_options
from .receivers import check_labels, check_receivers, open_receivers, receiver_options
from .session import learner_options, plural, say

if TYPE_CHECKING:
    from device.heads.drift import Drift
    from device.live.delivery import Hooks
    from device.live.mqtt_commands import FramePupil
    from device.live.regions import WatchedRegion
    from device.live.watching import Observation, Watcher

DRIFT = (
    "Most of the last frames are unlike anything that was taught: has the light changed, the camera moved, its lens"
    " fogged? Teach a few samples of how it looks now."
)


@click.command()
@learner_options
@several_cameras_options
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
@click.option(
    "--doubts",
    "keep_doubts",
    is_flag=True,
    help="Keep frames with an uncertain prediction, so that `edgetl doubts` can teach them.",
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

    Several --camera and --region are watched with one backbone in RAM, each with labels and a state file of its own; see
    docs/several-cameras.md.

    \b
    Examples:
      edgetl run mugs.tflite --camera 0 --smooth 5
      edgetl run mugs.tflite --camera rtsp://door/stream --on visitor ./ring.sh
      edgetl run mugs.tflite --camera 0 --mqtt mqtt://broker/shed/camera --mqtt-commands
      edgetl run mugs.tflite --camera front=0 --camera back=1 --region door=0.1,0.2,0.4,0.9 --motion
      edgetl run mugs.tflite --webhook https://host/hook --webhook-header 'Authorization: Bearer ${TOKEN}'
    """
    check_receivers(options)
    teaching = options["mqtt_commands"]
    with ExitStack() as stack:
        display = stack.enter_context(Display(as_json))
        lanes = open_lanes(stack, options, read_only=not teaching)
        if not teaching:
            _require_taught(lanes)
        watched = {lane.name: _watched(stack, lane, options, display) for lane in lanes}
        summary = Summary()
        try:
            for observation in islice(_observations(stack, watched, options, display), options["frames"]):
                display.show(observation)
                if not observation.closed:
                    summary.add(observation)
                watched[observation.region].use(observation, display)
        except KeyboardInterrupt:
            pass  # this is how watching ends
        for one in watched.values():
            one.keep_drift(enough=True)
    say(summary.text())
    if options["motion"]:
        # with several regions, watchers are ahead of what was shown
        embedded = sum(one.watcher.embedded for one in watched.values())
        observed = sum(one.watcher.observed for one in watched.values())
        say(f"{embedded} of {plural(observed, 'frame')} embedded; in the others nothing moved.")


@dataclass
class Watched:
    """A lane while it is watched.

    Attributes:
        lane: The lane.
        watcher: Makes its observations.
        pupil: What commands from a broker teach.
        hooks: The receivers.
        drift: Whether frames are unlike what was taught.
    """

    lane: Lane
    watcher: Watcher
    pupil: FramePupil
    hooks: Hooks
    drift: Drift

    def use(self, observation: Observation, display: Display) -> None:
        """Pass on an observation."""
        self.pupil.see(observation)
        self.hooks.update(observation)
        if _begins_to_drift(self.drift, observation):
            display.say(f"{self.lane.name}: {DRIFT}" if self.lane.name else DRIFT)
            self.keep_drift()

    def keep_drift(self, *, enough: bool = False) -> None:
        """Store the state of drift; with `enough` only where there are enough predictions."""
        from device.heads.drift import ENOUGH
        from device.learner.status import keep_drift

        if not enough or self.drift.state.predictions >= ENOUGH:
            keep_drift(self.lane.learner.store, self.lane.learner.head, self.drift.state)


def _watched(stack: ExitStack, lane: Lane, options: dict[str, Any], display: Display) -> Watched:
    from device.heads.drift import Drift
    from device.learner.asking import open_doubts
    from device.live.mqtt_commands import FramePupil
    from device.live.watching import Watcher

    doubts = None
    if options["keep_doubts"]:
        doubts = stack.enter_context(closing(open_doubts(lane.learner, keep=True)))
    pupil = FramePupil(lane.learner)
    hooks = open_receivers(stack, options, display.say, pupil=pupil, region=lane.name)
    check_labels(lane.learner, options, display.say)
    watcher = Watcher(
        lane.learner,
        smooth=options["smooth"],
        threshold=options["threshold"],
        need_labels=not (lane.name or options["mqtt_commands"]),
        gate=gate_of(options),
        doubts=doubts,
    )
    return Watched(lane, watcher, pupil, hooks, Drift())


def _require_taught(lanes: Sequence[Lane]) -> None:
    """Raise `HeadError` if none of the lanes was taught, and report those that were not."""
    untaught = [lane for lane in lanes if not lane.learner.labels]
    if len(untaught) == len(lanes):
        lanes[0].learner.require_taught()
    for lane in untaught:
        say(f"{lane.name} has no label yet: nothing was taught in {lane.state}")


def _observations(
    stack: ExitStack, watched: Mapping[str, Watched], options: dict[str, Any], display: Display
) -> Iterator[Observation]:
    if "" in watched and not options["hours"]:  # a single camera without regions needs no threads
        camera = stack.enter_context(open_plan(watched[""].lane.camera, options, notice=display.say))
        for frame in camera:
            yield watched[""].watcher.observe(frame)
        return
    from device.live.regions import watch_regions

    cameras = []
    for name, lanes in by_camera([one.lane for one in watched.values()]).items():
        regions = [_watched_region(watched[lane.name], options) for lane in lanes]
        cameras.append((name, partial(open_plan, lanes[0].camera, options, notice=display.say), regions))
    for _, observation in watch_regions(cameras, display.say):
        yield observation


def _watched_region(one: Watched, options: dict[str, Any]) -> WatchedRegion:
    from device.live.regions import WatchedRegion

    lane = one.lane
    fps = options["fps"].get(lane.name) if lane.region else None  # a camera is opened with its rate
    return WatchedRegion(lane.name, lane.region, one.watcher, fps, hours_of(options, *lane.names))


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


class Display:
    """Show observations as JSON lines, as a live table on a terminal, or as plain lines; and messages."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._table = not as_json and sys.stdout.isatty()
        self._live: Any = None
        self._regions: dict[str, Observation] = {}

    def show(self, observation: Observation) -> None:
        """Show an observation."""
        if self._as_json:
            click.echo(printable(json.dumps(observation.to_dict(), ensure_ascii=False)))
        elif not self._table:
            click.echo(_line(observation))
        elif observation.region:
            self._regions[observation.region] = observation
            self._started().update(_table_of_regions(self._regions), refresh=True)
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
    start = f"{observation.region or observation.source}  {observation.frame}  {_answer(observation)}"
    return printable(f"{start}  {seen.probability:.0%}" if seen and seen.known else start)


def _answer(observation: Observation) -> str:
    """Return the predicted label; for an unknown frame also the label that it looks most like.

    An unknown frame has no percentage: the probability of a label assumes that the frame shows one of the labels.
    """
    if observation.closed:
        return "closed"
    seen = observation.prediction
    return (
        observation.label if seen is None or seen.known else f"{observation.label} (most like {seen.label})"
    )


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


def _table_of_regions(regions: Mapping[str, Observation]) -> Any:
    from rich.bar import Bar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False)
    for name, observation in regions.items():
        seen = observation.prediction
        known = seen is not None and seen.known
        score = seen.probability if seen and known else 0.0
        answer = Text(_answer(observation), style="bold" if known else "dim")
        table.add_row(Text(name), answer, Bar(1, 0, score, width=30), f"{score:.0%}" if known else "")
    return table
