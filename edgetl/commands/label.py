"""``edgetl label``: rename, merge, delete and correct labels, of one sample or of many at once."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from .group import Group
from .options import emit, json_option
from .session import (
    counted,
    counted_all,
    counted_with_hidden,
    hidden_counts,
    ids_text,
    learner_options,
    open_learner,
    plural,
)

if TYPE_CHECKING:
    from device.learner.correcting import Correction
    from device.learner.selecting import SampleFilter

# option of `move` -> action of `Learner.correct`
_ACTIONS = {
    "to": "relabel",
    "to_not": "relabel",
    "to_background": "relabel",
    "to_suggested": "relabel",
    "delete": "forget",
    "exclude": "exclude",
    "include": "include",
}
_VERBS = {
    "relabel": ("relabel", "Relabeled"),
    "forget": ("delete", "Deleted"),
    "exclude": ("exclude", "Excluded"),
    "include": ("include", "Included"),
}


@click.group(cls=Group)
def command() -> None:
    """Rename, merge, delete or correct labels.

    \b
    Example:
      edgetl label rename mugs.tflite mug cup
    """


@command.command()
@learner_options
@click.argument("old")
@click.argument("new")
@json_option
def rename(old: str, new: str, as_json: bool, **options: Any) -> None:
    """Rename the label OLD to NEW; if NEW exists already, the two are merged. Negatives follow their label.

    \b
    Example:
      edgetl label rename mugs.tflite mug cup
    """
    with open_learner(options) as learner:
        joined = new in learner.labels
        entry = learner.rename_label(old, new)
        counts = {"samples": learner.store.counts(), **hidden_counts(learner.store)}
        result = {"old": old, "new": new, "joined": joined, **counts}
        done = "Merged" if joined else "Renamed"
        text = f"{done} {old} {'into' if joined else 'to'} {new} ({plural(entry.samples(), 'sample')})."
        emit(result, as_json, text)


@command.command()
@learner_options
@click.argument("label")
@json_option
def delete(label: str, as_json: bool, **options: Any) -> None:
    """Delete LABEL with all its samples and negatives, also those from the host; `edgetl forget --undo` restores them.

    \b
    Example:
      edgetl label delete mugs.tflite mug
    """
    with open_learner(options) as learner:
        entry = learner.delete_label(label)
        counts = {"samples": learner.store.counts(), **hidden_counts(learner.store)}
        text = f"Deleted {label} ({plural(entry.samples(), 'sample')}). Left: {counted_all(learner.store)}."
        emit({"deleted": label, **counts}, as_json, text)


@command.command(name="set")
@learner_options
@click.argument("words", nargs=-1, required=True, metavar="IDS... [LABEL]")
@click.option("--not", "not_label", metavar="LABEL", help="Make them negatives of LABEL.")
@click.option("--background", is_flag=True, help="Make them background, which belongs to no label.")
@json_option
def set_label(
    words: tuple[str, ...], not_label: str | None, background: bool, as_json: bool, **options: Any
) -> None:
    """Change the label of the samples IDS to LABEL.

    \b
    Examples:
      edgetl label set mugs.tflite 17 18 bowl
      edgetl label set mugs.tflite 17 18 --not mug
    """
    from device.negatives import describe

    hidden = background or not_label is not None
    label = None if hidden else words[-1]
    ids = _ids(words if hidden else words[:-1])
    if not ids or (background and not_label is not None):
        raise click.UsageError("expected ids and one of: a LABEL, --not LABEL, --background")
    with open_learner(options, must_exist=True) as learner:
        learner.relabel(ids, label, not_label=not_label)
        counts = {"samples": learner.store.counts(), **hidden_counts(learner.store)}
        changed = plural(len(set(ids)), "sample")
        text = f"{changed} relabeled as {describe(label, not_label)}. Now: {counted_all(learner.store)}."
        emit({"ids": sorted(set(ids)), "label": label, "not_label": not_label, **counts}, as_json, text)


def _ids(words: tuple[str, ...]) -> list[int]:
    wrong = [word for word in words if not (word.isascii() and word.isdecimal())]
    if wrong:
        raise click.UsageError(
            f"ids are numbers, as in `edgetl status --samples`; got {', '.join(wrong)[:80]}"
        )
    return [int(word) for word in words]


class Moment(click.types.StringParamType):
    """A local date, date and time, or time of today."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return seconds since 1970."""
        if isinstance(value, float):
            return value
        for text in (value, f"{datetime.now().date()}T{value}"):  # local, as the user types it
            try:
                return datetime.fromisoformat(text).timestamp()
            except (ValueError, OverflowError, OSError):
                continue
        self.fail(f"{value!r} is no time; use 2026-11-26, '2026-11-26 14:30' or 14:30", param, ctx)


