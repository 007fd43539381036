"""The picture of how training went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def draw_curve(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw loss and accuracy over the epochs of both phases as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    _lines(axes[0], history, "loss", "loss")
    _lines(axes[1], history, "accuracy", "accuracy")
    figure.savefig(path, dpi=110, format="png", metadata={"Software": None})


def _lines(axes: Any, history: Sequence[dict[str, float]], name: str, title: str) -> None:
    epochs = np.arange(1, len(history) + 1)
    for key, label in ((name, "training"), (f"validation_{name}", "validation")):
        values = [entry.get(key, np.nan) for entry in history]
        if not np.isnan(values).all():
            axes.plot(epochs, values, label=label)
    head = sum(entry["phase"] == 1 for entry in history)
    if 0 < head < len(history):
        axes.axvline(head + 0.5, color="grey", linewidth=0.8, linestyle="--")
        axes.annotate(
            " last blocks", (head + 0.5, 1), xycoords=("data", "axes fraction"), va="top", fontsize=8
        )
    axes.set(xlabel="epoch", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
