"""Figures for Prometheus at ``/metrics``, in its text format 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/; docs/integrations.md lists the metrics.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..heads import Prediction
from ..live.watching import Observation

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper limits of the histogram of latency, in seconds."""

_RECENT = 500  # predictions over which the share of unknown ones is taken

Labels = Mapping[str, str]
Value = tuple[str, Labels, float]


@dataclass(frozen=True)
class Metric:
    """A metric with its values.

    Attributes:
        name: Name with the unit.
        kind: ``counter``, ``gauge`` or ``histogram``.
        help: What it measures.
        values: (suffix of the name, labels, value).
    """

    name: str
    kind: str
    help: str
    values: tuple[Value, ...]

    def lines(self) -> Iterable[str]:
        """Yield the lines of the text format; none without values."""
        if self.values:
            yield f"# HELP {self.name} {self.help}"
            yield f"# TYPE {self.name} {self.kind}"
        for suffix, labels, value in self.values:
            pairs = ",".join(f'{key}="{escape(text)}"' for key, text in labels.items())
            yield (
                f"{self.name}{suffix}{{{pairs}}} {float(value):.10g}"
                if pairs
                else f"{self.name}{suffix} {float(value):.10g}"
            )


def escape(text: str) -> str:
    r"""Return the value of a label with backslashes, quotes and line breaks escaped.

    Example:
        >>> print(escape('a "b"\\c'))
        a \"b\"\\c
    """
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Meter:
    """Count the predictions for one source of images; thread-safe.

    Args:
        source: Name of the camera or region, or ``http``.
        clock: Returns seconds.
    """

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.source, self._clock = source, clock
        self._lock = threading.Lock()
        self._labels: Counter[str] = Counter()
        self._unknown = self._frames = 0
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._newest: float | None = None

    def see(self, observation: Observation) -> None:
        """Count a frame."""
        if observation.closed:
            return
        self.count(observation.prediction, (observation.embed_ms + observation.head_ms) / 1e3)

    def count(self, prediction: Prediction | None, seconds: float) -> None:
        """Count an image and its prediction.

        Args:
            prediction: The prediction; None while nothing is taught.
            seconds: Duration of embedding and prediction.
        """
        with self._lock:
            self._frames += 1
            self._newest = self._clock()
            self._buckets[bisect.bisect_left(BUCKETS, seconds)] += 1
            self._seconds += seconds
            if prediction is None:
                return
            self._recent.append(prediction.known)
            if prediction.known:
                self._labels[prediction.label] += 1
            else:
                self._unknown += 1

    def metrics(self) -> list[Metric]:
        """Return the metrics of this source."""
        own = {"source": self.source}
        with self._lock:
            age = None if self._newest is None else self._clock() - self._newest
            share = self._recent.count(False) / len(self._recent) if self._recent else None
            labels = [("", own | {"label": label}, count) for label, count in sorted(self._labels.items())]
            return [
                _one("frames_total", "counter", "Images that were predicted.", own, self._frames),
                _one("newest_frame_age_seconds", "gauge", "Time since the newest image.", own, age),
                Metric("edgetl_predictions_total", "counter", "Predictions per known label.", tuple(labels)),
                _one("unknown_predictions_total", "counter", "Unknown predictions.", own, self._unknown),
                _one(
                    "unknown_ratio",
                    "gauge",
                    f"Share of unknown predictions, of the last {_RECENT}.",
                    own,
                    share,
                ),
                self._latency(own),
            ]

    def _latency(self, own: Labels) -> Metric:
        values: list[Value] = []
        total = 0
        for limit, count in zip([*map(str, BUCKETS), "+Inf"], self._buckets, strict=True):
            total += count
            values.append(("_bucket", {**own, "le": limit}, total))
        values += [("_sum", own, self._seconds), ("_count", own, total)]
        return Metric(
            "edgetl_latency_seconds", "histogram", "Duration of embedding and prediction.", tuple(values)
        )


def camera_metrics(source: str, condition: str, fps: float) -> list[Metric]:
    """Return the metrics of a camera: whether it delivers frames, and how many per second."""
    own = {"source": source}
    return [
        _one("camera_up", "gauge", "Whether the camera delivers frames, 0 or 1.", own, condition == "live"),
        _one("frames_per_second", "gauge", "Frames per second, smoothed.", own, fps),
    ]


def machine_metrics(facts: Labels, temperature: float | None) -> list[Metric]:
    """Return the metrics of the machine and its model.

    Args:
        facts: Names of the model, its backbone and the runtime.
        temperature: Degrees Celsius, or None where there is no sensor.
    """
    return [
        _one("info", "gauge", "Model, backbone and runtime; always 1.", facts, 1),
        _one("temperature_celsius", "gauge", "Temperature of the hottest sensor.", {}, temperature),
    ]


def sample_metrics(
    source: str, counts: Mapping[str, int], negatives: Mapping[str, int], background: int
) -> list[Metric]:
    """Return the number of samples per label, of negatives per denied label, and of background samples."""
    own = {"source": source}
    return [
        _per_label("samples", "Samples per label, those of the host included.", own, counts),
        _per_label("negatives", "Negatives per denied label, taught on the device.", own, negatives),
        _one("background_samples", "gauge", "Background samples, taught on the device.", own, background),
    ]


def _per_label(name: str, text: str, own: Labels, counts: Mapping[str, int]) -> Metric:
    values = [("", {**own, "label": label}, count) for label, count in sorted(counts.items())]
    return Metric(f"edgetl_{name}", "gauge", text, tuple(values))


def text_of(metrics: Iterable[Metric]) -> str:
    """Return the text that Prometheus reads; metrics of one name are joined, as the format demands."""
    joined: dict[str, Metric] = {}
    for metric in metrics:
        before = joined.get(metric.name)
        values = (before.values if before else ()) + metric.values
        joined[metric.name] = Metric(metric.name, metric.kind, metric.help, values)
    lines = [line for metric in joined.values() for line in metric.lines()]
    return "".join(f"{line}\n" for line in lines)


def _one(name: str, kind: str, text: str, labels: Labels, value: float | None) -> Metric:
    """Return a metric with one value, or none where it is not known."""
    return Metric(f"edgetl_{name}", kind, text, () if value is None else (("", labels, float(value)),))
