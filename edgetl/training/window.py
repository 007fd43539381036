"""How small a crop of a photo may be before it no longer shows what the label means.

Half a cup is a cup; half a solar panel may lack the crack that makes it defective, and training on it teaches errors. So the
exact head, taught whole photos on the frozen backbone, predicts crops of held-out photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.errors import PhotoError
from device.heads import Head
from device.images import Image, read_photo
from device.model.codes import encode
from device.model.preprocess import Preprocessing

from ..photos import Photo
from .crops import Crops, vary_photo
from .trunk import Trunk

AREAS = (0.35, 0.5, 0.65)  # fractions of a photo's area, tried in this order
LARGEST = 0.8  # used where even the last of them hides too much
MOST_PHOTOS = 200  # to judge by
_ALLOWED = 0.1  # nats by which the loss on crops may exceed that on whole photos
_LEAST = 1e-6  # probability; a photo that is certainly wrong must not decide alone
_DRAWS = 4  # number of the random stream; 0 to 3 are those of the phases


@dataclass(frozen=True)
class WindowJudge:
    """Judges crops of held-out photos by a head that was taught whole photos.

    Attributes:
        head: A head that was taught the training photos.
        trunk: Returns the embeddings of prepared images.
        preprocessing: Prepares whole photos as the device does.
        seed: Seed of the choice of photos and of the crops.
    """

    head: Head
    trunk: Trunk
    preprocessing: Preprocessing
    seed: int

    def choose_area(self, photos: Sequence[Photo]) -> float:
        """Return the smallest area whose crops are recognized nearly as well as whole photos.

        Args:
            photos: Held-out photos; labels that the head was not taught count as errors.

        Returns:
            One of `AREAS`, or `LARGEST`.
        """
        order = np.random.default_rng([self.seed, _DRAWS]).permutation(len(photos))[:MOST_PHOTOS]
        pictures, labels = _read([photos[place] for place in order.tolist()])
        if not pictures:
            return LARGEST
        whole = self._loss([self.preprocessing.prepare(picture) for picture in pictures], labels)
        for area in AREAS:
            if self._loss(self._crops(pictures, area), labels) - whole <= _ALLOWED:
                return area
        return LARGEST

    def _crops(self, pictures: Sequence[Image], area: float) -> list[Image]:
        generator = np.random.default_rng([self.seed, _DRAWS, round(100 * area)])
        crops = Crops(area, flip=False, brightness=0)
        return [vary_photo(picture, self.preprocessing, crops, generator) for picture in pictures]

    def _loss(self, images: Sequence[Image], labels: NDArray[np.str_]) -> float:
        """Return the mean negative logarithm of the probability of the true label."""
        probabilities = np.asarray(self.head.probabilities(encode(self.trunk(np.stack(images)))), np.float64)
        truth = labels[:, None] == np.array(self.head.labels)[None, :]
        return float(-np.log(np.maximum((probabilities * truth).sum(axis=1), _LEAST)).mean())


def _read(photos: Sequence[Photo]) -> tuple[list[Image], NDArray[np.str_]]:
    """Return the photos that can be read, and their labels."""
    pictures, labels = [], []
    for photo in photos:
        try:
            pictures.append(read_photo(photo.path))
        except PhotoError:
            continue
        labels.append(photo.label)
    return pictures, np.array(labels)
