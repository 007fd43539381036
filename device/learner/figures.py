"""The figures of a head that take long to compute, kept until something is taught or changed.

The head's report on itself and the digest of the head are functions of the model's memory and the journal. They are computed
once per position of the journal: on request, or in the background when no lesson came for a moment. When the
learner is closed they are stored beside the derived heads, so that `edgetl status` reads them.

Directly after a lesson they would take as long as tens of embeddings, so that `status` shows the figures from before it,
with the number of samples that have changed since.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SampleNotFoundError
from ..files import may_write
from ..heads import Head
from ..heads.exact import ExactHead
from ..heads.forecast import NO_LABELS, Forecast, forecast, forecast_from
from ..heads.rejection import Rejection
from ..heads.report import MixedLabels, Report, self_report
from ..heads.splits import SplitLabel
from ..model.codes import Codes
from ..model.memory import Samples, Sums
from ..model.modelfile import ModelFile
from ..negatives import split_label
from ..store import Store
from .changes import net_changes, touches_everything

REPORT_LIMIT = 5_000  # samples of the estimate; its cost is quadratic in their number
HIDDEN_LIMIT = 1_000  # negatives and background samples that are left out in turn
STORE_FROM = 200  # with fewer samples, computing the figures takes no longer than storing them
EARLIER_FROM = 150  # with fewer samples, computing the figures takes less than five embeddings
_GROWTH = 10  # earlier figures are shown until one sample in ten has changed
_NEW_CODES = ("recover", "reembed")  # actions after which a sample with the same id may have another code
CHANGED = "no forecast, because something was taught meanwhile; ask again"
_FORM = 2  # increase when the same samples lead to other figures, so that stored ones are computed again


@dataclass(frozen=True)
class Figures:
    """The figures of one state.

    Attributes:
        digest: The digest of the head.
        report: The head's report on itself; None while nothing was taught.
        forecast: The accuracy with more samples; None until it is asked for, because it takes longer.
        rejected: Share of the negatives per denied label that would be rejected if they were left out in turn; of the
            background under the empty text.
    """

    digest: str
    report: Report | None
    forecast: Forecast | None = None
    rejected: dict[str, float] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the figures as JSON, with the confusion as triples of row, column and number."""
        report = None if self.report is None else self.report.to_dict()
        if self.report is not None and report is not None:
            rows, columns = np.nonzero(self.report.confusion)
            numbers = self.report.confusion[rows, columns]
            report["confusion"] = np.stack([rows, columns, numbers], axis=1).tolist()
        made = None if self.forecast is None else self.forecast.to_dict()
        values = {"digest": self.digest, "report": report, "forecast": made, "rejected": self.rejected}
        return json.dumps({"form": _FORM, **values}).encode()

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
                {str(label): float(share) for label, share in values["rejected"].items()},
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return None


def _report(values: dict[str, Any]) -> Report:
    labels = tuple(values["labels"])
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    for row, column, number in values["confusion"]:
        confusion[row, column] = number
    named: dict[str, Any] = {name: values[name] for name in (one.name for one in fields(Report))}
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


@dataclass(frozen=True)
class Hidden:
    """The newest negatives and background samples.

    Attributes:
        labels: N stored labels.
        codes: int16 [N, D].
    """

    labels: list[str]
    codes: Codes


def hidden_samples(store: Store) -> Hidden:
    """Return the newest negatives and background samples, at most `HIDDEN_LIMIT`.

    Raises:
        SampleNotFoundError: A sample was purged meanwhile.
    """
    ids, labels, _ = store.ids(hidden=True)
    return Hidden(labels[-HIDDEN_LIMIT:], store.codes(ids[-HIDDEN_LIMIT:].tolist()))


def rejected_shares(rejection: Rejection | None, hidden: Hidden) -> dict[str, float]:
    """Return the share of negatives and background that are rejected when left out in turn, see `Figures.rejected`."""
    if rejection is None:
        return {}
    names, shares = np.array(hidden.labels), {}
    for stored in sorted(set(hidden.labels)):
        mine = names == stored
        if mine.sum() > 1:  # the only one cannot be left out
            shares[split_label(stored)[1] or ""] = float(
                rejection.rejected(hidden.codes[mine], stored).mean()
            )
    return shares


