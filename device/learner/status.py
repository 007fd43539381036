"""What a learner can say about itself: samples, honest accuracy, sizes, runtime."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, StateError
from ..files import may_write
from ..heads.drift import DriftState
from ..heads.intervals import held_out_interval
from ..heads.report import Report, self_report
from ..model.manifest import Manifest
from ..model.taught import Taught
from ..store import Store

if TYPE_CHECKING:
    from .learner import Learner

DRIFT = "drift"  # the setting that keeps it
REPORT_LIMIT = 5_000  # samples the estimate is made from; it is quadratic in their number


@dataclass(frozen=True)
class Status:
    """The state of a learner.

    Attributes:
        samples: Samples taught on this device, a label.
        lab: Samples the host taught, a label, under the names they have now.
        report: The head's honest estimate of itself; None while nothing was taught.
        model: Name, backbone, dimensions, quantization, bytes, checksums of the model file, and what none covers.
        state: Path, bytes, journal position and versions of the state file.
        head: Name and digest of the head.
        runtime: Name, version, threads and delegate.
        drift: What the last watching said of the world, see `device.heads.drift`, with ``when`` and the journal's
            ``position`` then; None when there was none.
        held_out: The figure made at conversion, on photos that neither tuned the backbone nor taught the head, before
            anything was taught here; None when the model file has none.
    """

    samples: dict[str, int]
    lab: dict[str, int]
    report: Report | None
    model: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, Any] | None = None
    held_out: dict[str, Any] | None = None

    @property
    def accuracy(self) -> float | None:
        """Leave-one-out accuracy, or None when too few samples may be judged."""
        return self.report.accuracy if self.report else None

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """Taught against predicted, [C, C], when each sample is left out in turn."""
        return self.report.confusion if self.report else None

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON-able values."""
        fields = dict(vars(self))
        fields["report"] = self.report.to_dict() if self.report else None
        return {**fields, "accuracy": self.accuracy}


def status_of(learner: Learner) -> Status:
    """Describe `learner`; called with its lock held."""
    store, model = learner.store, learner.model
    return Status(
        samples=store.counts(),
        lab=_lab_counts(learner),
        report=report_of(learner),
        model={
            "name": model.path.name,
            "backbone": model.manifest.backbone,
            "dimensions": model.manifest.dimensions,
            "quantisation": model.manifest.quantization,
            "sha256": model.sha256,
            "digest": model.digest,
            "unchecked": list(model.unchecked),
            "bytes": model.path.stat().st_size if model.path.exists() else None,
        },
        state={
            "path": str(store.path) if store.path else None,
            "bytes": store.size(),
            "position": store.position(),
            "versions": len(store.versions()),
            "writable": store.path is None or may_write(store.path),
        },
        head={"name": learner.head.name, "digest": learner.head.digest()},
        runtime={
            "name": learner.runtime.name,
            "version": learner.runtime.version,
            "threads": learner.embedder.threads,
            "delegate": learner.embedder.delegate or "cpu",
        },
        drift=_drift_note(store),
        held_out=_held_out(model.manifest),
    )


def _held_out(manifest: Manifest) -> dict[str, Any] | None:
    figure = manifest.held_out
    if figure is None:
        return None
    interval = held_out_interval(figure["correct"], figure["photos"], figure.get("views"))
    return {**figure, "interval": interval}


def _drift_note(store: Store) -> dict[str, Any] | None:
    """Return what `keep_drift` wrote, None when it is missing or of another form."""
    try:
        note = store.setting(DRIFT)
    except StateError:
        return None
    if not isinstance(note, dict) or not isinstance(note.get("drifted"), bool):
        return None
    numbers = ["when", "unknown_share", "position"]
    if note.get("threshold") is not None:  # notes of 0.1.0 have none
        numbers += ["threshold", "unknown_score"]
    return note if all(_is_number(note.get(name)) for name in numbers) else None


def _is_number(value: object) -> bool:
    # the comparison is false for NaN
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def keep_drift(learner: Learner, drift: DriftState) -> bool:
    """Keep what watching said of the world, so that `status` can tell; whether it could be written.

    Watching itself only reads, so the state file is opened for this alone.
    """
    path = learner.store.path
    if path is None or not path.exists():
        return False
    threshold = learner.head.fit.threshold
    figures = drift.to_dict() | {
        "threshold": threshold if np.isfinite(threshold) else None,
        "when": learner.store.now(),
        "position": learner.store.position(),
    }
    try:
        with Store.open(path) as store:
            store.set_setting(DRIFT, figures)
    except DeviceError:  # a read-only disk or a busy file: nothing taught hangs on it
        return False
    return True


def report_of(learner: Learner) -> Report | None:
    """Let the head estimate itself on what it was taught, the host's samples included.

    The host's samples have the ids -1, -2, ...; they are never named as suspects, since nobody at the device
    can look at them.
    """
    ids, labels, bursts = learner.store.ids()
    chosen = _spread(len(ids), REPORT_LIMIT)
    codes = learner.store.codes([int(ids[place]) for place in chosen])
    ids, bursts, labels = ids[chosen], bursts[chosen], [labels[place] for place in chosen]
    memory = learner.model.taught
    if isinstance(memory, Taught):
        lab = learner.store.lab()
        names = [lab.get(label, label) for label in memory.labels]
        kept = [place for place in range(len(names)) if names[place] is not None]
        kept = [kept[place] for place in _spread(len(kept), max(0, REPORT_LIMIT - len(ids)))]
        own = -1 - np.arange(len(kept))
        views = own if memory.groups is None else -1 - memory.groups[kept].astype(np.int64)
        codes = np.concatenate([codes, memory.codes[kept]])
        labels = labels + [str(names[place]) for place in kept]
        ids, bursts = np.concatenate([ids, own]), np.concatenate([bursts, views])
    if not labels:
        return None
    report = self_report(learner.head, codes, labels, ids=ids, bursts=bursts, limit=REPORT_LIMIT)
    return replace(report, sampled=len(labels) < sum(learner.head.counts.values()))


def _spread(count: int, limit: int) -> NDArray[np.int64]:
    """Choose at most `limit` of `count` places, evenly over time, always the same ones."""
    if count <= limit:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(np.int64) if limit else np.arange(0)


def _lab_counts(learner: Learner) -> dict[str, int]:
    memory, lab = learner.model.taught, learner.store.lab()
    if memory is None:
        return {}
    if isinstance(memory, Taught):
        listed = [(label, 1) for label in memory.labels]
    else:
        listed = [(label, int(count)) for label, count in zip(memory.labels, memory.counts, strict=True)]
    counts: dict[str, int] = {}
    for label, count in listed:
        name = lab.get(label, label)
        if name is not None:
            counts[name] = counts.get(name, 0) + count
    return dict(sorted(counts.items()))
