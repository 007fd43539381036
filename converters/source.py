"""The trained model that is converted, and the folder that stores it between fine-tuning and conversion."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from device.arrays import pack_arrays, unpack_arrays
from device.errors import ArraysError, LabelError, ModelFileError
from device.files import atomic_output, refuse_existing, storage_error
from device.labels import check_labels
from device.model.preprocess import Preprocessing

from .errors import ConversionError
from .head import FloatHead
from .keras_file import load_keras_file
from .weights import require_finite_variables

BACKBONE_FILE, HEAD_FILE, TRAINING_FILE = "backbone.keras", "head.npz", "training.json"
GENERATOR_FILE = "generator.keras"
_FORMAT_VERSION = 1


class KerasModel(Protocol):
    """The type of a ``keras.Model``, which has no types of its own."""

    name: str

    @property
    def inputs(self) -> Sequence[object]:
        """The symbolic inputs; a backbone has one, an image."""

    @property
    def outputs(self) -> Sequence[object]:
        """The symbolic outputs."""


@dataclass(frozen=True)
class TrainedModel:
    """A backbone with the results of fine-tuning.

    Attributes:
        backbone: A `keras.Model`: normalized float32 [N, H, W, channels] -> embedding float32 [N, D]. The
            normalization is not part of it; `preprocessing` has its mean and std.
        backbone_name: A name such as ``efficientnet-lite0``.
        preprocessing: How photos become the backbone's input.
        labels: Sorted; empty for a generic backbone.
        head: W float32 [D, C] and b float32 [C] on mapped embeddings (`device.model.codes.apply_map`), columns
            in the order of `labels`; or None.
        photos: Photos with their labels, for calibration and the memory.
        held_out: Whether each photo was held out from training, for validation; empty when that is unknown.
        tuned: Whether training changed the backbone's weights. Then only photos that were held out may judge it.
        info: Metrics, seed, epochs, versions: any JSON-serializable values.
        generator: The generator of a GAN, a `keras.Model`: noise float32 [N, Z] -> normalized images; or None.
    """

    backbone: Any
    backbone_name: str
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()
    head: FloatHead | None = None
    photos: tuple[tuple[Path, str], ...] = ()
    held_out: tuple[bool, ...] = ()
    tuned: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)
    generator: Any = None

    def __repr__(self) -> str:
        return f"<TrainedModel {self.backbone_name}: {len(self.labels)} labels, {len(self.photos)} photos>"

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", check_labels(self.labels))
        if self.head is not None:
            self._check_head(*self.head)
        if self.held_out and len(self.held_out) != len(self.photos):
            raise ConversionError(
                f"held_out needs an entry for each of {len(self.photos)} photos, got {len(self.held_out)} entries"
            )
        strangers = {label for _, label in self.photos} - set(self.labels)
        if self.labels and strangers:
            raise ConversionError(
                f"photos of {', '.join(sorted(strangers))} were passed, but the labels are {', '.join(self.labels)}"
            )

    @property
    def dimensions(self) -> int:
        """Length D of an embedding."""
        return int(self.backbone.output_shape[-1])

    @property
    def judges(self) -> NDArray[np.bool_]:
        """Whether each photo may judge the model, because it did not tune the backbone: bool [N]."""
        if not self.tuned:
            return np.ones(len(self.photos), bool)
        return np.array(self.held_out, bool) if self.held_out else np.zeros(len(self.photos), bool)

    def save(self, folder: str | Path, force: bool = False) -> Path:
        """Write the model into `folder`, which is created if it does not exist and may contain other files.

        ``training.json`` is written last: a folder without it is incomplete.

        Raises:
            ConversionError: A weight of the backbone is NaN or infinite.
            StorageError: A trained model exists there and `force` is false, or the folder cannot be written.
        """
        folder = Path(folder)
        require_finite_variables(self.backbone)
        refuse_existing(folder / TRAINING_FILE, force)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / TRAINING_FILE).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, folder) from error
        _save_keras(self.backbone, folder / BACKBONE_FILE)
        if self.generator is not None:
            require_finite_variables(self.generator)
            _save_keras(self.generator, folder / GENERATOR_FILE)
        else:
            (folder / GENERATOR_FILE).unlink(missing_ok=True)
        if self.head is not None:
            with atomic_output(folder / HEAD_FILE, force=True) as temporary:
                temporary.write_bytes(pack_arrays({"W": self.head[0], "b": self.head[1]}))
        else:
            (folder / HEAD_FILE).unlink(missing_ok=True)
        with atomic_output(folder / TRAINING_FILE, force=True) as temporary:
            temporary.write_text(json.dumps(self._training(), indent=1, ensure_ascii=False, allow_nan=False))
        return folder

    @classmethod
    def load(cls, folder: str | Path, photos_root: str | Path | None = None) -> TrainedModel:
        """Read a folder that `save` wrote.

        Args:
            folder: The trained model's folder.
            photos_root: Folder of the photos; by default where they were when the model was trained.

        Raises:
            ConversionError: The folder is missing, contains no trained model, or is damaged.
        """
        folder = Path(folder)
        fields = _read_training(folder)
        try:
            root = Path(photos_root or fields["photos_root"])
            return cls(
                backbone=_load_keras(folder / BACKBONE_FILE),
                backbone_name=str(fields["backbone"]),
                preprocessing=Preprocessing.from_dict(fields["preprocessing"]),
                labels=tuple(fields["labels"]),
                head=_load_head(folder / HEAD_FILE),
                photos=tuple((root / path, str(label)) for path, label in fields["photos"]),
                held_out=tuple(bool(one) for one in fields.get("held_out", ())),
                tuned=bool(fields.get("tuned", _was_tuned(fields["info"]))),
                info=dict(fields["info"]),
                generator=_load_keras(folder / GENERATOR_FILE)
                if (folder / GENERATOR_FILE).exists()
                else None,
            )
        except (KeyError, TypeError, ValueError, ModelFileError, LabelError) as error:
            if isinstance(error, ConversionError):
                raise
            raise ConversionError(
                f"{folder / TRAINING_FILE} is damaged ({error!r}); train the model again"
            ) from error

    def _check_head(self, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        expected = (self.dimensions, len(self.labels))
        if weights.shape != expected or bias.shape != expected[1:]:
            raise ConversionError(
                f"a head must have W {expected} and b {expected[1:]}, got {weights.shape} and {bias.shape}"
            )
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ConversionError("the trained head contains NaN or infinity; train the model again")

    def _training(self) -> dict[str, Any]:
        paths = [path.absolute() for path, _ in self.photos]
        root = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
        return {
            "format_version": _FORMAT_VERSION,
            "backbone": self.backbone_name,
            "preprocessing": self.preprocessing.to_dict(),
            "labels": list(self.labels),
            "photos_root": str(root),
            "photos": [
                [str(path.relative_to(root)), label]
                for path, (_, label) in zip(paths, self.photos, strict=True)
            ],
            "held_out": [int(one) for one in self.held_out],
            "tuned": self.tuned,
            "info": dict(self.info),
        }


def is_trained_model(folder: str | Path) -> bool:
    """Return whether `folder` contains a complete trained model."""
    return (Path(folder) / TRAINING_FILE).is_file()


def _was_tuned(info: Mapping[str, Any]) -> bool:
    """Return whether training changed the backbone, for older folders, which do not record it."""
    epochs = info.get("epochs")
    return isinstance(epochs, dict) and bool(epochs.get("blocks_kept"))


def _save_keras(model: Any, path: Path) -> None:
    with atomic_output(path, force=True) as temporary, _keras_name(temporary) as named:
        model.save(named)


@contextlib.contextmanager
def _keras_name(temporary: Path) -> Iterator[Path]:
    # Keras refuses to save under a name that does not end in .keras
    named = temporary.with_name(f"{temporary.name}.keras")
    try:
        yield named
        named.replace(temporary)
    finally:
        named.unlink(missing_ok=True)


def _read_training(folder: Path) -> dict[str, Any]:
    path = folder / TRAINING_FILE
    if not path.is_file():
        what = "does not exist" if not folder.exists() else f"contains no {TRAINING_FILE}"
        raise ConversionError(
            f"{folder} {what}: expected the folder of a trained model; make one with 'edgetl finetune', "
            "or use the name of a backbone such as efficientnet-lite0"
        )
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConversionError(f"{path} cannot be read ({error}); train the model again") from error
    if not isinstance(fields, dict) or fields.get("format_version") != _FORMAT_VERSION:
        raise ConversionError(
            f"{path} was written by another version of edgetl (expected format {_FORMAT_VERSION}); train the model again"
        )
    return fields


def _load_keras(path: Path) -> Any:
    try:
        return load_keras_file(path)  # the folder may come from another person
    except ConversionError as error:
        raise ConversionError(
            f"the network {path} cannot be read ({error}); train the model again"
        ) from error


def _load_head(path: Path) -> FloatHead | None:
    if not path.exists():
        return None
    try:
        arrays = unpack_arrays(path.read_bytes())
        return arrays["W"].astype(np.float32), arrays["b"].astype(np.float32)
    except (ArraysError, KeyError, OSError) as error:
        raise ConversionError(f"the head {path} is damaged ({error}); train the model again") from error
