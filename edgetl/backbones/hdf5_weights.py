"""Load the weights in an HDF5 file into a Keras network, after its layout and every shape were checked.

Keras writes two layouts. The older one (``.h5``, also used by the files of `keras.applications`) lists layers in order; the
newer one (``.weights.h5``) has a path per weight. Neither contains code. Only hard links and plain data sets are
followed, so that a file cannot make another file of this machine part of the weights, and nothing is read before its
shape agrees with the network.
"""

from __future__ import annotations

import tempfile
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import BackboneError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUFFIX, NEW_SUFFIX = ".h5", ".weights.h5"  # Keras chooses the layout by the name of the file

Shape = tuple[int, ...]
# layers in order, each with its weights; None for a weight that is not an array
Listing = list[tuple[str, list[tuple[str, Shape | None]]]]


def load_hdf5_weights(model: Any, path: Path) -> None:
    """Set the weights of `model` to those of an HDF5 file.

    Args:
        model: keras.Model; unchanged if the file is refused before reading starts.
        path: A file of weights of the same network without its classifier, named ``.h5`` or ``.weights.h5``.

    Raises:
        BackboneError: The file is missing, damaged, or of another network.
    """
    check_hdf5(path)
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if path.name.endswith(NEW_SUFFIX):
                _compare_paths(model, file)
            else:
                _compare_layers(model, file)
        model.load_weights(path)
    except BackboneError as error:
        raise BackboneError(f"{path} does not fit {model.name}: {error}") from None
    except Exception as error:  # h5py and Keras raise many types for a damaged file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise BackboneError(
            f"the weights {path} cannot be read, the file is damaged: {reason}; download it again"
        ) from error


def check_hdf5(path: Path) -> None:
    """Raise where a file cannot contain weights, without reading it: its name or its first bytes are wrong.

    Raises:
        BackboneError: The file is missing, or is not an HDF5 file.
    """
    if not path.is_file():
        raise BackboneError(f"the file of weights {path} is missing; check the path")
    if not path.name.endswith(SUFFIX):
        raise BackboneError(
            f"the weights of a network of keras.applications are an HDF5 file whose name ends in {SUFFIX}, got {path}"
        )
    if not is_hdf5(path):
        raise BackboneError(
            f"{path} is no HDF5 file: it does not start with the signature of one; download it again"
        )


def is_hdf5(path: Path) -> bool:
    """Return whether a file exists and starts as an HDF5 file does."""
    try:
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False


def _compare_layers(model: Any, file: Any) -> None:
    """Raise for the first layer of the older layout that does not fit; Keras assigns layers by their order alone."""
    found = _list_layers(file)
    expected = [
        (layer.name, [(one.path, tuple(one.shape)) for one in _weights_of(layer)])
        for layer in model.layers
        if layer.weights
    ]
    for place, (theirs, ours) in enumerate(zip_longest(found, expected), 1):
        if ours is None:
            raise BackboneError(
                f"it has {len(found)} layers with weights, expected {len(expected)}: the first that is too many is "
                f"{theirs[0]!r}; a file without the classifier is needed"
            )
        if theirs is None:
            raise BackboneError(
                f"it has {len(found)} layers with weights, expected {len(expected)}: {ours[0]!r} is missing; "
                "it belongs to another network"
            )
        shapes = [[shape for _, shape in weights] for weights in (theirs[1], ours[1])]
        if shapes[0] != shapes[1]:
            raise BackboneError(
                f"layer {place}, {theirs[0]!r}, should have the shapes {_show(shapes[1])} of {ours[0]!r}, "
                f"got {_show(shapes[0])}; it belongs to another network"
            )


def _compare_paths(model: Any, file: Any) -> None:
    """Raise for the first weight of the newer layout that does not fit a file which `model` itself writes."""
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / f"own{NEW_SUFFIX}"
        model.save_weights(own)
        with h5py.File(own, "r") as written:
            expected = _list_datasets(written)
    for path, shape in expected.items():
        dataset = _follow(file, path)
        if dataset is None:
            raise BackboneError(f"it has no weight {path!r}; it belongs to another network")
        if _shape_of(dataset) != shape:
            raise BackboneError(
                f"the weight {path!r} should have the shape {shape}, got {_shape_of(dataset)}; it belongs to another network"
            )

    own_layers = {path.split("/")[1] for path in expected}
    for name in _follow(file, "layers") or ():
        if name not in own_layers and len(_follow(file, f"layers/{name}/vars") or ()):
            raise BackboneError(f"it has also the layer {name!r}; a file without the classifier is needed")


def _list_layers(file: Any) -> Listing:
    if "layer_names" not in file.attrs and not any(name.startswith("layer_names") for name in file.attrs):
        model = _follow(file, "model_weights")  # a file of a whole model has its weights there
        if model is None:
            raise BackboneError("it does not list layers, as a file of Keras weights does")
        file = model
    layers = []
    for layer in _names(file, "layer_names"):
        group = _follow(file, layer)
        if group is None:
            raise BackboneError(f"the layer {layer!r} is listed but missing; the file is damaged")
        weights = []
        for name in _names(group, "weight_names"):
            dataset = _follow(group, name)
            if dataset is None:
                raise BackboneError(f"the weight {name!r} is listed but missing; the file is damaged")
            weights.append((name, _shape_of(dataset)))
        if weights:
            layers.append((layer, weights))
    return layers


def _names(group: Any, attribute: str) -> list[str]:
    """Return a list of names, which Keras splits into several attributes where it is long."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        numbers = range(sum(name.startswith(attribute) for name in group.attrs))
        parts = [group.attrs[f"{attribute}{number}"] for number in numbers]
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


def _follow(group: Any, path: str) -> Any:
    """Return the object at `path` below `group`, or None.

    Raises:
        BackboneError: A link leads out of the group, or the data is kept in another file.
    """
    import h5py

    for name in path.strip("/").split("/"):
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise BackboneError(f"{path!r} is a link to another place, which is refused")
        group = group[name]
    if isinstance(group, h5py.Dataset) and (group.external or group.is_virtual):
        raise BackboneError(f"the data of {path!r} is kept in another file, which is refused")
    return group


def _shape_of(dataset: Any) -> Shape | None:
    shape = getattr(dataset, "shape", None)
    return None if shape is None else tuple(shape)


def _list_datasets(file: Any) -> dict[str, Shape]:
    import h5py

    found: dict[str, Shape] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = tuple(item.shape)

    file.visititems(add)
    return found


def _weights_of(layer: Any) -> list[Any]:
    """Return the weights of a layer in the order of the older layout."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _show(shapes: list[Shape | None]) -> str:
    return ", ".join(str(shape) for shape in shapes) or "none"
