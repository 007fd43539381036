"""``edgetl bench``: measure how long frames and lessons take on this machine; ``edgetl bench compare`` compares results."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import emit, head_option, json_option, threads_option
from .session import INTERRUPTED, say

if TYPE_CHECKING:
    from device.system.bench import Bench, Measured
    from device.system.comparing import Comparison, ModelComparison

_COLUMNS = ("minimum", "p50", "p90", "p95", "p99", "spread")


class BenchGroup(click.Group):
    """A group that measures the models that are its arguments, unless the first argument is one of its commands."""

    allow_extra_args = False
    allow_interspersed_args = True  # options may follow a model

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of the command named by the first argument, or that of the measurement."""
        command = self.commands.get(args[0]) if args else None
        if command is None:
            return super().make_context(info_name, args, parent, **extra)
        return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options and models."""
        return click.Command.parse_args(self, ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Measure."""
        return click.Command.invoke(self, ctx)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the parts of the usage line, without that of commands."""
        return click.Command.collect_usage_pieces(self, ctx)


@click.group(cls=BenchGroup)
@click.argument(
    "models", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="MODEL..."
)
@click.option(
    "--frames",
    type=click.IntRange(1, 100_000),
    help="Number of timed frames per model.  [default: 100, without --seconds]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 86_400, min_open=True),
    help="Duration of the measurement, after the warm-up, for all models together.",
)
@click.option(
    "--lessons",
    type=click.IntRange(0, 10_000),
    default=30,
    show_default=True,
    help="Number of timed lessons per model.",
)
@click.option(
    "--warm-up",
    type=click.IntRange(0, 1000),
    help="Number of frames before the timed ones.  [default: until the median is steady]",
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Show these photos instead of noise.",
)
@click.option(
    "--samples",
    type=click.IntRange(2, 100_000),
    default=200,
    show_default=True,
    help="Number of samples that the head has learned.",
)
@click.option(
    "--labels",
    type=click.IntRange(2, 1000),
    default=5,
    show_default=True,
    help="Number of labels of these samples.",
)
@threads_option
@head_option
@click.option("--csv", "as_csv", is_flag=True, help="Write the table as CSV.")
@json_option
def command(models: tuple[Path, ...], as_csv: bool, as_json: bool, **options: Any) -> None:
    """Measure how long frames and lessons take on this machine, step by step.

    Several models are measured in turn, a frame of each, so that what disturbs the machine disturbs all alike. Lessons are
    written to a temporary state beside the first model, and forgotten. Frames are 640x480 pixels of noise unless
    --photos is used. Close other programs first. Ctrl-C ends the measurement with what was measured so far.

    "edgetl bench compare" compares two results of --json. A model file named "compare" is ./compare.

    \b
    Examples:
      edgetl bench mugs.tflite --frames 200 --threads 2
      edgetl bench small.tflite large.tflite --seconds 60 --json > sizes.json
    """
    if options["labels"] > options["samples"]:
        raise click.UsageError(
            f"--labels {options['labels']} needs at least as many --samples, got {options['samples']}"
        )
    if as_csv and as_json:
        raise click.UsageError("use either --csv or --json")
    result = _measure(models, options)
    if as_csv:
        click.echo(_csv(result), nl=False)
    else:
        emit(result.to_dict(), as_json, lambda: _text(result))
    if result.partial:
        say("interrupted: the result is partial")
        click.get_current_context().exit(INTERRUPTED)


def _measure(models: tuple[Path, ...], options: dict[str, Any]) -> Bench:
    from device.system import bench as measuring
    from device.system.conditions import doubts
    from device.system.health import describe_machine
    from device.system.subject import Teaching

    from .progress import stages

    for doubt in doubts(describe_machine()):
        say(f"note: {doubt}")
    folder, frames = options["photos"], options["frames"]
    if frames is None and options["seconds"] is None:
        frames = measuring.FRAMES
    with stages(transient=True, lines=False) as progress:
        result = measuring.bench(
            models,
            plan=measuring.Plan(frames, options["seconds"], options["lessons"], options["warm_up"]),
            teaching=Teaching(options["head"], options["samples"], options["labels"]),
            frames=measuring.Frames.noise() if folder is None else measuring.Frames.photos(folder),
            threads=options["threads"],
            delegate="edgetpu" if options["edgetpu"] else None,
            progress=progress,
        )
    for note in result.notes:
        say(f"note: {note}")
    return result


@command.command()
@click.argument("before", type=click.Path(path_type=Path, dir_okay=False), metavar="A.json")
@click.argument("after", type=click.Path(path_type=Path, dir_okay=False), metavar="[B.json]", required=False)
@click.option(
    "--anyway", is_flag=True, help="Compare even other machines, frames, heads or versions of the format."
)
@click.option(
    "--fail-above",
    type=click.FloatRange(0, min_open=True),
    metavar="RATIO",
    help="Exit with 1 if a step of B is slower, and takes more than this number of times as long as in A.",
)
@json_option
def compare(before: Path, after: Path | None, anyway: bool, fail_above: float | None, as_json: bool) -> None:
    """Compare two results of "bench --json", step by step.

    Shows the ratio of the medians, its interval and a verdict per step. A ratio below 1 means that B is faster. The
    interval is a bootstrap of the ratio, 95 %; if it contains 1, or there are fewer than 5 runs, the verdict is
    "can't tell". Results of other machines are refused. Without B, the first model in A is compared with the others.

    \b
    Examples:
      edgetl bench compare before.json after.json --fail-above 1.10
      edgetl bench compare sizes.json
    """
    from device.system.comparing import compare as compare_files

    result = compare_files(before, after, anyway=anyway)
    for note in result.notes:
        say(f"note: {note}")
    emit(result.to_dict(), as_json, lambda: _comparison_text(result))
    slower = [] if fail_above is None else result.slower_than(fail_above)
    for name, step in slower:
        say(f"{name}, {step.step}: takes {step.ratio:.2f} times as long; the limit is {fail_above:g}")
    if slower:
        click.get_current_context().exit(1)


def _text(result: Bench) -> str:
    machine, frames = result.machine, result.frames
    board = machine["board"] or "not a single-board computer"
    lines = [
        f"{board}, {machine['cpu']}, {machine['cores']} cores, governor {machine['governor']}",
        f"frames of {frames['source']}, {frames['width']}x{frames['height']}; {_conditions(result)}",
    ]
    for found in result.results:
        lines += ["", *_model_lines(found)]
    return "\n".join(lines)


def _conditions(result: Bench) -> str:
    before, after = result.conditions["before"], result.conditions["after"]
    shown = [f"load {before['load']} before, {after['load']} after"]
    for name, unit in (("frequency", "MHz"), ("temperature", "°C")):
        if before[name] is not None and after[name] is not None:
            shown.append(f"{name} {before[name]:.0f} and {after[name]:.0f} {unit}")
    return ", ".join([*shown, f"peak RAM {result.conditions['peak_ram_bytes'] / 1e6:.0f} MB"])


def _model_lines(found: Measured) -> list[str]:
    model, runtime, head, warm = found.model, found.runtime, found.head, found.warm_up
    return [
        f"{model['name']}: {model['backbone']}, {model['quantization']}, {model['dimensions']} dimensions, "
        f"{model['bytes'] / 1e6:.1f} MB, cold start {model['cold_start_ms']:.0f} ms",
        f"{runtime['name']} {runtime['version']}, {runtime['delegate']}, threads {runtime['threads']}; "
        f"{head['name']} head with {head['samples']} samples of {head['labels']} labels",
        f"warm-up: {warm.runs} frames, {warm.seconds:.1f} s{' (not steady)' if warm.steady is False else ''}",
        "",
        f"{'milliseconds':26}{''.join(f'{name:>9}' for name in _COLUMNS)}{'median, 95 %':>19}{'runs':>7}",
        *(
            f"{t.step:26}{''.join(f'{getattr(t, name):>9.3f}' for name in _COLUMNS)}"
            f"{f'{t.interval[0]:.3f}..{t.interval[1]:.3f}':>19}{t.runs:>7}"
            for t in found.timings
        ),
    ]


def _csv(result: Bench) -> str:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(
        ["model", "step", "runs", *(f"{name}_ms" for name in _COLUMNS), "median_low_ms", "median_high_ms"]
    )
    for found in result.results:
        for timing in found.timings:
            figures = (getattr(timing, name) for name in _COLUMNS)
            table.writerow([found.model["name"], timing.step, timing.runs, *figures, *timing.interval])
    return stream.getvalue()


def _comparison_text(result: Comparison) -> str:
    from device.system.comparing import METHOD

    lines = [line for model in result.models for line in (*_comparison_lines(model), "")]
    return "\n".join([*lines, f"ratio: B / A; interval: {METHOD}"])


def _comparison_lines(model: ModelComparison) -> list[str]:
    return [
        f"A {model.before}, B {model.after}",
        *(f"differs: {found}" for found in model.differences),
        f"{'median, milliseconds':26}{'A':>10}{'B':>10}{'ratio':>8}{'interval':>15}  verdict",
        *(
            f"{s.step:26}{s.before:>10.3f}{s.after:>10.3f}{s.ratio:>8.3f}"
            f"{f'{s.interval[0]:.3f}..{s.interval[1]:.3f}':>15}  {s.verdict}"
            for s in model.steps
        ),
    ]
