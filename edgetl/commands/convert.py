"""``edgetl convert``: a trained model or a backbone becomes one .tflite that a device can teach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import BackboneError, PhotosError
from .options import emit, force_option, json_option
from .progress import stages
from .session import warn

if TYPE_CHECKING:
    from converters import ConversionReport, TrainedModel
    from converters.parity import Parity


@click.command()
@click.argument("model")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The model file to make."
)
@click.option(
    "--quantize",
    type=click.Choice(["int8", "float16", "dynamic", "none"]),
    default="int8",
    show_default=True,
    help="Form of the backbone; the head is float whatever it is.",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path, exists=True),
    metavar="PHOTOS",
    help="Photos that show what the camera will see.  [default: the training photos, else sample photos]",
)
@click.option("--no-memory", is_flag=True, help="Leave out what the training photos taught.")
@click.option(
    "--capacity",
    type=click.IntRange(1, 4096),
    metavar="LABELS",
    help="Columns of the head.  [default: 32, or more for a model with more than 24 labels]",
)
@click.option(
    "--project", type=click.IntRange(2), metavar="D", help="Shorten embeddings to D numbers, such as 256."
)
@click.option(
    "--products",
    is_flag=True,
    help="Lengthen a small embedding (up to 128 numbers) by the products of all its pairs.",
)
@click.option(
    "--infer",
    is_flag=True,
    help="Also give the file the signature infer, image to probabilities in one call, for other programs.",
)
@click.option(
    "--photos", type=click.Path(path_type=Path), help="Where the training photos are now, if they moved."
)
@click.option(
    "--edgetpu", is_flag=True, help="Also write the backbone for the Edge TPU compiler, and run it."
)
@force_option
@json_option
def command(
    model: str,
    out: Path,
    quantize: str,
    calibrate: Path | None,
    no_memory: bool,
    capacity: int | None,
    project: int | None,
    products: bool,
    infer: bool,
    photos: Path | None,
    edgetpu: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Convert MODEL to one .tflite with a trainable head.

    MODEL is the folder that finetune made, or the name of a backbone such as efficientnet-lite0. A bare
    backbone gives a file without labels, ready to be taught on a device: the shortest way in. The file is
    reopened and compared with its source before it appears under its name.

    \b
    Example:
      edgetl convert efficientnet-lite0 --quantize int8 --calibrate photos --out base.tflite
      edgetl convert mugs --out mugs.tflite
    """
    from converters import convert

    source = _source(model, photos)
    with stages(transient=True) as progress:
        progress("Converting", 0, 100, "starting TensorFlow")
        report = convert(
            source,
            out,
            quantise=quantize,
            calibrate=_calibration(calibrate) if calibrate else None,
            memory=not no_memory,
            capacity=capacity,
            project=project,
            products=products,
            infer=infer,
            twin=edgetpu,
            force=force,
            progress=lambda doing, share: progress("Converting", round(100 * share), 100, doing),
        )
    compiled = _compile(report.twin) if report.twin else None
    result = {**report.to_dict(), "compiled": str(compiled) if compiled else None}
    emit(result, as_json, lambda: _table(report, compiled))


def _compile(twin: Path) -> Path | None:
    from converters.edgetpu import compile_twin, how_to_compile

    compiled = compile_twin(twin)
    if compiled is None:
        click.echo(how_to_compile(twin), err=True)
    return compiled


def _source(model: str, photos: Path | None) -> TrainedModel:
    from converters import TrainedModel
    from converters.origin import PRETRAINED
    from converters.source import is_trained_model
    from converters.tensorflow import import_tensorflow

    from ..backbones import BACKBONES, load_backbone
    from ..backbones.applications import PREFIX

    folder = Path(model)
    if folder.is_dir():
        if is_trained_model(folder):
            import_tensorflow()  # quietly, before Keras does it aloud
        return TrainedModel.load(folder, photos_root=photos)
    if folder.exists():
        raise BackboneError(
            f"{model} is a file; expected the folder that 'edgetl finetune' made, or a backbone's name"
        )
    if model not in BACKBONES and not model.startswith(PREFIX):
        raise BackboneError(
            f"there is no folder {model}, and no backbone of that name; backbones are: {', '.join(BACKBONES)}, {PREFIX}NAME"
        )
    import_tensorflow()
    backbone, preprocessing = load_backbone(model)
    return TrainedModel(backbone, model, preprocessing, info={"origin": PRETRAINED})


def _calibration(folder: Path) -> list[Path]:
    from device.leftout import count_reasons, describe_left_out
    from device.photos import list_photo_files

    found = list_photo_files(folder)
    if not found.photos:
        there = count_reasons(found.left_out) or "nothing"
        raise PhotosError(
            f"{folder} holds no photos to calibrate with, found {there}; name a folder with photos"
        )
    for line in describe_left_out(found.left_out):
        warn(line)
    return [photo.path for photo in found.photos]


def _table(report: ConversionReport, compiled: Path | None) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _rows(report, compiled):
        table.add_row(name, value)
    console = Console()
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _rows(report: ConversionReport, compiled: Path | None) -> Iterator[tuple[str, str]]:
    parity, sizes = report.parity, report.sizes
    yield "Model file", f"{report.path} ({_megabytes(sizes['total'])})"
    yield "Backbone", f"{report.backbone}, {report.quantisation}, {_megabytes(sizes['backbone'])}"
    yield (
        "Head",
        f"{len(report.labels)} of {report.capacity} labels, float32, {_megabytes(sizes['head'])}; {report.head}",
    )
    yield "Memory", _memory(report)
    yield "Embedding", f"{report.dimensions} numbers"
    yield "Calibrated on", report.calibration
    yield from _parity(parity)
    yield "Held out", _held_out(report)
    yield "Verified in", f"{report.runtime}, {report.seconds:.0f} s in all"
    if report.twin:
        yield "Edge TPU", str(compiled or f"{report.twin}, not compiled yet")
    yield "Next", f"edgetl teach {report.path} LABEL --camera 0"


def _memory(report: ConversionReport) -> str:
    if report.memory == "none":
        return "none"
    views = f", {report.views} separate views" if report.views < report.memory_samples else ""
    return f"{report.memory_samples} training photos{views}, as {report.memory}, {_megabytes(report.sizes['memory'])}"


def _parity(parity: Parity) -> Iterator[tuple[str, str]]:
    yield (
        "Cosine",
        f"{parity.cosine_mean:.4f} mean, {parity.cosine_min:.4f} least, to the source on {parity.photos} photos",
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
            "compares the two, and is no estimate of the accuracy",
        )


def _held_out(report: ConversionReport) -> str:
    from device.heads.intervals import held_out_interval

    figure = report.held_out
    if figure is None:
        return "no figure: no photo was held out from training" if report.labels else "nothing taught yet"
    low, high = held_out_interval(figure["correct"], figure["photos"], figure.get("views"))
    unjudged = [label for label in report.labels if label not in figure["labels"]]
    missing = f"; not judged: {', '.join(unjudged)}" if unjudged else ""
    return (
        f"accuracy {figure['accuracy']:.3f} (95 % interval {low:.2f} to {high:.2f}) {figure['how']}{missing}"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"
