"""Negatives and background in a model file: the corrections that an export carries along, as samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import pack_arrays, pack_texts, unpack_arrays, unpack_texts
from ..errors import ArraysError, LabelError, ModelFileError
from ..labels import check_labels
from ..negatives import BACKGROUND, negative_of, split_label
from .codes import Codes

_GREATEST = 32767  # of a code; -32768 is never written
_ROOM = 2**20  # bytes for the labels


@dataclass(frozen=True, repr=False)
class HiddenSamples:
    """Negatives and background samples of the host.

    Attributes:
        codes: int16 [N, D].
        stored: N stored labels, see `device.negatives`.
    """

    codes: Codes
    stored: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<HiddenSamples {len(self.stored)} negatives and background samples>"

    def counts(self) -> dict[str, int]:
        """Return the number of samples per stored label, sorted."""
        return dict(sorted(Counter(self.stored).items()))

    def renamed(self, names: Mapping[str, str | None]) -> HiddenSamples:
        """Return the samples under other labels, without the negatives of deleted ones.

        Args:
            names: Label in the model file -> its present name, None for a deleted label. Other labels stay.
        """
        now = [_renamed(stored, names) for stored in self.stored]
        kept = [place for place, stored in enumerate(now) if stored is not None]
        return HiddenSamples(self.codes[kept], tuple(stored for stored in now if stored is not None))

    def together(self, codes: Codes, stored: Sequence[str]) -> HiddenSamples:
        """Return these samples and others."""
        return HiddenSamples(np.concatenate([self.codes, codes]), (*self.stored, *stored))


def _renamed(stored: str, names: Mapping[str, str | None]) -> str | None:
    denied = split_label(stored)[1]
    if denied is None:
        return stored
    now = names.get(denied, denied)
    return None if now is None else negative_of(now)


def pack_hidden(samples: HiddenSamples) -> bytes:
    """Return samples as npz bytes: codes by dimension, and the number of the denied label, -1 for background."""
    denied = [split_label(stored)[1] for stored in samples.stored]
    names = sorted({label for label in denied if label is not None})
    places = {label: place for place, label in enumerate(names)}
    index = np.array([-1 if label is None else places[label] for label in denied], np.int32)
    return pack_arrays({"names": pack_texts(names), "codes": samples.codes.T, "index": index})


def unpack_hidden(data: bytes, dimensions: int) -> HiddenSamples:
    """Read what `pack_hidden` wrote.

    Raises:
        ModelFileError: The bytes are damaged, or belong to embeddings of other `dimensions`.
    """
    try:
        return _samples(unpack_arrays(data, max_bytes=_ROOM + 64 * dimensions**2), dimensions)
    except (ArraysError, LabelError, KeyError) as error:
        raise ModelFileError(
            f"negatives.npz in the model file is damaged: {error}; copy the file again or export the model again"
        ) from error


def _samples(arrays: Mapping[str, np.ndarray], dimensions: int) -> HiddenSamples:
    codes, index = arrays["codes"], arrays["index"]
    names = unpack_texts(arrays["names"])
    if list(check_labels(names, stored=True)) != names or names != sorted(names):
        raise ArraysError("the labels must be sorted and in their canonical form")
    if (
        codes.dtype != np.dtype("<i2")
        or codes.ndim != 2
        or codes.shape[0] != dimensions
        or not codes.shape[1]
    ):
        raise ArraysError(f"codes must be int16 [{dimensions}, N], got {codes.dtype} {list(codes.shape)}")
    if index.dtype != np.dtype("<i4") or index.shape != codes.shape[1:]:
        raise ArraysError(f"index must be int32 [{codes.shape[1]}], got {index.dtype} {list(index.shape)}")
    if index.min() < -1 or index.max() >= len(names) or codes.min() < -_GREATEST:
        raise ArraysError("a label's number or a code is out of range")
    stored = tuple(BACKGROUND if place < 0 else negative_of(names[place]) for place in index.tolist())
    return HiddenSamples(np.ascontiguousarray(codes.T).astype(np.int16), stored)
