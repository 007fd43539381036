"""Train gan-28 on photos without their labels, and measure whether its features are worth anything."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.memory import judge_held_out
from device.errors import PhotoError
from device.heads import create_head
from device.images import Image, read_photo
from device.model.codes import encode
from device.model.memory import Samples
from device.model.preprocess import Preprocessing
from device.progress import Progress

from ..backbones.gan import fit_components
from ..errors import TrainingError
from ..photos import TEST, TRAINING, VALIDATION, Photo, PhotoSet
from .adversarial import GanRecipe, GanTraining, steps_per_epoch
from .features import Features, extract
from .settings import Augmentation, Settings
from .trunk import compile_trunk
from .workfolder import WorkFolder, remove_folder

MOST_STEPS = 3000  # of a training whose epochs are not chosen
_COMPONENTS = 1000  # images from which the components of the filters are computed
SAMPLES = 100  # generated images in the picture
_BATCH = 256  # images embedded at once
_LOW_DIVERSITY = 0.5
_FEATURES = "features-gan"
_AS_IT_IS = Augmentation(copies=0)


@dataclass(frozen=True)
class GanFigures:
    """What the training achieved; accuracies are those of the exact head.

    Attributes:
        photos: Number of photos that the GAN learned from.
        unlabeled: Number of them without a label.
        judged: Number of photos that judged.
        held_out: Whether these were held out from the training; otherwise each is left out of the head alone.
        features: Accuracy on the features that are kept.
        untrained: Accuracy on the features of the random weights of the start.
        pixels: Accuracy on raw pixels.
        diversity: Standard deviation of the generated images, divided by that of the photos; 1 is ideal.
    """

    photos: int
    unlabeled: int
    judged: int
    held_out: bool
    features: float
    untrained: float
    pixels: float
    diversity: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serializable values."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    @property
    def warnings(self) -> list[str]:
        """Warnings for the user, one sentence each."""
        found = []
        if self.features <= max(self.pixels, self.untrained):
            found.append(
                f"the GAN has learned no useful features: the exact head recognizes {self.features:.3f} of the photos with "
                f"them, {self.pixels:.3f} with raw pixels and {self.untrained:.3f} with untrained features; train longer with "
                "--minutes, add photos with --unlabeled, or use --backbone cnn-28"
            )
        if self.diversity < _LOW_DIVERSITY:
            found.append(
                f"the generator has collapsed: its images vary {self.diversity:.2f} times as much as the photos; "
                "look at samples.png, and train with another --seed or a lower --rate"
            )
        return found


@dataclass(frozen=True)
class GanResult:
    """The result of a training; the backbone has the weights that are kept.

    Attributes:
        features: Embeddings of all labeled photos.
        history: One entry per epoch.
        best_epoch: Epoch whose weights are kept.
        interrupted: Whether Ctrl-C ended the training early.
        generator: keras.Model, noise -> normalized images.
        samples: Generated images, uint8 [100, 28, 28, 1].
        figures: What was measured.
    """

    features: Features
    history: list[dict[str, float]]
    best_epoch: int
    interrupted: bool
    generator: Any
    samples: Image
    figures: GanFigures


@dataclass(frozen=True)
class _Labeled:
    """Labeled photos for training and validation, prepared: what a probe needs."""

    images: Image
    labels: tuple[str, ...]
    held_out: NDArray[np.bool_]

    def judge(self, embeddings: NDArray[np.float32]) -> float:
        """Return the accuracy of the exact head: on held-out photos, or on each photo left out of the head."""
        codes = encode(embeddings)
        figure = judge_held_out(Samples(codes, self.labels), self.held_out)
        if figure is not None:
            return figure["accuracy"]
        if len(set(self.labels)) < 2:
            raise TrainingError(
                "photos of one label only cannot judge the features; add photos of another label"
            )
        head = create_head("exact", codes.shape[1])
        head.learn_many(codes, list(self.labels))
        best = head.leave_out(codes, self.labels).argmax(axis=1)
        return float(
            np.mean([head.labels[column] == label for column, label in zip(best, self.labels, strict=True)])
        )


class GanTuning:
    """Trains gan-28 on the photos of a run.

    Args:
        backbone: keras.Model of `edgetl.backbones.gan.build_features`, trained in place.
        preprocessing: Prepares the photos.
        photo_set: The labeled photos, each in its part, and photos without labels. Those for validation and test are
            not learned from.
        settings: The settings of the run.
        work: The folder that keeps what an interrupted run needs.
        progress: Called as the run advances.
        started: When the run began, by `time.perf_counter`.
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
    ) -> None:
        self.backbone, self.preprocessing, self.photo_set = backbone, preprocessing, photo_set
        self.settings, self.work = settings, work
        self.progress, self._started = progress, started

    def train(self) -> GanResult:
        """Train, and judge the features beside raw pixels and untrained features.

        Raises:
            TrainingError: No photo can be read, or a loss is NaN or infinite.
            KeyboardInterrupt: Ctrl-C came before the first epoch was judged; the next call continues.
        """
        labeled, images = self._read()
        forward = _make_forward(self.backbone, self.preprocessing)
        chosen = np.random.default_rng(self.settings.seed).permutation(len(images))[:_COMPONENTS]
        some = self.preprocessing.normalize(images[np.sort(chosen)])

        def judge() -> float:
            fit_components(self.backbone, some)
            return labeled.judge(forward(labeled.images))

        untrained, pixels = judge(), labeled.judge(_as_pixels(labeled.images))
        phase = GanTraining(self.backbone, self._recipe(len(images)))
        spent = time.perf_counter() - self._started
        seconds = None if self.settings.whole_epochs else max(1.0, 60 * self.settings.minutes - spent)
        phase.run(
            images,
            self.preprocessing,
            judge,
            seconds=seconds,
            resume=self.work.load(),
            save=self.work.save,
            progress=self.progress,
        )
        if phase.interrupted and not phase.best_epoch:
            raise KeyboardInterrupt
        samples = phase.draw(SAMPLES)
        figures = GanFigures(
            photos=len(images),
            unlabeled=len(images) - int((~labeled.held_out).sum()),
            judged=int(labeled.held_out.sum()) or len(labeled.labels),
            held_out=bool(labeled.held_out.any()),
            features=judge(),
            untrained=untrained,
            pixels=pixels,
            diversity=measure_diversity(samples, images),
        )
        return GanResult(
            self._extract(),
            phase.history,
            phase.best_epoch,
            phase.interrupted,
            phase.generator,
            samples,
            figures,
        )

    def _recipe(self, photos: int) -> GanRecipe:
        settings = self.settings
        batch = min(2 * settings.batch, photos)
        epochs = settings.whole_epochs or math.ceil(MOST_STEPS / steps_per_epoch(photos, batch))
        return GanRecipe(epochs, settings.whole_rate, batch=batch, seed=settings.seed)

    def _read(self) -> tuple[_Labeled, Image]:
        """Return the labeled photos that judge, and the images that the GAN learns from."""
        labeled = [photo for photo in self.photo_set.photos if photo.part != TEST]
        paths = [*(photo.path for photo in labeled), *self.photo_set.unlabeled]
        prepared = read_prepared(paths, self.preprocessing, self.progress)
        readable = [place for place, image in enumerate(prepared) if image is not None]
        kept: list[Photo] = [labeled[place] for place in readable if place < len(labeled)]
        images = [prepared[place] for place in readable]
        held_out = np.array([photo.part == VALIDATION for photo in kept], bool)
        learned = np.concatenate([~held_out, np.ones(len(images) - len(kept), bool)])
        if not any(photo.part == TRAINING for photo in kept):
            raise TrainingError("no training photo can be read; add photos")
        stacked = np.stack([image for image in images if image is not None])
        labels = tuple(photo.label for photo in kept)
        return _Labeled(stacked[: len(kept)], labels, held_out), stacked[learned]

    def _extract(self) -> Features:
        remove_folder(self.work.path / _FEATURES)  # of an earlier, shorter training
        folder = self.work.path / _FEATURES
        folder.mkdir(exist_ok=True)
        photos = self.photo_set.photos
        return extract(
            photos,
            lambda: compile_trunk(self.backbone, self.preprocessing, len(photos)),
            self.preprocessing,
            _AS_IT_IS,
            seed=self.settings.seed,
            folder=folder,
            progress=self.progress,
        )


