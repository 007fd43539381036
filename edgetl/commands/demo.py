"""``edgetl demo``: the whole idea on real photos."""

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
    help="Where to write the HTML report.  [default: in the cache]",
)
@click.option(
    "--blocks",
    type=click.IntRange(0, 16),
    default=None,
    help="Fine-tune this many of the backbone's last blocks; 0 keeps it frozen.  [default: 2]",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of training and teaching order."
)
@click.option("--chart", type=click.Path(path_type=Path, dir_okay=False), help="Also write the curve as SVG.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="EDGETL_CACHE",
    help="Where photos and models are kept.  [default: ~/.cache/edgetl]",
)
@click.option("--fresh", is_flag=True, help="Use nothing of what an earlier run left.")
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
    """Watch the whole idea work on real photos of solar cells.

    The laptop learns intact and defective mono-crystalline cells. The device then meets poly-crystalline ones through
    its camera, is taught them one by one, and is tested on cells it never saw. Ends with a table and an HTML report.

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
    from ..demo.story import Story

    for path in filter(None, (report, chart)):
        refuse_existing(path, force)
    click.echo(NOTICE, err=True)
    recipe = Recipe(seed=seed) if blocks is None else Recipe(seed=seed, blocks=blocks)
    story = Story(_folder(cache), recipe, fresh=fresh, command=_typed(blocks, seed))
    with stages() as progress:
        result = story.tell(
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
        f"model      {host['model_bytes'] / 1e6:.1f} MB int8, of which {host['memory_bytes'] / 1e6:.1f} MB what the lab taught",
        f"embedding  {_span(spans['embedding'])} a frame",
        f"head       {_span(spans['head'])} to learn a cell, keep it, solve and answer",
        f"measured   {field['runtime']}, {field['threads']} threads, {field['machine']['cpu']}; "
        "TensorFlow was not imported there",
        f"report     {result['report']}",
        f"try        edgetl status {result['model']} --state {result['state']}",
    ]
    if result["reused"]:
        lines.append(f"reused     {', '.join(result['reused'])} of an earlier run; --fresh makes them anew")
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
