"""A process that trains together with others, for test_replicas.py.

Usage: ``python -m tests.edgetl.training.replica_process mirrored|worker FOLDER``
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgetl.training import finetune, run
from edgetl.training.comparison import Comparison
from edgetl.training.replicas import Replicas, find_replicas
from edgetl.training.whole import WholeTraining
from tests import tiny
from tests.edgetl.training.test_whole import RECIPE, make_backbone, make_pipeline

SETTINGS: dict[str, Any] = {
    "resize": "squash", "layers": "all", "epochs": 2, "head_epochs": 2, "batch": 7, "mixup": 0.2,
}  # fmt: skip


def train_mirrored(folder: Path) -> None:
    """Train on two devices of this process and write the weights."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    replicas = Replicas(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    assert replicas.count == 2
    phase = WholeTraining(make_backbone(), np.ones(3), RECIPE, replicas=replicas)
    phase.run(make_pipeline(folder / "mirrored", batch=7), None)
    np.save(folder / "mirrored.npy", phase._vector())


def keep_tuned(assign: Callable[[Any, str, Any], None]) -> None:
    """Keep the tuned backbone: on these photos the unchanged one is perfect already."""
    assign(Comparison, "keeps_tuned", property(lambda _: True))


def train_as_worker(folder: Path) -> None:
    """Fine-tune as one of the workers of TF_CONFIG."""

    def load(_name: str, **_options: Any) -> tuple[Any, Any]:
        layers = tiny.backbone()
        return keras.Model(layers.inputs[0], layers.outputs[0]), tiny.PREPROCESSING

    run.load_backbone = load  # type: ignore[assignment]
    keep_tuned(setattr)
    outcome = finetune(folder / "photos", folder / "together", **SETTINGS)
    assert find_replicas().workers == 2
    print(*outcome.warnings, sep="\n")


if __name__ == "__main__":
    {"mirrored": train_mirrored, "worker": train_as_worker}[sys.argv[1]](Path(sys.argv[2]))
