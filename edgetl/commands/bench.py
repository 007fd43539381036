"""``edgetl bench``: measure how long frames and lessons take on this machine; ``edgetl bench compare`` compares results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device.errors import EdgetlError
from device.printable import visible

from .bench_options import amount_options, grid_options, host_options, make_grid, more_options, words_for_host
from .group import Group
from .options import emit, json_option
from .session import INTERRUPTED, say

if TYPE_CHECKING:
    from device.progress import Progress
    from device.system.comparing import Comparison, ModelComparison
    from device.system.frames import Frames
    from device.system.results import Bench


class BenchGroup(Group):
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
@amount_options
@grid_options
@more_options
@host_options
@click.option("--csv", "as_csv", is_flag=True, help="Write the table as CSV.")
@json_option
def command(models: tuple[Path, ...], as_csv: bool, as_json: bool, **options: Any) -> None:
    """Measure how long frames and lessons take on this machine, step by step.

    Options that accept several values, such as --threads 1,2, span a grid. All its combinations are measured in turn, a
    frame of each, so that what disturbs the machine disturbs all alike. What cannot be measured is named. Lessons are
    written to a temporary state beside the first model, and forgotten. Frames are 640x480 pixels of noise unless
    --photos or --camera is used. Close other programs first. Ctrl-C ends the measurement with what was measured so far.

    "edgetl bench compare" compares two results of --json. A model file named "compare" is ./compare.

    \b
    Examples:
      edgetl bench mugs.tflite --frames 200 --threads 1,2,4 --samples 50,1000
      edgetl bench small.tflite large.tflite --seconds 60 --json > sizes.json
      edgetl bench mugs.tflite --host pi@raspberrypi.local
    """
    if options["labels"] > min(options["samples"]):
        raise click.UsageError(
            f"--labels {options['labels']} needs at least as many --samples, got {min(options['samples'])}"
        )
    if as_csv and as_json:
        raise click.UsageError("use either --csv or --json")
    if options["clock"] == "cpu" and options["threads"] != (1,):
        raise click.UsageError("--clock cpu needs --threads 1")
    if options["host"] is None and (options["python"] or options["ssh_config"]):
        raise click.UsageError("--python and --ssh-config need --host")
    if options["photos"] and options["camera"]:
        raise click.UsageError("use either --photos or --camera")
    from edgetl.measuring.text import describe_bench, describe_csv

    report = options["report"]
    if report is not None:
        _check_output(report, options["force"])
    result = (
        _measure(models, options).to_dict() if options["host"] is None else _measure_there(models, options)
    )
    if as_csv:
        click.echo(visible(describe_csv(result)), nl=False)
    else:
        emit(result, as_json, lambda: describe_bench(result))
    if report is not None:
        _write_report(result, report, options["force"])
    if result["partial"]:
        say(f"the result is partial: {result['error'] or 'interrupted'}")
        click.get_current_context().exit(1 if result["error"] else INTERRUPTED)


def _check_output(path: Path, force: bool) -> None:
    """Refuse a file that cannot be written, before the measurement."""
    from device.files import refuse_existing, require_writable

    refuse_existing(path, force)
    require_writable(path)


def _write_report(result: dict[str, Any], path: Path, force: bool) -> None:
    from device.files import atomic_output
    from edgetl.measuring.page import render

    with atomic_output(path, force=force) as temporary:
        temporary.write_text(render(result), encoding="utf-8")
    say(f"wrote {path}")


def _measure(models: tuple[Path, ...], options: dict[str, Any]) -> Bench:
    from device.system import bench as measuring
    from device.system.conditions import doubts
    from device.system.health import describe_machine

    from .progress import stages

    _check_photos(options)
    for doubt in doubts(describe_machine()):
        say(f"note: {doubt}")
    frames = options["frames"]
    if frames is None and options["seconds"] is None:
        frames = measuring.FRAMES
    plan = measuring.Plan(
        frames,
        options["seconds"],
        options["lessons"],
        options["warm_up"],
        options["cold_starts"],
        options["energy"],
        options["clock"],
    )
    with _frames(options) as shown_frames, stages(transient=True, lines=False, remaining=True) as progress:
        result = measuring.bench(
            models, plan=plan, grid=make_grid(options), frames=shown_frames, progress=progress
        )
        result = _with_more(result, models, options, progress)
    for note in (*result.notes, *(result.accuracy or {}).get("notes", ())):
        say(f"note: {note}")
    return result


def _check_photos(options: dict[str, Any]) -> None:
    """Refuse a wrong folder of photos before the measurement."""
    if options["accuracy"] is not None:
        from edgetl.photos import find_photos

        find_photos(options["accuracy"])


def _measure_there(models: tuple[Path, ...], options: dict[str, Any]) -> dict[str, Any]:
    from device.model.modelfile import ModelFile
    from device.system.conditions import doubts
    from device.system.frames import Frames
    from edgetl.measuring.remote import bench_on
    from edgetl.remote.ssh import Ssh

    from .progress import stages

    for model in models:  # a wrong file or folder is refused before anything is copied
        ModelFile.open(model)
    _check_photos(options)
    if options["photos"] is not None:
        Frames.photos(options["photos"])
    ssh = Ssh(options["host"], options["ssh_config"])
    if warning := ssh.unverified():
        say(f"note: {warning}")
    named = {"--photos": options["photos"], "--accuracy": options["accuracy"]}
    folders = {option: path for option, path in named.items() if path is not None}
    with stages(transient=True) as progress:
        result = bench_on(
            ssh, models, words_for_host(options), folders=folders, python=options["python"], progress=progress
        )
    accuracy = result.get("accuracy") or {}
    for note in (*doubts(result["machine"]), *result["notes"], *accuracy.get("notes", ())):
        say(f"note: {note}")
    return result


def _with_more(result: Bench, models: tuple[Path, ...], options: dict[str, Any], progress: Progress) -> Bench:
    """Add the profile and the accuracy; Ctrl-C leaves what was measured before."""
    from device.model.modelfile import ModelFile
    from edgetl.measuring import accuracy, profiling

    if result.partial:
        return result
    opened = [ModelFile.open(path) for path in models]
    try:
        if options["profile"]:
            threads = (options["threads"] or (None,))[0]
            result = replace(
                result, profile=profiling.profile_models(opened, threads=threads, progress=progress)
            )
        if options["accuracy"] is not None:
            found = accuracy.measure_accuracy(
                opened, options["accuracy"], heads=options["heads"], shots=options["shots"], progress=progress
            )
            result = replace(result, accuracy=found.to_dict())
    except KeyboardInterrupt:
        return replace(result, partial=True)
    except EdgetlError as error:  # the times are not lost
        return replace(result, partial=True, error=str(error))
    return result


@contextlib.contextmanager
def _frames(options: dict[str, Any]) -> Iterator[Frames]:
    from device.system.frames import Frames

    if options["camera"] is not None:
        from device.cameras import open_camera

        with open_camera(options["camera"], loop=True, notice=say) as camera:
            yield Frames.of_camera(camera)
    elif options["photos"] is not None:
        yield Frames.photos(options["photos"])
    else:
        yield Frames.noise()


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


def _comparison_text(result: Comparison) -> str:
    from device.system.comparing import FEWEST, METHOD

    lines = [line for model in result.models for line in (*_comparison_lines(model), "")]
    lines.append(f"ratio: B / A; interval: {METHOD}")
    if any(min(step.runs) < FEWEST for model in result.models for step in model.steps):
        lines.append(f'with fewer than {FEWEST} runs of a step, its verdict is "can\'t tell"')
    return "\n".join(lines)


def _comparison_lines(model: ModelComparison) -> list[str]:
    return [
        f"A {model.before}, B {model.after}",
        *(f"differs: {found}" for found in model.differences),
        f"{'median, milliseconds':33}{'A':>10}{'B':>10}{'ratio':>8}{'interval':>15}  verdict",
        *(
            f"{s.step:33}{s.before:>10.3f}{s.after:>10.3f}{s.ratio:>8.3f}"
            f"{f'{s.interval[0]:.3f}..{s.interval[1]:.3f}':>15}  {s.verdict}"
            for s in model.steps
        ),
    ]
