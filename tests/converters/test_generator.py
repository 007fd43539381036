"""The signature generate: only models with a generator can have it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from converters.errors import ConversionError
from converters.generator import require_generator


def test_a_model_without_generator_is_refused() -> None:
    """The message names the backbone and the command that trains a GAN."""
    model: Any = SimpleNamespace(generator=None, backbone_name="cnn-28")
    with pytest.raises(ConversionError, match=r"no generator, because cnn-28 .* --backbone gan-28"):
        require_generator(model)
    require_generator(SimpleNamespace(generator=object(), backbone_name="gan-28"))  # type: ignore[arg-type]
