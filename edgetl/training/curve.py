"""The training curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def draw_curve(history: Sequence[dict[str, float]], path: Path, kept: int = 0) -> None:
    """Draw loss and accuracy over the epochs of both phases as a PNG.

    Args:
        history: One entry per epoch, as in ``metrics.json``.
        path: The PNG file.
        kept: The epoch of the last blocks or of all layers that was kept; 0 when the backbone is unchanged.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for one, name in zip(axes, ("loss", "accuracy"), strict=True):
        _lines(one, history, name)
        _mark_blocks(one, history, kept)
        one.legend()
    figure.savefig(path, dpi=110, format="png", metadata={"Software": None})


def _lines(axes: Any, history: Sequence[dict[str, float]], name: str) -> None:
    epochs = np.arange(1, len(history) + 1)
    for key, label in ((name, "training"), (f"validation_{name}", "validation")):
        values = [entry.get(key, np.nan) for entry in history]
        if not np.isnan(values).all():
            axes.plot(epochs, values, label=label)
    axes.set(xlabel="epoch", title=name)
    axes.grid(alpha=0.3)


def _mark_blocks(axes: Any, history: Sequence[dict[str, float]], kept: int) -> None:
    """Shade the epochs that trained the backbone and mark the one that was kept."""
    head = sum(entry["phase"] == 1 for entry in history)
    if head == len(history):
        return
    name = {3: "all layers", 4: "GAN"}.get(int(history[-1]["phase"]), "last blocks")
    axes.axvspan(head + 0.5, len(history) + 0.5, color="gray", alpha=0.12, label=name)
    if kept:
        axes.axvline(head + kept, color="green", linewidth=0.9, linestyle=":", label="kept")
