"""What one device contributes to a fleet: the exact statistics of its own samples, never the samples themselves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import FleetError
from ..heads.exact import ExactHead
from ..model.codes import SCALE, Codes
from ..model.memory import Sums
from ..printable import printable
from ..store import ModelIdentity, Store
from .noise import add_noise

_UNIT_MAPS = ("signed_sqrt_l2", "l2")
_GREATEST = 32767  # of a code
MAX_NAME = 100


@dataclass(frozen=True)
class FleetModel:
    """What decides an embedding: statistics can be added only if all of it is the same.

    Attributes:
        backbone: Checksum of the backbone and its preprocessing.
        dimensions: D.
        embedding_map: One of `device.model.codes.MAPS`.
        views: Views of a frame that each embedding was made from, see `device.views`.
    """

    backbone: str
    dimensions: int
    embedding_map: str = "signed_sqrt_l2"
    views: str = "one"

    @classmethod
    def of(cls, identity: ModelIdentity) -> Self:
        """Return the part of a model's identity that decides its embeddings."""
        backbone = identity.backbone_digest() or identity.sha256
        return cls(backbone, identity.dimensions, identity.embedding_map, identity.views)

    @property
    def longest(self) -> int:
        """The largest squared length of a code.

        A mapped embedding of length 1 is rounded to multiples of 1/4096, so that its code is longer by at most
        ``sqrt(D) / 2``. The map ``identity`` bounds only the single numbers.
        """
        if self.embedding_map in _UNIT_MAPS:
            return int((SCALE + np.sqrt(self.dimensions) / 2) ** 2) + 1
        return self.dimensions * _GREATEST**2

    def __str__(self) -> str:
        return f"{self.backbone[:12]} ({self.dimensions} dimensions, {self.embedding_map}, {self.views})"


@dataclass(frozen=True)
class Contribution:
    """The statistics of all samples that one device contributes at present.

    A device sends its present statistics each time, never a difference. The newest contribution of a device replaces the
    one before, so that a repeated or lost message counts nothing twice, and what the device has forgotten is no longer
    in the sum.

    Attributes:
        client: Name of the device.
        model: The model whose embeddings were summed.
        sums: Labels, counts, sums and second moment, as integers.

    Example:
        >>> from device.model.codes import encode
        >>> model = FleetModel("0" * 64, dimensions=2)
        >>> Contribution.of("shed", model, encode([[1.0, 0.0], [0.0, 1.0]]), ["mug", "cup"]).counts
        {'cup': 1, 'mug': 1}
    """

    client: str
    model: FleetModel
    sums: Sums

    @classmethod
    def of(cls, client: str, model: FleetModel, codes: Codes, labels: Sequence[str]) -> Self:
        """Return the contribution of samples, `codes` int16 [N, D] with N labels; N may be 0."""
        kept = Sums.of(codes, labels)
        return cls(check_client(client), model, Sums(kept.labels, kept.numbers, kept.sums, kept.gram))

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples per label, sorted by label."""
        return self.sums.counts()

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.sums.numbers.sum())

    def digest(self) -> str:
        """Return the sha256 of the statistics, as `device.heads.exact.ExactHead.digest` of the same samples."""
        return head_of(self.sums).digest()

    def __repr__(self) -> str:
        return f"<Contribution of {self.client!r}, {self.samples} samples of {len(self.sums.labels)} labels>"


def contribution_of(
    store: Store,
    client: str,
    *,
    personal: Collection[str] = (),
    min_count: int = 1,
    noise: float = 0.0,
    secret: bytes = b"",
) -> Contribution:
    """Return what a state file contributes: its taught samples that have a label.

    Excluded samples, negatives and background are not part of it, nor is the memory of the model file, which every device
    has already.

    Args:
        store: The state file.
        client: Name of the device.
        personal: Labels that stay on the device.
        min_count: Labels with fewer samples stay on the device.
        noise: Standard deviation of the noise on each number of an embedding, see `device.fleet.noise`.
        secret: The secret from which the noise is drawn.
    """
    counts = store.counts()
    shared = {label for label, count in counts.items() if count >= min_count and label not in personal}
    model = FleetModel.of(store.identity)
    # read in pieces: the codes of a large state need not fit into RAM
    sums = empty_sums(model.dimensions)
    for _, labels, codes in store.taught_chunks():
        mine = [place for place, label in enumerate(labels) if label in shared]
        sent = add_noise(codes[mine], noise, secret)
        part = Contribution.of(client, model, sent, [labels[place] for place in mine])
        sums = Sums.added([sums, part.sums])
    return Contribution(check_client(client), model, sums)


def check_client(name: str) -> str:
    """Return the name of a device.

    Raises:
        FleetError: The name is empty, too long, or contains control characters.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME or printable(name) != name:
        raise FleetError(
            f"the name of a device must have 1 to {MAX_NAME} printable characters, got {printable(name)[:40]!r}"
        )
    return name


def head_of(sums: Sums, *, ridge: float | None = None) -> ExactHead:
    """Return the exact head that is solved from statistics alone.

    Without samples, none can choose the ridge, so that it is the default unless it is given.

    Args:
        sums: The statistics.
        ridge: Absolute ridge.
    """
    head = ExactHead(sums.dimensions, ridge=ridge)
    if len(sums.labels):
        head.learn_statistics(sums.labels, sums.numbers, sums.sums, sums.gram)
    return head


def empty_sums(dimensions: int) -> Sums:
    """Return the statistics of no sample."""
    none: NDArray[np.int64] = np.zeros(0, np.int64)
    return Sums((), none, np.zeros((0, dimensions), np.int64), np.zeros((dimensions, dimensions)))
