"""The status of a learner: samples, estimated accuracy, sizes, runtime."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EdgetlError, StateError
from ..files import may_write
from ..heads import Head
from ..heads.drift import DriftState
from ..heads.forecast import Forecast
from ..heads.intervals import held_out_interval
from ..heads.rejection import Rejection, joined_digest
from ..heads.report import Report
from ..model.embedder import Embedder
from ..model.manifest import Manifest
from ..model.modelfile import ModelFile
from ..negatives import split_counts
from ..store import Store
from .figures import Shown
from .shared import describe_shared

DRIFT = "drift"  # key of the setting


@dataclass(frozen=True)
class Status:
    """The state of a learner.

    Attributes:
        samples: Number of samples taught on this device per label.
        negatives: Number of negatives taught on this device per denied label.
        background: Number of background samples taught on this device.
        excluded: Number of samples that are kept and do not teach, per label that they had.
        host_negatives: Number of negatives that the host taught per denied label, under the present names.
        host_background: Number of background samples that the host taught.
        rejected: Share of the negatives per denied label that would be rejected if they were left out in turn; of the
            background under the empty text.
        host: Number of samples that the host taught per label, under the present names.
        report: The head's estimate of its own accuracy; None while nothing was taught.
        model: Name, backbone, dimensions, quantization, bytes, checksums of the model file, and what none covers.
        state: Path, bytes, journal position and versions of the state file.
        head: Name and digest of the head.
        runtime: Name, version, threads and delegate.
        drift: What the last run measured of drift, see `device.heads.drift`, with ``when`` and the ``position`` of
            the journal at that time; None when there was none.
        held_out: The figure made at conversion, on photos that neither tuned the backbone nor taught the head, before
            anything was taught here; None when the model file has none.
        forecast: The accuracy with more photos; None until it is asked for.
        behind: Number of samples that were taught, forgotten or relabeled after `report` was made; 0 if it is the report on
            the present samples, as ``Learner.status(wait=True)`` returns.
        fleet: What the other devices of a fleet have learned: ``round``, number of ``devices``, number of ``samples`` per label,
            their ``weight``, and the ``time`` when it was received; None outside of a fleet.
    """

    samples: dict[str, int]
    host: dict[str, int]
    report: Report | None
    model: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, Any] | None = None
    held_out: dict[str, Any] | None = None
    negatives: dict[str, int] = field(default_factory=dict)
    background: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, float] = field(default_factory=dict)
    host_negatives: dict[str, int] = field(default_factory=dict)
    host_background: int = 0
    forecast: Forecast | None = None
    behind: int = 0
    fleet: dict[str, Any] | None = None

    def __repr__(self) -> str:
        taught = f"{sum(self.samples.values())} samples taught here, {sum(self.host.values())} on the host"
        return f"<Status {self.model.get('name', '')}: {taught}, accuracy {_rounded(self.accuracy)}>"

    @property
    def accuracy(self) -> float | None:
        """Leave-one-out accuracy, or None when too few samples may be judged."""
        return self.report.accuracy if self.report else None

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """Taught against predicted label, int64 [C, C], with each sample left out in turn."""
        return self.report.confusion if self.report else None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable dict; ``lab`` is the former name of ``host``, kept for one version."""
        fields = {**vars(self), "lab": self.host}
        fields["report"] = self.report.to_dict() if self.report else None
        fields["forecast"] = self.forecast.to_dict() if self.forecast else None
        return {**fields, "accuracy": self.accuracy}


def _rounded(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def status_of(
    model: ModelFile,
    store: Store,
    head: str,
    shown: Shown,
    embedder: Embedder,
    rejection: Rejection | None = None,
) -> Status:
    """Return the status of a learner; the caller keeps the store from changing meanwhile.

    Args:
        model: The model file.
        store: The state.
        head: The name of the head.
        shown: The figures of the head.
        embedder: The backbone, which names the runtime.
        rejection: The negatives and background, if there are any.
    """
    figures = shown.figures
    negatives, background = split_counts(store.hidden_counts())
    taught = {} if model.negatives is None else model.negatives.renamed(store.host_labels()).counts()
    host_negatives, host_background = split_counts(taught)
    host = {} if model.memory is None else model.memory.renamed(store.host_labels()).counts()
    return Status(
        samples=store.counts(),
        host=host,
        report=figures.report,
        model={
            "name": model.path.name,
            "backbone": model.manifest.backbone,
            "dimensions": model.manifest.dimensions,
            "views": store.identity.views,
            "quantization": model.manifest.quantization,
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
        head={"name": head, "digest": joined_digest(figures.digest, rejection)},
        runtime={
            "name": embedder.runtime.name,
            "version": embedder.runtime.version,
            "threads": embedder.threads,
            "delegate": embedder.delegate or "cpu",
        },
        drift=_drift_note(store),
        held_out=_held_out(model.manifest),
        negatives=negatives,
        background=background,
        excluded=store.excluded_counts(),
        host_negatives=host_negatives,
        host_background=host_background,
        rejected=figures.rejected,
        forecast=figures.forecast,
        fleet=describe_shared(store),
        behind=shown.behind,
    )


def _held_out(manifest: Manifest) -> dict[str, Any] | None:
    figure = manifest.held_out
    if figure is None:
        return None
    interval = held_out_interval(figure["correct"], figure["photos"], figure.get("views"))
    return {**figure, "interval": interval}


def _drift_note(store: Store) -> dict[str, Any] | None:
    """Return the note of `keep_drift`; None when it is missing or has another form."""
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


def keep_drift(store: Store, head: Head, drift: DriftState) -> bool:
    """Write the measured drift to the state file, for `status` to show.

    `store` may be open for reading only; the file is opened again for writing.

    Returns:
        Whether it could be written.
    """
    path = store.path
    if path is None or not path.exists():
        return False
    threshold = head.fit.threshold
    figures = drift.to_dict() | {
        "threshold": threshold if np.isfinite(threshold) else None,
        "when": store.now(),
        "position": store.position(),
    }
    try:
        with Store.open(path) as writable:
            writable.set_setting(DRIFT, figures)
    except EdgetlError:  # a read-only disk or a busy file: nothing taught depends on it
        return False
    return True
