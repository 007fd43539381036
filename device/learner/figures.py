"""The figures of a head that take long to compute, kept until something is taught or changed.

The head's report on itself and the digest of the head are functions of the model's memory and the journal. They are computed
once per position of the journal: on `status`, or in the background when no lesson came for a moment. When the
learner is closed they are stored beside the derived heads, so that `edgetl status` reads them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SampleNotFoundError
from ..heads import Head
from ..heads.forecast import NO_LABELS, Forecast, forecast, forecast_from
from ..heads.report import MixedLabels, Report, self_report
from ..heads.splits import SplitLabel
from ..model.codes import Codes
from ..model.memory import Samples, Sums
from ..model.modelfile import ModelFile
from ..store import Store

REPORT_LIMIT = 5_000  # samples of the estimate; its cost is quadratic in their number
STORE_FROM = 200  # with fewer samples, computing the figures takes no longer than storing them
CHANGED = "no forecast, because something was taught meanwhile; ask again"
_FORM = 1  # increase when the same samples lead to other figures, so that stored ones are computed again


@dataclass(frozen=True)
class Figures:
    """The figures of one state.

    Attributes:
        digest: The digest of the head.
        report: The head's report on itself; None while nothing was taught.
        forecast: The accuracy with more samples; None until it is asked for, because it takes longer.
    """

    digest: str
    report: Report | None
    forecast: Forecast | None = None

    def to_bytes(self) -> bytes:
        """Return the figures as JSON, with the confusion as triples of row, column and number."""
        report = None if self.report is None else self.report.to_dict()
        if self.report is not None and report is not None:
            rows, columns = np.nonzero(self.report.confusion)
            numbers = self.report.confusion[rows, columns]
            report["confusion"] = np.stack([rows, columns, numbers], axis=1).tolist()
        made = None if self.forecast is None else self.forecast.to_dict()
        return json.dumps({"form": _FORM, "digest": self.digest, "report": report, "forecast": made}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Figures | None:
        """Return what `to_bytes` wrote; None for another form."""
        try:
            values = json.loads(data)
            if values["form"] != _FORM:
                return None
            report, made = values["report"], values["forecast"]
            return cls(
                values["digest"],
                None if report is None else _report(report),
                None if made is None else forecast_from(made),
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return None


def _report(values: dict[str, Any]) -> Report:
    labels = tuple(values["labels"])
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    for row, column, number in values["confusion"]:
        confusion[row, column] = number
    named: dict[str, Any] = {name: values[name] for name in (field.name for field in fields(Report))}
    lists = {name: _as_tuple(value) for name, value in named.items() if isinstance(value, list)}
    mixed = values["mixed"]
    if mixed is not None:
        mixed = MixedLabels(**{name: _as_tuple(value) for name, value in mixed.items()})
    splits = tuple(
        SplitLabel(**{name: _as_tuple(value) for name, value in one.items()}) for one in values["splits"]
    )
    return Report(**named | lists | {"confusion": confusion, "mixed": mixed, "splits": splits})


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Judged:
    """The samples that judge a head.

    Attributes:
        ids: int64 [N]; those of the host are -1, -2, ..., because the device has no picture of them.
        labels: N labels.
        bursts: int64 [N].
        codes: int16 [N, D].
    """

    ids: NDArray[np.int64]
    labels: list[str]
    bursts: NDArray[np.int64]
    codes: Codes


def judged_samples(model: ModelFile, store: Store) -> Judged:
    """Return the samples of the device and of the host, at most `REPORT_LIMIT`, evenly spread.

    Raises:
        SampleNotFoundError: A sample was purged meanwhile.
    """
    ids, labels, bursts = store.ids()
    chosen = _spread(len(ids), REPORT_LIMIT)
    codes = store.codes([int(ids[place]) for place in chosen])
    ids, bursts, labels = ids[chosen], bursts[chosen], [labels[place] for place in chosen]
    if isinstance(model.memory, Samples):
        host = model.memory.renamed(store.host_labels())
        kept = _spread(len(host.labels), max(0, REPORT_LIMIT - len(ids)))
        own = -1 - np.arange(len(kept))
        views = own if host.groups is None else -1 - host.groups[kept].astype(np.int64)
        codes = np.concatenate([codes, host.codes[kept]])
        labels = labels + [host.labels[place] for place in kept]
        ids, bursts = np.concatenate([ids, own]), np.concatenate([bursts, views])
    return Judged(ids, labels, bursts, codes)


def figures_of(head: Head, judged: Judged) -> Figures:
    """Compute the figures of a head."""
    if not judged.labels:
        return Figures(head.digest(), None)
    report = self_report(
        head, judged.codes, judged.labels, ids=judged.ids, bursts=judged.bursts, limit=REPORT_LIMIT
    )
    sampled = len(judged.labels) < sum(head.counts.values())
    return Figures(head.digest(), replace(report, sampled=sampled))


class KeptFigures:
    """The figures of the present state, computed at most once.

    Args:
        model: The model file.
        store: The state.
        key: Returns a text that identifies the kind of head, its options and the model's memory.
    """

    def __init__(self, model: ModelFile, store: Store, key: Callable[[], str]) -> None:
        self._model, self._store, self._key = model, store, key
        self._known: tuple[int, Figures] | None = None
        self._stored = -1  # position whose figures are in the state file
        self._looked = False
        self._lock = threading.Lock()

    def of(self, head: Head, position: int) -> Figures:
        """Return the figures of a head at this position of the journal; the caller keeps both from changing."""
        known = self._at(position) or self._read(position)
        if known is None:
            known = figures_of(head, judged_samples(self._model, self._store))
            if head.order_free:  # another head of the same samples has the same figures
                self._remember(position, known)
        return known

    def with_forecast(self, head: Head, position: int, known: Figures, empty: Callable[[], Head]) -> Figures:
        """Return the figures with the forecast; others may teach meanwhile.

        Args:
            head: The head; only the samples that tuned the backbone are read from it.
            position: The position of the journal that the figures belong to.
            known: The figures of this position.
            empty: Makes a head of the same kind that has learned nothing.
        """
        if known.forecast is not None:
            return known
        made = self._forecast(head, position, known.report, empty)
        figures = replace(known, forecast=made)
        if head.order_free and made.lasting:
            self._stored = -1
            self._remember(position, figures)
        return figures

    def _forecast(
        self, head: Head, position: int, report: Report | None, empty: Callable[[], Head]
    ) -> Forecast:
        if report is None or not head.order_free or isinstance(self._model.memory, Sums):
            return Forecast.without(_reason(head, self._model))
        try:
            judged = judged_samples(self._model, self._store)
        except SampleNotFoundError:
            return Forecast.without(CHANGED)
        if self._store.position() != position:
            return Forecast.without(CHANGED)
        taught = sum(head.counts.values())
        return forecast(
            empty,
            head,
            report,
            judged.codes,
            judged.labels,
            judged.bursts,
            len(judged.labels) / max(taught, 1),
        )

    def prepare(self, head: Head, position: int) -> None:
        """Compute the figures of a copy of the head, while others may teach; then they are discarded."""
        if self._at(position) is not None:
            return
        try:
            judged = judged_samples(self._model, self._store)
        except SampleNotFoundError:
            return
        if self._store.position() == position:
            self._remember(position, figures_of(head, judged))

    def store(self, position: int) -> None:
        """Write the figures of this position to the state file, if they were computed and take long to compute."""
        known = self._at(position)
        if known is None or known.report is None or position == self._stored or self._store.read_only:
            return
        if known.report.samples >= STORE_FROM:
            self._store.keep_head(self._name(), position, known.digest, known.to_bytes())

    def _at(self, position: int) -> Figures | None:
        with self._lock:
            return self._known[1] if self._known is not None and self._known[0] == position else None

    def _remember(self, position: int, figures: Figures) -> None:
        with self._lock:
            if self._known is None or self._known[0] <= position:
                self._known = position, figures

    def _read(self, position: int) -> Figures | None:
        if self._looked or not self._store.has_kept_heads():
            return None
        self._looked = True
        kept = self._store.kept_head(self._name())
        if kept is None or kept[0] != position:
            return None
        figures = Figures.from_bytes(kept[2])
        if figures is not None:
            self._stored = position
            self._remember(position, figures)
        return figures

    def _name(self) -> str:
        return f"figures of {self._key()}"


def _reason(head: Head, model: ModelFile) -> str:
    if not head.order_free:
        return (
            f"no forecast for the {head.name} head, because it would be trained many times; use --head exact"
        )
    if isinstance(model.memory, Sums):
        return "no forecast, because the samples of the host are kept as sums, which cannot be left out"
    return NO_LABELS


def _spread(count: int, limit: int) -> NDArray[np.int64]:
    """Return at most `limit` of `count` places, evenly spread, always the same ones."""
    if count <= limit:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(np.int64) if limit else np.arange(0)
