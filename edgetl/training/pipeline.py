"""Read, crop and normalize photos for training, in parallel with the training step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import EdgetlError
from device.files import atomic_output, storage_error
from device.images import Image, encode_jpeg, read_photo
from device.model.preprocess import Preprocessing

from .crops import Crops, vary_photo

_SPARE = 2.0  # a photo is kept at twice the input's sides, so that a crop of a quarter of it is not enlarged
_QUALITY = 95  # JPEG quality of the reduced photos
_DRAWS = 3  # number of the random stream; 0 to 2 are those of the other phases

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Pipeline:
    """Batches of photos for training and for validation.

    Photos much larger than the input are reduced once and kept in `folder`, because reading a photo of 12 megapixels
    takes longer than a training step on it. Photos without variation are kept as they are prepared.

    Attributes:
        paths: The photos.
        targets: int64 [P], the class of each photo.
        preprocessing: Prepares and normalizes the photos, as on the device.
        crops: How training photos are varied.
        seed: Seed for the order and the crops.
        batch: Maximum number of photos per batch.
        folder: Where reduced and prepared photos are kept; each pipeline needs its own.
    """

    paths: Sequence[Path]
    targets: NDArray[np.int64]
    preprocessing: Preprocessing
    crops: Crops
    seed: int
    batch: int
    folder: Path

    @property
    def steps(self) -> int:
        """Number of batches per epoch."""
        return -(-len(self.paths) // self.batch)

    def training(self, epoch: int, size: tuple[int, int] | None = None) -> Iterator[Batch]:
        """Yield each photo once, in random order, with a fresh crop.

        The batches depend on the seed and the number of the epoch alone.

        Args:
            epoch: From 0.
            size: Rows and columns of the images; None for those of the device.

        Yields:
            Normalized images float32 [N, H, W, C] and their classes int64 [N].

        Raises:
            EdgetlError: A photo can no longer be read.
        """
        order = np.random.default_rng([self.seed, _DRAWS, epoch]).permutation(len(self.paths))
        height, width = size or (self.preprocessing.height, self.preprocessing.width)
        sized = replace(self.preprocessing, height=height, width=width)
        return self._batches(order, lambda place: self._varied(place, epoch, sized), sized)

    def plain(self) -> Iterator[Batch]:
        """Yield each photo once, in order and without variation, as `training` does."""
        return self._batches(np.arange(len(self.paths)), self._prepared, self.preprocessing)

    def _batches(
        self, order: NDArray[np.int64], make: Callable[[int], Image], sized: Preprocessing
    ) -> Iterator[Batch]:
        import tensorflow as tf

        problems: list[EdgetlError] = []
        shape = sized.prepare(np.zeros((8, 8, 3), np.uint8)).shape

        def read(place: Any) -> Image:
            try:
                return make(int(place))
            except EdgetlError as error:
                problems.append(error)
                raise

        def read_tensor(place: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(read, [place], tf.uint8), shape)

        data = tf.data.Dataset.from_tensor_slices(order).map(read_tensor, num_parallel_calls=_threads())
        # equal batches: a last batch of one photo would be a noisy step
        size = -(-len(order) // self.steps)
        try:
            for number, images in enumerate(data.batch(size).prefetch(2)):
                places = order[number * size : (number + 1) * size]
                yield self.preprocessing.normalize(images.numpy()), self.targets[places]
        except tf.errors.OpError:
            if problems:
                raise problems[0] from None
            raise

    def _varied(self, place: int, epoch: int, sized: Preprocessing) -> Image:
        if not self.crops.varied:
            same = sized == self.preprocessing
            return self._prepared(place) if same else sized.prepare(self._reduced(place))
        generator = np.random.default_rng([self.seed, _DRAWS, epoch, place])
        # a crop already has the shape that training is to see
        return vary_photo(self._reduced(place), replace(sized, resize="squash"), self.crops, generator)

    def _reduced(self, place: int) -> Image:
        kept = self.folder / f"{place}.jpg"
        if kept.is_file():
            return read_photo(kept)
        photo = read_photo(self.paths[place])
        factor = self._factor(photo)
        if factor < 2:
            return photo
        rows, columns = photo.shape[:2]
        reduced = cv2.resize(photo, (columns // factor, rows // factor), interpolation=cv2.INTER_AREA)
        encoded = encode_jpeg(reduced, _QUALITY)
        self._keep(kept, encoded)
        return read_photo(encoded)  # as it is read from disk in the next epoch

    def _prepared(self, place: int) -> Image:
        kept = self.folder / f"{place}.raw"
        if kept.is_file():
            return np.frombuffer(kept.read_bytes(), np.uint8).reshape(
                self.preprocessing.height, self.preprocessing.width, -1
            )
        photo = read_photo(self.paths[place])
        prepared = self.preprocessing.prepare(photo)
        if self._factor(photo) >= 2:
            self._keep(kept, prepared.tobytes())
        return prepared

    def _factor(self, photo: Image) -> int:
        """Return by what whole factor a photo is reduced; photos below 2 are read anew in each epoch."""
        rows, columns = photo.shape[:2]
        return int(min(rows / self.preprocessing.height, columns / self.preprocessing.width) / _SPARE)

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self.folder) from error
        with atomic_output(path, force=True) as temporary:
            temporary.write_bytes(content)


def _threads() -> int:
    return max(2, os.cpu_count() or 1)
