"""Data of the head benchmarks: embeddings of a frozen int8 EfficientNet-Lite0, computed once and kept in the cache.

The model file is the generic one, ``edgetl convert efficientnet-lite0 --quantize int8``, calibrated on sample
photos that belong to none of the sets. Sets: ELPV (crisp labels; CC BY-NC-SA 4.0), scikit-learn's digits
(``digits``: raw pixels as the embedding; ``digits-products``: the pixels and their pairwise products;
``digits-photos``: enlarged and embedded by the backbone), and flower-photos5 and ants-bees if the development data is
present (``EDGETL_DEV_DATA``, default ``../shared/data``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.images import Image, read_photo
from device.model.codes import Codes, apply_map, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from device.photos import list_photos

BACKBONE = "efficientnet-lite0"


@dataclass(frozen=True)
class Dataset:
    """Embeddings with labels.

    Attributes:
        name: Name of the set.
        embeddings: float32 [N, D], as the backbone returns them.
        labels: N labels.
    """

    name: str
    embeddings: NDArray[np.float32]
    labels: NDArray[np.str_]

    @property
    def codes(self) -> Codes:
        """The fixed-point codes that a device would learn from, int16 [N, D]."""
        return encode(self.embeddings)

    @property
    def mapped(self) -> NDArray[np.float64]:
        """The mapped embeddings, float64 [N, D]."""
        return apply_map(self.embeddings)


def cache_folder() -> Path:
    """Return the folder for embeddings: in ``EDGETL_CACHE``, or in ``edgetl`` in the user's cache folder."""
    home = os.environ.get("EDGETL_CACHE")
    if home:
        return Path(home) / "benchmarks"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl" / "benchmarks"


def development_data() -> Path:
    """Return the folder of development data, which may not exist."""
    root = Path(__file__).resolve().parent.parent
    return Path(os.environ.get("EDGETL_DEV_DATA") or root.parent / "shared" / "data")


def model_file(*, deep: bool = False) -> Path:
    """Return the generic int8 model file, converted on first use; with `deep`, that of ``--embedding deep``."""
    path = cache_folder() / f"{BACKBONE}-int8{'-deep' if deep else ''}.tflite"
    if not path.exists():
        from converters import TrainedModel, convert
        from edgetl.backbones import load_backbone

        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"converting {BACKBONE}, once", file=sys.stderr)
        backbone, preprocessing = load_backbone(BACKBONE)
        model = TrainedModel(backbone, BACKBONE, preprocessing)
        convert(model, path, quantize="int8", embedding="deep" if deep else "last")
    return path


def load(name: str, *, mirrored: bool = False, deep: bool = False) -> Dataset | None:
    """Load a set by name; return None if its photos are not available.

    Args:
        name: Name of the set.
        mirrored: Load the embeddings of the mirror images instead; not for sets of pixels.
        deep: Load the embeddings of ``--embedding deep``; not for sets of pixels.
    """
    if name in ("digits", "digits-products"):
        values, labels = _pixels()
        return Dataset(name, values if name == "digits" else with_products(values), labels)
    path = cache_folder() / f"{name}-{BACKBONE}-int8{'-deep' * deep}{'-mirrored' * mirrored}.npz"
    if not path.exists():
        photos = load_photos(name)
        if photos is None:
            return None
        images, labels = photos
        print(f"embedding {len(labels)} photos of {name}, once", file=sys.stderr)
        embedder = Embedder(ModelFile.open(model_file(deep=deep)), threads=2)
        seen = (np.ascontiguousarray(image[:, ::-1]) if mirrored else image for image in images)
        embeddings = np.stack([embedder.embed_one(image) for image in seen])
        embedder.close()
        np.savez_compressed(path, embeddings=embeddings, labels=labels)
    with np.load(path, allow_pickle=False) as kept:
        return Dataset(name, kept["embeddings"], kept["labels"])


def load_each(names: Iterable[str]) -> Iterator[Dataset]:
    """Yield the sets that are available, and name those that are not."""
    for name in names:
        dataset = load(name)
        if dataset is None:
            print(f"{name}: not available")
        else:
            yield dataset


def load_photos(name: str) -> tuple[Iterator[Image], NDArray[np.str_]] | None:
    """Return the photos of a set, one after the other, and all labels; None if they are not available."""
    loaders = {"elpv": _elpv, "digits-photos": _digits}
    return loaders.get(name, lambda: _folder(development_data() / name))()


def with_products(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Append the products of all pairs of mapped numbers: [N, D] -> [N, D + D (D + 1) / 2].

    The results are signed squares, so that the square root of the embedding map restores the products.
    """
    mapped = apply_map(values)
    rows, columns = np.triu_indices(mapped.shape[1])
    products = mapped[:, rows] * mapped[:, columns] * np.where(rows == columns, 1, 2**0.5)
    both = np.concatenate([mapped, products], axis=1)
    squared: NDArray[np.float32] = (np.sign(both) * both**2).astype(np.float32)
    return squared


def _pixels() -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    return values.astype(np.float32), labels.astype(str)


def _digits() -> tuple[Iterator[Image], NDArray[np.str_]]:
    values, labels = _pixels()
    small = (values.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
    return (np.repeat(image.repeat(28, 0).repeat(28, 1)[:, :, None], 3, axis=2) for image in small), labels


def _elpv() -> tuple[Iterator[Image], NDArray[np.str_]] | None:
    try:
        from elpv_dataset.utils import load_dataset
    except ImportError:
        return None
    photos, defects, _ = load_dataset()
    crisp = np.flatnonzero((defects == 0) | (defects == 1))
    labels = np.where(defects[crisp] == 1, "defect", "sound")
    return (np.repeat(photos[at][:, :, None], 3, axis=2) for at in crisp), labels


def _folder(folder: Path) -> tuple[Iterator[Image], NDArray[np.str_]] | None:
    if not folder.is_dir():
        return None
    photos = [
        (photo, part.name)
        for part in sorted(folder.iterdir())
        if part.is_dir()
        for photo in list_photos(part)
    ]
    return (read_photo(photo) for photo, _ in photos), np.array([label for _, label in photos])
