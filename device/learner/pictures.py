"""The pictures of taught samples: the photos themselves where they still are, else their thumbnails."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import PhotoError
from ..images import Image, read_photo, thumbnail
from ..store import Store, rows

# mean difference of 8-bit values: two JPEGs of one photo differ by less, two photos by more
LOOKS_ALIKE = 12.0


class PictureFinder:
    """Finds the best picture of a sample.

    Args:
        store: The state with the samples.
        photos: The folder of an earlier `teach --photos`, or None.
    """

    def __init__(self, store: Store, photos: Path | None) -> None:
        self._store, self._photos = store, photos
        self.from_photos = self.from_thumbnails = 0

    def of(self, number: int, source: str) -> Image | None:
        """Return the picture and count its kind; None when no picture can be read."""
        small = self._thumbnail(number)
        photo = self._photo(source, small)
        if photo is not None:
            self.from_photos += 1
        elif small is not None:
            self.from_thumbnails += 1
        return small if photo is None else photo

    def _thumbnail(self, number: int) -> Image | None:
        kept = self._store.database.rows("SELECT jpeg, crc FROM thumbnails WHERE sample = ?", (number,))
        if not kept or rows.thumbnail_checksum(number, kept[0][0]) != kept[0][1]:
            return None
        return _read(kept[0][0])

    def _photo(self, source: str, small: Image | None) -> Image | None:
        if self._photos is None or not source or Path(source).is_absolute() or ".." in Path(source).parts:
            return None
        path = self._photos / source
        photo = _read(path) if path.is_file() else None
        # a photo that was cropped or turned for teaching, or was replaced since, is not what was taught
        return photo if photo is None or small is None or _alike(photo, small) else None


def _read(picture: Path | bytes) -> Image | None:
    try:
        return read_photo(picture)
    except PhotoError:
        return None


def _alike(photo: Image, small: Image) -> bool:
    again = read_photo(thumbnail(photo))
    difference = np.abs(again.astype(np.int16) - small).mean() if again.shape == small.shape else np.inf
    return bool(difference < LOOKS_ALIKE)
