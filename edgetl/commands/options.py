"""Options, arguments and output that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from device.printable import visible

if TYPE_CHECKING:
    from device.cameras.options import Options
    from device.live.hours import Hours

Value = TypeVar("Value")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])
HEADS = ("exact", "lda", "ncm", "softmax", "knn")


def json_option(function: Decorated) -> Decorated:
    """Add ``--json``, given to the command as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")(function)


def force_option(function: Decorated) -> Decorated:
    """Add ``--force``."""
    return click.option("--force", is_flag=True, help="Overwrite what is already there.")(function)


def skip_empty_option(function: Decorated) -> Decorated:
    """Add ``--skip-empty``, for commands that read a folder of photos."""
    return click.option(
        "--skip-empty", is_flag=True, help="Skip labels without a readable photo instead of stopping."
    )(function)


def weights_option(function: Decorated) -> Decorated:
    """Add ``--weights``, for commands that load a backbone by name."""
    return click.option(
        "--weights",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="File with weights for the backbone (.h5 of Keras, .pth of a packaged backbone).  [default: the published ones]",
    )(function)


def own_model_options(function: Decorated) -> Decorated:
    """Add the options for a Keras model of the user's: ``--embedding-layer``, ``--input-range`` and ``--size``."""
    options = [
        click.option(
            "--embedding-layer",
            metavar="NAME",
            help="Layer of a Keras model whose output is the embedding.  [default: the last pooled layer before the classifier]",
        ),
        click.option(
            "--input-range",
            metavar="RANGE",
            help="Pixels that your model expects: 0..255, 0..1, -1..1, imagenet or LOW..HIGH.  [default: found in the file]",
        ),
        click.option(
            "--size",
            metavar="HEIGHTxWIDTH",
            help="Input size of a Keras model that has none.  [default: that of the model]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def model_argument(function: Decorated) -> Decorated:
    """Add the argument MODEL, a model file."""
    return click.argument("model", type=click.Path(path_type=Path, dir_okay=False))(function)


def state_option(function: Decorated) -> Decorated:
    """Add ``--state``, given as a path or None; see `state_path`."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path, dir_okay=False),
        help="State file, which contains what the device learned.  [default: MODEL with the suffix .db]",
    )(function)


def head_option(function: Decorated) -> Decorated:
    """Add ``--head``."""
    choices = click.Choice(HEADS)
    return click.option(
        "--head", type=choices, default="exact", show_default=True, help="How the device learns."
    )(function)


def replay_option(function: Decorated) -> Decorated:
    """Add ``--replay``."""
    return click.option(
        "--replay",
        type=click.Choice(["stored", "generated"]),
        default="stored",
        show_default=True,
        help="What the softmax head replays: stored samples, or images of the model file's generator.",
    )(function)


def priors_option(function: Decorated) -> Decorated:
    """Add ``--priors``."""
    return click.option(
        "--priors",
        type=click.Choice(["even", "taught"]),
        help="How frequent labels are expected: all alike, or as frequent as they were taught.  "
        "[default: even; taught for lda and knn]",
    )(function)


def views_option(function: Decorated) -> Decorated:
    """Add ``--views``."""
    return click.option(
        "--views",
        type=click.Choice(["one", "flip"]),
        help="Look at each frame once, or also at its mirror image, in twice the time; kept from the first sample on.  "
        "[default: what is kept, else one]",
    )(function)


def threads_option(function: Decorated) -> Decorated:
    """Add ``--threads`` and ``--edgetpu``."""
    function = click.option("--edgetpu", is_flag=True, help="Run the backbone on a Coral Edge TPU.")(function)
    return click.option(
        "--threads",
        type=click.IntRange(1, 64),
        help="Number of CPU threads.  [default: number of cores, at most 4]",
    )(function)


def device_options(function: Decorated) -> Decorated:
    """Add ``--dir``, ``--python``, ``--parallel`` and ``--ssh-config``, for commands that reach devices over ssh."""
    options = [
        click.option(
            "--dir",
            "folder",
            default="edgetl-device",
            show_default=True,
            help="Folder of the deployment there; a relative path starts at the home folder.",
        ),
        click.option(
            "--python",
            default="",
            metavar="PATH",
            help="Python there.  [default: that of the deployment, of ~/edgetl, of the command edgetl, else python3]",
        ),
        click.option(
            "--parallel",
            type=click.IntRange(1, 64),
            default=4,
            show_default=True,
            help="Number of devices at a time.",
        ),
        click.option(
            "--ssh-config",
            "config",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            metavar="FILE",
            help="Configuration file of ssh, passed to it as -F.  [default: yours]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def unit_option(function: Decorated) -> Decorated:
    """Add ``--name``, the systemd unit of a deployment."""
    return click.option(
        "--name", "unit", default="edgetl", show_default=True, help="Name of the systemd unit."
    )(function)


def camera_options(function: Decorated) -> Decorated:
    """Add ``--camera`` and the options of its frames; pass all of them to `camera_arguments`."""
    options = [
        click.option(
            "--camera",
            metavar="SOURCE",
            help="0 or /dev/video0, picamera2, a video file, a folder of photos, rtsp:// or http://, fake.  "
            "[default: $EDGETL_CAMERA, else the first found]",
        ),
        click.option("--fps", type=click.FloatRange(0.1, 240), help="Maximum number of frames per second."),
    ]
    function = _frame_options(function)
    for option in reversed(options):
        function = option(function)
    return function


def _frame_options(function: Decorated) -> Decorated:
    options = [
        click.option("--size", metavar="WxH", callback=_size, help="Size of the frames, such as 640x480."),
        click.option(
            "--rotate",
            type=click.Choice(["0", "90", "180", "270"]),
            default="0",
            help="Rotate clockwise by this number of degrees.",
        ),
        click.option("--mirror", is_flag=True, help="Swap left and right."),
        click.option(
            "--crop",
            metavar="X,Y,W,H",
            callback=_crop,
            help="Use only this part of the frame, in pixels or fractions.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def several_cameras_options(function: Decorated) -> Decorated:
    """Add ``--camera``, ``--fps`` and ``--hours``, each several times, ``--region``, ``--motion`` and the options of frames.

    Pass the values to `device.live.regions.plan_cameras` and `camera_arguments`.
    """
    for option in reversed(_SEVERAL):
        function = option(function)
    return _frame_options(function)


def fps_of(options: Mapping[str, Any], *names: str) -> float | None:
    """Return the maximum number of frames per second of the first of `names` that ``--fps`` names, else that of all."""
    return _first(options["fps"], names)


def hours_of(options: Mapping[str, Any], *names: str) -> Hours | None:
    """Return the hours of the first of `names` that ``--hours`` names, else those of all."""
    return _first(options["hours"], names)


def _first(values: Mapping[str, Value], names: Sequence[str]) -> Value | None:
    return next((values[name] for name in (*names, "") if name in values), None)


def check_named(options: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise `click.UsageError` if ``--fps`` or ``--hours`` names neither a camera nor a region."""
    for option in ("fps", "hours"):
        unknown = [name for name in options[option] if name and name not in names]
        if unknown:
            raise click.UsageError(
                f"--{option} names {unknown[0]!r}; cameras and regions are: {', '.join(names)}"
            )


def _rates(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    rates = {}
    for value in values:
        name, _, number = value.rpartition("=")
        try:
            rates[name] = float(number)
        except ValueError:
            rates[name] = 0.0
        if not 0.1 <= rates[name] <= 240:
            raise click.BadParameter(f"expected a number from 0.1 to 240, or NAME=NUMBER, got {value!r}")
    return rates


def _hours(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, Hours]:
    if not values:
        return {}
    from device.errors import CameraError
    from device.live.hours import Hours

    found = {}
    for value in values:
        name, _, text = value.rpartition("=")
        try:
            found[name] = Hours.parse(text)
        except CameraError as error:
            raise click.BadParameter(str(error)) from error
    return found


_SEVERAL = [
    click.option(
        "--camera",
        metavar="[NAME=]SOURCE",
        multiple=True,
        help="0 or /dev/video0, picamera2, a video file, a folder of photos, rtsp:// or http://, fake; several times for "
        "several cameras.  [default: $EDGETL_CAMERA, else the first found]",
    ),
    click.option(
        "--region",
        metavar="NAME=L,T,R,B",
        multiple=True,
        help="Watch only this part of the first camera, in fractions of the frame, such as door=0.1,0.2,0.4,0.9; "
        "CAMERA/NAME=... for another camera. Several times for several regions.",
    ),
    click.option(
        "--shared-state",
        is_flag=True,
        help="Let all cameras and regions share one state.  [default: one each, MODEL.NAME.db]",
    ),
    click.option(
        "--fps",
        metavar="[NAME=]NUMBER",
        multiple=True,
        callback=_rates,
        help="Maximum number of frames per second, of all cameras, or of one camera or region.",
    ),
    click.option(
        "--hours",
        metavar="[NAME=]FROM-TO",
        multiple=True,
        callback=_hours,
        help="Watch all cameras, or one camera or region, only in these hours, such as 07:00-19:00 or "
        "'door=mon-fri 07:00-19:00,sat 22:00-02:00'; outside of them the camera is closed.  [default: always]",
    ),
    click.option("--motion", is_flag=True, help="Embed no frames while nothing moves."),
    click.option(
        "--motion-threshold",
        type=click.FloatRange(0, 1),
        default=0.01,
        show_default=True,
        help="With --motion: share of the picture that has to change.",
    ),
]


CAMERA_NAMES = ("fps", "size", "rotate", "mirror", "crop")


def camera_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a command that `open_camera` accepts besides the source."""
    chosen = {name: options[name] for name in CAMERA_NAMES}
    chosen["rotate"] = int(chosen["rotate"])
    return chosen


def state_path(model: Path, state: Path | None) -> Path:
    """Return the state file: the given one, or the path of the model with ``.db``."""
    return state or model.with_suffix(".db")


def emit(data: Any, as_json: bool, text: Callable[[], str] | str) -> None:
    """Write a result on stdout: `data` as JSON, or `text` for people (called only when needed)."""
    if as_json:
        click.echo(visible(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)))
    else:
        click.echo(visible(text() if callable(text) else text))


def _size(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    return None if value is None else _checked(size=value).size


def _crop(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    return None if value is None else _checked(crop=value).crop


def _checked(**typed: Any) -> Options:
    from device.cameras.options import Options
    from device.errors import CameraError

    try:
        return Options.of(**typed)
    except CameraError as error:
        raise click.BadParameter(str(error)) from error
