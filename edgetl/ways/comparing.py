"""`compare`: train a model on the same photos from scratch, frozen, with its last blocks and with all layers."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.source import TRAINING_FILE, is_trained_model
from device.files import atomic_output
from device.heads.intervals import independent
from device.progress import Progress, no_progress

from ..backbones.own import is_own_model
from ..backbones.registry import require_keras
from ..backbones.small import SMALL
from ..errors import TrainingError
from ..photos import PhotoSet
from ..training.finetuning import identify, read_photos, train
from ..training.optimizers import BLOCKS_RATE, RATES, SCRATCH_RATE
from ..training.planning import ALL as ALL_LAYERS
from ..training.planning import BLOCKS as LAST_BLOCKS
from ..training.planning import HEAD, TooLittleTimeError
from ..training.replicas import find_replicas
from ..training.run import METRICS_FILE
from ..training.settings import Settings, augment_as
from ..training.workfolder import WorkFolder, check_output
from .judging import judging_part, predict
from .page import render
from .picture import standalone_picture
from .results import ALL, BLOCKS, FROZEN, NAMES, SCRATCH, SIMPLEST, WayComparison, WayResult

RESULT_FILE, PAGE_FILE, PICTURE_FILE = "comparison.json", "comparison.html", "comparison.svg"
DEFAULT_MINUTES = 60.0
_LEAST_MINUTES = 0.01  # that settings accept, where the number of epochs is set


def compare(
    photos: str | Path,
    out: str | Path,
    *,
    backbone: str | Path = "efficientnet-lite0",
    weights: str | Path | None = None,
    embedding_layer: str | None = None,
    input_range: str | None = None,
    size: str | int | None = None,
    split: str | Path | None = None,
    resize: Literal["crop", "squash", "pad"] = "crop",
    minutes: float | None = None,
    epochs: int | None = None,
    optimizer: Literal["adamw", "sgd", "lion"] = "adamw",
    mixup: float = 0.0,
    batch: int = 32,
    validation: float | None = None,
    patience: int | None = None,
    class_weights: bool = True,
    augment: Literal["none", "light", "strong"] | None = None,
    copies: int = 3,
    flip: bool = True,
    vertical_flip: bool = False,
    seed: int = 0,
    restart: bool = False,
    skip_empty: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> WayComparison:
    """Train a model on the same photos in four ways, and recommend one.

    The ways are: the backbone frozen, its last blocks trained, all its layers trained, and all layers trained from
    random weights. Each is converted to an int8 model file, which the same photos judge with the exact head, as on a
    device: those of the test part, or else the held-out ones. `out` receives a folder and a model file per way, and the
    comparison as JSON, as a web page and as a picture.

    Ctrl-C ends the comparison with the ways that are done; called again with the same arguments, it continues.

    Args:
        photos: A folder with one folder of photos per label, or with ``train``, ``val`` and ``test`` folders.
        out: The folder to write.
        backbone: A pretrained backbone, as for `finetune`.
        weights: A file of weights for the backbone, in place of the published ones.
        embedding_layer: Layer of a Keras model of yours whose output is the embedding.
        input_range: Pixel values that it expects.
        size: Its input size where it has none.
        split: A CSV file with lines ``path,part``.
        resize: How a photo is fitted to the input of the backbone.
        minutes: Time for everything; by default 60. What frozen backbone, last blocks and conversions leave is divided
            evenly between all layers and training from scratch.
        epochs: Number of epochs of all layers and from scratch, in place of as many as fit into `minutes`.
        optimizer: Optimizer of the backbone's layers.
        mixup: How much photos are blended when all layers are trained.
        batch: Number of photos per step.
        validation: Fraction of each label that is held out for validation; 0.2 by default.
        patience: Number of epochs without improvement after which training stops; see `finetune`.
        class_weights: Weight all labels equally, whatever their number of photos.
        augment: Strength of the augmentation.
        copies: Number of augmented copies of each training photo, for the head and the last blocks.
        flip: Mirror left to right at random.
        vertical_flip: Mirror top to bottom at random.
        seed: Seed for splitting, shuffling and augmentation.
        restart: Start again instead of continuing an interrupted comparison.
        skip_empty: Skip labels without a readable photo instead of raising.
        force: Replace an existing comparison.
        progress: Called as the comparison advances.

    Raises:
        TrainingError: The backbone has no pretrained weights, or no photo is left to judge.
        EdgetlError: As for `finetune` and `convert`.

    Example:
        >>> import edgetl
        >>> edgetl.compare("photos", "comparison", minutes=40).recommended  # doctest: +SKIP
        'all'
    """
    if backbone in SMALL:
        raise TrainingError(
            f"{backbone} has no pretrained weights, so there is nothing to compare: it is always trained from scratch"
        )
    augmentation, crops = augment_as(
        augment, copies=copies, flip=flip, vertical_flip=vertical_flip, crop=None, color=None
    )
    rate = RATES.get(optimizer, 1.0)
    settings = Settings(
        backbone=str(Path(backbone).absolute() if is_own_model(backbone) else backbone),
        embedding_layer=embedding_layer,
        input_range=input_range,
        size=size,
        weights=Path(weights).absolute() if weights else None,
        resize=resize,
        layers=HEAD,
        fallback=False,
        minutes=DEFAULT_MINUTES if minutes is None else minutes,
        whole_epochs=epochs or None,
        rate=BLOCKS_RATE * rate,
        whole_rate=rate,
        optimizer=optimizer,
        mixup=mixup,
        batch=batch,
        validation=0.2 if validation is None else validation,
        patience=patience,
        class_weights=class_weights,
        seed=seed,
        augmentation=augmentation,
        crops=crops,
    )
    out = Path(out).absolute()
    check_output(out, force, content="comparison", recognize=is_comparison)
    started = time.perf_counter()
    photo_set = read_photos(photos, settings, split=split, skip_empty=skip_empty, progress=progress)
    if not judging_part(photo_set):
        raise TrainingError(
            "no photo is left to judge the ways: hold some out with --validation, or add a test folder"
        )
    require_keras()
    if find_replicas().workers > 1:
        raise TrainingError("a comparison runs in one process; remove TF_CONFIG from the environment")
    with WorkFolder(out).open({"compare": True} | identify(photo_set, settings), restart) as work:
        return _Comparison(photo_set, settings, work, progress, started).run()


def is_comparison(folder: Path) -> bool:
    """Return whether `folder` contains a finished comparison."""
    return (folder / RESULT_FILE).is_file()


@dataclass
class _Comparison:
    """One comparison; what is done of it is kept in the work folder."""

    photo_set: PhotoSet
    settings: Settings
    work: WorkFolder
    progress: Progress
    started: float
    warnings: list[str] = field(default_factory=list)

    def run(self) -> WayComparison:
        self.warnings += self.photo_set.warnings
        results: dict[str, WayResult] = {}
        partial = False
        try:
            for way in SIMPLEST:
                results[way], interrupted = self._way(way)
                if interrupted:
                    partial = True
                    break
        except KeyboardInterrupt:
            if not results:
                raise
            partial = True
        return self._conclude(results, partial)

    def _way(self, way: str) -> tuple[WayResult, bool]:
        """Train, convert and judge a way, or read what an earlier run found; and whether Ctrl-C cut it short."""
        kept = self.work.path / f"{way}.json"
        if kept.is_file():
            return WayResult(**_with_tuples(json.loads(kept.read_text()))), False
        share = self._share(way)
        if share <= 0 and not self.settings.whole_epochs:
            result, interrupted = self._untrained(way, f"no time was left; {self._advice()}"), False
        else:
            try:
                result, interrupted = self._train(way, share)
            except TooLittleTimeError as error:
                result, interrupted = self._untrained(way, str(error)), False
        with atomic_output(kept, force=True) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(result)))
        return result, interrupted

    def _train(self, way: str, share: float) -> tuple[WayResult, bool]:
        if not is_trained_model(self.work.path / way):  # else only conversion and judgment were interrupted
            self._fit(way, share)
        folder = self.work.path / way
        metrics = json.loads((folder / METRICS_FILE).read_text())
        tuned = bool(json.loads((folder / TRAINING_FILE).read_text())["tuned"])
        file = self.work.path / f"{way}.tflite"
        self._convert(way, file)
        part = judging_part(self.photo_set)
        predicted = predict(file, self.photo_set.photos, part, tuned, self._progress(way))
        photos = [
            (photo, answer)
            for photo, answer in zip(self.photo_set.part(part), predicted, strict=True)
            if answer is not None
        ]
        epochs = metrics["epochs"]
        result = WayResult(
            way,
            tuple(photo.label for photo, _ in photos),
            tuple(str(answer) for _, answer in photos),
            independent(np.array([photo.view for photo, _ in photos], np.int64)),
            self._spent()[way],
            file.stat().st_size,
            epochs["blocks"] + epochs["all"],
            _note(way, metrics),
        )
        return result, bool(metrics["interrupted"])

    def _fit(self, way: str, share: float) -> None:
        before, earlier = time.perf_counter(), self._spent().get(way, 0.0)
        try:
            settings = self._settings(way, share)
            train(self.photo_set, self.work.path / way, settings, progress=self._progress(way))
        finally:
            self._remember("spent", way, earlier + time.perf_counter() - before)

    def _convert(self, way: str, file: Path) -> None:
        from ..conversion import convert

        before = time.perf_counter()
        convert(self.work.path / way, file, force=True, progress=self._progress(way))
        self._remember("convert", way, time.perf_counter() - before)

    def _settings(self, way: str, share: float) -> Settings:
        if way == FROZEN:
            return self.settings
        if way == BLOCKS:
            return dataclasses.replace(self.settings, layers=LAST_BLOCKS)
        whole = dataclasses.replace(self.settings, layers=ALL_LAYERS, minutes=max(_LEAST_MINUTES, share))
        if way == ALL:
            return whole
        return dataclasses.replace(whole, pretrained=False, whole_rate=SCRATCH_RATE * whole.whole_rate)

    def _share(self, way: str) -> float:
        """Return the minutes of a way; they stay the same when an interrupted comparison continues."""
        if way not in (ALL, SCRATCH):
            return self.settings.minutes
        shares = self._state().get("shares", {})
        if way not in shares:
            open_ways = 1 if way == SCRATCH else 2
            conversion = max(self._state().get("convert", {"": 0.0}).values())
            left = 60 * self.settings.minutes - self._elapsed() - open_ways * conversion
            self._remember("shares", way, round(max(0.0, left / 60 / open_ways), 2))
        return float(self._state()["shares"][way])

    def _elapsed(self) -> float:
        """Return the seconds since the start, or what the finished ways took where an interrupted comparison continues."""
        state = self._state()
        done = sum(sum(state.get(what, {}).values()) for what in ("spent", "convert"))
        return max(time.perf_counter() - self.started, done)

    def _advice(self) -> str:
        return f"--minutes {2 * self.settings.minutes:.0f} grants more"

    def _untrained(self, way: str, note: str) -> WayResult:
        return WayResult(way, (), note=f"not trained: {note}")

    def _progress(self, way: str) -> Progress:
        return lambda task, done, total: self.progress(f"{NAMES[way]}: {task}", done, total)

    def _conclude(self, results: dict[str, WayResult], partial: bool) -> WayComparison:
        missing = [self._untrained(way, "interrupted") for way in SIMPLEST if way not in results]
        ordered = {way.way: way for way in (*results.values(), *missing)}
        comparison = WayComparison(
            self.work.out,
            judging_part(self.photo_set),
            {
                part: len(self.photo_set.part(part))
                for part in sorted({one.part for one in self.photo_set.photos})
            },
            tuple(ordered[way] for way in NAMES),
            partial,
            tuple(self.warnings),
        )
        if not partial:
            self._publish(comparison)
        return comparison

    def _publish(self, comparison: WayComparison) -> None:
        built = self.work.path / "comparison"
        built.mkdir(exist_ok=True)
        for way in comparison.trained:
            for name in (way.way, f"{way.way}.tflite"):
                if (self.work.path / name).exists():
                    (self.work.path / name).replace(built / name)
        (built / PICTURE_FILE).write_text(standalone_picture(comparison), encoding="utf-8")
        (built / PAGE_FILE).write_text(render(comparison, self.photo_set.root.name), encoding="utf-8")
        text = json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        (built / RESULT_FILE).write_text(text, encoding="utf-8")
        self.work.finish(built)

    def _spent(self) -> dict[str, float]:
        spent: dict[str, float] = self._state().get("spent", {})
        return spent

    def _state(self) -> dict[str, Any]:
        path = self.work.path / "state.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def _remember(self, what: str, way: str, value: float) -> None:
        state = self._state()
        state[what] = {**state.get(what, {}), way: value}
        with atomic_output(self.work.path / "state.json", force=True) as temporary:
            temporary.write_text(json.dumps(state))


def _note(way: str, metrics: dict[str, Any]) -> str:
    epochs = metrics["epochs"]
    if metrics["interrupted"]:
        return f"Ctrl-C ended the training after epoch {epochs['all']}"
    if way == BLOCKS and not epochs["blocks_kept"]:
        return "no epoch was better than the frozen backbone, which was kept"
    return ""


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
