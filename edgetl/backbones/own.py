"""A Keras model of the user's as a backbone: a file, or a keras.Model in this process."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.model.preprocess import Preprocessing

from ..errors import BackboneError
from .applications import is_application
from .registry import require_keras

_SIZE = re.compile(r"^(\d+)(?:x(\d+))?$")
_MOST_PIXELS = 4096
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class OwnModel:
    """A model of the user's that was cut after its embedding.

    Attributes:
        backbone: keras.Model, or `converters.frozen_graph.FrozenModel` from a SavedModel: normalized float32 [N, H, W, C]
            -> embedding float32 [N, D].
        preprocessing: How photos are prepared for it.
        name: Name of the file or of the model.
        facts: What was found, in words: ``embedding``, ``pixels`` and, if there is one, ``precision``.
    """

    backbone: Any
    preprocessing: Preprocessing
    name: str
    facts: dict[str, str]

    def describe(self) -> str:
        """Return what was found, on one line."""
        return f"{self.name}: " + "; ".join(f"{key}: {value}" for key, value in self.facts.items())


def is_own_model(name: str | Path) -> bool:
    """Return whether a backbone's name is the path of a Keras model, and not a name that ``edgetl backbones`` lists."""
    from converters.keras_file import is_keras_file
    from converters.saved_model import is_saved_model

    return not is_application(str(name)) and (is_keras_file(name) or is_saved_model(name))


def open_own(model: object, **options: Any) -> OwnModel | None:
    """Return a user's model ready as a backbone, or None when `model` is neither a Keras file nor a keras.Model.

    The options are those of `load_own`.
    """
    if isinstance(model, str | Path):
        return load_own(model, **options) if is_own_model(model) else None
    import keras

    if not isinstance(model, keras.Model):
        raise BackboneError(
            f"expected a path, the name of a backbone, a TrainedModel or a keras.Model, got {type(model).__name__}"
        )
    return prepare_own(model, model.name, **options)


def refuse_own_options(**options: object) -> None:
    """Raise `BackboneError` when an option for a user's model is used with anything else."""
    used = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if used:
        raise BackboneError(
            f"{' and '.join(used)} can only be used with a Keras model of yours, a .keras or .h5 file; leave it out"
        )


def load_own(
    path: str | Path,
    *,
    embedding_layer: str | None = None,
    input_range: str | None = None,
    size: str | int | None = None,
    resize: str = "crop",
) -> OwnModel:
    """Load a ``.keras`` or ``.h5`` file or the folder of a SavedModel as a backbone; no code from it is run.

    Args:
        path: The file or folder.
        embedding_layer: Name of the layer whose output is the embedding; None finds the last pooled layer before the
            classifier.
        input_range: Pixel values that the model expects, see `converters.input_range.normalization`; None finds them
            from the scaling inside the model.
        size: ``HEIGHTxWIDTH`` or one side in pixels, for a model without a fixed size.
        resize: How frames are fitted to the input.

    Raises:
        BackboneError: The file is not a model that can be a backbone, or an option is missing or does not fit.
        MissingExtraError: TensorFlow is not installed.
    """
    from converters.errors import ConversionError
    from converters.keras_file import load_keras_file
    from converters.saved_model import is_saved_model

    require_keras()
    if is_saved_model(path):
        return _load_saved_model(
            path, embedding_layer=embedding_layer, input_range=input_range, size=size, resize=resize
        )
    try:
        model = load_keras_file(path)
    except ConversionError as error:
        raise BackboneError(str(error)) from error
    model.trainable = True  # its owner may have frozen a part; which layers learn is decided here
    return prepare_own(
        model,
        Path(path).name,
        embedding_layer=embedding_layer,
        input_range=input_range,
        size=size,
        resize=resize,
    )


def prepare_own(
    model: Any,
    name: str,
    *,
    embedding_layer: str | None = None,
    input_range: str | None = None,
    size: str | int | None = None,
    resize: str = "crop",
) -> OwnModel:
    """Make a backbone of a keras.Model; the arguments are those of `load_own`."""
    from converters.embedding_layer import end_with_embedding
    from converters.errors import ConversionError
    from converters.input_range import find_scaling
    from converters.layer_graph import flatten, require_graph
    from converters.precision import in_float32

    try:
        require_graph(model, name)
        shape = _input_shape(model, name)
        model, precision = in_float32(model, name)
        scaling = find_scaling(flatten(model, shape, name))
        height, width = _size(shape, scaling.size, size, name)
        flat = flatten(model, (height, width, shape[2]), name)
        mean, std, pixels = _normalization(scaling, input_range, shape[2], name)
        embedding = end_with_embedding(flat, embedding_layer, name)
    except ConversionError as error:
        raise BackboneError(str(error)) from error
    facts = {"embedding": embedding.describe(), "pixels": pixels}
    if precision:
        facts["precision"] = precision
    made = Preprocessing(height, width, resize=resize, mean=mean, std=std, channels=shape[2])
    return OwnModel(embedding.model, made, name, facts)


