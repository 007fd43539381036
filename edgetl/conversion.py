"""`convert`: from a trained model or a backbone to one .tflite that a device can teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard

from device.images import Image, read_photo
from device.leftout import count_reasons, describe_left_out
from device.photos import PhotoList, list_photo_files
from device.progress import Progress, no_progress

from .colors import describe_colors
from .errors import BackboneError, PhotoFolderError

if TYPE_CHECKING:
    from converters import ConversionReport, TrainedModel
    from converters.formats import QuantizationComparison
    from converters.source import KerasModel

_COMPARED = 4  # photos that the embeddings of a .tflite are compared on


def convert(
    model: str | Path | TrainedModel | KerasModel,
    out: str | Path,
    *,
    embedding_layer: str | None = None,
    input_range: str | None = None,
    size: str | int | None = None,
    quantize: Literal["int8", "int16x8", "float16", "dynamic", "none"] = "int8",
    keep_float: Sequence[str] = (),
    calibrate: str | Path | None = None,
    resize: Literal["crop", "squash", "pad"] | None = None,
    cut: str | None = None,
    keep_head: bool = False,
    labels: str | Path | None = None,
    memory: bool = True,
    capacity: int | None = None,
    project: int | None = None,
    products: bool = False,
    embedding: Literal["last", "deep"] = "last",
    views: Literal["one", "flip"] = "one",
    infer: bool = False,
    generator: bool = False,
    photos: str | Path | None = None,
    weights: str | Path | None = None,
    edgetpu: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> ConversionReport:
    """Convert a trained model, a backbone or an existing .tflite to one .tflite that a device can run and teach.

    The file appears under its name only after it was reopened in the runtime and every signature agreed
    with its source.

    Args:
        model: The folder of a trained model, a trained model, or the name of a backbone such as
            ``efficientnet-lite0``; or a Keras model of yours: a ``.keras`` or ``.h5`` file, a SavedModel or a
            keras.Model. A backbone and a Keras model give a file without labels, ready to be taught. Code from a file
            is never run. Or an existing
            ``.tflite``: its classifier is replaced by a trainable head, its other ops stay as they are, and TensorFlow
            is not needed.
        out: The model file to write.
        embedding_layer: Name of the layer of a Keras model whose output is the embedding; by default the last pooled
            layer before the classifier.
        input_range: Pixel values that a Keras model or the float input of a ``.tflite`` expects: ``0..255``, ``0..1``,
            ``-1..1``, ``imagenet`` or any ``LOW..HIGH``; by default found in the file, else -1..1 with a warning for a
            ``.tflite``.
        size: ``HEIGHTxWIDTH`` or one side in pixels, for a Keras model without a fixed size.
        quantize: Format of the backbone: ``int8``, ``int16x8``, ``float16``, ``dynamic`` or ``none``. The head is float.
        keep_float: Names of layers of the backbone that stay float in int8; ``*`` and ``?`` are wildcards.
        calibrate: A folder of photos to calibrate and compare with, like those that the camera will see; by
            default the training photos, else sample photos of installed packages.
        resize: How a frame is fitted to the input: ``crop``, ``squash`` or ``pad``; by default as the model was
            trained. The file records it, and calibration, the memory and every command follow it. Use ``squash`` for
            a file whose classifier is to run in MediaPipe or another program that squashes.
        cut: Name or number of the tensor of a ``.tflite`` that contains the embedding; by default the one before the
            classifier. `inspect` lists candidates.
        keep_head: Start the head with the weights and the labels of the classifier of a ``.tflite``, instead of removing
            them.
        labels: A text file with these labels, one per line; by default those in the metadata of the file.
        memory: Whether the file carries the embeddings of the training photos.
        capacity: Maximum number of labels; by default 32, or more for a model with more than 24 labels.
        project: Shorten embeddings to this number of principal components.
        products: Extend embeddings of at most 128 numbers by the products of all pairs.
        embedding: ``last`` for the output of the backbone, or ``deep`` for the averages of two earlier feature maps beside
            it: a longer embedding, for photos unlike those that the backbone was trained on.
        views: Views of a frame that the memory and the device use: ``one``, or ``flip`` for the average of the frame and
            its mirror image, in twice the time. The report says what it gains on the training photos.
        infer: Add the signature ``infer``, image -> probabilities, for programs that do not learn.
        generator: Add the signature ``generate``, noise -> image, from the generator of ``gan-28``. A softmax head can
            then replay generated images.
        photos: The folder that contains the training photos now, if they were moved.
        weights: A file of weights for a backbone, in place of the published ones: PyTorch's for a backbone whose weights
            are in a package, HDF5 for one of `keras.applications`.
        edgetpu: Also write the backbone for the Edge TPU, and compile it where the compiler is installed.
        force: Overwrite `out`.
        progress: Called at the start and the end of each stage, and for each training photo.

    Returns:
        The figures of the conversion.

    Raises:
        BackboneError: There is no such folder and no such backbone, or `weights` do not fit it.
        ConversionError: The model cannot be converted, or its converted file failed verification.
        PhotoError: A photo cannot be read, or `calibrate` contains no photo.
        MissingExtraError: TensorFlow or the package with the weights is not installed.
        StorageError: `out` exists and `force` is false, or it cannot be written.

    Example:
        >>> import edgetl
        >>> edgetl.convert("efficientnet-lite0", "base.tflite")  # doctest: +SKIP
        <ConversionReport base.tflite: efficientnet-lite0, int8, 0 of 32 labels, memory none>
    """
    from converters import convert as convert_model
    from converters.surgery import convert_tflite

    chosen = None if calibrate is None else _calibration(Path(calibrate))
    if is_tflite(model):
        unused = {
            "quantize": quantize != "int8",
            "keep-float": keep_float,
            "project": project,
            "products": products,
            "embedding": embedding != "last",
            "edgetpu": edgetpu,
            "embedding-layer": embedding_layer,
            "size": size,
            "weights": weights,
            "generator": generator,
            "photos": photos,
        }
        refuse_options(unused, model, "keeps the format and the ops of its backbone")
        return convert_tflite(
            model,
            out,
            cut=cut,
            keep_head=keep_head,
            labels=labels,
            input_range=input_range,
            resize=resize,
            capacity=capacity,
            views=views,
            infer=infer,
            images=_first_photos(chosen),
            force=force,
            progress=progress,
        )
    for_tflite = {"cut": cut, "keep-head": keep_head, "labels": labels}
    refuse_options(for_tflite, model, "is no .tflite file")
    progress("starting TensorFlow", 0, 1)
    own = {"embedding_layer": embedding_layer, "input_range": input_range, "size": size}
    source = _source(model, photos, weights, **own)
    progress("starting TensorFlow", 1, 1)
    fitted = source if resize is None else _resized(source, resize)
    report = convert_model(
        fitted,
        out,
        quantize=quantize,
        keep_float=keep_float,
        calibrate=[photo.path for photo in chosen.photos] if chosen else None,
        memory=memory,
        capacity=capacity,
        project=project,
        products=products,
        embedding=embedding,
        views=views,
        infer=infer,
        generator=generator,
        edgetpu=edgetpu,
        force=force,
        progress=progress,
    )
    more = [*_caution(source, fitted, report), *(_remarks(chosen, fitted) if chosen else ())]
    return replace(report, warnings=(*report.warnings, *more))


def compare_quantization(
    model: str | Path | TrainedModel | KerasModel,
    *,
    embedding_layer: str | None = None,
    input_range: str | None = None,
    size: str | int | None = None,
    calibrate: str | Path | None = None,
    resize: Literal["crop", "squash", "pad"] | None = None,
    photos: str | Path | None = None,
    weights: str | Path | None = None,
    progress: Progress = no_progress,
) -> QuantizationComparison:
    """Convert a backbone to every format, run all of them on the same photos and recommend one; no file is written.

    Args:
        model: As in `convert`, except for a ``.tflite``, which keeps its format.
        embedding_layer: As in `convert`.
        input_range: As in `convert`.
        size: As in `convert`.
        calibrate: A folder of photos to calibrate and compare with; with one folder per label, the accuracy of the
            head is compared too. By default the training photos. At most 240 photos are used.
        resize: As in `convert`.
        photos: As in `convert`.
        weights: As in `convert`.
        progress: Called at the start and the end of each stage.

    Returns:
        Size, similarity to the source, accuracy and latency of each format, and the layers that int8 affects most.

    Raises:
        BackboneError: There is no such folder and no such backbone.
        ConversionError: The model cannot be converted, or there are no photos.
        PhotoError: A photo cannot be read, or `calibrate` contains no photo.
        MissingExtraError: TensorFlow or the package with the weights is not installed.

    Example:
        >>> import edgetl
        >>> edgetl.compare_quantization("mugs")  # doctest: +SKIP
        <QuantizationComparison efficientnet-lite0 on 240 photos: --quantize int8>
    """
    from converters.formats import compare_quantizations

    chosen = None if calibrate is None else _calibration(Path(calibrate))
    if is_tflite(model):
        refuse_options({"compare": True}, model, "keeps the format of its backbone")
    progress("starting TensorFlow", 0, 1)
    own = {"embedding_layer": embedding_layer, "input_range": input_range, "size": size}
    source = _source(model, photos, weights, **own)
    progress("starting TensorFlow", 1, 1)
    fitted = source if resize is None else _resized(source, resize)
    pairs = [(photo.path, photo.label or "") for photo in chosen.photos] if chosen else None
    return compare_quantizations(fitted, pairs, progress)


def is_tflite(model: object) -> TypeGuard[str | Path]:
    """Return whether `model` is the path of a file that starts like a .tflite, or is named like one."""
    if not isinstance(model, str | Path):
        return False
    path = Path(model)
    if not path.is_file():
        return path.suffix == ".tflite" and not path.is_dir()
    with path.open("rb") as stream:
        return path.suffix == ".tflite" or stream.read(8)[4:] == b"TFL3"


def refuse_options(options: Mapping[str, object], model: object, why: str) -> None:
    """Raise `ConversionError` when an option is set that has no effect on this kind of model."""
    from converters import ConversionError

    unused = [f"--{name}" for name, value in options.items() if value]
    if unused:
        raise ConversionError(f"{' and '.join(unused)} cannot be used here: {model} {why}")


def _remarks(chosen: PhotoList, model: TrainedModel) -> tuple[str, ...]:
    paths = [photo.path for photo in chosen.photos]
    return (*describe_left_out(chosen.left_out), *describe_colors(paths, model.preprocessing.channels))


def _first_photos(chosen: PhotoList | None) -> list[Image]:
    return [] if chosen is None else [read_photo(photo.path) for photo in chosen.photos[:_COMPARED]]


def _resized(model: TrainedModel, resize: str) -> TrainedModel:
    """Return the model with another way to fit frames to its input."""
    return replace(model, preprocessing=replace(model.preprocessing, resize=resize))


def _caution(trained: TrainedModel, fitted: TrainedModel, report: ConversionReport) -> list[str]:
    """Return a warning if the head was trained on photos that were fitted to the input in another way."""
    from converters.report import TRAINED_BY_SOURCE

    before, after = trained.preprocessing.resize, fitted.preprocessing.resize
    if before == after or report.head != TRAINED_BY_SOURCE:
        return []
    return [
        f"the head was trained on photos that were fitted to the input with {before}, and the file uses {after}: "
        "its accuracy may be lower; convert with --memory to teach the head again, or train with the same --resize"
    ]


def _source(
    model: str | Path | TrainedModel | KerasModel,
    photos: str | Path | None,
    weights: str | Path | None,
    **own: str | int | None,
) -> TrainedModel:
    from converters.source import TrainedModel, is_trained_model

    from .backbones.own import open_own, refuse_own_options
    from .backbones.registry import require_keras

    opened = None if isinstance(model, TrainedModel) else open_own(model, **own)
    if weights is not None and (opened or isinstance(model, TrainedModel) or Path(str(model)).is_dir()):
        raise BackboneError(
            "weights are for a backbone that is converted by its name, and this model has its own; leave out the weights"
        )
    if opened:
        return TrainedModel(
            opened.backbone, opened.name, opened.preprocessing, info={"source": dict(opened.facts)}
        )
    refuse_own_options(**own)
    if isinstance(model, TrainedModel):
        return model
    folder = Path(str(model))
    if folder.is_dir():
        if is_trained_model(folder):
            require_keras()  # imports TensorFlow quietly, before Keras imports it with its log
        return TrainedModel.load(folder, photos_root=photos)
    if folder.exists():
        raise BackboneError(
            f"{model} is a file; expected the folder that 'edgetl finetune' wrote, a Keras model (.keras or .h5), or the "
            "name of a backbone"
        )
    return _backbone(str(model), weights)


def _backbone(name: str, weights: str | Path | None) -> TrainedModel:
    from converters.origin import PRETRAINED
    from converters.source import TrainedModel

    from .backbones import BACKBONES, load_backbone
    from .backbones.applications import is_application
    from .backbones.catalog import list_backbones
    from .backbones.own import suggest
    from .backbones.registry import require_keras
    from .backbones.small import SMALL

    choices = [entry.name for entry in list_backbones()]
    if name in SMALL:
        raise BackboneError(
            f"{name} has no pretrained weights; train it first: edgetl finetune PHOTOS --backbone {name} --out FOLDER, "
            "then convert FOLDER"
        )
    if name not in BACKBONES and not is_application(name):
        raise BackboneError(
            f"there is no folder or file {name}, and no backbone of that name{suggest(name, choices)}; expected the folder "
            "that 'edgetl finetune' wrote, a Keras model (.keras, .h5 or SavedModel), a .tflite, or one of the backbones that "
            f"'edgetl backbones' lists: {', '.join(choices)}"
        )
    require_keras()  # first, because its extra brings the weights too
    backbone, preprocessing = load_backbone(name, weights=weights)
    # the name without a file: the model file must not contain a path of this machine
    return TrainedModel(backbone, name.partition("=")[0], preprocessing, info={"origin": PRETRAINED})


def _calibration(folder: Path) -> PhotoList:
    found = list_photo_files(folder)
    if not found.photos:
        contents = count_reasons(found.left_out) or "nothing"
        raise PhotoFolderError(
            f"{folder} contains no photos to calibrate with, found {contents}; name a folder with photos"
        )
    return found
