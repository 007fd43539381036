"""``edgetl forget``: forget samples exactly, and undo changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import emit, json_option
from .session import (
    counted_all,
    hidden_counts,
    ids_text,
    learner_options,
    open_learner,
    plural,
    state_of,
)

if TYPE_CHECKING:
    from device.learner import Learner


@click.command()
@learner_options
@click.option("--last", is_flag=True, help="Forget the newest burst.")
@click.option("--newest", type=click.IntRange(1), metavar="N", help="Forget the newest N samples.")
@click.option("--label", help="Forget everything taught as this label.")
@click.option("--not", "not_label", metavar="LABEL", help="Forget the negatives of this label.")
@click.option("--background", is_flag=True, help="Forget all background samples.")
@click.option("--id", "ids", type=int, multiple=True, help="Forget this sample; can be repeated.")
@click.option(
    "--known",
    is_flag=True,
    help="Forget the samples that MODEL itself contains, as after an export, because they would count twice.",
)
@click.option("--undo", is_flag=True, help="Undo the last change of any kind, including forgetting.")
@click.option("--purge", is_flag=True, help="Erase forgotten samples from the file permanently.")
@json_option
def command(as_json: bool, **options: Any) -> None:
    """Forget samples exactly, as if MODEL had never seen them.

    --undo restores forgotten samples, one change per call, until --purge erases them.

    \b
    Examples:
      edgetl forget mugs.tflite --last
      edgetl forget mugs.tflite --id 17 --id 18
      edgetl forget mugs.tflite --undo
    """
    ways = [name for name in (*_WAYS, "known") if options[name]]
    if len(ways) != 1:
        raise click.UsageError(
            "use exactly one of --last, --newest N, --label LABEL, --not LABEL, --background, --id ID, --known, --undo, --purge"
        )
    if options["known"]:
        _forget_known(options, as_json)
        return
    with open_learner(options, must_exist=True) as learner:
        result, text = _WAYS[ways[0]](learner, options)
        left = {"samples": learner.store.counts(), **hidden_counts(learner.store)}
        emit({**result, **left}, as_json, f"{text} Left: {counted_all(learner.store)}.")


def _forget_known(options: dict[str, Any], as_json: bool) -> None:
    """Forget without a learner, which refuses such a state."""
    from device.learner.learner import identity_of
    from device.learner.remembered import remembered_ids
    from device.model.modelfile import ModelFile
    from device.store import Store

    model = ModelFile.open(options["model"])
    path = state_of(options)
    with Store.open(path, identity_of(model) if path.exists() else None) as store:
        ids = remembered_ids(store, model)
        if ids:
            store.relabel(dict.fromkeys(ids), "forget")
        counts, left = {"samples": store.counts(), **hidden_counts(store)}, counted_all(store)
    text = (
        f"Forgot {plural(len(ids), 'sample')} ({ids_text(ids)})." if ids else "There was nothing to forget."
    )
    emit({"forgotten": ids, **counts}, as_json, f"{text} Left: {left}.")


def _last(learner: Learner, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    newest = learner.last_burst()
    if not newest:
        raise click.ClickException("there are no samples to forget; --undo reverts other changes")
    return _forget(learner, newest)


def _newest(learner: Learner, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    return _forget(learner, [sample.id for sample in learner.samples(limit=options["newest"])])


def _ids(learner: Learner, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    return _forget(learner, list(options["ids"]))


def _forget(learner: Learner, ids: list[int]) -> tuple[dict[str, Any], str]:
    if not ids:
        return {"forgotten": []}, "There was nothing to forget."
    learner.forget(ids)
    return {
        "forgotten": sorted(set(ids))
    }, f"Forgot {plural(len(set(ids)), 'sample')} ({ids_text(list(set(ids)))})."


def _label(learner: Learner, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    entry = learner.delete_label(options["label"])
    return {"label": options["label"]}, f"Forgot {plural(entry.samples(), 'sample')} of {options['label']}."


def _undo(learner: Learner, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    entry = learner.undo()
    if entry is None:
        return {"undone": None}, "There is nothing to undo."
    count = plural(entry.samples(), "sample")
    return {"undone": entry.action}, f"Undone: {entry.action} ({count})."


def _purge(learner: Learner, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    count = learner.purge()
    return {"purged": count}, f"Erased {plural(count, 'forgotten sample')} permanently."


def _negatives(learner: Learner, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    from device.labels import listed

    ids = [sample.id for sample in learner.samples(not_label=options["not_label"])]
    if not ids:
        labels = listed(hidden_counts(learner.store)["negatives"], "no label")
        raise click.ClickException(
            f"no sample was taught as not {options['not_label']!r}; negatives exist for: {labels}"
        )
    return _forget(learner, ids)


def _background(learner: Learner, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    return _forget(learner, [sample.id for sample in learner.samples(background=True)])


_WAYS = {
    "last": _last,
    "newest": _newest,
    "ids": _ids,
    "label": _label,
    "not_label": _negatives,
    "background": _background,
    "undo": _undo,
    "purge": _purge,
}
