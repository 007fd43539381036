"""The parts of the page together: loop, queue, lessons, and events for viewers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from ..cameras import Camera, Frame
from ..errors import EdgetlError, SampleNotFoundError
from ..images import Image
from ..learner.doubt import Doubt
from ..learner.learner import Learner
from ..live.hours import Hours
from ..live.motion import MotionGate
from ..printable import printable
from ..store import Sample
from ..system.health import temperature
from .latest import Latest
from .lessons import Lessons
from .loop import Loop
from .metrics import Meter, Metric, camera_metrics, machine_metrics, sample_metrics


class Page:
    """Everything behind the page, without HTTP.

    Args:
        learner: The open learner; the caller closes it, after `stop`.
        open_camera: Opens the camera; called again when it was lost. None: there is no camera.
        fps: Maximum number of frames per second.
        region: Name of the camera or region, where there are several; else "".
        gate: While it is closed, frames are not embedded.
        draw: Returns the picture of a frame for viewers; None shows the frame itself.
        hours: When the camera is open; None for always.
    """

    def __init__(
        self,
        learner: Learner,
        open_camera: Callable[[], Camera] | None,
        *,
        fps: float = 15.0,
        region: str = "",
        gate: MotionGate | None = None,
        draw: Callable[[Frame], Image] | None = None,
        hours: Hours | None = None,
    ) -> None:
        self.region = region
        self.learner = learner
        self.events: Latest[bytes] = Latest()
        self.doubts = learner.doubts
        self.loop = Loop(
            open_camera,
            learner,
            self.doubts,
            self._notify,
            fps=fps,
            gate=gate,
            draw=draw,
            region=region,
            hours=hours,
        )
        self.lessons = Lessons(learner, self.loop, self.doubts, self._notify)
        self.meter = Meter(region or "camera")
        self.http_meter = Meter(f"{region}/http".removeprefix("/"))
        self.loop.listen(self.meter.see)
        self._version = 0

    def start(self) -> None:
        """Start the loop."""
        self.loop.start()

    def stop(self) -> None:
        """Stop the loop and end all streams."""
        self.events.close()
        self.loop.stop()

    def state(self) -> dict[str, Any]:
        """Return the model and its labels, JSON-serializable."""
        manifest = self.learner.model.manifest
        return {
            "version": self.lessons.version,
            "model": self.learner.model.path.name,
            "backbone": manifest.backbone,
            "runtime": str(self.learner.runtime),
            "labels": self.lessons.labels(),
            **self.lessons.hidden(),
        }

    def metrics(self) -> list[Metric]:
        """Return the figures of the camera and of what was taught, for Prometheus."""
        camera = self.loop.figures()
        seen = []
        if camera["condition"] != "off":
            seen = (
                camera_metrics(self.meter.source, camera["condition"], camera["fps"]) + self.meter.metrics()
            )
        counts = sample_metrics(self.meter.source, self.lessons.counts(), **self.lessons.hidden())
        return [*seen, *self.http_meter.metrics(), *counts]

    def machine_metrics(self) -> list[Metric]:
        """Return the figures of the machine and the model, for Prometheus."""
        facts = {name: self.state()[name] for name in ("model", "backbone", "runtime")}
        return machine_metrics(facts, temperature())

    def samples(
        self,
        label: str | None,
        limit: int,
        before: int | None = None,
        not_label: str | None = None,
        background: bool = False,
        excluded: bool = False,
    ) -> dict[str, Any]:
        """Return the newest samples, or excluded ones, of ids below `before`; browsers request their thumbnails one by one."""
        found = self.learner.samples(
            label, limit, before, excluded, not_label=not_label, background=background
        )
        return self._listed(found)

    def suspects(self) -> dict[str, Any]:
        """Return the samples that are probably mislabeled, in the shape of `samples`, newest first."""
        report = self.lessons.report()["report"]
        numbers = report["suspects"] if report else []
        return self._listed(list(reversed(self.learner.store.described(numbers))))

    def _listed(self, samples: list[Sample]) -> dict[str, Any]:
        listed = [
            {
                "id": item.id,
                "label": item.label,
                "meaning": item.meaning,
                "time": item.time,
                "thumbnail": item.thumbnail is not None,
            }
            for item in samples
        ]
        return {"excluded": sum(self.learner.store.excluded_counts().values()), "samples": listed}

    def thumbnail(self, number: int) -> bytes:
        """Return the thumbnail of a sample, JPEG.

        Raises:
            SampleNotFoundError: There is no such sample, or it has no thumbnail.
        """
        thumbnail = self.learner.store.sample(number).thumbnail
        if thumbnail is None:
            raise SampleNotFoundError(f"sample {number} was taught without a thumbnail")
        return thumbnail

    def doubt(self, number: int) -> bytes:
        """Return the picture of an uncertain frame, JPEG.

        Raises:
            SampleNotFoundError: The frame is no longer in the queue.
        """
        doubt = self.doubts.get(number)
        if doubt is None:
            raise SampleNotFoundError("this frame is no longer in the queue")
        return doubt.jpeg

    def queue(self) -> dict[str, Any]:
        """Return the frames that wait for a label, the most useful first; docs/json.md describes the shape."""
        return {"doubts": [_queued(doubt) for doubt in self.doubts.items()], "problem": self.doubts.problem}

    def _notify(self) -> None:
        message = json.dumps(self._event(), separators=(",", ":"), ensure_ascii=False)
        self.events.publish(printable(message).encode())

    def _event(self) -> dict[str, Any]:
        capture = self.loop.capture
        seen = capture.observation.to_dict(old_names=False) if capture else {"frame": 0, "prediction": None}
        # a state file that cannot be read at the moment must not stop the other news
        with contextlib.suppress(EdgetlError):
            self._version = self.lessons.version
        return {
            "version": self._version,
            "queue": self.doubts.version,
            "camera": self.loop.figures(),
            **seen,
        }


def _queued(doubt: Doubt) -> dict[str, Any]:
    fields = doubt.to_dict()
    return fields | (fields["prediction"] or {})  # at the top level as in version 0.1
