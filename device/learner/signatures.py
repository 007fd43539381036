"""Binding a head to the model file's own signatures, and making heads that need it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import LabelError
from ..heads import Head, create_head, head_class
from ..heads.base import State
from ..model.embedder import Embedder


class GuardedSignatures:
    """Signature runners of an embedder's interpreter, one call at a time.

    Backbone and head live in one interpreter, so that the model is in memory once; an interpreter runs for one
    thread at a time, so training waits for a frame that is being embedded.
    """

    def __init__(self, embedder: Embedder, lock: threading.Lock) -> None:
        self._embedder, self._lock = embedder, lock

    def get_signature_runner(self, name: str) -> Any:
        """Give a runner of a signature that takes the lock for each call."""
        runner = self._embedder.signature(name)

        def run(**inputs: Any) -> Any:
            with self._lock:
                return runner(**inputs)

        return run


@dataclass(frozen=True)
class HeadMaker:
    """Make heads of one kind, empty ones or from a kept state.

    Attributes:
        name: One of `device.heads.HEADS`.
        dimensions: D.
        options: What `create_head` takes for it.
        trainer: What a softmax head takes its steps through; None for the others.
    """

    name: str
    dimensions: int
    options: Mapping[str, Any] = field(default_factory=dict)
    trainer: Any = None

    @classmethod
    def of(
        cls, name: str, embedder: Embedder, lock: threading.Lock, options: Mapping[str, Any] | None = None
    ) -> HeadMaker:
        """Give the maker of heads for an opened model; a softmax head trains by its ``train`` signature."""
        manifest, chosen = embedder.model.manifest, dict(options or {})
        if name != "softmax":
            return cls(name, manifest.dimensions, chosen)
        from ..heads.trainer import SignatureTrainer

        chosen.setdefault("embedding_map", manifest.embedding_map)
        return cls(
            name, manifest.dimensions, chosen, SignatureTrainer(GuardedSignatures(embedder, lock))
        )  # fmt: skip

    def empty(self) -> Head:
        """Make a head that has learned nothing."""
        more = {} if self.trainer is None else {"trainer": self.trainer}
        return create_head(self.name, self.dimensions, **self.options, **more)

    def restored(self, state: State) -> Head:
        """Make the head that `state` was taken from.

        Raises:
            HeadError: The state is damaged or of other dimensions.
        """
        head = head_class(self.name).restore(self.dimensions, state)
        if self.trainer is not None:
            head.use(self.trainer)  # type: ignore[attr-defined]  # softmax alone has a trainer
        return head

    def check_room(self, known: Sequence[str], labels: Sequence[str]) -> None:
        """Raise `LabelError` when the head in the model file has no column left for new labels."""
        if self.trainer is None:
            return
        wanted = set(known) | set(labels)
        if len(wanted) > self.trainer.capacity:
            raise LabelError(
                f"the softmax head of this model file has room for {self.trainer.capacity} labels, this would make"
                f" {len(wanted)}; use --head exact, and make room with: edgetl export MODEL --head exact --out NEW"
            )
