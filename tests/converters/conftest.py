"""Tiny models for the conversion tests; each conversion is made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import tiny

pytest.importorskip("tensorflow", reason="conversion needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="conversion needs LiteRT")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """Synthetic training photos with labels, on disk."""
    return tiny.write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def source(photos: list[tuple[Path, str]]) -> Any:
    """A trained model with three labels, without a head."""
    return tiny.trained_model(photos)


@pytest.fixture(scope="session", params=["int8", "int16x8", "float16", "dynamic", "none"])
def converted(request: pytest.FixtureRequest, source: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report of a conversion with each quantization."""
    from converters import convert

    out = tmp_path_factory.mktemp("converted") / f"{request.param}.tflite"
    return convert(source, out, quantize=request.param, capacity=tiny.CAPACITY)
