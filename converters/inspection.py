"""What a .tflite is: its signatures, ops and sizes, and whether edgetl can teach it."""

from __future__ import annotations

from device.modelfile import ModelFile


def sizes(model: ModelFile) -> dict[str, int]:
    """Give bytes of ``total``, ``backbone``, ``head`` (its variables' initial values) and ``memory``."""
    head = sum(length for _, length in model.manifest.head_weights.values())
    return {
        "total": model.path.stat().st_size,
        "backbone": model.manifest.model_bytes - head,
        "head": head,
        "memory": model.taught_bytes,
    }
