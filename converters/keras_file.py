"""Open a Keras model that a user names: a ``.keras`` archive or a ``.h5`` file, from anywhere.

The file is checked before Keras reads it: its sizes, and that its configuration names only classes of Keras. Then Keras
loads it in safe mode, with the user's registered classes hidden.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import ConversionError
from .keras_config import check_config
from .tensorflow import import_tensorflow, quiet

KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MOST_BYTES = 4 * 2**30
_MOST_CONFIG_BYTES = 32 * 2**20  # the largest model of keras.applications has 2 MB
_MOST_MEMBERS = 1000
_MOST_EXPANSION = 100  # times the stored size; Keras stores without compression
_MOST_DATASETS = 200_000
_HDF5_MAGIC, _ZIP_MAGIC = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


def is_keras_file(path: str | Path) -> bool:
    """Return whether `path` has the name or the first bytes of a Keras model."""
    path = Path(path)
    return path.suffix.lower() in KERAS_SUFFIXES or (path.is_file() and _magic(path) == _HDF5_MAGIC)


def load_keras_file(path: str | Path) -> Any:
    """Load the model in a ``.keras`` or ``.h5`` file without running code from it.

    Args:
        path: A file that ``model.save`` wrote.

    Returns:
        keras.Model, not compiled.

    Raises:
        ConversionError: The file is missing, damaged or too large, contains only weights, or names a Lambda layer or
            a class that is not part of Keras.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        magic = _magic(path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}; check the path") from error
    if size > _MOST_BYTES:
        raise ConversionError(f"{path} has {size} bytes, at most {_MOST_BYTES} are read")
    import_tensorflow()  # quietly, before Keras imports it
    if magic == _ZIP_MAGIC:
        _check_archive(path)
        return _load(path, ".keras")
    if magic == _HDF5_MAGIC:
        with path.open("rb") as stream:
            check_config(_read_hdf5_config(stream, path), str(path))
        return _load(path, ".h5")
    raise ConversionError(
        f"{path} is not a Keras model: expected a .keras or .h5 file that model.save wrote, got a file that starts with "
        f"{magic[:4]!r}; save the model again"
    )


def _magic(path: Path) -> bytes:
    with path.open("rb") as stream:
        start = stream.read(len(_HDF5_MAGIC))
    return _ZIP_MAGIC if start.startswith(_ZIP_MAGIC) else start


def _load(path: Path, suffix: str) -> Any:
    import keras

    with _under_suffix(path, suffix) as named, _without_registered_classes():
        try:
            with quiet():
                return keras.models.load_model(named, compile=False, safe_mode=True)
        # Keras and the constructors of layers raise any class for a wrong configuration
        except Exception as error:
            raise ConversionError(
                f"Keras {keras.__version__} cannot load {path}: {_first_sentence(error)}; the file is damaged, its weights "
                "do not fit its architecture, or another version of Keras wrote it. Save the model again with this version"
            ) from error


@contextlib.contextmanager
def _under_suffix(path: Path, suffix: str) -> Iterator[Path]:
    """Yield a name of the file that ends with `suffix`, by which Keras recognizes the format."""
    if path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        link = Path(folder) / f"model{suffix}"
        link.symlink_to(path.absolute())
        yield link


@contextlib.contextmanager
def _without_registered_classes() -> Iterator[None]:
    """Hide classes that this process registered with Keras: they would take the place of those of Keras."""
    import keras

    registered = keras.saving.get_custom_objects()
    kept = dict(registered)
    registered.clear()
    try:
        yield
    finally:
        registered.update(kept)


def _check_archive(path: Path) -> None:
    """Check the sizes, the configuration and the weights of a ``.keras`` archive.

    Raises:
        ConversionError: A member is missing, too large or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_sizes(members, path)
            names = {member.filename for member in members}
            if not {_CONFIG, _WEIGHTS} <= names:
                raise ConversionError(
                    f"{path} is not a Keras model: it lacks {_CONFIG} or {_WEIGHTS}; save the model again with model.save"
                )
            check_config(_read_json(archive.read(_CONFIG), path), str(path))
            with archive.open(_WEIGHTS) as weights:
                _check_hdf5(weights, path)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        # RuntimeError: encrypted; NotImplementedError: a compression that this Python lacks
        raise ConversionError(f"{path} is damaged ({error}); copy it or save it again") from error


def _check_sizes(members: list[zipfile.ZipInfo], path: Path) -> None:
    if len(members) > _MOST_MEMBERS:
        raise ConversionError(f"{path} has {len(members)} members, at most {_MOST_MEMBERS} are read")
    if sum(member.file_size for member in members) > _MOST_BYTES:
        raise ConversionError(f"{path} unpacks to more than {_MOST_BYTES} bytes, which is refused")
    for member in members:
        largest = _MOST_CONFIG_BYTES if member.filename == _CONFIG else _MOST_BYTES
        expands = member.file_size > 2**24 and member.file_size > _MOST_EXPANSION * member.compress_size
        if member.file_size > largest or expands:
            raise ConversionError(
                f"{member.filename} in {path} unpacks from {member.compress_size} to {member.file_size} bytes, which is "
                "refused: a model does not compress that far"
            )


def _read_json(data: bytes | str, path: Path) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConversionError(
            f"the configuration in {path} cannot be read ({error}); save it again"
        ) from error


def _read_hdf5_config(stream: io.BufferedIOBase, path: Path) -> Any:
    import h5py

    _check_hdf5(stream, path)
    try:
        with h5py.File(stream, "r") as file:
            config = file.attrs.get("model_config")
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise ConversionError(f"{path} is damaged ({error}); copy it or save it again") from error
    if config is None:
        raise ConversionError(
            f"{path} contains weights without an architecture; save the whole model with model.save('mine.keras'), or name "
            "the network that the weights belong to: keras:NAME --weights FILE"
        )
    if len(config) > _MOST_CONFIG_BYTES:
        raise ConversionError(f"the configuration in {path} has {len(config)} bytes, which is refused")
    return _read_json(config, path)


def _check_hdf5(stream: Any, path: Path) -> None:
    """Check that all data of an HDF5 file is inside it and that its declared size is bounded.

    Raises:
        ConversionError: A dataset or link refers to another file, or the datasets are too large together.
    """
    import h5py

    total, count = 0, 0

    def visit(name: str, link: Any) -> str | None:
        """Return what is wrong, which ends the visit: an exception does not pass through h5py."""
        nonlocal total, count
        found = file[name] if isinstance(link, h5py.HardLink) else None
        data = found if isinstance(found, h5py.Dataset) else None
        if isinstance(link, h5py.ExternalLink) or (data and (data.external or data.is_virtual)):
            return f"refers to another file at {name!r}"
        if data:
            total, count = total + data.size * data.dtype.itemsize, count + 1
        too_much = total > _MOST_BYTES or count > _MOST_DATASETS
        return f"unpacks to more than {_MOST_BYTES} bytes" if too_much else None

    try:
        with h5py.File(stream, "r") as file:
            refused = file.visititems_links(visit)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise ConversionError(
            f"the weights in {path} are damaged ({error}); copy the file or save it again"
        ) from error
    if refused:
        raise ConversionError(f"{path} {refused}, which is refused")


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
