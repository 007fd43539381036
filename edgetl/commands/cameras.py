"""``edgetl cameras``: list the cameras, and what to do when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from device.printable import printable

from .options import emit, json_option

if TYPE_CHECKING:
    from device.cameras.discover import Discovery


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the cameras for --camera, with their formats.

    When a camera is missing or cannot be used, the command shows why and what to do next. It does not start any
    camera, so a camera in use is not disturbed.

    \b
    Examples:
      edgetl cameras
      edgetl run mugs.tflite --camera /dev/video0
    """
    from device.cameras.discover import discover

    found = discover()
    emit(found.to_dict(), as_json, lambda: _text(found))


def _text(found: Discovery) -> str:
    lines = []
    for camera in found.cameras:
        # the name comes from the device
        lines.append(printable(f"{camera.source}  {camera.name} ({camera.kind})"))
        lines += [f"    {form}" for form in camera.formats]
    if not found.cameras:
        lines.append("No camera found.")
    lines.append(f"picamera2 (ribbon cameras): {found.picamera2}")
    for advice in found.advice:
        lines += [f"! {advice.problem}", f"  -> {advice.next_step}"]
    lines.append("Other sources: a video file, a folder of photos, rtsp:// or http://, or fake")
    return "\n".join(lines)
