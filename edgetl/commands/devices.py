"""``edgetl devices``: show what runs on devices."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .options import device_options, emit, json_option, unit_option
from .progress import device_rows
from .session import WIDTH, counted, wrapped

if TYPE_CHECKING:
    from edgetl.remote.overview import DeviceReport


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="DEVICE...")
@unit_option
@device_options
@json_option
def command(targets: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Show what runs on devices: model, version of edgetl, samples, estimated accuracy, temperature and disk.

    The devices are read over ssh, as by "edgetl deploy"; nothing there is changed. The exit code is 1 if one of them cannot
    be read. --json also has the complete sha256 of each model file and the status of each device.

    \b
    Example:
      edgetl devices pi@shed.local pi@barn.local
    """
    from edgetl.remote.overview import report_devices

    with device_rows() as progress:
        reports = report_devices(targets, progress=progress, **options)
    emit({"devices": [report.to_dict() for report in reports]}, as_json, lambda: _text(reports))
    if any(report.error for report in reports):
        click.get_current_context().exit(1)


def _text(reports: Sequence[DeviceReport]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    titles = ("Device", "Model", "edgetl", "Taught there", "Accuracy", "Unknown", "Service", "°C", "Free")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, no_wrap=title in ("Device", "Model"))
    for report in reports:
        if not report.error:
            table.add_row(report.target, *(Text(cell) for cell in _cells(report)))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().rstrip().splitlines()] if table.row_count else []
    return "\n".join([*lines, *(wrapped(note) for report in reports for note in _notes(report))])


def _cells(report: DeviceReport) -> tuple[str, ...]:
    return (
        f"{report.model}\n{report.sha256[:12]}",
        report.edgetl,
        counted(report.samples),
        "–" if report.accuracy is None else f"{report.accuracy:.1%}",
        "–" if report.unknown_share is None else f"{report.unknown_share:.0%}",
        report.service or "–",
        "–" if report.temperature is None else f"{report.temperature:.0f}",
        "–" if report.disk_free is None else f"{report.disk_free / 1e9:.1f} GB",
    )


def _notes(report: DeviceReport) -> list[str]:
    if report.error:
        return [f"{report.target}: {report.error}"]
    if report.verified is False:
        return [
            f"{report.target}: this model was not tested, because the deployment was interrupted; deploy it again to test it"
        ]
    return []
