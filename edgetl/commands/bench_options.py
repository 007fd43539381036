"""The options of `edgetl bench`: how much is measured, and the grid of what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .lists import CommaList, Shots
from .options import HEADS, Decorated, force_option

if TYPE_CHECKING:
    from device.system.grid import Grid

WITH, WITHOUT = MEMORY = ("with", "without")


def amount_options(function: Decorated) -> Decorated:
    """Add the options for how much is measured, and what is shown."""
    return _decorated(
        function,
        click.option(
            "--frames",
            type=click.IntRange(1, 100_000),
            help="Number of timed frames per combination.  [default: 100, without --seconds]",
        ),
        click.option(
            "--seconds",
            type=click.FloatRange(0, 86_400, min_open=True),
            help="Duration of the timed frames and lessons, for all combinations together.",
        ),
        click.option(
            "--lessons",
            type=click.IntRange(0, 10_000),
            default=30,
            show_default=True,
            help="Number of timed lessons per combination.",
        ),
        click.option(
            "--warm-up",
            type=click.IntRange(0, 1000),
            help="Number of frames before the timed ones.  [default: until the median is steady]",
        ),
        click.option(
            "--cold-starts",
            type=click.IntRange(0, 100),
            default=3,
            show_default=True,
            help="Number of processes per combination that measure cold start and peak RAM.",
        ),
        click.option(
            "--energy/--no-energy",
            default=True,
            show_default=True,
            help="Measure the energy per prediction, where the kernel has a readable meter.",
        ),
        click.option(
            "--clock",
            type=click.Choice(["elapsed", "cpu"]),
            default="elapsed",
            show_default=True,
            help="Time that passes, or CPU time: for busy machines, with --threads 1; without waits for a disk or a camera.",
        ),
        click.option(
            "--photos",
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help="Show these photos instead of noise.",
        ),
        click.option(
            "--camera",
            metavar="SOURCE",
            help="Show the frames of a camera, and time the capture: 0, picamera2, a video file, rtsp://, fake.",
        ),
    )


def grid_options(function: Decorated) -> Decorated:
    """Add the options that span the grid; pass them to `make_grid`."""
    return _decorated(
        function,
        click.option(
            "--samples",
            type=CommaList(click.IntRange(2, 100_000)),
            default="200",
            show_default=True,
            help="Numbers of samples that the head has learned.",
        ),
        click.option(
            "--labels",
            type=click.IntRange(2, 1000),
            default=5,
            show_default=True,
            help="Number of labels of these samples.",
        ),
        click.option(
            "--memory",
            type=CommaList(click.Choice(MEMORY)),
            default=WITH,
            show_default=True,
            help="Whether the head has also learned what the host taught, if the model file contains that.",
        ),
        click.option(
            "--head",
            "heads",
            type=CommaList(click.Choice(HEADS)),
            default="exact",
            show_default=True,
            help="Kinds of head.",
        ),
        click.option(
            "--threads",
            type=CommaList(click.IntRange(1, 64)),
            help="Numbers of CPU threads.  [default: number of cores, at most 4]",
        ),
        click.option(
            "--delegate",
            "delegates",
            type=CommaList(click.Choice(["cpu", "edgetpu"])),
            default="cpu",
            show_default=True,
            help="Run the backbone on the CPU, on a Coral Edge TPU, or on both in turn.",
        ),
        click.option(
            "--runtime",
            "runtimes",
            metavar="NAME[=PYTHON],...",
            help="litert, tflite-runtime or both; PYTHON is that of another environment that has edgetl.  "
            "[default: the installed one]",
        ),
        click.option("--edgetpu", is_flag=True, hidden=True, help="The same as --delegate edgetpu."),
    )


def more_options(function: Decorated) -> Decorated:
    """Add the options for what is measured beside the times."""
    return _decorated(
        function,
        click.option(
            "--accuracy",
            type=click.Path(path_type=Path),
            metavar="PHOTOS",
            help="Also measure what each model learns from these photos, one folder per label, on held-out ones.",
        ),
        click.option(
            "--shots",
            type=CommaList(Shots()),
            default="1,5,10,all",
            show_default=True,
            help="Numbers of photos per label for --accuracy.",
        ),
        click.option(
            "--profile",
            is_flag=True,
            help="Also measure where the time of each backbone goes, by kind of op and by layer.",
        ),
        click.option(
            "--report",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE.html",
            help="Also write a page with pictures to this file.",
        ),
        force_option,
    )


def host_options(function: Decorated) -> Decorated:
    """Add the options for a measurement on another machine."""
    return _decorated(
        function,
        click.option(
            "--host",
            metavar="USER@HOST",
            help="Machine to measure on, over ssh; it needs the same version of edgetl.",
        ),
        click.option(
            "--python",
            default="",
            metavar="PATH",
            help="Python there.  [default: that of the deployment, of ~/edgetl, of the command edgetl, else python3]",
        ),
        click.option(
            "--ssh-config",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            metavar="FILE",
            help="Configuration file of ssh, passed to it as -F.  [default: yours]",
        ),
    )


# option -> name of its value, of those that are passed on to another machine
_PASSED_ON = {
    "--frames": "frames",
    "--seconds": "seconds",
    "--lessons": "lessons",
    "--warm-up": "warm_up",
    "--cold-starts": "cold_starts",
    "--clock": "clock",
    "--camera": "camera",
    "--samples": "samples",
    "--labels": "labels",
    "--memory": "memory",
    "--head": "heads",
    "--threads": "threads",
    "--delegate": "delegates",
    "--runtime": "runtimes",
}


def words_for_host(options: dict[str, Any]) -> list[str]:
    """Return the options as words of a command line, without those of files and of output."""
    words = ["--shots", ",".join(str(count or "all") for count in options["shots"])]
    for option, name in _PASSED_ON.items():
        value = options[name]
        if value is not None:
            words += [option, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    flags = {
        "--profile": options["profile"],
        "--edgetpu": options["edgetpu"],
        "--no-energy": not options["energy"],
    }
    return words + [flag for flag, wanted in flags.items() if wanted]


def make_grid(options: dict[str, Any]) -> Grid:
    """Return the grid of the options.

    Raises:
        click.BadParameter: A runtime is unknown.
    """
    from device.errors import MeasurementError
    from device.system.grid import Grid, RuntimeChoice

    texts: Sequence[str] = (options["runtimes"] or "").split(",") if options["runtimes"] else ()
    try:
        runtimes = tuple(RuntimeChoice.of(text.strip()) for text in texts) or (RuntimeChoice(),)
    except MeasurementError as error:
        raise click.BadParameter(str(error), param_hint="--runtime") from error
    return Grid(
        runtimes=tuple(dict.fromkeys(runtimes)),
        threads=options["threads"] or (None,),
        delegates=("edgetpu",) if options["edgetpu"] else options["delegates"],
        heads=options["heads"],
        samples=options["samples"],
        labels=options["labels"],
        host=tuple(name == WITH for name in options["memory"]),
    )


def _decorated(function: Decorated, *options: Any) -> Decorated:
    for option in reversed(options):
        function = option(function)
    return function
