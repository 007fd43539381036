"""``edgetl status``: show what was taught, and the estimated accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from device.addresses import redact

from .options import emit, json_option
from .session import broken_pictures_text, counted, ids_text, learner_options, open_learner, plural, when_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from device.heads.report import MixedLabels, Report
    from device.heads.splits import SplitLabel
    from device.learner.status import Status
    from device.store import Sample, Store
    from device.store.verify import PictureCheck

MATRIX_UP_TO = 12  # labels; a larger confusion matrix does not fit a terminal; the confused pairs are listed


@click.command()
@learner_options
@click.option(
    "--samples", "listed", type=click.IntRange(1), metavar="N", help="List the newest N samples instead."
)
@click.option("--label", help="With --samples: list this label only.")
@click.option("--not", "not_label", metavar="LABEL", help="With --samples: list the negatives of LABEL only.")
@click.option("--background", is_flag=True, help="With --samples: list background only.")
@click.option("--forecast", is_flag=True, help="Also forecast the accuracy with more photos; takes a moment.")
@click.option(
    "--wait", is_flag=True, help="Judge the latest changes too, if the stored figures are from before them."
)
@click.option("--verify", is_flag=True, help="Also check every sample and the journal in the state file.")
@json_option
def command(
    listed: int | None,
    label: str | None,
    not_label: str | None,
    background: bool,
    forecast: bool,
    wait: bool,
    verify: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what MODEL was taught, and the estimated accuracy.

    Each sample is predicted by a head that learned neither the sample nor its near-duplicates. Photos that tuned the
    backbone are left out of the estimate. With many samples, an estimate from before the latest changes may be shown, with
    a note; --wait makes a new one.

    \b
    Examples:
      edgetl status mugs.tflite
      edgetl status mugs.tflite --forecast
      edgetl status mugs.tflite --samples 20
    """
    with open_learner(options, read_only=True) as learner:
        if listed:
            samples = learner.samples(label, listed, not_label=not_label, background=background)
            emit([_sample(found) for found in samples], as_json, lambda: _sample_lines(samples))
            return
        checked = _checked(learner.store) if verify else None
        status = learner.status(forecast=forecast, wait=wait)
        result = status.to_dict() | ({} if checked is None else checked.to_dict())
        emit(result, as_json, lambda: _drawn(status, checked))
        learner.keep_figures()
        if checked and checked.pictures.broken:
            raise click.ClickException(broken_pictures_text(str(learner.store.path), checked.pictures))


@dataclass(frozen=True)
class _Checked:
    """What ``--verify`` found."""

    samples: int
    pictures: PictureCheck

    def to_dict(self) -> dict[str, Any]:
        return {"verified": self.samples, "pictures": self.pictures.to_dict()}


def _checked(store: Store) -> _Checked:
    return _Checked(store.verify(), store.verify_pictures())


def _sample(sample: Sample) -> dict[str, Any]:
    names = ("id", "label", "not_label", "time", "source", "burst")
    fields = {name: getattr(sample, name) for name in names}
    fields["source"] = redact(sample.source)  # of a state file written by another program
    if not math.isfinite(sample.time):
        fields["time"] = None  # JSON knows no infinity
    return fields | {"thumbnail_bytes": len(sample.thumbnail or b"")}


def _sample_lines(samples: list[Sample]) -> str:
    if not samples:
        return "No samples."
    return "\n".join(_sample_line(sample) for sample in samples)


def _sample_line(sample: Sample) -> str:
    from device.printable import printable

    taken = when_text(sample.time, "%Y-%m-%d %H:%M:%S")
    return f"{sample.id:6}  {taken}  {sample.meaning}  {printable(redact(sample.source))}"


def _drawn(status: Status, checked: _Checked | None) -> str:
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(_label_table(status))
        for part in _findings(status):
            console.print(part)
        console.print("\n".join(_plain(status, checked)), markup=False, soft_wrap=True)
    return captured.get().rstrip()


