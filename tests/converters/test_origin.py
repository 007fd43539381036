"""The manifest names where a backbone comes from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from converters.origin import family_of, origin_of


@pytest.mark.parametrize(
    ("name", "tuned", "info", "origin", "family"),
    [
        ("efficientnet-lite0", False, {"origin": "pretrained"}, "pretrained", "efficientnet-lite"),
        ("efficientnet-lite2", True, {"settings": {}}, "fine-tuned", "efficientnet-lite"),
        ("efficientnet-lite0", False, {"settings": {}}, "pretrained", "efficientnet-lite"),
        ("keras:MobileNetV2=weights.h5", False, {"origin": "pretrained"}, "pretrained", "MobileNetV2"),
        ("keras:EfficientNetB0", True, {}, "fine-tuned", "EfficientNet"),
        ("my own 7", False, {}, "", ""),
        ("my own 7", False, {"origin": 7}, "", ""),
    ],
)
def test_origin_and_family_are_named_where_they_are_known(
    name: str, tuned: bool, info: dict[str, object], origin: str, family: str
) -> None:
    """They are empty where they are unknown."""
    model = SimpleNamespace(backbone_name=name, tuned=tuned, info=info)
    assert (origin_of(model), family_of(model)) == (origin, family)  # type: ignore[arg-type]
