"""``edgetl convert``: write one .tflite that a device can teach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .formats import compare_formats
from .options import emit, force_option, json_option, own_model_options, weights_option
from .progress import stages
from .session import WIDTH, warn
from .views import views_text

if TYPE_CHECKING:
    from converters import ConversionReport
    from converters.parity import Parity
    from converters.report import Surgery


@click.command()
@click.argument("model")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The model file to write.  [required]"
)
@click.option(
    "--compare",
    "comparing",
    is_flag=True,
    help="Write no file; compare all formats on the photos (size, similarity, accuracy, time) and recommend one.",
)
@own_model_options
@click.option(
    "--quantize",
    type=click.Choice(["int8", "int16x8", "float16", "dynamic", "none"]),
    default="int8",
    show_default=True,
    help="Format of the backbone; the head is always float.",
)
@click.option(
    "--keep-float",
    multiple=True,
    metavar="LAYER",
    help="Keep this layer of an int8 backbone in float; repeatable, with the wildcards * and ?.",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path, exists=True),
    metavar="PHOTOS",
    help="Folder of photos like those the camera will see.  "
    "[default: the training photos, else sample photos]",
)
@click.option(
    "--resize",
    type=click.Choice(["crop", "squash", "pad"]),
    help="How a frame is fitted to the input; MediaPipe and most other programs squash.  "
    "[default: as the model was trained, crop for a backbone]",
)
@click.option(
    "--cut",
    metavar="TENSOR",
    help="Name or number of the tensor of a .tflite that contains the embedding.  [default: the one before the classifier]",
)
@click.option(
    "--keep-head",
    is_flag=True,
    help="Start the head with the weights and the labels of the classifier of a .tflite, instead of removing them.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Text file with the labels for --keep-head, one per line.  [default: those in the metadata of the .tflite]",
)
@click.option(
    "--memory/--no-memory",
    default=True,
    show_default=True,
    help="Carry the embeddings of the training photos in the file.",
)
@click.option(
    "--capacity",
    type=click.IntRange(1, 4096),
    metavar="LABELS",
    help="Maximum number of labels.  [default: 32, or more for a model with more than 24 labels]",
)
@click.option(
    "--project", type=click.IntRange(2), metavar="D", help="Shorten embeddings to D numbers, such as 256."
)
@click.option(
    "--products",
    is_flag=True,
    help="Extend embeddings of at most 128 numbers by the products of all pairs.",
)
@click.option(
    "--embedding",
    type=click.Choice(["last", "deep"]),
    default="last",
    show_default=True,
    help="Output of the backbone, or also the averages of two earlier feature maps, for photos unlike its training photos.",
)
@click.option(
    "--views",
    type=click.Choice(["one", "flip"]),
    default="one",
    show_default=True,
    help="Look at each frame once, or also at its mirror image, in twice the time.",
)
@click.option(
    "--infer",
    is_flag=True,
    help="Add the signature infer, image to probabilities in one call, for other programs.",
)
@click.option(
    "--generator",
    is_flag=True,
    help="Add the signature generate, noise to image, for --replay generated; only for gan-28.",
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    help="Folder that contains the training photos now, if they were moved.",
)
@weights_option
@click.option(
    "--edgetpu",
    is_flag=True,
    help="Also write the backbone for the Edge TPU, and compile it where the compiler is installed.",
)
@force_option
@json_option
def command(model: str, out: Path | None, comparing: bool, as_json: bool, **options: Any) -> None:
    """Convert MODEL to one .tflite with a trainable head.

    MODEL is a folder that finetune wrote, the name of a backbone such as efficientnet-lite0 ('edgetl
    backbones' lists them), or a Keras model of yours (.keras, .h5 or SavedModel), which is cut after its embedding. A
    backbone and a Keras model become a file without labels, ready to be taught on a device: the fastest way to start.
    MODEL can also be an existing .tflite: its classifier is replaced by a trainable head, the other ops stay as they
    are, and TensorFlow is not needed. The file appears under its name only after it was reopened and compared with
    its source.

    \b
    Example:
      edgetl convert efficientnet-lite0 --quantize int8 --calibrate photos --out base.tflite
      edgetl convert mugs --out mugs.tflite
      edgetl convert mugs --compare
      edgetl convert mobilenet_v2.tflite --out base.tflite
      edgetl convert mine.keras --embedding-layer avg_pool --calibrate photos --out mine.tflite
    """
    if comparing:
        compare_formats(model, options, as_json)
        return
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    from ..conversion import convert

    with stages(transient=True) as progress:
        report = convert(model, out, **options, progress=progress)
    for warning in report.warnings:
        warn(warning)
    if report.twin and not report.compiled:
        _advise_to_compile(report.twin)
    emit(report.to_dict(), as_json, lambda: _table(report))


def _advise_to_compile(twin: Path) -> None:
    from converters.edgetpu import how_to_compile

    click.echo(how_to_compile(twin), err=True)


def _table(report: ConversionReport) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(report):
        table.add_row(name, value)
    console = Console(width=WIDTH)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _rows(report: ConversionReport) -> Iterator[tuple[str, str]]:
    parity, sizes = report.parity, report.sizes
    yield "Model file", f"{report.path} ({_megabytes(sizes['total'])})"
    kept = f" except {', '.join(report.keep_float)}" if report.keep_float else ""
    yield "Backbone", f"{report.backbone}, {report.quantization}{kept}, {_megabytes(sizes['backbone'])}"
    yield (
        "Head",
        f"{len(report.labels)} of {report.capacity} labels, float32, {_megabytes(sizes['head'])}; {report.head}",
    )
    yield "Memory", _memory(report)
    if report.surgery:
        yield from _surgery(report, report.surgery)
    else:
        yield "Embedding", f"{report.dimensions} numbers"
        for name, fact in report.source.items():
            yield f"Source, {name}", fact
        yield "Calibration", report.calibration
        yield from _parity(parity)
        yield "Held out", _held_out(report)
    if report.flip:
        yield "Views", f"flip; {views_text(report.flip)}"
    yield "Verified in", f"{report.runtime}, {report.seconds:.0f} s in total"
    if report.twin:
        yield "Edge TPU", str(report.compiled or f"{report.twin}, not compiled yet")
    yield "Next", f"edgetl teach {report.path} LABEL --camera 0"


def _surgery(report: ConversionReport, surgery: Surgery) -> Iterator[tuple[str, str]]:
    rows, columns = surgery.averaged or (1, 1)
    averaged = f", averaged over {rows} x {columns} places" if surgery.averaged else ""
    same = (
        "bit-identical to those" if surgery.identical else f"cosine {report.parity.cosine_min:.6f} to those"
    )
    yield "Embedding", f"{report.dimensions} numbers{averaged}, {surgery.dtype} in the source"
    yield "Cut at", surgery.cut
    yield "Removed", f"{surgery.removed}; the source has {_megabytes(surgery.source_bytes)}"
    yield "Input", surgery.pixels
    yield "Compared", f"embeddings of {report.parity.photos} images are {same} of the original ops"


def _memory(report: ConversionReport) -> str:
    if report.memory == "none":
        return "none"
    views = f", {report.views} separate views" if report.views < report.memory_samples else ""
    return f"{report.memory_samples} training photos{views}, as {report.memory}, {_megabytes(report.sizes['memory'])}"


def _parity(parity: Parity) -> Iterator[tuple[str, str]]:
    yield (
        "Cosine",
        f"{parity.cosine_mean:.4f} mean, {parity.cosine_min:.4f} minimum, to the source on {parity.photos} photos",
    )
    if parity.centered_cosine is not None and parity.followed is not None and parity.recognized is not None:
        yield (
            "Differences",
            f"cosine {parity.centered_cosine:.3f} without the part all photos share; {parity.followed:.0%} of the "
            f"dimensions follow the source, {parity.recognized:.0%} of the photos are recognized",
        )
    if parity.unchecked:
        yield "Not checked", parity.unchecked
    if parity.accuracy_float is not None and parity.accuracy_converted is not None:
        yield (
            "Same photos",
            f"leave-one-out {parity.accuracy_float:.3f} in float, {parity.accuracy_converted:.3f} converted: "
            "a comparison of the two, not an estimate of the accuracy",
        )


def _held_out(report: ConversionReport) -> str:
    from device.heads.intervals import held_out_interval

    figure = report.held_out
    if figure is None:
        return "no figure: no photo was held out from training" if report.labels else "no label taught yet"
    low, high = held_out_interval(figure["correct"], figure["photos"], figure.get("views"))
    unjudged = [label for label in report.labels if label not in figure["labels"]]
    missing = f"; not judged: {', '.join(unjudged)}" if unjudged else ""
    return (
        f"accuracy {figure['accuracy']:.3f} (95 % interval {low:.2f} to {high:.2f}) {figure['how']}{missing}"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"
