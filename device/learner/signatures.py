"""Making heads, and connecting those that need it to the signatures of the model file."""

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
    """Signature runners of an embedder's interpreter, with one call at a time.

    Backbone and head share one interpreter, so that the model is in RAM only once. An interpreter serves one
    thread at a time, so training waits while a frame is embedded.
    """

    def __init__(self, embedder: Embedder, lock: threading.Lock) -> None:
        self._embedder, self._lock = embedder, lock

    def get_signature_runner(self, name: str) -> Any:
        """Return a runner of a signature that holds the lock during each call."""
        runner = self._embedder.signature(name)

        def run(**inputs: Any) -> Any:
            with self._lock:
                return runner(**inputs)

        return run


@dataclass(frozen=True)
class HeadMaker:
    """Make heads of one kind, empty or from a stored state.

    Attributes:
        name: One of `device.heads.HEADS`.
        dimensions: D.
        options: Options of the head for `create_head`.
        trainer: Runs the training steps of a softmax head; None for other heads.
    """

    name: str
    dimensions: int
    options: Mapping[str, Any] = field(default_factory=dict)
    trainer: Any = None

    @classmethod
    def of(
        cls, name: str, embedder: Embedder, lock: threading.Lock, options: Mapping[str, Any] | None = None
    ) -> HeadMaker:
        """Return the maker of heads for an opened model; a softmax head uses its ``train`` signature."""
        manifest, chosen = embedder.model.manifest, dict(options or {})
        if name != "softmax":
            return cls(name, manifest.dimensions, chosen)
        from ..heads.trainer import SignatureTrainer

        chosen.setdefault("embedding_map", manifest.embedding_map)
        return cls(name, manifest.dimensions, chosen, SignatureTrainer(GuardedSignatures(embedder, lock)))

    def empty(self) -> Head:
        """Return a head that has learned nothing."""
        more = {} if self.trainer is None else {"trainer": self.trainer}
        return create_head(self.name, self.dimensions, **self.options, **more)

    def restored(self, state: State) -> Head:
        """Return the head that `state` was taken from.

        Raises:
            HeadError: The state is damaged or of other dimensions.
        """
        head = head_class(self.name).restore(self.dimensions, state)
        if self.trainer is not None:
            head.use(self.trainer)  # type: ignore[attr-defined]  # only softmax has a trainer
        return head

    def check_room(self, known: Sequence[str], labels: Sequence[str]) -> None:
        """Raise `LabelError` when the head in the model file has too few columns for new labels."""
        if self.trainer is None:
            return
        wanted = set(known) | set(labels)
        if len(wanted) > self.trainer.capacity:
            raise LabelError(
                f"the softmax head of this model file has room for {self.trainer.capacity} labels, but there would be"
                f" {len(wanted)}; use --head exact, or make room with: edgetl export MODEL --head exact --out NEW"
            )
