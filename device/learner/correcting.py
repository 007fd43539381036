"""Correcting many samples in one change, which one undo reverts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import SelectionError
from ..negatives import check_one, describe, is_hidden, split_counts, split_label
from ..store import Entry, Sample
from .selecting import SampleFilter, counted

if TYPE_CHECKING:
    from .learner import Learner

ACTIONS = ("relabel", "forget", "exclude", "include")


@dataclass(frozen=True)
class Target:
    """What relabeled samples teach afterwards; without any of the three, the label that is suggested for each.

    Attributes:
        label: Their label.
        not_label: The label that they are negatives of.
        background: Whether they are background.
    """

    label: str | None = None
    not_label: str | None = None
    background: bool = False

    @property
    def given(self) -> bool:
        """Whether one of the three is set."""
        return self != Target()


@dataclass(frozen=True)
class Correction:
    """What a correction changes, or would change.

    Attributes:
        action: relabel, forget, exclude or include.
        label: The new label; None for negatives, background, suggested labels and other actions.
        ids: The changed samples, in order.
        moved: Number of changed samples per label that they had; negatives and background under what they mean.
        suggested: New label of each sample where each gets the label that is suggested for it.
        samples: Number of samples that teach per label afterwards, without those of the host.
        dry_run: Whether nothing was changed.
        not_label: The label that the samples are negatives of afterwards.
        meaning: What the samples teach afterwards, for people: ``mug``, ``not mug`` or ``background``; None for suggested
            labels and other actions.
        negatives: Number of negatives per denied label afterwards.
        background: Number of background samples afterwards.
    """

    action: str
    label: str | None
    ids: tuple[int, ...]
    moved: dict[str, int]
    suggested: dict[int, str]
    samples: dict[str, int]
    dry_run: bool
    not_label: str | None = None
    meaning: str | None = None
    negatives: dict[str, int] = field(default_factory=dict)
    background: int = 0

    def __repr__(self) -> str:
        return f"<Correction: {self.action} {len(self.ids)} samples{', dry run' if self.dry_run else ''}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        suggested = {str(number): label for number, label in self.suggested.items()}
        return {**vars(self), "ids": list(self.ids), "suggested": suggested}


def correct(
    learner: Learner, wanted: SampleFilter, action: str, target: Target, *, dry_run: bool = False
) -> Correction:
    """Relabel, forget, exclude or include the selected samples in one transaction.

    Args:
        learner: The learner.
        wanted: Which samples; for ``include``, among the excluded ones.
        action: One of `ACTIONS`.
        target: What the samples teach after ``relabel``. An empty one gives each sample the label that is suggested for
            it, which only samples that are probably mislabeled have.
        dry_run: Change nothing.

    Raises:
        SelectionError: There is no condition, the action is unknown, or the label does not fit the action.
        SampleNotFoundError: A sample that a condition names was never taught or is forgotten.
        LabelError: The label cannot be one, or nothing was taught as the denied label.
    """
    _check(wanted, action, target)
    stored = learner.resolve_label(target.label, target.not_label) if target.given else None
    chosen = learner.select(wanted)
    new = _new_labels(learner, chosen, action, stored)
    changing = [one for one in chosen if _changes(one, action, new[one.id])]
    moving = {one.id: new[one.id] for one in changing}
    if changing and not dry_run:
        _apply(learner, action, moving, target)
        after = _all_counts(learner)
    else:
        after = _counts_after(_all_counts(learner), changing, new)
    label, not_label = (None, None) if stored is None else split_label(stored)
    negatives, background = split_counts(after)
    return Correction(
        action,
        label,
        tuple(moving),
        counted(changing),
        suggested={}
        if stored or action != "relabel"
        else {number: str(one) for number, one in moving.items()},
        samples={name: count for name, count in after.items() if not is_hidden(name)},
        dry_run=dry_run,
        not_label=not_label,
        meaning=None if stored is None else describe(label, not_label),
        negatives=negatives,
        background=background,
    )


def _check(wanted: SampleFilter, action: str, target: Target) -> None:
    if action not in ACTIONS:
        raise SelectionError(f"the action must be one of {', '.join(ACTIONS)}, got {action[:40]!r}")
    if target.given and action != "relabel":
        raise SelectionError(f"only relabel has a label; leave it out to {action}")
    check_one(vars(target), optional=True)
    if not target.given and action == "relabel" and not wanted.mislabeled:
        raise SelectionError(
            "relabel needs a label; only samples that are probably mislabeled have suggested ones"
        )
    if action == "include" and not wanted.excluded:
        raise SelectionError("only excluded samples can be included; select with excluded")


def _new_labels(
    learner: Learner, chosen: Sequence[Sample], action: str, stored: str | None
) -> dict[int, str | None]:
    """Return the stored label that each sample teaches afterwards; None if it no longer teaches."""
    if action == "include":
        return {one.id: one.stored_label for one in chosen}
    if action != "relabel":
        return {one.id: None for one in chosen}
    if stored is not None:
        return {one.id: stored for one in chosen}
    suggested = learner.mislabeled()
    return {one.id: suggested.get(one.id, one.stored_label) for one in chosen}


def _changes(sample: Sample, action: str, stored: str | None) -> bool:
    if action == "relabel":
        return sample.excluded or stored != sample.stored_label
    return action == "forget" or sample.excluded != (action == "exclude")


def _apply(learner: Learner, action: str, new: Mapping[int, str | None], target: Target) -> Entry:
    if action == "relabel" and target.given:
        return learner.relabel(list(new), target.label, not_label=target.not_label)
    if action == "relabel":
        return learner.relabel_each({number: label for number, label in new.items() if label is not None})
    change = {"forget": learner.forget, "exclude": learner.exclude, "include": learner.include}[action]
    return change(list(new))


def _all_counts(learner: Learner) -> dict[str, int]:
    """Return the number of samples that teach per stored label."""
    return learner.store.counts() | learner.store.hidden_counts()


def _counts_after(
    counts: Mapping[str, int], changing: Sequence[Sample], new: Mapping[int, str | None]
) -> dict[str, int]:
    after = dict(counts)
    for one in changing:
        if not one.excluded:
            after[one.stored_label] -= 1
        stored = new[one.id]
        if stored is not None:
            after[stored] = after.get(stored, 0) + 1
    return {stored: count for stored, count in sorted(after.items()) if count}
