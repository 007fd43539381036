"""The manifest of a model file: its content, the preprocessing of its input, and the checksums of its parts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from ..errors import ModelFileError
from ..labels import DIRECTION_CONTROLS
from ..views import ONE, check_views
from .codes import MAPS
from .preprocess import REQUIRED, Preprocessing

FORMAT_VERSION = 2
WITH_NEGATIVES = 3  # of files with negatives or background, which earlier versions of edgetl would leave out
ORIGINS = ("pretrained", "fine-tuned", "trained here", "surgery of FILE")
_READABLE = (1, 2, WITH_NEGATIVES)
_RENAMED = {"quantisation": "quantization"}  # fields of version 1 -> their names since version 2
_SINCE_1 = frozenset(
    {
        "backbone", "preprocessing", "dimensions", "capacity", "embedding_map", "quantization", "parity", "model_sha256",
        "model_bytes", "versions", "head_weights", "extra", "format_version",
    }
)  # fmt: skip
_SINCE_2 = frozenset({"members"})

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Size = Annotated[int, Meta(ge=0, le=2**40)]  # bytes
# shown to people: no control character may reach their terminal
Line = Annotated[str, Meta(max_length=200, pattern=f"^[^\\x00-\\x1f\\x7f-\\x9f{DIRECTION_CONTROLS}]*$")]
Share = Annotated[float, Meta(ge=0, le=1)]


class HeldOut(TypedDict):
    """The accuracy on photos that neither tuned the backbone nor taught the head.

    Attributes:
        accuracy: Share of the photos that were predicted correctly, 0 to 1.
        correct: Number of photos that were predicted correctly.
        photos: Number of photos.
        how: How they were held out, in words.
        labels: Label -> number of its photos predicted correctly, and number of its photos.
        views: Number of independent views among the photos, where some look alike; absent in older files.
    """

    accuracy: Share
    correct: Size
    photos: Size
    how: Line
    labels: dict[Line, tuple[Size, Size]]
    views: NotRequired[Annotated[float, Meta(ge=0)]]


@dataclass(frozen=True)
class Part:
    """A member of the archive that the manifest promises.

    Attributes:
        sha256: Checksum of its content, in hexadecimal.
        bytes: Length of its content.
    """

    sha256: Sha256
    bytes: Size


@dataclass(frozen=True)
class Manifest:
    """The content of ``edgetl.json``.

    Attributes:
        backbone: Name of the frozen feature extractor, such as ``efficientnet-lite0``.
        preprocessing: How a frame becomes the backbone's input.
        dimensions: D, numbers in an embedding.
        capacity: C, columns of the head in the file; unused ones are masked.
        embedding_map: Name of the map that heads apply to an embedding, see `device.model.codes`.
        quantization: ``int8``, ``int16x8``, ``float16``, ``dynamic`` or ``none``.
        parity: Figures of the comparison with the source model at conversion.
        model_sha256: Checksum of the model part, in hexadecimal; filled in on writing.
        model_bytes: Length of the model part; filled in on writing.
        members: Name of each other member of the archive -> its checksum and length; filled in on writing.
            Version 1 has none.
        versions: Name -> version of the software that made the file.
        head_weights: Name of each head variable -> (byte offset, byte length) of its initial value in
            the model part, so that a device can export without a flatbuffer library.
        extra: Anything else: training metrics, license, notes.
        format_version: Version of the format it was read from; writing uses `FORMAT_VERSION`, or `WITH_NEGATIVES`.
        family: Family of the backbone's architecture, such as ``efficientnet-lite``; empty when unknown.
        origin: Where the backbone's weights come from, see `ORIGINS`; empty when unknown.
        held_out: Accuracy on photos that were held out, or None.
        kept_labels: Labels of the classifier that the model had before: the head's weights in the file answer for them,
            without samples.
        views: Views of a frame that the memory was embedded from, and that a device uses: ``one`` or ``flip``, see
            `device.views`.
    """

    backbone: Line
    preprocessing: Preprocessing
    dimensions: Annotated[int, Meta(ge=1, le=65536)]
    capacity: Annotated[int, Meta(ge=1, le=4096)]
    embedding_map: str = "signed_sqrt_l2"
    quantization: Line = "none"
    parity: dict[str, Any] = field(default_factory=dict)
    model_sha256: str = ""
    model_bytes: Size = 0
    members: dict[Line, Part] = field(default_factory=dict)
    versions: dict[Line, Line] = field(default_factory=dict)
    head_weights: dict[Line, tuple[Size, Size]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    family: Line = ""
    origin: Line = ""
    held_out: HeldOut | None = None
    kept_labels: tuple[Line, ...] = ()
    views: str = ONE

    def __repr__(self) -> str:
        size = f"{self.dimensions} dimensions, capacity {self.capacity}"
        return (
            f"<Manifest {self.backbone}: {self.quantization}, {size}, format version {self.format_version}>"
        )

    def __post_init__(self) -> None:
        if self.embedding_map not in MAPS:
            raise ModelFileError(
                f"the embedding map must be one of {', '.join(MAPS)}, got {self.embedding_map!r}"
            )
        check_views(self.views)
        if self.held_out is not None and self.held_out["correct"] > self.held_out["photos"]:
            raise ModelFileError(
                f"held_out has {self.held_out['correct']} correct photos of {self.held_out['photos']}"
            )

    def to_json(self) -> str:
        """Return the manifest as JSON with sorted keys.

        Raises:
            ModelFileError: A value is NaN or infinite, or has no JSON form.
        """
        try:
            return json.dumps(self.described(), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise ModelFileError(f"the manifest cannot be written as JSON: {error}") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what `to_json` wrote; unknown fields are ignored, so that minor additions do not break readers.

        Raises:
            ModelFileError: The text is no JSON, the version is unknown, or a field is missing or wrong. The
                message names the field.
        """
        try:
            fields = msgspec.json.decode(text, type=dict[str, Any])
            version = msgspec.convert(fields.get("format_version"), int)
            _check_version(version)
            fields = {_RENAMED.get(name, name): value for name, value in fields.items()}
            _check_complete(fields, version)
            return msgspec.convert(fields, cls)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(
                f"the manifest edgetl.json is damaged or incomplete: {_readable(error)}; copy or convert the file again"
            ) from error

    def described(self) -> dict[str, Any]:
        """Return the fields as a JSON-serializable dict."""
        # msgspec leaves fields out that were not read, such as those that version 1 lacks; a copy has them all
        fields: dict[str, Any] = msgspec.to_builtins(replace(self, preprocessing=replace(self.preprocessing)))
        return fields

    def sealed(
        self, model: str, length: int, members: dict[str, Part], version: int = FORMAT_VERSION
    ) -> Manifest:
        """Return the manifest with the checksums of all other parts filled in.

        Args:
            model: sha256 of the model part.
            length: Bytes of the model part.
            members: Checksum and length of each member except the manifest.
            version: Version of the format.
        """
        return replace(self, model_sha256=model, model_bytes=length, members=members, format_version=version)


def _check_version(version: int) -> None:
    if version not in _READABLE:
        raise ModelFileError(
            f"the model file has format version {version}, this edgetl reads "
            f"{', '.join(map(str, _READABLE))}; update edgetl or convert the model again"
        )


def _check_complete(fields: dict[str, Any], version: int) -> None:
    """Refuse a missing field: a default in its place could change the answers."""
    missing = (_SINCE_1 if version == 1 else _SINCE_1 | _SINCE_2) - fields.keys()
    inner = fields.get("preprocessing")
    if isinstance(inner, dict):
        missing |= {f"preprocessing.{name}" for name in REQUIRED - inner.keys()}
    if missing:
        raise ModelFileError(
            f"the manifest edgetl.json is damaged or incomplete: it lacks {', '.join(sorted(missing))}; "
            "copy or convert the file again"
        )


def _readable(error: Exception) -> str:
    """Return msgspec's message with the field's path in place of its ``$.``, which means the whole document."""
    return str(error).replace("`$.", "`")
