"""A backbone small enough to be trained in a test."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let finetune load the tiny backbone, whatever the name."""
    import keras

    from edgetl.training import finetuning, run

    def load(_name: str, **_options: Any) -> tuple[Any, Any]:
        layers = tiny.backbone()
        return keras.Model(layers.inputs[0], layers.outputs[0]), tiny.PREPROCESSING

    monkeypatch.setattr(run, "load_backbone", load)
    monkeypatch.setattr(finetuning, "check_backbone", lambda *_: None)
