"""A training run from the photos to the trained model."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.head import FloatHead
from converters.origin import TRAINED_HERE
from converters.source import TrainedModel
from converters.weights import require_finite_variables
from device.heads.intervals import held_out_interval, independent
from device.model.codes import apply_map
from device.model.preprocess import Preprocessing
from device.progress import Progress

from .. import __version__
from ..backbones import load_backbone
from ..backbones.own import is_own_model, load_own
from ..backbones.scratch import randomize
from ..backbones.small import is_unsupervised
from ..colors import describe_colors
from ..errors import TrainingError
from ..evaluation.figures import Evaluation, tabulate
from ..photos import OLD, OLD_HELD_OUT, TEST, TRAINING, VALIDATION, Photo, PhotoSet, name_some
from .blocks import BlockTraining, Rows, embed_rows, make_embed
from .continuing import Start
from .curve import draw_curve
from .cut import freeze_normalization, split_backbone
from .features import Features, extract
from .head import Examples, balance, fit_head, probabilities
from .planning import ALL, AUTO, BLOCKS, HEAD, TooLittleTimeError, caution
from .replicas import Replicas
from .seeds import describe_seeds
from .settings import Settings
from .trunk import compile_trunk
from .tuning import Tuned, WholeTuning
from .unsupervised import GanResult, GanTuning, tile
from .workfolder import WorkFolder

METRICS_FILE, CURVE_FILE, SAMPLES_FILE = "metrics.json", "curve.png", "samples.png"
_JUDGED_WITH = {VALIDATION: (VALIDATION, OLD_HELD_OUT), TEST: (TEST,)}  # a model knows its old labels too
Embedding = Callable[[Features, NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Outcome:
    """The result of fine-tuning.

    Attributes:
        folder: The folder of the trained model.
        model: The trained model.
        metrics: The content of ``metrics.json``.
        warnings: Warnings for the user, one sentence each.
    """

    folder: Path
    model: TrainedModel
    metrics: dict[str, Any]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        judged = self.metrics["validation"]
        accuracy = f"validation accuracy {judged['accuracy']:.3f}" if judged else "no validation photos"
        return f"<Outcome {self.folder.name}: {len(self.model.labels)} labels, {accuracy}>"


@dataclass
class Run:
    """One training run; the methods follow the order of the stages."""

    photo_set: PhotoSet
    settings: Settings
    work: WorkFolder
    progress: Progress
    replicas: Replicas = field(default_factory=Replicas)
    start: Start | None = None
    others: tuple[dict[str, Any], ...] = ()  # accuracy per part, with each further seed
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    kept: int = 0  # the epoch of the last blocks that is kept; 0 means the initial weights
    frozen: Features | None = None  # embeddings before all layers were trained
    layers: str = ""  # what is trained, once it is decided
    tuned: Tuned | None = None
    gan: GanResult | None = None
    source: dict[str, str] = field(default_factory=dict)  # what was found in the user's own model
    old_task: dict[str, Any] | None = None
    started: float = field(default_factory=time.perf_counter)

    def run(self) -> Outcome:
        """Train, evaluate and save."""
        import keras

        keras.utils.set_random_seed(self.settings.seed)
        self.layers = HEAD if self.settings.head_only else self.settings.layers
        self.warnings += self.photo_set.warnings
        self.progress("backbone", 0, 1)
        backbone, preprocessing = self._load()
        self.warnings += describe_colors([one.path for one in self.photo_set.photos], preprocessing.channels)
        require_finite_variables(backbone)
        if not self.settings.pretrained:
            backbone = randomize(backbone)
        if is_unsupervised(self.settings.backbone) and not self.start:
            whole: Features | None = self._adversarial(backbone, preprocessing)
        else:
            whole = self._all_layers(backbone, preprocessing)
        trunk, tail = self._cut(backbone)
        features = whole if whole is not None else self._features(trunk, preprocessing)
        training = self._rows(features, TRAINING)
        taught = self._rows(features, TRAINING, OLD)
        judges = self._rows(features, VALIDATION, OLD_HELD_OUT)
        validation = self._rows(features, VALIDATION)
        embed = _embedder(tail)
        before = self._follow(embed, self.frozen or features)
        history, head = self._head(features, taught, judges, embed)
        if tail is not None:
            head, more = self._blocks(tail, head, features, training, validation)
            history = history + more
            if self.kept and len(taught.first) > len(training.first):
                # the training of the blocks saw no old photo
                head = self._head(features, taught, judges, embed)[1]
        self._measure_old_task(features, before, self._follow(embed, features))
        if self.tuned:
            history = history + self.tuned.history
        model = self._model(backbone, preprocessing, head, features)
        judged = {part: self._judge(features, part, embed, head) for part in (VALIDATION, TEST)}
        metrics = self._metrics(history, judged, features)
        return self._publish(model, metrics)

    def _load(self) -> tuple[Any, Preprocessing]:
        settings = self.settings
        if self.start:
            return self.start.model.backbone, self.start.model.preprocessing
        if is_own_model(settings.backbone):
            own = load_own(settings.backbone, resize=settings.resize, **settings.own)
            self.source = own.facts
            return own.backbone, own.preprocessing
        return load_backbone(settings.backbone, resize=settings.resize, weights=settings.weights)

    def _all_layers(self, backbone: Any, preprocessing: Preprocessing) -> Features | None:
        """Train all layers where the settings or the plan say so; return the embeddings of the backbone that is kept."""
        if self.settings.layers not in (AUTO, ALL):
            return None
        tuning = WholeTuning(
            backbone,
            preprocessing,
            self.photo_set,
            self.settings,
            self.work,
            self.progress,
            self.started,
            self.replicas,
        )
        weights = balance(self._targets(TRAINING), len(self.photo_set.labels), self.settings.class_weights)
        plan = tuning.plan(weights)
        if plan.reason:
            self.warnings.append(plan.reason)
        self.warnings += caution(
            self.settings.layers, self.settings.scratch, len(self.photo_set.part(TRAINING))
        )
        if plan.layers != ALL and not self.settings.fallback:
            raise TooLittleTimeError(plan.reason)
        self.layers = plan.layers
        if plan.layers == BLOCKS:
            return None
        frozen = self.frozen = tuning.embed()
        self._check_features(frozen)
        if plan.layers == HEAD:
            return frozen
        before = time.perf_counter()
        self.tuned = tuning.train(plan, weights, frozen)
        self.seconds["all"] = time.perf_counter() - before
        if self.tuned.interrupted:
            self.warnings.append(
                f"Ctrl-C ended the training after epoch {len(self.tuned.history)} of {plan.epochs}; the best so far is kept"
            )
        return self.tuned.features

    def _adversarial(self, backbone: Any, preprocessing: Preprocessing) -> Features:
        """Train a GAN without labels; return the embeddings by its discriminator."""
        before = time.perf_counter()
        tuning = GanTuning(
            backbone,
            preprocessing,
            self.photo_set,
            self.settings,
            self.work,
            self.progress,
            self.started,
        )
        self.gan = found = tuning.train()
        self.seconds["gan"] = time.perf_counter() - before
        self._check_features(found.features)
        self.tuned = Tuned(found.features, found.history, found.best_epoch, None, found.interrupted)
        self.warnings += found.figures.warnings
        if found.interrupted:
            self.warnings.append(
                f"Ctrl-C ended the training after epoch {len(found.history)}; the best so far is kept"
            )
        return found.features

    def _cut(self, backbone: Any) -> tuple[Any, Any]:
        if self.layers != BLOCKS:
            return backbone, None
        trunk, tail = split_backbone(backbone, self.settings.blocks)
        freeze_normalization(tail)
        return trunk, tail

    def _features(self, trunk: Any, preprocessing: Preprocessing) -> Features:
        photos, augmentation = self.photo_set.photos, self.settings.augmentation
        images = len(photos) + augmentation.copies * len(self.photo_set.part(TRAINING))
        started = time.perf_counter()
        features = extract(
            photos,
            lambda: compile_trunk(trunk, preprocessing, images),
            preprocessing,
            augmentation,
            seed=self.settings.seed,
            folder=self.work.path,
            progress=self.progress,
        )
        self.seconds["features"] = time.perf_counter() - started
        self._check_features(features)
        return features

    def _check_features(self, features: Features) -> None:
        """Warn about photos that cannot be read; raise where a class has no other training photo."""
        if features.problems:
            named = name_some(features.problems, 10)
            self.warnings.append(f"{len(features.problems)} photos cannot be read and were left out: {named}")
        self._refuse_lost_classes(features)

    def _head(
        self, features: Features, training: Rows, validation: Rows, embed: Embedding
    ) -> tuple[list[dict[str, float]], FloatHead]:
        started = time.perf_counter()
        settings = self.settings
        # phase 2 trains on copies; where the backbone is frozen, the head does
        rows = training if self.layers == BLOCKS else _every_row(training)
        fit = fit_head(
            Examples(embed(features, rows.first), rows.targets),
            Examples(embed(features, validation.first), validation.targets)
            if len(validation.first)
            else None,
            self._class_weights(training),
            epochs=settings.head_epochs,
            rate=settings.head_rate,
            batch=settings.batch,
            seed=settings.seed,
            progress=self.progress,
        )
        self.seconds["head"] = time.perf_counter() - started
        return fit.history, (fit.weights, fit.bias)

    def _blocks(
        self, tail: Any, head: FloatHead, features: Features, training: Rows, validation: Rows
    ) -> tuple[FloatHead, list[dict[str, float]]]:
        started = time.perf_counter()
        phase = BlockTraining(tail, head, self._class_weights(training), self.settings)
        phase.run(
            features,
            training,
            validation if len(validation.first) else None,
            resume=self.work.load(),
            save=self.work.save,
            progress=self.progress,
        )
        self.seconds["blocks"] = time.perf_counter() - started
        self.kept = phase.best_epoch
        return phase.head, phase.history

    def _follow(self, embed: Embedding, features: Features) -> NDArray[np.float64] | None:
        """Return the embeddings by which the earlier task is followed, by the present backbone."""
        if not self.start:
            return None
        return embed(features, self._select(features, self.start.follows).first)

    def _measure_old_task(
        self, features: Features, before: NDArray[np.float64] | None, after: NDArray[np.float64] | None
    ) -> None:
        if self.start is None or before is None or after is None:
            return
        pairs = zip(self.photo_set.photos, features.rows, strict=True)
        photos = [photo for photo, rows in pairs if rows and self.start.follows(photo)]
        self.old_task = self.start.describe(photos, before, after) | {"preserve": self.settings.preserve}

    def _rows(self, features: Features, *parts: str) -> Rows:
        return self._select(features, lambda photo: photo.part in parts)

    def _select(self, features: Features, chosen: Callable[[Photo], bool]) -> Rows:
        place = {label: index for index, label in enumerate(self.photo_set.labels)}
        photos = self.photo_set.photos
        kept = np.array(
            [chosen(photo) and bool(rows) for photo, rows in zip(photos, features.rows, strict=True)]
        )
        targets = np.array([place[photo.label] for photo in photos], np.int64)
        return Rows(features.first[kept], features.rows[kept], targets[kept])

    def _targets(self, part: str) -> NDArray[np.int64]:
        """Return the classes of a part's photos, whether they can be read or not, int64 [P]."""
        place = {label: index for index, label in enumerate(self.photo_set.labels)}
        return np.array([place[photo.label] for photo in self.photo_set.part(part)], np.int64)

    def _class_weights(self, training: Rows) -> NDArray[np.float64]:
        return balance(training.targets, len(self.photo_set.labels), self.settings.class_weights)

    def _refuse_lost_classes(self, features: Features) -> None:
        found = np.bincount(self._rows(features, TRAINING, OLD).targets, minlength=len(self.photo_set.labels))
        lost = [label for label, count in zip(self.photo_set.labels, found, strict=True) if not count]
        if lost:
            raise TrainingError(
                f"no training photo of these labels can be read: {', '.join(lost)}; "
                f"{name_some(features.problems, 3)}"
            )

    def _model(
        self, backbone: Any, preprocessing: Preprocessing, head: FloatHead, features: Features
    ) -> TrainedModel:
        readable = [
            photo
            for photo, rows in zip(self.photo_set.photos, features.rows, strict=True)
            if rows and photo.part != TEST
        ]
        earlier = self.start.model.info.get("origin") if self.start else None
        origin = {"origin": TRAINED_HERE} if self.settings.scratch or earlier == TRAINED_HERE else {}
        return TrainedModel(
            backbone=backbone,
            backbone_name=self.settings.backbone_name,
            preprocessing=preprocessing,
            labels=self.photo_set.labels,
            head=head,
            photos=tuple((photo.path, photo.label) for photo in readable),
            held_out=tuple(photo.part in (VALIDATION, OLD_HELD_OUT) for photo in readable),
            tuned=self._is_tuned(),
            info={
                "settings": self.settings.to_dict(),
                "versions": installed_versions(),
                **origin,
                **self._source(),
            },
            generator=self.gan.generator if self.gan else None,
        )

    def _source(self) -> dict[str, Any]:
        return {"source": self.source} if self.source else {}

    def _is_tuned(self) -> bool:
        """Return whether labels of the training photos changed the backbone, so that these photos cannot judge it.

        A GAN sees the photos, but not their labels: leaving samples out of the head is no more optimistic than new
        digits are, see docs/gray.md.
        """
        if self.gan:
            return False
        tuned = self.kept > 0 or bool(self.tuned and self.tuned.best_epoch)
        return tuned or bool(self.start and self.start.model.tuned)

    def _judge(self, features: Features, part: str, embed: Embedding, head: FloatHead) -> Evaluation | None:
        rows = self._rows(features, *_JUDGED_WITH[part])
        if not len(self._rows(features, part).first):
            return None
        predicted = probabilities(embed(features, rows.first), *head).argmax(1)
        labels = self.photo_set.labels
        return tabulate([labels[index] for index in rows.targets], [labels[index] for index in predicted])

    def _metrics(
        self, history: list[dict[str, float]], judged: dict[str, Evaluation | None], features: Features
    ) -> dict[str, Any]:
        return {
            "labels": list(self.photo_set.labels),
            "photos": {
                part: self.photo_set.counts(part)
                for part in (TRAINING, VALIDATION, TEST, OLD, OLD_HELD_OUT)
                if self.photo_set.part(part)
            },
            "ignored_files": self.photo_set.ignored,
            "skipped": list(features.problems),
            "warnings": list(self.warnings),
            **{part: self._figures(part, evaluation) for part, evaluation in judged.items()},
            "history": history,
            "layers": self.layers,
            "epochs": self._epochs(history),
            "comparison": self.tuned.comparison.to_dict() if self.tuned and self.tuned.comparison else None,
            "crop": self.tuned.area if self.tuned else None,
            "gan": self.gan.figures.to_dict() if self.gan else None,
            "old_task": self.old_task,
            "seeds": describe_seeds(
                {part: one and one.accuracy for part, one in judged.items()}, self.others
            ),
            "seconds": {stage: round(value, 2) for stage, value in self.seconds.items()},
            "resumed": self.work.resumed,
            "interrupted": bool(self.tuned and self.tuned.interrupted),
            "settings": self.settings.to_dict(),
            "versions": installed_versions(),
            "machine": platform.machine(),
            "source": self.source or None,
        }

    def _epochs(self, history: list[dict[str, float]]) -> dict[str, int]:
        """Return how many epochs each phase took, and which were kept; 0 is the backbone as it was."""
        head, blocks, whole = (
            sum(entry["phase"] in phases for entry in history) for phases in ((1,), (2,), (3, 4))
        )
        return {
            "head": head,
            "blocks": blocks,
            "blocks_kept": self.kept,
            "all": whole,
            "all_kept": self.tuned.best_epoch if self.tuned else 0,
        }

    def _figures(self, part: str, evaluation: Evaluation | None) -> dict[str, Any] | None:
        """Return the figures of a part; the interval counts separate views, since look-alikes are correct or wrong together.

        Labels without a photo in the part are named, and there is no balanced accuracy then: it would be a mean
        over the other labels alone.
        """
        if evaluation is None:
            return None
        unjudged = [label for label in self.photo_set.labels if label not in evaluation.judged]
        views = np.array([photo.view for photo in self.photo_set.photos if photo.part in _JUDGED_WITH[part]])
        interval = held_out_interval(evaluation.correct, evaluation.photos, independent(views))
        figures = {"views": len(np.unique(views)), "interval": list(interval), "unjudged": unjudged}
        return evaluation.to_dict() | figures | ({"balanced_accuracy": None} if unjudged else {})

    def _publish(self, model: TrainedModel, metrics: dict[str, Any]) -> Outcome:
        self.progress("saving", 0, 1)
        built = self.work.path / "model"
        info = dict(model.info) | {name: metrics[name] for name in (VALIDATION, TEST, "epochs", "seconds")}
        model = dataclasses.replace(model, info=info)
        if not self.replicas.chief:
            self.work.remove()
            self.warnings.append(
                f"this is worker {self.replicas.worker} of {self.replicas.workers}: worker 0 writes the model"
            )
            return Outcome(self.work.out, model, metrics, tuple(self.warnings))
        model.save(built, force=True)
        (built / METRICS_FILE).write_text(json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False))
        draw_curve(metrics["history"], built / CURVE_FILE, self.kept or metrics["epochs"]["all_kept"])
        if self.gan:
            cv2.imwrite(str(built / SAMPLES_FILE), tile(self.gan.samples))
        self.work.finish(built)
        self.progress("saving", 1, 1)
        return Outcome(self.work.out, model, metrics, tuple(self.warnings))


def _embedder(tail: Any) -> Embedding:
    """Return a function of features and rows that returns mapped embeddings with the present weights of the tail."""
    if tail is None:
        return lambda features, rows: apply_map(features.take(rows))
    embed = make_embed(tail)
    return lambda features, rows: embed_rows(embed, features, rows)


def _every_row(training: Rows) -> Rows:
    first = [
        np.arange(start, start + count) for start, count in zip(training.first, training.rows, strict=True)
    ]
    rows = np.concatenate(first)
    return Rows(rows, np.ones_like(rows), np.repeat(training.targets, training.rows))


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the result of a run."""
    names = ("tensorflow", "keras", "numpy", "ai-edge-litert")
    return {"edgetl": __version__} | {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"
