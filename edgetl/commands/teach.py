"""``edgetl teach``: teach labels from a camera or from photos."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import camera_arguments, camera_options, emit, json_option, skip_empty_option, views_option
from .progress import stages
from .session import (
    LISTED_UP_TO,
    counted,
    counted_all,
    hidden_counts,
    ids_text,
    learner_options,
    leave_interrupted,
    open_learner,
    open_source,
    plural,
    say,
    state_of,
    warn,
    wrapped,
)

if TYPE_CHECKING:
    from device.cameras.folder import FolderCamera
    from device.heads.report import Report
    from device.learner import Learner
    from device.live.teaching import Lesson
    from device.progress import Progress

FIGURES_UP_TO = 2_000  # samples; with more of them the accuracy in the version's note would take too long


@click.command()
@learner_options
@views_option
@click.argument("label", required=False)
@camera_options
@click.option("--frames", type=click.IntRange(1), default=20, show_default=True, help="Frames in the burst.")
@click.option(
    "--every", type=click.FloatRange(0), default=0.2, show_default=True, help="Seconds between frames."
)
@click.option(
    "--countdown", type=click.IntRange(0), default=3, show_default=True, help="Seconds to get ready."
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path, exists=True),
    help="Teach a folder of photos instead: all as LABEL, or each subfolder as one label.",
)
@click.option(
    "--not",
    "not_label",
    metavar="LABEL",
    help="Teach what is not LABEL: such frames are no longer predicted as it.",
)
@click.option(
    "--background", is_flag=True, help="Teach what belongs to no label: such frames become unknown."
)
@skip_empty_option
@click.option("--again", is_flag=True, help="With --photos: teach photos again that were taught before.")
@click.option("--keys", metavar="A,B,...", help="Teach several labels with the digit keys.")
@click.option("--thumbnails/--no-thumbnails", default=True, help="Keep a small picture of each sample.")
@json_option
def command(label: str | None, as_json: bool, **options: Any) -> None:
    """Teach LABEL to MODEL from the camera, in a burst after a countdown.

    Each frame is on the disk before the next one is taken. --photos teaches a folder, 32 photos per transaction: after
    an interruption, run the same command again to teach the rest. --keys teaches several labels: keys 1 to 9 teach
    the present frame, 0 teaches it as background, x teaches that it is not the predicted label, u undoes the last one, q
    ends. --not and --background never change which of the other labels is predicted.

    \b
    Examples:
      edgetl teach mugs.tflite mug --camera 0 --frames 20
      edgetl teach mugs.tflite --not mug --camera 0
      edgetl teach mugs.tflite --background --photos empty-desk/
      edgetl teach mugs.tflite --photos photos/
      edgetl teach mugs.tflite --keys mug,bowl
    """
    _check_ways(label, options)
    from device.live.teaching import Lesson

    lesson = Lesson()
    with open_learner(options) as learner:
        try:
            _teach(learner, label, options, lesson)
        except KeyboardInterrupt:
            _note_version(learner, lesson)
            leave_interrupted(_sentence(lesson, learner, options))
        except Exception:
            if lesson.samples:
                say(_sentence(lesson, learner, options))
            raise
        figures = _note_version(learner, lesson)
        result = _result(lesson, learner, options, figures)
        emit(result, as_json, lambda: _text(lesson, learner, options, figures))


def _check_ways(label: str | None, options: dict[str, Any]) -> None:
    meanings = [label, options["not_label"], options["background"] or None]
    named = sum(meaning is not None for meaning in meanings)
    fits = named == 0 if options["keys"] else named == 1 or (options["photos"] and named == 0)
    if not fits or (options["photos"] and options["keys"]):
        raise click.UsageError(
            "expected one of: a LABEL, --not LABEL, --background, or --keys A,B; --photos FOLDER accepts one of the first "
            "three, or none for a folder with one folder per label"
        )


def _teach(learner: Learner, label: str | None, options: dict[str, Any], lesson: Lesson) -> None:
    if label is None and options["not_label"] is not None:
        learner.resolve_label(not_label=options["not_label"])  # before the countdown, not after it
    if options["photos"]:
        _photos(learner, label, options, lesson)
    elif options["keys"]:
        _keys(learner, options, lesson)
    else:
        _burst(learner, label, options, lesson)


def _burst(learner: Learner, label: str | None, options: dict[str, Any], lesson: Lesson) -> None:
    from device.labels import check_label
    from device.live.teaching import teach_burst
    from device.negatives import describe
    from device.photos import UNKNOWN_LABEL, unknown_remark

    # before the countdown, not after it
    if label is not None and check_label(label).casefold() == UNKNOWN_LABEL:
        warn(unknown_remark())
    with open_source(options) as camera:
        _count_down(options["countdown"] if camera.live else 0, describe(label, options["not_label"]))
        with stages(lines=False, transient=True, remaining=True) as progress:
            teach_burst(
                learner,
                camera,
                label,
                not_label=options["not_label"],
                frames=options["frames"],
                every=options["every"],
                lesson=lesson,
                progress=progress,
            )


def _photos(learner: Learner, label: str | None, options: dict[str, Any], lesson: Lesson) -> None:
    from device.cameras.folder import FolderCamera
    from device.cameras.options import Options
    from device.formats import Reason
    from device.leftout import describe_left_out
    from device.live.teaching import teach_photos
    from device.negatives import describe
    from device.photos import has_label_folders, photos_to_teach

    folder = options["photos"]
    hidden = options["background"] or options["not_label"] is not None
    if label is None and not hidden and not has_label_folders(folder):
        raise click.UsageError(
            f"{folder} has no subfolders with the names of labels; add a LABEL for its photos"
        )
    # the name is for messages; folders are no labels then
    name = describe(None, options["not_label"]) if hidden else label
    found = photos_to_teach(folder, name, skip_empty=options["skip_empty"])
    for remark in found.remarks:
        warn(remark)
    wanted = Options.of(**camera_arguments(options))
    with (
        FolderCamera(folder, wanted, lambda _: None, photos=found.photos) as camera,
        stages(lines=False, transient=True, remaining=True) as progress,
    ):
        try:
            views = _views(camera, progress)
            teach_photos(
                learner,
                camera,
                label,
                not_label=options["not_label"],
                background=options["background"],
                total=len(camera),
                again=options["again"],
                views=views,
                lesson=lesson,
                progress=progress,
            )
        finally:
            lesson.left_out += [*found.left_out, *camera.left_out]
            for line in describe_left_out(lesson.left_out):
                warn(line)
    lesson.unlabeled += sum(item.reason is Reason.LOOSE for item in lesson.left_out)


def _views(camera: FolderCamera, progress: Progress) -> dict[str, int]:
    """Return the view of each photo by its source: look-alikes share a number and never judge each other."""
    from device.lookalikes import group_lookalikes, read_shots

    files = camera.files()
    alike = group_lookalikes(read_shots([(photo.path, str(photo.label)) for _, photo in files], progress))
    if alike.conflicts:
        one, other = (files[place][0] for place in alike.conflicts[0])
        warn(
            f"{plural(len(alike.conflicts), 'picture')} under two labels, in different files; remove one of each"
            f" pair, such as {one} = {other}"
        )
    if alike.flat:
        warn(f"{plural(alike.flat, 'photo')} with only a single shade, such as black; remove them")
    if alike.count <= len(files) / 2:
        warn(
            f"{plural(len(files), 'photo')}, {plural(alike.count, 'separate view')}: look-alikes count as one burst"
        )
    return {name: int(view) for (name, _), view in zip(files, alike.groups, strict=True)}


def _keys(learner: Learner, options: dict[str, Any], lesson: Lesson) -> None:
    from device.labels import check_labels
    from device.live.teaching import teach_keys

    from .keyboard import Keyboard

    labels = check_labels(options["keys"].split(","))

    def show(frame: object, note: str) -> None:
        if note:
            say(note)

    with open_source(options) as camera, Keyboard() as keyboard:
        listed = "  ".join(f"[{number}] {label}" for number, label in enumerate(labels, 1))
        say(f"{listed}  [0] background  [x] not what is predicted  [u] undo  [q] end")
        teach_keys(learner, camera, labels, keyboard.key, lesson=lesson, show=show)


def _count_down(seconds: int, label: str) -> None:
    for left in range(seconds, 0, -1):
        say(f"Show me {label}: {left} ...")
        time.sleep(1)


def _note_version(learner: Learner, lesson: Lesson) -> dict[str, Any]:
    """Save a version with the accuracy after this round, so that `edgetl rollback` can return to it."""
    if not lesson.samples:
        return {}
    from device.errors import EdgetlError

    figures: dict[str, Any] = {}
    try:
        if sum(learner.head.counts.values()) <= FIGURES_UP_TO:
            figures |= _figures(learner.status(wait=True).report)
        learner.save_version(f"taught {counted(_meanings(lesson))}", metrics=figures)
    except EdgetlError as error:  # the samples are saved; failing for a version of them would be wrong
        say(f"No version was saved: {error}")
    return figures


def _figures(report: Report | None) -> dict[str, Any]:
    """Return the accuracy with what it is worth: interval, number of samples judged, and labels not judged."""
    if report is None or report.accuracy is None:
        return {"accuracy": None}
    return {
        "accuracy": report.accuracy,
        "interval": list(report.interval),
        "judged": report.samples,
        "unjudged": [label for label in report.labels if label not in report.recall],
    }


def _accuracy(figures: dict[str, Any]) -> str:
    low, high = figures["interval"]
    text = (
        f"Accuracy {figures['accuracy']:.1%} (95 % interval {low:.0%} to {high:.0%}), each of "
        f"{plural(figures['judged'], 'sample')} left out in turn."
    )
    if figures["unjudged"]:
        text += f" Not judged: {', '.join(figures['unjudged'][:LISTED_UP_TO])}"
        text += ", ..." if len(figures["unjudged"]) > LISTED_UP_TO else "."
    return text


def _result(
    lesson: Lesson, learner: Learner, options: dict[str, Any], figures: dict[str, Any]
) -> dict[str, Any]:
    from device.leftout import reasons_to_dict

    return {
        "taught": lesson.counts(),
        "taught_negatives": lesson.negatives(),
        "taught_background": lesson.background(),
        "ids": [sample.id for sample in lesson.samples],
        "known_already": lesson.known,
        "without_label": lesson.unlabeled,
        "left_out": reasons_to_dict(lesson.left_out, options["photos"]) if options["photos"] else [],
        "samples": learner.store.counts(),
        **hidden_counts(learner.store),
        "accuracy": figures.get("accuracy"),
        "interval": figures.get("interval"),
        "judged": figures.get("judged", 0),
        "unjudged": figures.get("unjudged", []),
        "state": str(learner.store.path),
    }


def _sentence(lesson: Lesson, learner: Learner, options: dict[str, Any]) -> str:
    saved = ids_text([sample.id for sample in lesson.samples])
    if not saved:
        return "Nothing was taught."
    return f"Saved in {state_of(options)}: {counted(_meanings(lesson))} (samples {saved})."


def _text(lesson: Lesson, learner: Learner, options: dict[str, Any], figures: dict[str, Any]) -> str:
    lines = [_sentence(lesson, learner, options)]
    if lesson.known:
        lines.append(
            f"{plural(lesson.known, 'photo')} skipped, because taught before; --again teaches them again."
        )
    lines.append(wrapped(f"Taught in total: {counted_all(learner.store)}."))
    if figures.get("accuracy") is not None:
        lines.append(wrapped(_accuracy(figures)))
    if lesson.samples:
        lines.append(f"Not what you meant? {_way_back(lesson, options)}")
    return "\n".join(lines)


def _meanings(lesson: Lesson) -> dict[str, int]:
    """Return the number of samples taught per meaning, such as ``mug`` and ``not mug``."""
    return dict(Counter(sample.meaning for sample in lesson.samples))


def _way_back(lesson: Lesson, options: dict[str, Any]) -> str:
    """Return the command that undoes this lesson; each photo of a folder is a burst of its own."""
    one_burst = len({sample.burst for sample in lesson.samples}) == 1 and not lesson.known
    words = ["edgetl", "forget", str(options["model"])]
    words += ["--state", str(options["state"])] if options["state"] else []
    return shlex.join([*words, *(["--last"] if one_burst else ["--newest", str(len(lesson.samples))])])
