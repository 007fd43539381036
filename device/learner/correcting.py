"""Correcting many samples in one change, which one undo reverts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SelectionError
from ..labels import check_label
from ..store import Entry, Sample
from .selecting import SampleFilter, counted

if TYPE_CHECKING:
    from .learner import Learner

ACTIONS = ("relabel", "forget", "exclude", "include")


@dataclass(frozen=True)
class Correction:
    """What a correction changes, or would change.

    Attributes:
        action: relabel, forget, exclude or include.
        label: The new label; None where each sample gets the label that is suggested for it, and for other actions.
        ids: The changed samples, in order.
        moved: Number of changed samples per label that they had.
        suggested: New label of each sample where `label` is None and the action is relabel.
        samples: Number of samples that teach per label afterwards, without those of the host.
        dry_run: Whether nothing was changed.
    """

    action: str
    label: str | None
    ids: tuple[int, ...]
    moved: dict[str, int]
    suggested: dict[int, str]
    samples: dict[str, int]
    dry_run: bool

    def __repr__(self) -> str:
        return f"<Correction: {self.action} {len(self.ids)} samples{', dry run' if self.dry_run else ''}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        suggested = {str(number): label for number, label in self.suggested.items()}
        return {**vars(self), "ids": list(self.ids), "suggested": suggested}


def correct(
    learner: Learner, wanted: SampleFilter, action: str, label: str | None = None, *, dry_run: bool = False
) -> Correction:
    """Relabel, forget, exclude or include the selected samples in one transaction.

    Args:
        learner: The learner.
        wanted: Which samples; for ``include``, among the excluded ones.
        action: One of `ACTIONS`.
        label: The new label for ``relabel``. None gives each sample the label that is suggested for it, which only
            samples that are probably mislabeled have.
        dry_run: Change nothing.

    Raises:
        SelectionError: There is no condition, the action is unknown, or the label does not fit the action.
        SampleNotFoundError: A sample that a condition names was never taught or is forgotten.
        LabelError: `label` cannot be a label.
    """
    _check(wanted, action, label)
    label = None if label is None else check_label(label)
    chosen = learner.select(wanted)
    new = _new_labels(learner, chosen, action, label)
    changing = [one for one in chosen if _changes(one, action, new[one.id])]
    suggested = (
        {one.id: str(new[one.id]) for one in changing} if action == "relabel" and label is None else {}
    )
    ids, moved = tuple(one.id for one in changing), counted(changing)
    if changing and not dry_run:
        _apply(learner, action, {number: new[number] for number in ids})
        after = learner.store.counts()
    else:
        after = _counts_after(learner.store.counts(), changing, new)
    return Correction(action, label, ids, moved, suggested, after, dry_run)


def _check(wanted: SampleFilter, action: str, label: str | None) -> None:
    if action not in ACTIONS:
        raise SelectionError(f"the action must be one of {', '.join(ACTIONS)}, got {action[:40]!r}")
    if label is not None and action != "relabel":
        raise SelectionError(f"only relabel has a label; leave it out to {action}")
    if label is None and action == "relabel" and not wanted.mislabeled:
        raise SelectionError(
            "relabel needs a label; only samples that are probably mislabeled have suggested ones"
        )
    if action == "include" and not wanted.excluded:
        raise SelectionError("only excluded samples can be included; select with excluded")


def _new_labels(
    learner: Learner, chosen: Sequence[Sample], action: str, label: str | None
) -> dict[int, str | None]:
    """Return the label that each sample teaches afterwards; None if it no longer teaches."""
    if action == "include":
        return {one.id: one.label for one in chosen}
    if action != "relabel":
        return {one.id: None for one in chosen}
    if label is not None:
        return {one.id: label for one in chosen}
    suggested = learner.mislabeled()
    return {one.id: suggested.get(one.id, one.label) for one in chosen}


def _changes(sample: Sample, action: str, label: str | None) -> bool:
    if action == "relabel":
        return sample.excluded or label != sample.label
    return action == "forget" or sample.excluded != (action == "exclude")


def _apply(learner: Learner, action: str, new: Mapping[int, str | None]) -> Entry:
    if action == "relabel":
        return learner.relabel_each({number: label for number, label in new.items() if label is not None})
    change = {"forget": learner.forget, "exclude": learner.exclude, "include": learner.include}[action]
    return change(list(new))


def _counts_after(
    counts: Mapping[str, int], changing: Sequence[Sample], new: Mapping[int, str | None]
) -> dict[str, int]:
    after = dict(counts)
    for one in changing:
        if not one.excluded and one.label is not None:
            after[one.label] = after.get(one.label, 0) - 1
        label = new[one.id]
        if label is not None:
            after[label] = after.get(label, 0) + 1
    return {label: count for label, count in sorted(after.items()) if count}
