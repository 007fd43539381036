"""edgetl: on-device transfer learning, from a folder of photos to a device that learns.

The names below are imported when first used, so that ``import edgetl`` costs nothing and works
where neither TensorFlow nor a TFLite runtime is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from device.cameras import Frame, open_camera
    from device.heads import Prediction
    from device.learner import Learner
    from device.learner.reembedding import reembed
    from edgetl.training import finetune

__version__ = "0.1.0"

__all__ = ["Frame", "Learner", "Prediction", "__version__", "finetune", "open_camera", "reembed"]

_HOMES = {
    "Frame": "device.cameras",
    "Learner": "device.learner",
    "Prediction": "device.heads",
    "finetune": "edgetl.training",
    "open_camera": "device.cameras",
    "reembed": "device.learner.reembedding",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgetl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
