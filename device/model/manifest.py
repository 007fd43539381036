"""The manifest of a model file: what it holds and how its input is made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelFileError
from .codes import MAPS
from .preprocess import Preprocessing

FORMAT_VERSION = 1
_MAX_DIMENSIONS = 65536
_MAX_CAPACITY = 4096


@dataclass(frozen=True)
class Manifest:
    """What ``edgetl.json`` says.

    Attributes:
        backbone: Name of the frozen feature extractor, such as ``efficientnet-lite0``.
        preprocessing: How a frame becomes the backbone's input.
        dimensions: D, numbers in an embedding.
        capacity: C, columns of the head in the file; unused ones are masked.
        embedding_map: What heads apply to an embedding, see `device.model.codes`.
        quantisation: ``int8``, ``float16``, ``dynamic`` or ``none``.
        parity: Figures of the comparison with the source model, made at conversion.
        model_sha256: Of the model part, in hexadecimal; filled in on writing.
        model_bytes: Length of the model part; filled in on writing.
        versions: Of the software it was made with.
        head_weights: Name of each head variable -> (byte offset, byte length) of its initial value in
            the model part, so that a device can export without a flatbuffer library.
        extra: Free: training metrics, licence, notes.
        format_version: Version of this format.
    """

    backbone: str
    preprocessing: Preprocessing
    dimensions: int
    capacity: int
    embedding_map: str = "signed_sqrt_l2"
    quantisation: str = "none"
    parity: dict[str, Any] = field(default_factory=dict)
    model_sha256: str = ""
    model_bytes: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    head_weights: dict[str, tuple[int, int]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ModelFileError(
                f"the model file has format version {self.format_version}, this edgetl reads {FORMAT_VERSION}; "
                "update edgetl or convert the model again"
            )
        if not 1 <= self.dimensions <= _MAX_DIMENSIONS or not 1 <= self.capacity <= _MAX_CAPACITY:
            raise ModelFileError(
                f"an embedding has 1 to {_MAX_DIMENSIONS} numbers and a head 1 to {_MAX_CAPACITY} columns, "
                f"got {self.dimensions} and {self.capacity}"
            )
        if self.embedding_map not in MAPS:
            raise ModelFileError(
                f"the embedding map must be one of {', '.join(MAPS)}, got {self.embedding_map!r}"
            )

    def to_json(self) -> str:
        """Write the manifest as JSON with sorted keys."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields["preprocessing"] = self.preprocessing.to_dict()
        fields["head_weights"] = {name: list(place) for name, place in self.head_weights.items()}
        return json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what `to_json` wrote; unknown fields are left out, so that minor additions do not break readers.

        Raises:
            ModelFileError: It is no JSON, or a field is missing, wrong, or of an unknown version.
        """
        try:
            fields = json.loads(text)
            known = {name: fields[name] for name in cls.__dataclass_fields__ if name in fields}
            known["preprocessing"] = Preprocessing.from_dict(fields["preprocessing"])
            known["head_weights"] = {
                str(name): (int(place[0]), int(place[1]))
                for name, place in fields.get("head_weights", {}).items()
            }
            known["dimensions"], known["capacity"] = int(fields["dimensions"]), int(fields["capacity"])
            return cls(**known)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"the manifest edgetl.json is damaged or incomplete: {error!r}") from error
