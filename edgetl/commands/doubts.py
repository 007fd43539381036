"""``edgetl doubts``: the frames whose labels would help most."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
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
    say,
    when_text,
)

if TYPE_CHECKING:
    from device.learner import Learner
    from device.learner.doubt import Doubt


Meaning = tuple[str | None, str | None]
"""What a frame is taught as: its label and the label that it denies; neither for background."""


class Answer(click.types.StringParamType):
    """``ID=LABEL``."""

    name = "answer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return (id, label)."""
        if isinstance(value, tuple):
            return value
        number, sign, label = value.partition("=")
        if not sign or not number.isascii() or not number.isdecimal() or not label.strip():
            self.fail(f"{value!r} must be ID=LABEL, for example 7=mug", param, ctx)
        return int(number), label


@click.command()
@learner_options
@click.option(
    "--teach",
    type=Answer(),
    multiple=True,
    metavar="ID=LABEL",
    help="Teach this frame as LABEL; can be repeated.",
)
@click.option(
    "--not",
    "deny",
    type=Answer(),
    multiple=True,
    metavar="ID=LABEL",
    help="Teach that this frame is not LABEL; can be repeated.",
)
@click.option(
    "--background",
    type=click.IntRange(1),
    multiple=True,
    metavar="ID",
    help="Teach this frame as background, which belongs to no label; can be repeated.",
)
@click.option(
    "--drop",
    type=click.IntRange(1),
    multiple=True,
    metavar="ID",
    help="Remove this frame without teaching it; can be repeated.",
)
@click.option("--group", is_flag=True, help="Also teach or drop the look-alikes of each frame.")
@click.option("--limit", type=click.IntRange(1), help="Maximum number of frames to list.")
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write the pictures of the listed frames to FOLDER, as ID.jpg.",
)
@json_option
def command(
    teach: tuple[tuple[int, str], ...],
    deny: tuple[tuple[int, str], ...],
    background: tuple[int, ...],
    drop: tuple[int, ...],
    group: bool,
    limit: int | None,
    pictures: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """List uncertain frames, those first whose labels change most, and teach them.

    `edgetl serve` and `edgetl run --doubts` keep frames with uncertain predictions in a queue beside the state file.
    `edgetl forget --undo` reverts what was taught.

    \b
    Examples:
      edgetl doubts mugs.tflite --pictures doubts
      edgetl doubts mugs.tflite --teach 7=mug --teach 9=bowl --group
      edgetl doubts mugs.tflite --background 8 --not 11=mug
      edgetl doubts mugs.tflite --drop 12
    """
    answers: list[tuple[int, Meaning]] = [(number, (label, None)) for number, label in teach]
    answers += [(number, (None, label)) for number, label in deny]
    answers += [(number, (None, None)) for number in background]
    changing = bool(answers or drop)
    if group and not changing:
        raise click.UsageError("--group needs --teach, --not, --background or --drop")
    with open_learner(options, must_exist=changing, read_only=not changing) as learner:
        done = _answered(learner, answers, drop, group) if changing else {}
        found = learner.doubts.items()[:limit]
        if learner.doubts.problem:
            say(f"Warning: {learner.doubts.problem}")
        written = _written(found, pictures)
        result = {**done, "doubts": [doubt.to_dict() for doubt in found], "pictures": written}
        text = _changes_text(done, learner) if changing else _listed(found, learner)
        emit(result, as_json, text)


def _answered(
    learner: Learner, answers: Iterable[tuple[int, Meaning]], drop: Iterable[int], group: bool
) -> dict[str, Any]:
    meanings = _per_frame(learner, answers, group)
    dropped = learner.doubts.look_alikes(drop) if group else list(dict.fromkeys(drop))
    if both := sorted(meanings.keys() & set(dropped)):
        raise click.UsageError(f"frame {both[0]} is both taught and dropped; choose one")
    learner.doubts.take(dropped)  # an unknown frame is refused before anything changes
    denied = {number: label for number, (_, label) in meanings.items() if label is not None}
    labels = {number: label for number, (label, _) in meanings.items() if number not in denied}
    samples = learner.answer(labels, not_labels=denied)
    learner.doubts.settle(dropped)
    taught = [
        {"doubt": number, "id": one.id, "label": one.label, "not_label": one.not_label}
        for number, one in zip([*labels, *denied], samples, strict=True)
    ]
    counts = {"samples": learner.store.counts(), **hidden_counts(learner.store)}
    return {"taught": taught, "dropped": dropped, **counts}


def _per_frame(learner: Learner, answers: Iterable[tuple[int, Meaning]], group: bool) -> dict[int, Meaning]:
    """Return the answer for each frame, with its look-alikes for a group."""
    from device.negatives import describe

    meanings: dict[int, Meaning] = {}
    for number, meaning in answers:
        for one in learner.doubts.look_alikes([number]) if group else [number]:
            if meanings.setdefault(one, meaning) != meaning:
                first, second = describe(*meanings[one]), describe(*meaning)
                raise click.UsageError(f"frame {one} has two answers, {first!r} and {second!r}; use one")
    return meanings


def _written(found: list[Doubt], folder: Path | None) -> str | None:
    if folder is None:
        return None
    from device.files import atomic_output

    folder.mkdir(parents=True, exist_ok=True)
    for doubt in found:
        with atomic_output(folder / f"{doubt.id}.jpg", force=True) as temporary:
            temporary.write_bytes(doubt.jpeg)
    return str(folder)


def _changes_text(done: dict[str, Any], learner: Learner) -> str:
    parts = []
    if done["taught"]:
        ids = ids_text([one["doubt"] for one in done["taught"]])
        parts.append(f"Taught {plural(len(done['taught']), 'frame')} ({ids}).")
    if done["dropped"]:
        parts.append(f"Dropped {plural(len(done['dropped']), 'frame')} ({ids_text(done['dropped'])}).")
    parts.append(
        f"Samples: {counted_all(learner.store)}. Still waiting: {plural(len(learner.doubts.items()), 'frame')}."
    )
    return " ".join(parts)


def _listed(found: list[Doubt], learner: Learner) -> str:
    if not found:
        return (
            "No frame waits for a label. `edgetl serve` and `edgetl run --doubts` collect frames whose prediction is"
            " uncertain, once two labels are taught."
        )
    lines = [f"{'id':>6}  {'like':>6}  {'change':>6}  {'seen':>5}  {'when':16}  guess"]
    most = max(doubt.change for doubt in found) or 1.0
    for doubt in found:
        like = "" if doubt.group == doubt.id else str(doubt.group)
        lines.append(
            f"{doubt.id:>6}  {like:>6}  {doubt.change / most:>6.0%}  {doubt.seen:>5}  {when_text(doubt.time)}  {_guess(doubt)}"
        )
    lines.append(
        "Teach with: --teach ID=LABEL, --not ID=LABEL or --background ID, or all look-alikes with --group; see the pictures "
        "with --pictures FOLDER"
    )
    return "\n".join(lines)


def _guess(doubt: Doubt) -> str:
    from device.printable import printable

    if doubt.prediction is None:
        return "?"
    if not doubt.prediction.known:
        return "unlike anything taught"
    best = list(doubt.prediction.scores.items())[:2]
    return printable(" or ".join(f"{label} {score:.0%}" for label, score in best))