def _label_table(status: Status) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    recall = status.report.recall if status.report else {}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (
        ("Label", "left"),
        ("Taught here", "right"),
        ("On the host", "right"),
        ("Recall", "right"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for label in sorted({*status.samples, *status.host}):
        judged = f"{recall[label]:.0%}" if label in recall else "–"
        here, host = status.samples.get(label, 0), status.host.get(label, 0)
        table.add_row(Text(label), str(here or "–"), str(host or "–"), judged)
    for meaning, here, host, share in _hidden_rows(status):
        judged = "–" if share is None else f"{share:.0%} rejected"
        table.add_row(Text(meaning), str(here or "–"), str(host or "–"), judged)
    return table


def _hidden_rows(status: Status) -> list[tuple[str, int, int, float | None]]:
    """Return meaning, number here, number on the host and share rejected of negatives and background."""
    from device.negatives import describe

    here, host = status.negatives, status.host_negatives
    rows = [
        (describe(None, label), here.get(label, 0), host.get(label, 0), status.rejected.get(label))
        for label in sorted({*here, *host})
    ]
    background = (describe(None), status.background, status.host_background, status.rejected.get(""))
    return rows + ([background] if any(background[1:3]) else [])


def _findings(status: Status) -> list[RenderableType]:
    from rich.text import Text

    from device.heads.report import BLIND

    report = status.report
    if report is None:
        return [Text(f"\n{_without_report(status)}", style="bold" if status.host else "")]
    parts: list[RenderableType] = [Text(f"\n{_accuracy(report)}", style="bold")]
    if status.behind:
        parts.append(Text(f"! {_behind(status.behind)}", style="yellow"))
    if status.held_out and (report.accuracy is None or report.sampled):  # else the same photos judge twice
        parts.append(Text(held_out_text(status.held_out)))
    if len(report.labels) <= MATRIX_UP_TO and report.accuracy is not None and report.accuracy < 1:
        parts += [Text("\nLabels (rows) against predictions (columns):"), _matrix(report)]
    for taught, seen, count in report.confused:
        parts.append(Text(f"  {taught} predicted as {seen}: {count}"))
    if report.mixed is not None:
        parts.append(Text(_mixed(report.mixed)))
    parts += [Text(_split(split)) for split in report.splits]
    if report.suspects:
        ids = ids_text(list(report.suspects))
        parts.append(
            Text(
                f"Probably mislabeled; check these samples: {ids} (edgetl label move MODEL --mislabeled --dry-run)"
            )
        )
    parts += [Text(f"! {warning}", style="yellow") for warning in report.warnings]
    if status.forecast is not None:
        parts.append(Text("\n" + "\n".join(f"{line}." for line in status.forecast.describe())))
    if report.accuracy is not None:
        parts.append(Text(BLIND, style="dim"))
    return parts


def _mixed(mixed: MixedLabels) -> str:
    first, second = mixed.labels
    shown = [
        f"{label} {ids_text(list(samples))}"
        for label, samples in zip(mixed.labels, mixed.samples, strict=True)
        if samples
    ]
    alike = f"; the samples most alike: {', '.join(shown)}" if shown else ""
    return f"Mixed up most: {first} and {second}, {plural(mixed.count, 'sample')}{alike}"


def _split(split: SplitLabel) -> str:
    shown = [ids_text(list(samples)) for samples in split.samples if samples]
    alike = f"; compare the samples {' with '.join(shown)}" if len(shown) == 2 else ""
    return f"{split.label} seems to hold two things, in {split.parts[0]:.0%} and {split.parts[1]:.0%} of its views{alike}"


def _without_report(status: Status) -> str:
    if not status.host:
        return "Nothing is taught yet. Start with: edgetl teach MODEL LABEL"
    if status.held_out:
        return held_out_text(status.held_out)
    return (
        "Accuracy: unknown, because the samples of the host are kept as sums, which do not allow an estimate"
    )


def _accuracy(report: Report) -> str:
    if report.accuracy is None:
        return "Accuracy: unknown, because too few samples can be judged"
    low, high = report.interval
    judges = plural(report.samples, "sample") + (" that did not tune the backbone" if report.tuned else "")
    part = ", a part of what was taught" if report.sampled else ""
    views = f", {plural(report.groups, 'separate view')}" if report.groups < report.samples else ""
    return (
        f"Accuracy {report.accuracy:.1%} (95 % interval {low:.0%} to {high:.0%}), judged on {judges}{part}{views}, "
        "each left out together with its burst and look-alikes"
    )


def _behind(count: int) -> str:
    changed = "1 sample was" if count == 1 else f"{count} samples were"
    return f"{changed} taught or changed after this estimate; --wait judges the present samples"


def held_out_text(figure: dict[str, Any]) -> str:
    """Return the accuracy measured at conversion as a sentence; `figure` is ``Status.held_out``."""
    low, high = figure["interval"]
    return f"At conversion {figure['accuracy']:.1%} (95 % interval {low:.0%} to {high:.0%}), {figure['how']}"


def _matrix(report: Report) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for label in report.labels:
        table.add_column(Text(label[:10]), justify="right")
    for row, label in enumerate(report.labels):
        cells = [
            Text(str(count) if count else "·", style="bold" if column == row else "red" if count else "dim")
            for column, count in enumerate(report.confusion[row].tolist())
        ]
        table.add_row(Text(label), *cells)
    return table


def _plain(status: Status, checked: _Checked | None) -> list[str]:
    model, state, runtime = status.model, status.state, status.runtime
    where = state["path"] or "in RAM"
    lines = [
        "",
        f"Model    {model['name']}: {model['backbone']}, {model['quantization']}, {model['dimensions']} dimensions,"
        f" {(model['bytes'] or 0) / 1e6:.1f} MB",
        *([f"Views    {model['views']}: each frame and its mirror image"] if model["views"] != "one" else []),
        f"State    {where}: {state['bytes'] / 1e6:.2f} MB, {plural(state['versions'], 'version')}"
        f"{'' if state['writable'] else ', read-only'}",
        f"Head     {status.head['name']} ({status.head['digest'][:12]})",
        f"Runtime  {runtime['name']} {runtime['version']}, {plural(runtime['threads'], 'thread')}, {runtime['delegate']}",
    ]
    if status.fleet is not None:
        fleet = status.fleet
        lines.append(
            f"Fleet    {plural(fleet['devices'], 'other device')}: {counted(fleet['samples'])}, weight {fleet['weight']:g}, round"
            f" {fleet['round']}"
        )
    if status.excluded:
        lines.append(
            f"Excluded {counted(status.excluded)}; kept, but not taught: edgetl label move MODEL --include"
        )
    if model["unchecked"]:
        lines.append(
            f"Caution  the {', '.join(model['unchecked'])} in {model['name']} have no checksum (format version 1);"
            " 'edgetl export' writes a file with checksums"
        )
    if status.drift is not None:
        lines.append(f"Drift    {_drift(status)}")
    if checked is not None:
        lines.append(
            f"Checked  {plural(checked.samples, 'sample')}, all match their checksums and the journal"
        )
        lines.append(f"         {_pictures_text(checked.pictures)}")
    return lines


def _pictures_text(pictures: PictureCheck) -> str:
    parts = [f"{plural(pictures.intact, 'picture')} intact"]
    if pictures.missing:
        parts.append(f"{plural(pictures.missing, 'sample')} without a picture")
    if pictures.broken:
        parts.append(f"{plural(len(pictures.broken), 'picture')} broken")
    return ", ".join(parts)


def _drift(status: Status) -> str:
    drift = status.drift or {}
    seen = f"{drift['unknown_share']:.0%} of the latest frames were unlike everything that was taught ({when_text(drift['when'])}"
    if drift["position"] != status.state["position"]:
        seen += ", before the latest change"
    if drift.get("threshold") is not None:  # notes of 0.1.0 have none
        seen += f"; unknown score {drift['unknown_score']:.2f} on average, threshold {drift['threshold']:.2f}"
    return f"{seen}){'; the scene seems to have changed' if drift['drifted'] else ''}"
