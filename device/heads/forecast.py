"""How accurate a head would be with more samples.

The errors of heads that learn a quarter, half and three quarters of the groups (`device.heads.curve`) and the leave-one-out
error of the head itself are extrapolated (`device.heads.extrapolate`), for all labels together and per label. Near-duplicates
and bursts count as one view, because more of the same teaches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError
from ..model.codes import Codes
from .base import Floats, Head, check_codes
from .curve import Step, learning_curve
from .extrapolate import ExpectedAccuracy, Posterior
from .intervals import FEWEST, SHARED
from .report import FEW, Report, near_duplicates
from .threads import one_blas_thread

FACTOR = 2.0  # forecasts are for this many times the views
DONE = 0.02  # a label is done if twice as many views gain less, in nine of ten cases
FEWEST_VIEWS = 10  # in total
NO_LABELS = f"too few photos to forecast: at least two labels need {FEW} separate views each"


@dataclass(frozen=True)
class LabelForecast:
    """The forecast for one label.

    Attributes:
        views: Number of separate views that were taught.
        now: Accuracy on photos of this label now, with a 90 % interval.
        more: Number of further views that the forecast is for; all other labels get as many times more.
        then: Accuracy with them, with a 90 % interval.
        done: Whether they would hardly help.
    """

    views: int
    now: ExpectedAccuracy
    more: int
    then: ExpectedAccuracy
    done: bool


@dataclass(frozen=True)
class Forecast:
    """The accuracy with twice as many views per label.

    Attributes:
        views: Number of separate views of the labels in `labels`.
        now: Mean accuracy of the labels now, with a 90 % interval; None where there are too few photos to forecast.
        then: Mean accuracy with twice as many views of each label, with a 90 % interval.
        labels: The forecast per label, without labels that have too few views.
        too_few: Labels with too few views to forecast.
        reason: Why there is no forecast, or "".
        curve: Share of the views and accuracy there, from which the forecast was made.
        lasting: Whether asking again leads to the same, as long as nothing changes.
    """

    views: int
    now: ExpectedAccuracy | None
    then: ExpectedAccuracy | None
    labels: dict[str, LabelForecast]
    too_few: tuple[str, ...]
    reason: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    lasting: bool = True

    def __repr__(self) -> str:
        if self.now is None or self.then is None:
            return f"<Forecast {self.reason}>"
        return f"<Forecast {self.views} views, {len(self.labels)} labels: {self.now.accuracy:.2f} to {self.then.accuracy:.2f}>"

    @classmethod
    def without(cls, reason: str) -> Forecast:
        """Return that there is no forecast at the moment, and why."""
        return cls(0, None, None, {}, (), reason, lasting=False)

    @property
    def next(self) -> str | None:
        """The label that gains most from more photos; None if all are done."""
        open_ones = {label: one for label, one in self.labels.items() if not one.done}
        return max(
            open_ones,
            key=lambda label: open_ones[label].then.accuracy - open_ones[label].now.accuracy,
            default=None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values, with the sentences of `describe` as ``text``."""
        fields = asdict(self)
        del fields["lasting"]
        return {**fields, "next": self.next, "text": self.describe()}

    def describe(self) -> list[str]:
        """Return the forecast as sentences, the label that gains most first."""
        if self.now is None or self.then is None:
            return [self.reason[:1].upper() + self.reason[1:]]
        lines = [
            f"With twice as many photos of each label: about {_percent(self.then)}, now {self.now.accuracy:.0%}"
        ]
        gains = sorted(self.labels.items(), key=lambda one: one[1].now.accuracy - one[1].then.accuracy)
        lines += [_sentence(label, one) for label, one in gains if not one.done]
        done = [label for label, one in self.labels.items() if one.done]
        if done:
            verb = "is" if len(done) == 1 else "are"
            lines.append(
                f"{', '.join(done)} {verb} done: twice as many photos would add less than {100 * DONE:.0f} points"
            )
        if self.too_few:
            lines.append(
                f"Too few photos to forecast: {', '.join(self.too_few)}; teach at least {FEW} separate views"
            )
        return lines


