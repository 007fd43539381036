"""Groups of photos that show one thing, so that none of them judges another.

A photo and its near-duplicate in two parts of a split, or on both sides of leave-one-out, make any accuracy look
good. Three signs join photos of one label into a group:

- They look alike: more than photos under different labels of the same set do, since those show different things.
  The level therefore comes from the set itself (solar cells all look alike, flowers do not).
- They are consecutive in a recording: numbered files whose neighbors are about as alike as any two of them.
- By the camera's clock they were taken within seconds.

Groups are transitive, so a slow pan is one group from end to end.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .capture_time import capture_time
from .errors import PhotoError
from .grouping import join
from .images import read_photo
from .looks import HASH_BITS, Look, Pairs, look_at, similarities
from .progress import Progress, no_progress

LEAST = 0.4  # similarity below which two pictures are never called alike
MOST = 0.95  # and above which they always are
UNKNOWN = 0.85  # the level where there is only one label, so nothing to compare with
SAME = 0.98  # similarity of two copies of one picture, saved again
_RIVALS = 0.98  # quantile of the best similarity to another label that sets the level
_MARGIN = 0.04  # above it
_NEAREST = 6  # candidates of the same label, by hash
_OTHERS = 4  # and of other labels
_SECONDS = 3.0  # between two shots of one moment
_GAP = 10  # between the numbers of two files of one recording
_AS_ALIKE = 0.9  # neighbors in a recording, relative to the most alike photos
_LARGE = 400_000  # bytes; larger JPEG files are decoded at an eighth of their size
_CHUNK = 512  # photos whose hashes are compared with all others at once


@dataclass(frozen=True)
class Shot:
    """A photo to be grouped.

    Attributes:
        label: Its label.
        name: Its path; folder and number show the order of a recording.
        look: Its look; None for a photo that cannot be read, which is a group of its own.
        time: Time of the shot in seconds by the camera's clock, if known.
    """

    label: str
    name: str = ""
    look: Look | None = None
    time: float | None = None


@dataclass(frozen=True)
class Lookalikes:
    """Photos joined into groups.

    Attributes:
        groups: int32 [N], numbered 0, 1, 2 ... in the order of the photos; photos of one group have one label.
        conflicts: Places (i, j) of photos that are the same picture under two labels.
        flat: Number of photos of one shade, such as black ones.
        level: Similarity above which two photos of one label are joined.
    """

    groups: NDArray[np.int32]
    conflicts: tuple[tuple[int, int], ...] = ()
    flat: int = 0
    level: float = UNKNOWN

    @property
    def count(self) -> int:
        """Number of groups: of separate views."""
        return len(np.unique(self.groups))


def read_shots(photos: Sequence[tuple[Path, str]], progress: Progress = no_progress) -> list[Shot]:
    """Read photos for the grouping, two at a time; a photo that cannot be read has no look.

    Args:
        photos: Paths with their labels.
        progress: Called as task "comparing photos" with the number of photos.
    """
    shots = []
    with ThreadPoolExecutor(2) as pool:
        read = pool.map(lambda photo: _read(photo[0]), photos)
        for (path, label), (look, time) in zip(photos, read, strict=True):
            shots.append(Shot(label, str(path), look, time))
            progress("comparing photos", len(shots), len(photos))
    return shots


def group_lookalikes(shots: Sequence[Shot]) -> Lookalikes:
    """Join photos that show one thing into groups.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
        >>> shots = [Shot("a", look=look_at(image)), Shot("a", look=look_at(image[2:, 3:]))]
        >>> group_lookalikes([*shots, Shot("a")]).groups.tolist()
        [0, 0, 1]
    """
    seen = np.array([place for place, shot in enumerate(shots) if shot.look is not None], np.int64)
    looks = [shots[place].look for place in seen.tolist()]
    labels = (
        np.unique([shot.label for shot in shots], return_inverse=True)[1] if shots else np.zeros(0, np.int64)
    )
    measured = _Measured(
        [shots[place] for place in seen.tolist()], [look for look in looks if look], labels[seen]
    )
    joined = [*seen[measured.joined()].tolist(), *_taken_together(shots)]
    conflicts = seen[measured.conflicts()].tolist()
    return Lookalikes(
        join(len(shots), joined),
        tuple((first, second) for first, second in conflicts),
        sum(look.flat for look in looks if look),
        measured.level,
    )


class _Measured:
    """The candidate pairs of a set of photos, with their similarities.

    Args:
        shots: N, all with a look.
        looks: Their looks.
        labels: int64 [N], numbers of their labels.
    """

    def __init__(self, shots: Sequence[Shot], looks: Sequence[Look], labels: NDArray[np.int64]) -> None:
        self._labels, self._order = labels, _in_order(shots)
        self.pairs = _unique_pairs(_nearest(looks, labels), self._order)
        self.alike = similarities(looks, self.pairs) if len(self.pairs) else np.zeros(0)
        self._own = labels[self.pairs[:, 0]] == labels[self.pairs[:, 1]]
        self._flat = np.array([look.flat for look in looks], np.bool_)
        self.level = self._level()

    def joined(self) -> Pairs:
        """Return the pairs of one label that are shots of one thing: int64 [P, 2]."""
        close = self._own & (self.alike >= self.level)
        return np.concatenate([self.pairs[close], *self._recordings()])

    def conflicts(self) -> Pairs:
        """Return the pairs that are the same picture under two labels: int64 [P, 2]."""
        same: Pairs = self.pairs[~self._own & (self.alike >= SAME) & ~self._flat[self.pairs[:, 0]]]
        return same

    def _level(self) -> float:
        rivals = self._best(~self._own)
        rivals = rivals[rivals > 0]
        if not len(rivals):
            return UNKNOWN
        return float(np.clip(np.quantile(rivals, _RIVALS) + _MARGIN, LEAST, MOST))

    def _best(self, among: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return each photo's highest similarity over some of the pairs: float64 [N]."""
        best = np.zeros(len(self._labels))
        for side in (0, 1):
            np.maximum.at(best, self.pairs[among, side], self.alike[among])
        return best

    def _recordings(self) -> list[Pairs]:
        """Return neighbors in file order where the order is that of a recording."""
        place = {(int(one), int(other)): at for at, (one, other) in enumerate(self.pairs)}
        best, found = self._best(self._own), []
        for pairs in self._order:
            alike = self.alike[[place[int(one), int(other)] for one, other in pairs]]
            middle = float(np.median(alike))
            if len(pairs) > 1 and middle >= max(LEAST, _AS_ALIKE * float(np.median(best[np.unique(pairs)]))):
                found.append(pairs[alike >= middle / 2])
        return found