def _load_saved_model(
    folder: str | Path,
    *,
    embedding_layer: str | None,
    input_range: str | None,
    size: str | int | None,
    resize: str,
) -> OwnModel:
    from converters.errors import ConversionError
    from converters.frozen_graph import end_graph_with_embedding, find_graph_scaling
    from converters.saved_model import open_saved_model

    name = Path(folder).name
    try:
        opened = open_saved_model(folder)
        rows, columns, channels = opened.shape[1], opened.shape[2], int(opened.shape[3] or 0)
        height, width = _size((rows, columns, channels), None, size, name)
        frozen = opened.freeze(height, width)
        mean, std, pixels = _normalization(find_graph_scaling(frozen), input_range, channels, name)
        embedding = end_graph_with_embedding(frozen, opened.outputs, embedding_layer, name)
    except ConversionError as error:
        raise BackboneError(str(error)) from error
    made = Preprocessing(height, width, resize=resize, mean=mean, std=std, channels=channels)
    return OwnModel(embedding.model, made, name, {"embedding": embedding.describe(), "pixels": pixels})


def suggest(name: str, known: list[str]) -> str:
    """Return ``; did you mean 'NAME'?`` when a known name is near, else an empty string."""
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _input_shape(model: Any, name: str) -> tuple[Any, Any, int]:
    """Return rows, columns and channels of the input; rows and columns may be None."""
    shape = tuple(model.inputs[0].shape)
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return shape[1], shape[2], int(shape[3])
    if len(shape) == 4 and shape[1] in _CHANNELS:
        raise BackboneError(
            f"{name} takes images as {list(shape)}, channels first; expected channels last, [N, H, W, C]. Build it again "
            "with data_format='channels_last' and the same weights, transposed where they are flattened"
        )
    raise BackboneError(
        f"{name} takes an input of shape {list(shape)}; a backbone takes images [N, H, W, 3] in RGB or [N, H, W, 1] in gray"
    )


def _size(
    shape: tuple[Any, Any, int], inside: tuple[int, int] | None, size: str | int | None, name: str
) -> tuple[int, int]:
    """Return rows and columns: those named, else those of the model, else those of a Resizing layer inside it."""
    if size is not None:
        return _parse_size(size)
    rows, columns = shape[:2]
    if rows and columns:
        return int(rows), int(columns)
    if inside:
        return inside
    raise BackboneError(
        f"{name} takes images of any size, [N, {rows}, {columns}, {shape[2]}]; choose the size of the model file with "
        "--size HEIGHTxWIDTH, the size that the model was trained with, such as --size 224x224"
    )


def _parse_size(size: str | int) -> tuple[int, int]:
    found = _SIZE.match(str(size))
    sides = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(1 <= side <= _MOST_PIXELS for side in sides):
        raise BackboneError(
            f"the size must be HEIGHTxWIDTH or one side, each 1 to {_MOST_PIXELS} pixels, got {size!r}"
        )
    return sides


def _normalization(
    scaling: Any, input_range: str | None, channels: int, name: str
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Return mean and std of the preprocessing, and what they do, in words."""
    from converters.input_range import QUESTION, find_range, normalization, refuse_double_scaling

    named = input_range is not None
    chosen = input_range or find_range(scaling)
    inside = f"the model scales them itself ({', '.join(scaling.layers)})" if scaling.layers else ""
    if chosen is None:
        found = f"{inside}, but in an unusual way" if inside else "nothing in it scales them"
        raise BackboneError(
            f"{name} does not show which pixel values it was trained on: {found}. Name them with --input-range: {QUESTION}"
        )
    mean, std = normalization(chosen, channels)
    refuse_double_scaling(scaling, chosen, name)
    source = "named by --input-range" if named else "found from its layers"
    return mean, std, f"{chosen}, {source}" + (f"; {inside}" if inside else "")