def forecast(
    empty: Callable[[], Head],
    head: Head,
    report: Report,
    codes: Codes,
    labels: Sequence[str],
    bursts: NDArray[np.int64],
    share: float = 1.0,
) -> Forecast:
    """Forecast the accuracy of a head with more samples.

    Args:
        empty: Makes a head of the same kind and options that has learned nothing.
        head: The head, which has learned the samples.
        report: Its report on these samples.
        codes: int16 [N, D], the learned samples.
        labels: Their N labels.
        bursts: int64 [N]; samples with the same number are from one burst.
        share: Share of all samples that these are.
    """
    codes = check_codes(codes, head.dimensions)
    names = tuple(sorted(set(labels)))
    if len(labels) != len(codes):
        raise LabelError(f"{len(codes)} codes need {len(codes)} labels, got {len(labels)}")
    owners = np.array([names.index(label) for label in labels], np.int64)
    with one_blas_thread():
        groups = near_duplicates(codes, owners, np.asarray(bursts))
    judges = head.may_judge(codes)
    views = _views(groups[judges], owners[judges], len(names))
    enough = (views >= FEW) & np.array([name in report.recall for name in names])
    if enough.sum() < 2 or views[enough].sum() < FEWEST_VIEWS:
        return Forecast(int(views.sum()), None, None, {}, names, NO_LABELS)
    # each head limits the threads of BLAS while it is fitted, so that predictions wait for one of them only
    steps = learning_curve(empty, codes, names, owners, groups, judges)
    steps = tuple(Step(step.share * share, step.wrong) for step in steps)
    left_out = np.array([1 - report.recall.get(name, np.nan) for name in names])
    return extrapolated(steps, left_out, names, views, enough)


def extrapolated(
    steps: Sequence[Step],
    left_out: Floats,
    names: Sequence[str],
    views: NDArray[np.int64],
    enough: NDArray[np.bool_],
    factor: float = FACTOR,
) -> Forecast:
    """Return the forecast that errors lead to.

    Args:
        steps: The errors at shares of the views.
        left_out: float64 [C], leave-one-out errors per label.
        names: C labels.
        views: int64 [C], their views.
        enough: bool [C], the labels with enough views to forecast.
        factor: Number of views to forecast for, relative to the present number.
    """
    shares = np.array([step.share for step in steps] + [1 - 1 / float(views[enough].mean())])
    wrong = np.stack([step.wrong for step in steps] + [left_out])
    total = float(views[enough].sum())
    trials = 1 / (1 / total + SHARED / (total * max(total, FEWEST)))
    together = np.nanmean(wrong[:, enough], axis=1)
    whole = Posterior(shares, together, trials)
    single = {
        names[at]: _of_label(Posterior(shares, wrong[:, at], float(views[at]), whole), int(views[at]), factor)
        for at in np.flatnonzero(enough).tolist()
    }
    return Forecast(
        views=int(total),
        now=whole.expected(),
        then=whole.expected(factor),
        labels=single,
        too_few=tuple(name for name, one in zip(names, enough, strict=True) if not one),
        curve=tuple(
            (round(float(share), 4), round(float(1 - error), 4))
            for share, error in zip(shares, together, strict=True)
        ),
    )


def forecast_from(values: dict[str, Any]) -> Forecast:
    """Return the forecast that `Forecast.to_dict` returned, also through JSON."""
    labels = {
        label: LabelForecast(**{**one, "now": _expected(one["now"]), "then": _expected(one["then"])})
        for label, one in values["labels"].items()
    }
    return Forecast(
        views=values["views"],
        now=_expected(values["now"]),
        then=_expected(values["then"]),
        labels=labels,
        too_few=tuple(values["too_few"]),
        reason=values["reason"],
        curve=tuple((share, accuracy) for share, accuracy in values["curve"]),
    )


def _expected(values: Any) -> Any:
    return None if values is None else ExpectedAccuracy(values["accuracy"], tuple(values["interval"]))


def _views(groups: NDArray[np.int64], owners: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return np.array([len(np.unique(groups[owners == owner])) for owner in range(count)], np.int64)


def _of_label(curve: Posterior, views: int, factor: float) -> LabelForecast:
    done = curve.largest_gain(FACTOR) < DONE
    return LabelForecast(views, curve.expected(), round((factor - 1) * views), curve.expected(factor), done)


def _sentence(label: str, one: LabelForecast) -> str:
    return f"About {one.more} more photos of {label} would bring it from {one.now.accuracy:.0%} to about {_percent(one.then)}"


def _percent(one: ExpectedAccuracy) -> str:
    low, high = one.interval
    return f"{one.accuracy:.0%} (90 % interval {low:.0%} to {high:.0%})"
