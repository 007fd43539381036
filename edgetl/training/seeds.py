"""The same training with several seeds: mean and spread of the accuracy."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.files import atomic_output, storage_error
from device.progress import Progress

from ..photos import TEST, VALIDATION
from .settings import Settings
from .workfolder import remove_folder

if TYPE_CHECKING:
    from .run import Outcome

TrainOne = Callable[[Path, Settings, Progress], "Outcome"]
_FIGURES = "figures.json"


def seeds_folder(out: Path, worker: int = 0) -> Path:
    """Return the folder of intermediate results beside the output folder, one per worker that trains."""
    return out.parent / f".{out.name}.seeds{worker or ''}"


def train_others(
    folder: Path,
    settings: Settings,
    seeds: int,
    train_one: TrainOne,
    *,
    identity: Mapping[str, Any],
    restart: bool,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train with each seed after the first, and return the figures of each; the models are not kept.

    Which model is kept must not depend on the figures: each seed has held-out photos of its own, so that the best figure
    is that of the luckiest split.

    Args:
        folder: Keeps the figures, so that an interrupted call continues.
        settings: The settings of the first seed.
        seeds: Number of seeds, with the first.
        train_one: Trains into a folder.
        identity: What must be the same for an interrupted call to be continued, besides the seeds.
        restart: Start again.
        progress: Called as the runs advance; tasks begin with the number of the seed.
    """
    if restart:
        remove_folder(folder)
    wanted = json.loads(json.dumps(dict(identity)))
    return [
        _train_seed(
            folder / str(seed),
            replace(settings, seed=seed),
            train_one,
            wanted,
            _name(progress, number, seeds),
        )
        for number, seed in enumerate(range(settings.seed + 1, settings.seed + seeds), 2)
    ]


def describe_seeds(first: dict[str, Any], others: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return mean and standard deviation over the seeds of the accuracy on each part, or None for a single seed.

    Args:
        first: Accuracy per part of the model that is kept; None for a part without photos.
        others: The same of the other seeds.
    """
    if not others:
        return None
    found: dict[str, Any] = {"count": 1 + len(others)}
    for part in (VALIDATION, TEST):
        accuracies = [figures[part] for figures in (first, *others) if figures[part] is not None]
        found[part] = _spread(accuracies) if len(accuracies) > 1 else None
    return found


def _spread(accuracies: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": statistics.mean(accuracies),
        "deviation": statistics.stdev(accuracies),
        "accuracies": list(accuracies),
    }


def _name(progress: Progress, number: int, seeds: int) -> Progress:
    return lambda task, done, total: progress(f"seed {number} of {seeds}: {task}", done, total)


def _train_seed(
    folder: Path, settings: Settings, train_one: TrainOne, identity: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Train with one seed, or read its figures where an earlier call had the same settings and photos."""
    record = folder / _FIGURES
    if record.is_file():
        kept = json.loads(record.read_text())
        if kept["identity"] == identity:
            return dict(kept["figures"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    metrics = train_one(folder / "model", settings, progress).metrics
    if metrics["interrupted"]:
        raise KeyboardInterrupt
    figures = {part: metrics[part] and metrics[part]["accuracy"] for part in (VALIDATION, TEST)}
    remove_folder(folder / "model")
    with atomic_output(record, force=True) as temporary:
        temporary.write_text(json.dumps({"identity": identity, "figures": figures}))
    return figures
