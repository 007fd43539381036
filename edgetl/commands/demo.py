"""``edgetl demo``: train, convert, teach and test on real photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import emit, force_option, json_option
from .progress import stages

if TYPE_CHECKING:
    from ..demo.results import DemoResult


@click.command("demo")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the HTML report to this file.  [default: in the cache]",
)
@click.option(
    "--blocks",
    type=click.IntRange(0, 16),
    default=None,
    help="Number of last blocks of the backbone to fine-tune; 0 keeps it frozen.  [default: 2]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed for the training and the teaching order.",
)
@click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the learning curve to this SVG file.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="EDGETL_CACHE",
    help="Folder to keep photos and models in.  [default: ~/.cache/edgetl]",
)
@click.option("--fresh", is_flag=True, help="Do not use the results of an earlier run.")
@force_option
@json_option
def command(
    report: Path | None,
    blocks: int | None,
    seed: int,
    chart: Path | None,
    cache: Path | None,
    fresh: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train, convert, teach and test on real photos of solar cells.

    The host trains on intact and defective monocrystalline cells. A device then sees polycrystalline cells through
    its camera, is taught them one by one, and is tested on cells that it never saw. The result is a table and an HTML
    report.

    The photos (ELPV, license CC BY-NC-SA 4.0: not for commercial use) come with the extra "demo".

    \b
    Example:
      pip install 'edgetl[host,device,demo]'
      edgetl demo
      edgetl demo --blocks 0 --report frozen.html
    """
    from device.files import atomic_output, refuse_existing

    from ..demo.curve import standalone_curve
    from ..demo.data import NOTICE
    from ..demo.host import Recipe
    from ..demo.stages import Demo

    for path in filter(None, (report, chart)):
        refuse_existing(path, force)
    click.echo(NOTICE, err=True)
    recipe = Recipe(seed=seed) if blocks is None else Recipe(seed=seed, blocks=blocks)
    demo = Demo(_folder(cache), recipe, fresh=fresh, command=_typed(blocks, seed))
    with stages() as progress:
        result = demo.run(
            lambda task, done, total: progress(f"{task:<41}", done, total),
            report,
            force=force,
        )
    if chart:
        with atomic_output(chart, force=force) as temporary:
            temporary.write_text(standalone_curve(result["field"]), encoding="utf-8")
    emit(result, as_json, lambda: _text(result))


def _folder(cache: Path | None) -> Path:
    from ..demo.cache import default_folder

    return (cache / "demo") if cache else default_folder()


def _typed(blocks: int | None, seed: int) -> str:
    words = ["edgetl demo"]
    if blocks is not None:
        words.append(f"--blocks {blocks}")
    return " ".join([*words, f"--seed {seed}"] if seed else words)


def _text(result: DemoResult) -> str:
    from rich.console import Console

    console = Console(highlight=False, width=None)
    with console.capture() as captured:
        console.print(_table(result))
    field, host = result["field"], result["host"]
    spans = field["times"]
    lines = [
        captured.get().rstrip(),
        "",
        f"model      {host['model_bytes'] / 1e6:.1f} MB int8, {host['memory_bytes'] / 1e6:.1f} MB of it for the cells of the lab",
        f"embedding  {_span(spans['embedding'])} per frame",
        f"head       {_span(spans['head'])} to learn a cell, store it, solve and predict",
        f"measured   {field['runtime']}, {field['threads']} threads, {field['machine']['cpu']}; "
        "without TensorFlow",
        f"report     {result['report']}",
        f"next       edgetl status {result['model']} --state {result['state']}",
    ]
    if result["reused"]:
        lines.append(
            f"reused     {', '.join(result['reused'])} of an earlier run; to run them again, add --fresh"
        )
    return "\n".join(lines)


def _table(result: DemoResult) -> Any:
    from rich import box
    from rich.table import Table

    steps = result["field"]["steps"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("cells taught\nin the field", justify="right")
    for name in ("field\naccuracy", "field\nbalanced", "lab\naccuracy", "lab\nbalanced"):
        table.add_column(name, justify="right")
    for step in steps:
        scores = [step[part][kind] for part in ("field", "lab") for kind in ("accuracy", "balanced")]
        table.add_row(str(step["taught"] or "none"), *(f"{100 * score:.1f} %" for score in scores))
    return table


def _span(times: Any) -> str:
    return f"p50 {times['p50']:.1f} ms, p95 {times['p95']:.1f} ms"
