"""Making heads, and connecting those that need it to the signatures of the model file."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError, LabelError
from ..heads import HEADS, Head, Linear, create_head, head_class
from ..heads.base import State
from ..heads.kept import KeptHead
from ..model.codes import Codes, encode
from ..model.embedder import Embedder
from ..views import FLIP

STORED, GENERATED = REPLAYS = ("stored", "generated")
_GENERATE = "generate"
_AT_ONCE = 32  # generated images in one run of the interpreter


class GuardedSignatures:
    """Signature runners of an embedder's interpreter, with one call at a time.

    Backbone and head share one interpreter, so that the model is in RAM only once. An interpreter serves one
    thread at a time, so training waits while a frame is embedded.
    """

    def __init__(self, embedder: Embedder, lock: threading.Lock) -> None:
        self._embedder, self._lock = embedder, lock

    @property
    def views(self) -> str:
        """Views of a frame that its embeddings are made from."""
        return self._embedder.views

    def get_signature_runner(self, name: str) -> Any:
        """Return a runner of a signature that holds the lock during each call."""
        runner = self._embedder.signature(name)

        def run(**inputs: Any) -> Any:
            with self._lock:
                return runner(**inputs)

        return run

    def noise_size(self) -> int:
        """Return the number of noise values that the signature ``generate`` expects per image."""
        details = self._embedder.signature(_GENERATE).get_input_details()
        return int(details["noise"]["shape"][-1])


class GeneratedImages:
    """Codes of images that a model file's ``generate`` draws, embedded by its ``features``.

    Args:
        signatures: The signatures of the model file.
        embedding_map: The map of its embeddings, see `device.model.codes`.
    """

    def __init__(self, signatures: GuardedSignatures, embedding_map: str) -> None:
        self._generate = signatures.get_signature_runner(_GENERATE)
        self._features = signatures.get_signature_runner("features")
        self._map = embedding_map
        self._size = signatures.noise_size()
        self._mirrored = signatures.views == FLIP

    def __call__(self, count: int, random: np.random.Generator) -> Codes:
        """Return the codes int16 [count, D] of new images."""
        noise = random.standard_normal((count, self._size)).astype(np.float32)
        parts = [noise[at : at + _AT_ONCE] for at in range(0, count, _AT_ONCE)]
        images = [self._generate(noise=part)["image"] for part in parts]
        embeddings = np.concatenate([self._embedded(part) for part in images])
        return encode(embeddings, self._map)

    def _embedded(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings [N, D] of images [N, H, W, C], from the views that the device uses."""
        embeddings: NDArray[np.float32] = self._features(image=images)["embedding"]
        if self._mirrored:
            mirrored = np.ascontiguousarray(images[:, :, ::-1])
            embeddings = (embeddings + self._features(image=mirrored)["embedding"]) / 2
        return embeddings


def _require_generator(embedder: Embedder) -> None:
    if _GENERATE not in embedder.signature_names:
        raise HeadError(
            f"{embedder.model.path} has no generator, so generated images cannot be replayed; convert a model of gan-28 "
            "with --generator, or leave out --replay generated"
        )


@dataclass(frozen=True)
class HeadMaker:
    """Make heads of one kind, empty or from a stored state.

    Attributes:
        name: One of `device.heads.HEADS`.
        dimensions: D.
        options: Options of the head for `create_head`.
        trainer: Runs the training steps of a softmax head; None for other heads.
        source: Draws codes of generated images for a softmax head; None where it replays stored samples.
        old: The old classifier that a `KeptHead` continues; None for other heads.
    """

    name: str
    dimensions: int
    options: Mapping[str, Any] = field(default_factory=dict)
    trainer: Any = None
    source: Any = None
    old: KeptHead | None = None

    @classmethod
    def of(
        cls, name: str, embedder: Embedder, lock: threading.Lock, options: Mapping[str, Any] | None = None
    ) -> HeadMaker:
        """Return the maker of heads for an opened model.

        A softmax head uses the ``train`` signature of the model. In place of the exact head, a model that keeps an old
        classifier gets a head that continues it.

        Raises:
            HeadError: The option ``replay`` is unknown, or the head or the model file cannot replay generated images.
        """
        manifest, chosen = embedder.model.manifest, dict(options or {})
        replay = chosen.get("replay", STORED)
        if replay not in REPLAYS:
            raise HeadError(f"replay must be one of {', '.join(REPLAYS)}, got {replay!r}")
        if name != "softmax":
            if replay != STORED:
                raise HeadError(f"only the softmax head replays, got --head {name}; use --head softmax")
            chosen.pop("replay", None)
            old = embedder.model.old_head() if name == "exact" else None
            if old is not None:
                chosen.pop("ridge", None)  # an option of the exact head alone
                kept = KeptHead(manifest.dimensions, old=Linear(*old[:2]), old_labels=old[2], **chosen)
                return cls(KeptHead.name, manifest.dimensions, chosen, old=kept)
            return cls(name, manifest.dimensions, chosen)
        from ..heads.trainer import SignatureTrainer

        chosen.setdefault("embedding_map", manifest.embedding_map)
        guarded = GuardedSignatures(embedder, lock)
        source = None
        if replay == GENERATED:
            _require_generator(embedder)
            source = GeneratedImages(guarded, manifest.embedding_map)
        else:
            chosen.pop("replay", None)
        return cls(name, manifest.dimensions, chosen, SignatureTrainer(guarded), source)

    def empty(self, names: Mapping[str, str | None] | None = None) -> Head:
        """Return a head that has learned nothing.

        Args:
            names: Label in the model file -> its present name, or None if it was deleted, for an old classifier.
        """
        if self.old is not None:
            return self._continued(KeptHead(self.dimensions, **self.options), names)
        more = {} if self.trainer is None else {"trainer": self.trainer, "source": self.source}
        options = {name: value for name, value in self.options.items() if name != "replay"}
        return create_head(self.name, self.dimensions, **options, **more)

    def restored(self, state: State, names: Mapping[str, str | None] | None = None) -> Head:
        """Return the head that `state` was taken from; `names` as for `empty`.

        Raises:
            HeadError: The state is damaged or of other dimensions.
        """
        if self.old is not None:
            return self._continued(KeptHead.restore(self.dimensions, state), names)
        head = head_class(self.name).restore(self.dimensions, state)
        if self.trainer is not None:
            head.use(self.trainer)  # type: ignore[attr-defined]  # only softmax has a trainer
            head.source = self.source  # type: ignore[attr-defined]
        return head

    def _continued(self, head: KeptHead, names: Mapping[str, str | None] | None) -> KeptHead:
        assert self.old is not None  # noqa: S101 - the callers check it
        head.continue_from(self.old).rename_old(names or {})
        return head

    def check_room(self, known: Sequence[str], labels: Sequence[str]) -> None:
        """Raise `LabelError` when the head can have fewer labels, or has too few columns in the model file."""
        if self.name in HEADS:
            head_class(self.name).check_room(known, labels)
        if self.trainer is None:
            return
        wanted = set(known) | set(labels)
        if len(wanted) > self.trainer.capacity:
            raise LabelError(
                f"the softmax head of this model file has room for {self.trainer.capacity} labels, but there would be"
                f" {len(wanted)}; use --head exact, or make room with: edgetl export MODEL --head exact --out NEW"
            )