def read_prepared(
    paths: Sequence[Path], preprocessing: Preprocessing, progress: Progress
) -> list[Image | None]:
    """Read and prepare photos; None for each that cannot be read."""

    def read(path: Path) -> Image | None:
        try:
            return preprocessing.prepare(read_photo(path))
        except PhotoError:
            return None

    prepared = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for number, image in enumerate(pool.map(read, paths), 1):
            prepared.append(image)
            if number % _BATCH == 0 or number == len(paths):
                progress("reading photos", number, len(paths))
    return prepared


def measure_diversity(samples: Image, photos: Image) -> float:
    """Return the mean standard deviation per pixel of generated images, divided by that of photos."""
    spread = float(photos.std(axis=0).mean())
    return float(samples.std(axis=0).mean()) / spread if spread else 0.0


def tile(samples: Image) -> Image:
    """Return images [N, H, W, 1] as one picture with rows of ten, uint8 [N/10 H, 10 W]."""
    count, rows, columns = samples.shape[0] // 10 * 10, *samples.shape[1:3]
    grid = samples[:count, ..., 0].reshape(-1, 10, rows, columns)
    picture: Image = grid.transpose(0, 2, 1, 3).reshape(-1, 10 * columns)
    return picture


def _make_forward(model: Any, preprocessing: Preprocessing) -> Callable[[Image], NDArray[np.float32]]:
    import tensorflow as tf

    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    forward = tf.function(lambda images: model(images, training=False), input_signature=[spec])

    def run(images: Image) -> NDArray[np.float32]:
        starts = range(0, len(images), _BATCH)
        parts = [np.asarray(forward(preprocessing.normalize(images[at : at + _BATCH]))) for at in starts]
        return np.concatenate(parts)

    return run


def _as_pixels(images: Image) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