def figures_of(head: Head, judged: Judged, hidden: Hidden) -> Figures:
    """Compute the figures of a head and of its rejection."""
    rejected = rejected_shares(head.rejection, hidden)
    if not judged.labels:
        return Figures(head.digest(), None, rejected=rejected)
    report = self_report(
        head, judged.codes, judged.labels, ids=judged.ids, bursts=judged.bursts, limit=REPORT_LIMIT
    )
    sampled = len(judged.labels) < sum(head.counts.values())
    return Figures(head.digest(), replace(report, sampled=sampled), rejected=rejected)


@dataclass(frozen=True)
class Shown:
    """Figures, and the number of samples that they leave out.

    Attributes:
        figures: The figures.
        behind: Number of samples that were taught, forgotten or relabeled after the figures were computed.
    """

    figures: Figures
    behind: int = 0


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
        known = self._at(position)
        if known is None and self._read(position):
            known = self._at(position)
        if known is None:
            known = figures_of(head, judged_samples(self._model, self._store), hidden_samples(self._store))
            if head.order_free:  # another head of the same samples has the same figures
                self._remember(position, known)
        return known

    def shown(self, head: Head, position: int) -> Shown:
        """Return the figures of a head, or where computing them takes long, those from before the latest changes.

        Earlier figures are shown with 150 samples or more until one sample in ten has changed, as long as every label in them
        still has samples.
        """
        if self._at(position) is None and isinstance(head, ExactHead):
            earlier = self._earlier(head, position)
            if earlier is not None:
                return earlier
        return Shown(self.of(head, position))

    def _earlier(self, head: Head, position: int) -> Shown | None:
        """Return figures of an earlier position with what remains true of them; None where there are none to show."""
        self._read(position)
        with self._lock:
            known = self._known
        if known is None or known[0] > position:
            return None
        before, figures = known
        total, report = sum(head.counts.values()), figures.report
        changed = self._changed_since(before, total // _GROWTH)
        if changed is None or report is None:
            return None
        if not changed:  # such as a lesson that was undone
            self._remember(position, figures)
            return Shown(figures)
        if total < EARLIER_FROM or not set(report.labels) <= set(head.counts):
            return None
        remaining = Figures(head.digest(), report.without_samples(changed), rejected=figures.rejected)
        return Shown(remaining, len(changed))

    def _changed_since(self, position: int, most: int) -> set[int] | None:
        """Return the ids of samples whose labels changed since a position; None for more than `most`, or other changes."""
        entries = self._store.entries(after=position)
        if any(touches_everything(entry) or entry.action in _NEW_CODES for entry in entries):
            return None
        changed = {number for part in net_changes(entries) for number, _ in part}
        return changed if len(changed) <= most else None

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
            judged, hidden = judged_samples(self._model, self._store), hidden_samples(self._store)
        except SampleNotFoundError:
            return
        if self._store.position() == position:
            self._remember(position, figures_of(head, judged, hidden))

    def store(self) -> None:
        """Write the latest figures to the state file, if they were computed and take long to compute."""
        kept = None if self._store.read_only else self._unstored()
        if kept is not None:
            self._store.keep_head(self._name(), *kept)
            self._stored = kept[0]

    def store_beside(self) -> None:
        """Do the same for a state that is open for reading only, by opening it once more.

        Raises:
            EdgetlError: It cannot be written.
        """
        kept, path = self._unstored(), self._store.path
        if kept is not None and path is not None and may_write(path):
            with Store.open(path) as writable:
                writable.keep_head(self._name(), *kept)

    def _unstored(self) -> tuple[int, str, bytes] | None:
        with self._lock:
            known = self._known
        if known is None or known[0] == self._stored:
            return None
        position, figures = known
        if figures.report is None or figures.report.samples < STORE_FROM:
            return None
        return position, figures.digest, figures.to_bytes()

    def _at(self, position: int) -> Figures | None:
        with self._lock:
            return self._known[1] if self._known is not None and self._known[0] == position else None

    def _remember(self, position: int, figures: Figures) -> None:
        with self._lock:
            if self._known is None or self._known[0] <= position:
                self._known = position, figures

    def _read(self, position: int) -> bool:
        """Read the figures in the state file, once, and return whether they are of this position."""
        if self._looked or not self._store.has_kept_heads():
            return False
        self._looked = True
        kept = self._store.kept_head(self._name())
        if kept is None or kept[0] > position:
            return False
        figures = Figures.from_bytes(kept[2])
        if figures is None:
            return False
        self._stored = kept[0]
        self._remember(kept[0], figures)
        return kept[0] == position

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
