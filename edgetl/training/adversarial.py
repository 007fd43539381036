"""Train a discriminator and a generator against each other on photos without labels (Goodfellow et al. 2014).

The losses are those of the paper with the generator's non-saturating one; one-sided label smoothing follows Salimans et
al. 2016.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.model.preprocess import Preprocessing
from device.progress import Progress, no_progress

from ..backbones.gan import NOISE, build_discriminator, build_generator
from ..errors import TrainingError
from .whole import Checkpoint, Saver, assign_variables, flatten_variables

JUDGED = 40  # times that a long training is judged
_DRAWS, _GRID = 4, 5  # numbers of the random streams; 0 to 3 are those of the other phases

Judge = Callable[[], float]


@dataclass(frozen=True)
class GanRecipe:
    """How discriminator and generator are trained.

    Attributes:
        epochs: Number of passes over the photos.
        rate: Learning rate of Adam for both networks.
        beta: Decay of the first moment; .5 keeps the training stable (Radford et al. 2016).
        smoothing: Target of the discriminator for photos; 1 is no smoothing.
        batch: Number of photos per step, and of generated images.
        seed: Seed of the order and the noise.
    """

    epochs: int
    rate: float = 5e-4
    beta: float = 0.5
    smoothing: float = 0.9
    batch: int = 64
    seed: int = 0


class GanTraining:
    """Trains the convolutions of a discriminator; can be stopped after any epoch and continued from a checkpoint.

    Args:
        features: keras.Model of `edgetl.backbones.gan.build_features`, trained in place.
        recipe: The settings.

    Attributes:
        generator: keras.Model, noise -> normalized images; trained too.
        history: One entry per epoch.
        best_epoch: The epoch whose weights are kept; 0 is the start.
        interrupted: Whether Ctrl-C ended the training early.
    """

    def __init__(self, features: Any, recipe: GanRecipe) -> None:
        self.features, self.recipe = features, recipe
        self.discriminator, self.generator = build_discriminator(features), build_generator()
        self._kept = [*self.discriminator.variables, *self.generator.variables]
        self._optimizers = [_make_optimizer(model, recipe) for model in (self.discriminator, self.generator)]
        self._step = _make_step(self)
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.interrupted = False

    def run(
        self,
        images: Image,
        preprocessing: Preprocessing,
        judge: Judge | None = None,
        *,
        seconds: float | None = None,
        resume: Checkpoint | None = None,
        save: Saver = lambda arrays, state: None,
        progress: Progress = no_progress,
    ) -> None:
        """Train until all epochs are done, the time is over, or Ctrl-C.

        The networks are left as they were after the best epoch: the one that `judge` rates highest, or the last one
        without `judge`. A training of more than 40 epochs is judged and saved 40 times.

        Args:
            images: uint8 [N, 28, 28, 1], prepared photos.
            preprocessing: Normalizes them.
            judge: Returns the accuracy of a head on the features as they are now.
            seconds: Time for the training, None for any. No epoch starts that is expected to end later.
            resume: What `save` received in an interrupted run.
            save: Called with everything that is needed to continue.
            progress: Called with one task per epoch; its name has the time left and the best accuracy so far.

        Raises:
            TrainingError: A loss is NaN or infinite.
        """
        best, highest = flatten_variables(self._kept), -np.inf
        if resume:
            best, highest = self._restore(*resume)
        try:
            while (epoch := len(self.history)) < self.recipe.epochs and self._fits(seconds):
                entry = self._epoch(images, preprocessing, epoch, seconds, progress)
                self.history.append(entry)
                if (epoch + 1) % self._interval and not self._is_last(seconds):
                    continue
                if judge is not None:
                    entry["validation_accuracy"] = judge()
                if entry.get("validation_accuracy", highest) >= highest:
                    best, self.best_epoch = flatten_variables(self._kept), epoch + 1
                    highest = entry.get("validation_accuracy", highest)
                save(self._arrays(best), self._state(float(highest)))
        except KeyboardInterrupt:
            self.interrupted = True
        assign_variables(self._kept, best)

    def draw(self, count: int) -> Image:
        """Return generated images uint8 [count, 28, 28, 1]; the same noise for the same seed."""
        noise = np.random.default_rng([self.recipe.seed, _GRID]).standard_normal((count, NOISE))
        return to_pixels(np.asarray(self.generator(noise.astype(np.float32), training=False)))

    @property
    def _interval(self) -> int:
        return math.ceil(self.recipe.epochs / JUDGED)

    def _fits(self, seconds: float | None) -> bool:
        """Return whether another epoch is expected to end in time; the first one always starts."""
        if seconds is None or not self.history:
            return True
        spent = [entry["seconds"] for entry in self.history]
        return sum(spent) + float(np.mean(spent[-3:])) <= seconds

    def _is_last(self, seconds: float | None) -> bool:
        return len(self.history) == self.recipe.epochs or not self._fits(seconds)

    def _epoch(
        self,
        images: Image,
        preprocessing: Preprocessing,
        epoch: int,
        seconds: float | None,
        progress: Progress,
    ) -> dict[str, float]:
        task, started = self._describe(epoch, seconds), time.perf_counter()
        order = np.random.default_rng([self.recipe.seed, _DRAWS, epoch]).permutation(len(images))
        steps = steps_per_epoch(len(images), self.recipe.batch)
        totals = np.zeros(4)
        for step, rows in enumerate(np.array_split(order, steps)):
            number = np.array([self.recipe.seed % 2**31, epoch * steps + step], np.int32)
            totals += [float(value) for value in self._step(preprocessing.normalize(images[rows]), number)]
            progress(task, step + 1, steps)
        loss, generator_loss, photos, generated = (totals / steps).tolist()
        if not np.isfinite(totals).all():
            raise TrainingError(
                f"a loss of the GAN became NaN or infinite in epoch {epoch + 1}, at the rate {self.recipe.rate:g}; "
                "train with a lower --rate"
            )
        return {
            "phase": 4,
            "epoch": epoch + 1,
            "loss": loss,
            "generator_loss": generator_loss,
            "photos_recognized": photos,
            "generated_recognized": generated,
            "seconds": time.perf_counter() - started,
        }

    def _describe(self, epoch: int, seconds: float | None) -> str:
        notes = []
        if self.history:
            spent = [entry["seconds"] for entry in self.history]
            left = float(np.mean(spent)) * (self.recipe.epochs - epoch)
            if seconds is not None:
                left = min(left, max(0.0, seconds - sum(spent)))
            notes.append(f"{left / 60:.1f} min left")
        if self.best_epoch and "validation_accuracy" in self.history[self.best_epoch - 1]:
            notes.append(f"accuracy so far {self.history[self.best_epoch - 1]['validation_accuracy']:.3f}")
        ending = f" ({', '.join(notes)})" if notes else ""
        return f"GAN, epoch {epoch + 1} of {self.recipe.epochs}{ending}"

    def _arrays(self, best: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        moments = [flatten_variables(optimizer.variables) for optimizer in self._optimizers]
        now = flatten_variables(self._kept)
        return {"now": now, "best": best, "discriminator": moments[0], "generator": moments[1]}

    def _state(self, highest: float) -> dict[str, Any]:
        rated = highest if np.isfinite(highest) else None
        return {"history": list(self.history), "best": self.best_epoch, "highest": rated}

    def _restore(
        self, arrays: dict[str, NDArray[Any]], state: dict[str, Any]
    ) -> tuple[NDArray[np.uint8], float]:
        self.history, self.best_epoch = list(state["history"]), int(state["best"])
        assign_variables(self._kept, arrays["now"])
        for optimizer, name in zip(self._optimizers, ("discriminator", "generator"), strict=True):
            assign_variables(optimizer.variables, arrays[name])
        return arrays["best"], -np.inf if state["highest"] is None else float(state["highest"])


def steps_per_epoch(photos: int, batch: int) -> int:
    """Return the number of steps of an epoch."""
    return -(-photos // batch)


def to_pixels(images: NDArray[np.float32]) -> Image:
    """Return generated images as pixels, uint8, like those of a prepared photo."""
    pixels: Image = np.clip(np.rint(images * 127.5 + 127.5), 0, 255).astype(np.uint8)
    return pixels


def _make_optimizer(model: Any, recipe: GanRecipe) -> Any:
    import keras

    optimizer = keras.optimizers.Adam(recipe.rate, beta_1=recipe.beta)
    optimizer.build(model.trainable_variables)
    return optimizer


def _make_step(owner: GanTraining) -> Callable[..., Any]:
    """Return the compiled step: losses of both networks, and the shares of photos and of generated images recognized."""
    import tensorflow as tf

    recipe, discriminator, generator = owner.recipe, owner.discriminator, owner.generator

    def loss(logits: Any, target: float) -> Any:
        targets = tf.fill(tf.shape(logits), target)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))

    def step(photos: Any, seed: Any) -> Any:
        noise = tf.random.stateless_normal((tf.shape(photos)[0], NOISE), seed)
        with tf.GradientTape() as tape, tf.GradientTape() as generator_tape:
            made = generator(noise, training=True)
            real, false = discriminator(photos, training=True), discriminator(made, training=True)
            losses = loss(real, recipe.smoothing) + loss(false, 0.0)
            generator_loss = loss(false, 1.0)
        for optimizer, model, one, value in zip(
            owner._optimizers,
            (discriminator, generator),
            (tape, generator_tape),
            (losses, generator_loss),
            strict=True,
        ):
            trained = model.trainable_variables
            optimizer.apply(one.gradient(value, [variable.value for variable in trained]), trained)
        shares = [tf.reduce_mean(tf.cast(right, tf.float32)) for right in (real > 0, false < 0)]
        return losses, generator_loss, *shares

    signature = [
        tf.TensorSpec((None, *discriminator.input_shape[1:]), tf.float32),
        tf.TensorSpec((2,), tf.int32),
    ]
    compiled: Callable[..., Any] = tf.function(step, input_signature=signature)
    return compiled
