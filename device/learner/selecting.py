"""Selecting many samples at once, to relabel, delete or exclude them in one change."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SampleNotFoundError, SelectionError
from ..heads.nearest import centered_units
from ..labels import check_label
from ..model.codes import SCALE
from ..negatives import BACKGROUND, check_one, negative_of
from ..store import Sample, Store

LIKENESS = 0.5
"""Cosine of two embeddings, seen from the mean of all taught samples, from which two images count as look-alikes. With
EfficientNet-Lite0, frames of a still scene have .95 and more, and 95 % of the pairs of flowers above .5 have one label."""

_CHUNK = 500


@dataclass(frozen=True)
class SampleFilter:
    """Conditions on samples; a sample has to meet all that are set.

    Attributes:
        ids: It is one of these samples.
        label: It has this label.
        not_label: It is a negative of this label.
        background: It is background, which belongs to no label.
        since: It was taught at this time or later, in seconds since 1970.
        until: It was taught before this time.
        burst_of: It is in the burst of one of these samples.
        like: It looks like one of these samples, or is one.
        likeness: Minimum cosine for `like`, see `LIKENESS`.
        mislabeled: It is probably mislabeled, see `device.heads.mislabels`.
        excluded: It is excluded; without this condition, only samples that teach are selected.

    Example:
        >>> SampleFilter(label="mug", like=(7,)).is_empty(), SampleFilter().is_empty()
        (False, True)
    """

    ids: tuple[int, ...] | None = None
    label: str | None = None
    since: float | None = None
    until: float | None = None
    burst_of: tuple[int, ...] = ()
    like: tuple[int, ...] = ()
    likeness: float = LIKENESS
    mislabeled: bool = False
    excluded: bool = False
    not_label: str | None = None
    background: bool = False

    def __repr__(self) -> str:
        """Return the conditions that are set."""
        default = SampleFilter()
        chosen = [
            f"{name}={value!r}" for name, value in vars(self).items() if value != getattr(default, name)
        ]
        return f"SampleFilter({textwrap.shorten(', '.join(chosen), 150, placeholder=' ...')})"

    def is_empty(self) -> bool:
        """Return whether there is no condition, so that every sample would be selected."""
        return self == SampleFilter(likeness=self.likeness)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> SampleFilter:
        """Return the filter in JSON fields with the names of the attributes.

        Raises:
            SelectionError: A field is unknown or has a value of another type.
        """
        wrong = sorted(name for name, value in fields.items() if not _KINDS.get(name, _nothing)(value))
        if wrong:
            raise SelectionError(
                f"the selection has wrong fields: {', '.join(wrong)[:100]}; expected ids, burst_of and like as lists of "
                "ids, label and not_label as text, since, until and likeness as numbers, mislabeled, excluded and background as "
                "true or false"
            )
        values: dict[str, Any] = {name: tuple(fields[name]) for name in _LISTS if name in fields}
        return cls(**{**fields, **values})


def select(store: Store, wanted: SampleFilter, suspects: Callable[[], Collection[int]]) -> list[Sample]:
    """Return the samples that meet the conditions, oldest first, without thumbnails.

    Args:
        store: The state.
        wanted: The conditions.
        suspects: Returns the ids of the samples that are probably mislabeled; called only when needed.

    Raises:
        SelectionError: There is no condition.
        SampleNotFoundError: A sample that a condition names was never taught or is forgotten.
    """
    if wanted.is_empty():
        raise SelectionError("nothing is selected; name at least one condition, such as a label or ids")
    if not 0 < wanted.likeness <= 1:
        raise SelectionError(f"the likeness must be above 0 and at most 1, got {wanted.likeness:g}")
    named = (*(wanted.ids or ()), *wanted.burst_of, *wanted.like)
    known = {sample.id: sample for sample in store.described(sorted(set(named)))}
    if missing := sorted(set(named) - known.keys()):
        raise SampleNotFoundError(f"no sample has the id {', '.join(map(str, missing[:10]))}")
    stored = _stored(wanted)
    if wanted.ids is None:
        found = list(reversed(store.samples(stored, thumbnails=False, excluded=wanted.excluded)))
    else:  # without reading all samples
        found = [
            known[number]
            for number in sorted(set(wanted.ids))
            if _is_kind(known[number], stored, wanted.excluded)
        ]
    bursts = {known[number].burst for number in wanted.burst_of}
    chosen = [sample for sample in found if _meets(sample, wanted, bursts)]
    if wanted.mislabeled:
        odd = set(suspects())
        chosen = [sample for sample in chosen if sample.id in odd]
    return _alike(store, chosen, wanted) if wanted.like else chosen


def _stored(wanted: SampleFilter) -> str | None:
    """Return the stored label that the samples must have; None for any.

    Raises:
        SelectionError: Samples of several kinds are wanted.
    """
    kinds = {"label": wanted.label, "not_label": wanted.not_label, "background": wanted.background}
    check_one(kinds, optional=True)
    if wanted.not_label is not None:
        return negative_of(check_label(wanted.not_label, stored=True))
    if wanted.background:
        return BACKGROUND
    return None if wanted.label is None else check_label(wanted.label, stored=True)


def _is_kind(sample: Sample, stored: str | None, excluded: bool) -> bool:
    return sample.excluded == excluded and stored in (None, sample.stored_label)


def _meets(sample: Sample, wanted: SampleFilter, bursts: Collection[int]) -> bool:
    return (
        (wanted.ids is None or sample.id in wanted.ids)
        and (wanted.since is None or sample.time >= wanted.since)
        and (wanted.until is None or sample.time < wanted.until)
        and (not wanted.burst_of or sample.burst in bursts)
    )


def _alike(store: Store, chosen: Sequence[Sample], wanted: SampleFilter) -> list[Sample]:
    center = _center(store)
    models = centered_units(store.codes(list(wanted.like)), center)
    found: list[Sample] = []
    for start in range(0, len(chosen), _CHUNK):  # codes of 10,000 samples need not fit into RAM
        part = chosen[start : start + _CHUNK]
        units = centered_units(store.codes([sample.id for sample in part]), center)
        near = (units @ models.T).max(axis=1) >= wanted.likeness
        found += [
            sample
            for sample, one in zip(part, near, strict=True)
            if one or sample.id in wanted.like  # rounding, or a code of zeros
        ]
    return found


def _center(store: Store) -> NDArray[np.float64]:
    """Return the mean of all taught samples, float64 [D]; zeros without any."""
    total, count = np.zeros(store.identity.dimensions), 0
    for _, _, codes in store.taught_chunks():
        total += codes.sum(axis=0, dtype=np.float64)
        count += len(codes)
    center: NDArray[np.float64] = total / (SCALE * max(count, 1))
    return center


def counted(samples: Iterable[Sample]) -> dict[str, int]:
    """Return the number of samples per label, sorted by label."""
    counts: dict[str, int] = {}
    for sample in samples:
        counts[sample.meaning] = counts.get(sample.meaning, 0) + 1
    return dict(sorted(counts.items()))


def _nothing(value: object) -> bool:
    return False


def _is_number(value: object) -> bool:
    # the comparison is false for NaN
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _is_ids(value: object) -> bool:
    return isinstance(value, list | tuple) and all(type(one) is int and 0 <= one < 2**63 for one in value)


_LISTS = ("ids", "burst_of", "like")
_KINDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(_LISTS, _is_ids),
    **dict.fromkeys(("since", "until", "likeness"), _is_number),
    **dict.fromkeys(("mislabeled", "excluded", "background"), lambda value: isinstance(value, bool)),
    **dict.fromkeys(("label", "not_label"), lambda value: isinstance(value, str)),
}
