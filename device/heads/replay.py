"""A bounded store of samples for replay, with the same number of places for every label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arrays import pack_texts, unpack_texts
from ..model.codes import Codes
from .base import State
from .keys import content_keys
from .sketch import Sketch


class Replay:
    """Per label, the samples with the smallest content hashes, independent of the order of learning.

    Args:
        dimensions: D.
        room: Maximum number of samples per label.
    """

    def __init__(self, dimensions: int, room: int) -> None:
        self.dimensions, self.room = dimensions, room
        self._shelves: dict[str, Sketch] = {}

    def add(self, codes: Codes, labels: list[str]) -> None:
        """Add samples."""
        self._change(codes, labels, "add")

    def remove(self, codes: Codes, labels: list[str]) -> None:
        """Remove samples; samples that are not kept are ignored."""
        self._change(codes, labels, "remove")

    def merge(self, other: Replay) -> None:
        """Add all samples of `other`."""
        for label, shelf in other._shelves.items():
            self._shelf(label).merge(shelf, np.zeros(1, np.int32))

    def rename(self, old: str, new: str) -> None:
        """Move the samples of label `old` to label `new`."""
        shelf = self._shelves.pop(old, None)
        if shelf is not None:
            self._shelf(new).merge(shelf, np.zeros(1, np.int32))

    def delete(self, label: str) -> None:
        """Remove all samples of a label."""
        self._shelves.pop(label, None)

    def all(self) -> tuple[Codes, list[str]]:
        """Return all kept samples, codes and labels, sorted by label and key."""
        codes, labels = [np.zeros((0, self.dimensions), np.int16)], []
        for label, shelf in sorted(self._shelves.items()):
            codes.append(shelf.codes)
            labels += [label] * len(shelf.keys)
        return np.concatenate(codes), labels

    def fill(self, labels: list[str], count: int, random: np.random.Generator) -> tuple[Codes, list[str]]:
        """Draw `count` samples so that, together with `labels`, all labels occur equally often."""
        shelves = {label: shelf for label, shelf in sorted(self._shelves.items()) if len(shelf.keys)}
        names = list(shelves)
        there = np.array([labels.count(name) for name in names], np.float64)
        chosen = []
        for tie in random.random((count, len(names))):
            at = int(np.argmin(there + tie / 2))  # a random one of the least frequent labels
            there[at] += 1
            chosen.append(names[at])
        drawn = [
            shelves[name].codes[int(place * len(shelves[name].keys))]
            for name, place in zip(chosen, random.random(count).tolist(), strict=True)
        ]
        return np.stack(drawn) if drawn else np.zeros((0, self.dimensions), np.int16), chosen

    def state(self) -> State:
        """Return the arrays to store."""
        shelves = sorted(self._shelves.items())
        codes, _ = self.all()
        return {
            "replay_labels": pack_texts([label for label, _ in shelves]),
            "replay_sizes": np.array([len(shelf.keys) for _, shelf in shelves], np.int64),
            "replay_limits": np.array([shelf.limit for _, shelf in shelves], np.uint64),
            "replay_copies": np.concatenate([np.zeros(0, np.int64)] + [shelf.copies for _, shelf in shelves]),
            "replay_codes": codes,
        }

    @classmethod
    def restore(cls, dimensions: int, room: int, state: State) -> Replay:
        """Return a replay store with the given state."""
        replay = cls(dimensions, room)
        ends = np.cumsum(state["replay_sizes"]).tolist()
        labels = unpack_texts(state["replay_labels"])
        for label, end, size, limit in zip(
            labels, ends, state["replay_sizes"].tolist(), state["replay_limits"], strict=True
        ):
            part = slice(end - size, end)
            codes = state["replay_codes"][part].astype(np.int16)
            shelf = {
                "sketch_codes": codes,
                "sketch_owners": np.zeros(size, np.int32),
                "sketch_keys": content_keys(codes),
                "sketch_copies": state["replay_copies"][part],
                "sketch_limit": np.array([limit], np.uint64),
            }
            replay._shelves[label] = Sketch.restore(dimensions, shelf, room)
        return replay

    def _shelf(self, label: str) -> Sketch:
        return self._shelves.setdefault(label, Sketch(self.dimensions, self.room))

    def _change(self, codes: Codes, labels: list[str], how: str) -> None:
        names: NDArray[np.str_] = np.array(labels)
        for label in sorted(set(labels)):
            mine = codes[names == label]
            owners = np.zeros(len(mine), np.int32)
            getattr(self._shelf(label), how)(mine, owners, content_keys(mine))
