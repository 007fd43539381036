"""Train all layers, then keep the tuned backbone or the frozen one, whichever is better on held-out photos."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.files import atomic_output
from device.heads import create_head
from device.model.codes import encode
from device.model.preprocess import Preprocessing
from device.progress import Progress

from ..errors import TrainingError
from ..photos import TRAINING, VALIDATION, Photo, PhotoSet
from .blending import SHARES, Weights, blend_weights, compile_blends
from .comparison import Comparison, Judgment, choose_share, judge_backbone
from .crops import Crops
from .features import Features, extract
from .pipeline import Pipeline
from .planning import ALL, LAYERS, Plan, may_train_all, plan_by_time
from .preserving import make_penalty
from .replicas import Replicas
from .settings import PATIENCE, Augmentation, Settings
from .trunk import Trunk, compile_trunk
from .whole import Recipe, WholeTraining
from .window import WindowJudge
from .workfolder import WorkFolder, remove_folder

_EMBEDDINGS, _TUNED, _REDUCED, _WINDOW = "embeddings", "tuned", "reduced", "window.json"
_FORWARD_COST = 1 / 3  # of a training step, for the same number of photos
_AS_IT_IS = Augmentation(copies=0)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tuned:
    """The result of training all layers; the backbone has the weights that are kept.

    Attributes:
        features: Embeddings of all photos by the backbone that is kept.
        history: One entry per epoch.
        best_epoch: Epoch whose weights are kept; 0 for the frozen backbone.
        comparison: Frozen against tuned, or None without held-out photos.
        interrupted: Whether Ctrl-C ended the training early.
        area: Smallest fraction of a photo's area that the training saw.
    """

    features: Features
    history: list[dict[str, float]]
    best_epoch: int
    comparison: Comparison | None
    interrupted: bool
    area: float | None = None


class WholeTuning:
    """Plans and trains all layers of a backbone.

    Args:
        backbone: keras.Model, trained in place.
        preprocessing: Prepares the photos.
        photo_set: The photos, each in its part.
        settings: The settings of the run.
        work: The folder that keeps what an interrupted run needs.
        progress: Called as the run advances.
        started: When the run began, by `time.perf_counter`.
        replicas: The devices that compute a training step together.
    """

    def __init__(
        self,
        backbone: Any,
        preprocessing: Preprocessing,
        photo_set: PhotoSet,
        settings: Settings,
        work: WorkFolder,
        progress: Progress,
        started: float,
        replicas: Replicas,
    ) -> None:
        self.backbone, self.preprocessing, self.photo_set = backbone, preprocessing, photo_set
        self.settings, self.work, self.progress, self._started = settings, work, progress, started
        self._replicas, self._crops = replicas, settings.crops
        self._trunk: Trunk | None = None

    def plan(self, class_weights: Array) -> Plan:
        """Decide what to train, by the photos and the measured speed; an interrupted run keeps its plan."""
        if earlier := Plan.load(self.work.path):
            return earlier
        plan = self._agree(self._decide(class_weights))
        plan.save(self.work.path)
        return plan

    def embed(self) -> Features:
        """Return the embeddings of all photos by the backbone as it is now."""
        return self._extract(_EMBEDDINGS, self._frozen_trunk)

    def train(self, plan: Plan, class_weights: Array, frozen: Features) -> Tuned:
        """Train all layers and compare the result with the frozen backbone.

        Args:
            plan: A plan for all layers.
            class_weights: [C], weight of a photo of each class in the loss.
            frozen: Embeddings by the frozen backbone.

        Raises:
            TrainingError: The loss is NaN or infinite.
            KeyboardInterrupt: Ctrl-C came before the first epoch ended; the next call continues.
        """
        start = self.backbone.get_weights()
        self._crops = self._fit_crops(frozen)
        phase = self._phase(class_weights, plan.epochs)
        training = self._pipeline(TRAINING, frozen)
        if training is None:
            raise TrainingError("no training photo can be read; add photos")
        phase.run(
            training,
            self._pipeline(VALIDATION, frozen),
            seconds=plan.seconds,
            most=plan.most,
            resume=self.work.load(),
            save=self.work.save,
            progress=self.progress,
        )
        if phase.interrupted and not phase.history:
            raise KeyboardInterrupt
        remove_folder(self.work.path / _TUNED)  # of an earlier, shorter training
        features, comparison = self._choose(frozen, start, self.backbone.get_weights())
        kept = 0 if features is frozen else phase.best_epoch
        return Tuned(features, phase.history, kept, comparison, phase.interrupted, self._crops.area)

    def _choose(self, frozen: Features, start: Weights, end: Weights) -> tuple[Features, Comparison | None]:
        """Leave the backbone with the best weights on the way from `start` to `end`, and return its embeddings."""
        blended = self.photo_set.part(VALIDATION) and not self.settings.scratch
        shares = SHARES if blended else (1.0,)
        variants = [blend_weights(start, end, share) for share in shares]
        beside = self._extract(
            _TUNED,
            lambda: compile_blends(self.backbone, variants, self.preprocessing, len(self.photo_set.photos)),
        )
        width = beside.values.shape[1] // len(shares)
        tuned = {
            share: replace(beside, values=beside.values[:, place * width : (place + 1) * width])
            for place, share in enumerate(shares)
        }
        comparison = self._compare(frozen, tuned)
        if comparison is not None and not comparison.keeps_tuned and self.settings.fallback:
            self.backbone.set_weights(start)
            return frozen, comparison
        share = 1.0 if comparison is None else comparison.share
        self.backbone.set_weights(variants[shares.index(share)])
        return tuned[share], comparison

    def _decide(self, class_weights: Array) -> Plan:
        settings = self.settings
        training, validation = (len(self.photo_set.part(part)) for part in (TRAINING, VALIDATION))
        if settings.layers != ALL and (ruled_out := may_train_all(training, validation)):
            return ruled_out
        if settings.layers == ALL and settings.whole_epochs is not None:
            return Plan(ALL, settings.whole_epochs)
        before = time.perf_counter()
        frozen = self.embed()
        embedding = time.perf_counter() - before
        pipeline = self._pipeline(TRAINING, frozen)
        if pipeline is None:
            return Plan(ALL, 1)  # no photo can be read; training reports it
        per_step = self._phase(class_weights, 1).measure_step(pipeline)
        per_epoch = per_step * (pipeline.steps + _FORWARD_COST * validation / settings.batch)
        left = 60 * settings.minutes - (time.perf_counter() - self._started) - (1 + len(SHARES)) * embedding
        return plan_by_time(settings.layers, settings.whole_epochs, settings.minutes, left, per_epoch)

    def _agree(self, plan: Plan) -> Plan:
        """Return the plan of the first worker: the others may have measured another speed."""
        seconds = np.nan if plan.seconds is None else plan.seconds
        layers, epochs, seconds = self._replicas.agree([LAYERS.index(plan.layers), plan.epochs, seconds])
        known = None if np.isnan(seconds) else float(seconds)
        return Plan(LAYERS[int(layers)], int(epochs), plan.reason, known, plan.most)

    def _fit_crops(self, frozen: Features) -> Crops:
        """Return the crops of the settings, with the smallest area chosen by the held-out photos where it is left open."""
        crops, kept = self.settings.crops, self.work.path / _WINDOW
        if not crops.fitted:
            return crops
        if not kept.is_file():
            area = self._replicas.agree([self._choose_area(frozen)])[0]
            with atomic_output(kept, force=True) as temporary:
                temporary.write_text(json.dumps(area))
        return replace(crops, area=float(json.loads(kept.read_text())))

    def _choose_area(self, frozen: Features) -> float:
        photos = _readable(self.photo_set, frozen)
        taught = np.array([photo.part == TRAINING for photo in photos])
        labels = [photo.label for photo in photos if photo.part == TRAINING]
        held_out = [photo for photo in photos if photo.part == VALIDATION]
        if not held_out or len(set(labels)) < 2:
            return self.settings.crops.area
        head = create_head("exact", frozen.values.shape[1])
        head.learn_many(encode(np.asarray(frozen.values)[taught]), labels)
        judge = WindowJudge(head, self._frozen_trunk(), self.preprocessing, self.settings.seed)
        return judge.choose_area(held_out)

    def _frozen_trunk(self) -> Trunk:
        """Return the function that embeds by the backbone before the training; it is compiled once."""
        if self._trunk is None:
            self._trunk = compile_trunk(self.backbone, self.preprocessing, len(self.photo_set.photos))
        return self._trunk

    def _phase(self, class_weights: Array, epochs: int) -> WholeTraining:
        settings = self.settings
        recipe = Recipe(
            epochs,
            settings.whole_rate,
            patience=settings.patience or (PATIENCE if settings.scratch else None),
            scratch=settings.scratch,
            optimizer=settings.optimizer,
            mixup=settings.mixup,
            seed=settings.seed,
        )
        penalty = make_penalty(self.backbone, settings.preserve)
        return WholeTraining(self.backbone, class_weights, recipe, penalty=penalty, replicas=self._replicas)

    def _pipeline(self, part: str, features: Features) -> Pipeline | None:
        chosen = [photo for photo in _readable(self.photo_set, features) if photo.part == part]
        if not chosen:
            return None
        place = {label: index for index, label in enumerate(self.photo_set.labels)}
        return Pipeline(
            [photo.path for photo in chosen],
            np.array([place[photo.label] for photo in chosen], np.int64),
            self.preprocessing,
            self._crops,
            self.settings.seed,
            self.settings.batch,
            self.work.path / _REDUCED / part,
        )

    def _extract(self, name: str, make_trunk: Callable[[], Trunk]) -> Features:
        folder = self.work.path / name
        folder.mkdir(exist_ok=True)
        return extract(
            self.photo_set.photos,
            make_trunk,
            self.preprocessing,
            _AS_IT_IS,
            seed=self.settings.seed,
            folder=folder,
            progress=lambda _, done, total: self.progress(_TASKS[name], done, total),
        )

    def _compare(self, frozen: Features, tuned: dict[float, Features]) -> Comparison | None:
        photos = _readable(self.photo_set, frozen)
        chosen = np.array([photo.part in (TRAINING, VALIDATION) for photo in photos])
        kept = [photo for photo in photos if photo.part in (TRAINING, VALIDATION)]
        labels = tuple(photo.label for photo in kept)
        held_out = np.array([photo.part == VALIDATION for photo in kept])
        groups = np.array([photo.view for photo in kept], np.int32)

        def judge(features: Features, *, tuned: bool) -> Judgment | None:
            return judge_backbone(np.asarray(features.values)[chosen], labels, held_out, groups, tuned=tuned)

        before = judge(frozen, tuned=False)
        after = {share: judge(features, tuned=True) for share, features in tuned.items()}
        known = {share: found for share, found in after.items() if found is not None}
        if before is None or not known:
            return None
        return choose_share(before, known)


_TASKS = {_EMBEDDINGS: "features", _TUNED: "features of the tuned backbone"}


def _readable(photo_set: PhotoSet, features: Features) -> Sequence[Photo]:
    """Return the photos in the order of the rows of `features`."""
    return [photo for photo, rows in zip(photo_set.photos, features.rows, strict=True) if rows]