def _nearest(looks: Sequence[Look], labels: NDArray[np.int64]) -> Pairs:
    """Return candidates: for each photo the nearest by hash of its own label and of others."""
    if not looks:
        return np.zeros((0, 2), np.int64)
    signs = np.stack([look.bits for look in looks]).astype(np.float32) * 2 - 1
    found = []
    for start in range(0, len(looks), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(looks)))
        agree = signs[rows] @ signs.T
        agree[np.arange(len(rows)), rows] = -np.inf
        own = labels[rows][:, None] == labels[None]
        for chosen, most in ((own, _NEAREST), (~own, _OTHERS)):
            ranked = np.where(chosen, agree, -np.inf)
            limit = min(most, len(looks))
            near = np.argpartition(-ranked, limit - 1, axis=1)[:, :limit]
            kept = np.take_along_axis(ranked, near, 1) > -HASH_BITS - 1
            found.append(np.stack([np.repeat(rows, kept.sum(1)), near[kept]], axis=1))
    return np.concatenate(found)


def _unique_pairs(pairs: Pairs, more: Sequence[Pairs]) -> Pairs:
    whole = np.sort(np.concatenate([pairs, *more]), axis=1)
    unique: Pairs = np.unique(whole, axis=0).reshape(-1, 2).astype(np.int64)
    return unique


def _in_order(shots: Sequence[Shot]) -> list[Pairs]:
    """Return for each numbered row of files of one label the pairs of neighbors, int64 [P, 2] each."""
    rows: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for place, shot in enumerate(shots):
        path = Path(shot.name)
        if match := re.fullmatch(r"(.*?)(\d{1,12})(\D*)", path.stem):
            before, number, after = match.groups()
            rows.setdefault((shot.label, str(path.parent), before, after), []).append((int(number), place))
    found = []
    for row in rows.values():
        row.sort()
        pairs = [
            sorted((one, other))
            for (low, one), (high, other) in itertools.pairwise(row)
            if high - low <= _GAP
        ]
        if pairs:
            found.append(np.array(pairs, np.int64))
    return found


def _taken_together(shots: Sequence[Shot]) -> list[tuple[int, int]]:
    """Return neighbors in time of one label and folder that were taken within seconds."""
    rows: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for place, shot in enumerate(shots):
        if shot.time is not None:
            rows.setdefault((shot.label, str(Path(shot.name).parent)), []).append((shot.time, place))
    found = []
    for row in rows.values():
        row.sort()
        times = np.array([time for time, _ in row])
        _, counts = np.unique(times, return_counts=True)
        if counts.max() * 2 > len(row) > 2:
            continue  # a stopped clock proves nothing
        near = np.flatnonzero(np.diff(times) <= _SECONDS)
        found += [(row[at][1], row[at + 1][1]) for at in near.tolist()]
    return found


def _read(path: Path) -> tuple[Look | None, float | None]:
    try:
        data = path.read_bytes()
        return look_at(_decoded(data)), capture_time(data)
    except (OSError, PhotoError):
        return None, None


def _decoded(data: bytes) -> NDArray[np.uint8]:
    if len(data) > _LARGE and data[:3] == b"\xff\xd8\xff":
        small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
        if small is not None and min(small.shape[:2]) >= 96:
            return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)
    return read_photo(data)