@command.command()
@learner_options
@click.option("--id", "ids", type=click.IntRange(1), multiple=True, help="This sample; can be repeated.")
@click.option("--label", help="Samples of this label.")
@click.option("--negatives-of", metavar="LABEL", help="Negatives of this label.")
@click.option("--only-background", is_flag=True, help="Background samples.")
@click.option(
    "--since",
    type=Moment(),
    help="Taught at this local time or later: 2026-11-26, '2026-11-26 14:30' or 14:30.",
)
@click.option("--until", type=Moment(), help="Taught before this local time.")
@click.option(
    "--burst-of",
    type=click.IntRange(1),
    multiple=True,
    metavar="ID",
    help="The burst of this sample; can be repeated.",
)
@click.option(
    "--like",
    type=click.IntRange(1),
    multiple=True,
    metavar="ID",
    help="Look-alikes of this sample; can be repeated.",
)
@click.option(
    "--likeness",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Minimum similarity for --like, up to 1; lower values select more.",
)
@click.option("--mislabeled", is_flag=True, help="Samples that are probably mislabeled.")
@click.option("--excluded", is_flag=True, help="Excluded samples, instead of those that teach.")
@click.option("--to", metavar="LABEL", help="Change the label of the selected samples to LABEL.")
@click.option("--not", "to_not", metavar="LABEL", help="Make the selected samples negatives of LABEL.")
@click.option(
    "--background",
    "to_background",
    is_flag=True,
    help="Make the selected samples background, which belongs to no label.",
)
@click.option(
    "--to-suggested", is_flag=True, help="With --mislabeled: change each label to the predicted one."
)
@click.option("--delete", is_flag=True, help="Forget the selected samples.")
@click.option("--exclude", is_flag=True, help="Keep the selected samples, but do not teach them.")
@click.option("--include", is_flag=True, help="Teach the selected samples again; implies --excluded.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
def move(dry_run: bool, as_json: bool, **options: Any) -> None:
    """Relabel, delete or exclude many samples in one change.

    A sample is selected if it meets all conditions. `edgetl forget --undo` reverts the whole change.

    \b
    Examples:
      edgetl label move mugs.tflite --label mug --since 14:30 --to cup
      edgetl label move mugs.tflite --burst-of 17 --background
      edgetl label move mugs.tflite --like 17 --exclude --dry-run
      edgetl label move mugs.tflite --mislabeled --to-suggested
    """
    chosen = [way for way in _ACTIONS if options[way] not in (None, False)]
    if len(chosen) != 1:
        raise click.UsageError(
            "use exactly one of --to LABEL, --not LABEL, --background, --to-suggested, --delete, --exclude, --include"
        )
    if chosen[0] == "to_suggested" and not options["mislabeled"]:
        raise click.UsageError("--to-suggested needs --mislabeled, which suggests the labels")
    with open_learner(options, must_exist=True, read_only=dry_run) as learner:
        done = learner.correct(
            _filter(options),
            _ACTIONS[chosen[0]],
            options["to"],
            not_label=options["to_not"],
            background=options["to_background"],
            dry_run=dry_run,
        )
    emit(done.to_dict(), as_json, _moved(done, str(options["model"])))


def _filter(options: dict[str, Any]) -> SampleFilter:
    from device.learner.selecting import SampleFilter

    names = ("label", "since", "until", "burst_of", "like", "likeness", "mislabeled")
    return SampleFilter(
        ids=options["ids"] or None,
        not_label=options["negatives_of"],
        background=options["only_background"],
        excluded=options["excluded"] or options["include"],
        **{name: options[name] for name in names},
    )


def _moved(done: Correction, model: str) -> str:
    if not done.ids:
        return "No sample is selected, or none would change."
    to_do, did = _VERBS[done.action]
    target = f" as {done.meaning}" if done.meaning else " as suggested" if done.suggested else ""
    what = (
        f"{plural(len(done.ids), 'sample')}{target} ({counted(done.moved)}; ids {ids_text(list(done.ids))})."
    )
    what += "".join(f"\n  {number}: {label}" for number, label in done.suggested.items())
    left = counted_with_hidden(done.samples, done.negatives, done.background)
    if done.dry_run:
        return f"Would {to_do} {what}\nThen: {left}."
    return f"{did} {what}\nNow: {left}. To revert: edgetl forget {model} --undo"
