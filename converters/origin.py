"""The origin and family of a backbone, for the manifest."""

from __future__ import annotations

import re

from .source import TrainedModel

PRETRAINED, FINE_TUNED, TRAINED_HERE = "pretrained", "fine-tuned", "trained here"
_KERAS = re.compile(r"keras:(\w+)")  # a network of keras.applications, as backbones are named
# "50" of ResNet50 and "B0" of EfficientNetB0, but not "2" of MobileNetV2
_SIZE = re.compile(r"(?<![Vv])B?\d+$")


def origin_of(model: TrainedModel) -> str:
    """Return the origin of a model's backbone, one of `device.model.manifest.ORIGINS`; empty when it is unknown."""
    if model.tuned and model.info.get("origin") != TRAINED_HERE:
        return FINE_TUNED
    # finetune keeps its settings
    known = model.info.get("origin", PRETRAINED if "settings" in model.info else "")
    return known if isinstance(known, str) else ""


def family_of(model: TrainedModel) -> str:
    """Return the family of a backbone's architecture by its name; empty when its origin is unknown.

    Example:
        >>> from types import SimpleNamespace as Model
        >>> family_of(Model(backbone_name="keras:ResNet50", tuned=False, info={"origin": "pretrained"}))
        'ResNet'
    """
    if not origin_of(model):
        return ""
    keras = _KERAS.match(model.backbone_name)
    return _SIZE.sub("", keras[1] if keras else model.backbone_name).removesuffix("-")
