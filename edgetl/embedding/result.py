"""The result of `edgetl.embed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.leftout import reasons_to_dict
from device.photos import LeftOut


@dataclass(frozen=True)
class Embedded:
    """What `edgetl.embed` wrote.

    Attributes:
        folder: The folder with everything.
        root: The folder of the photos.
        shards: Files with the embeddings, in the order of the photos.
        photos: Number of embedded photos.
        labels: Number of photos per label in the statistics; empty without labels.
        known: Number of photos that are not in the statistics, because the model file was taught them.
        resumed: Number of photos whose embeddings an earlier, interrupted run wrote.
        digest: sha256 of the statistics, the same for any number of workers; "" without labels.
        statistics: File with the statistics of the exact head; None without labels.
        model: Model file that was taught the photos; None if none was written.
        left_out: Files that are not embedded, with the reason of each.
        remarks: Remarks for the user, one sentence each.
    """

    folder: Path
    root: Path
    shards: tuple[Path, ...]
    photos: int
    labels: Mapping[str, int]
    known: int
    resumed: int
    digest: str
    statistics: Path | None
    model: Path | None
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Embedded {self.photos} photos of {len(self.labels)} labels in {self.folder.name[:80]}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serializable fields."""
        return {
            "folder": str(self.folder),
            "shards": len(self.shards),
            "photos": self.photos,
            "labels": dict(self.labels),
            "known": self.known,
            "resumed": self.resumed,
            "digest": self.digest,
            "statistics": None if self.statistics is None else str(self.statistics),
            "model": None if self.model is None else str(self.model),
            "left_out": reasons_to_dict(self.left_out, self.root),
            "remarks": list(self.remarks),
        }
