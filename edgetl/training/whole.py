"""Phase 3: all layers of a backbone, trained on fresh crops of the photos in every epoch."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.progress import Progress, no_progress

from ..errors import TrainingError
from ..evaluation.figures import judge
from .cut import Division, reduce_images, split_early
from .head import softmax
from .mixing import mix_photos, spread_targets
from .optimizers import make_optimizer
from .pipeline import Pipeline
from .preserving import Penalty
from .replicas import Replicas

_WARM_UP = 0.1  # fraction of all steps in which the rate rises
_LOWEST = 0.02  # fraction of the highest rate at which the first step is taken
_SMALL = 2 / 3  # fraction of the schedule that is trained on smaller images
_PROBES = 3  # steps that measure the speed, after one that compiles

Array = NDArray[np.float64]
Saver = Callable[[dict[str, NDArray[Any]], dict[str, Any]], None]
Checkpoint = tuple[dict[str, NDArray[Any]], dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """How all layers are trained.

    Attributes:
        epochs: Number of epochs that the schedule of the learning rate covers.
        rate: Highest learning rate: reached after a warm-up, then falling to 0 along a half cosine.
        weight_decay: Decoupled weight decay of the kernels.
        label_smoothing: Probability that the targets spread over all classes.
        dropout: Fraction of the embedding that a step drops in front of the head.
        gradient_norm: Gradients are scaled down to this global norm.
        patience: Epochs without a lower validation loss after which training stops, in the second half of the
            schedule; in the first half the rate is too high for the loss to mean much. None for the complete schedule, whose
            last epoch is kept.
        scratch: Train from random weights: normalization layers use and update the statistics of the batch.
            Otherwise they keep the statistics of the pretraining.
        optimizer: One of `optimizers.OPTIMIZERS`.
        mixup: How much photos are blended with others (`mixing.mix_photos`); 0 for not at all.
        seed: Seed for the dropout and mixup.
    """

    epochs: int
    rate: float = 1e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    dropout: float = 0.2
    gradient_norm: float = 1.0
    patience: int | None = None
    scratch: bool = False
    optimizer: str = "adamw"
    mixup: float = 0.0
    seed: int = 0


class WholeTraining:
    """Trains a backbone and a softmax head; can be stopped after any epoch and continued from its checkpoint.

    Args:
        backbone: keras.Model, normalized images [N, H, W, C] -> embeddings [N, D]; trained in place. Its early blocks
            (`cut.split_early`) are trained from scratch only.
        class_weights: [C], weight of a photo of each class in the loss.
        recipe: The settings.
        penalty: Added to the loss, to preserve what the backbone knows.
        replicas: The devices that compute a step together.

    Attributes:
        history: One entry per epoch.
        epochs: Number of epochs that the schedule covers; another one than the recipe's where time decides.
        best_epoch: The epoch whose weights are kept; 0 is the start.
        interrupted: Whether Ctrl-C ended the training early.
    """

    def __init__(
        self,
        backbone: Any,
        class_weights: Array,
        recipe: Recipe,
        *,
        penalty: Penalty | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        import keras

        self._penalty, self._replicas = penalty, replicas or Replicas()
        self.backbone, self.recipe, self.class_weights = backbone, recipe, class_weights
        classes = len(class_weights)
        # zeros: the first gradients move the head alone, and the backbone keeps what it knows
        self.weights = keras.Variable(
            np.zeros((backbone.output_shape[-1], classes), np.float32), name="head_kernel"
        )
        self.bias = keras.Variable(np.zeros(classes, np.float32), name="head_bias")
        self._large = Division(None, backbone) if recipe.scratch else split_early(backbone)
        # a penalty compares with a network that works at the size of the device
        same = recipe.scratch or penalty is not None
        self._small = self._large if same else reduce_images(self._large)
        self._trained = [*self._large.tail.trainable_variables, self.weights, self.bias]
        self._kept = [*backbone.variables, self.weights, self.bias]
        self._optimizer = make_optimizer(
            recipe.optimizer,
            recipe.rate,
            self._trained,
            weight_decay=recipe.weight_decay,
            gradient_norm=recipe.gradient_norm,
        )
        self._steps = {parts.size: _make_step(self, parts) for parts in (self._large, self._small)}
        self._forward = _make_forward(self)
        self.history: list[dict[str, float]] = []
        self.epochs = recipe.epochs
        self.best_epoch = 0
        self._position = 0.0
        self.interrupted = False

    def measure_step(self, pipeline: Pipeline) -> float:
        """Return the mean seconds per training step, reading of photos included; weights stay as they are."""
        before, moments = self._vector(), flatten_variables(self._optimizer.variables)
        seconds = []
        batches = pipeline.training(0, self._small.size)
        for number, batch in zip(range(_PROBES + 1), batches, strict=False):
            started = time.perf_counter()
            self._train(batch, number, self.recipe.rate / 100)
            seconds.append(time.perf_counter() - started)
        assign_variables(self._kept, before)
        assign_variables(self._optimizer.variables, moments)
        mean = (_SMALL * self._cost(self._small) + 1 - _SMALL) / self._cost(self._small)
        return float(np.median(seconds[1:] or seconds)) * mean

    def run(
        self,
        training: Pipeline,
        validation: Pipeline | None,
        *,
        seconds: float | None = None,
        most: int | None = None,
        resume: Checkpoint | None = None,
        save: Saver = lambda arrays, state: None,
        progress: Progress = no_progress,
    ) -> None:
        """Train until the schedule ends, the validation loss has stopped falling, or Ctrl-C.

        The backbone and the head are left as they were after the last epoch of a complete schedule. Where the recipe has
        a patience, or Ctrl-C ends the training, they are left as after the epoch with the lowest validation loss.

        Args:
            training: Photos to learn from.
            validation: Photos that choose the best epoch.
            seconds: Time for the training, None for any. Where the epochs left take longer, there are fewer of them, and
                the rate falls faster; where they take less, there are more.
            most: Maximum number of epochs that quicker ones may add up to; None adds none.
            resume: What `save` received in an interrupted run.
            save: Called after each epoch with everything that is needed to continue.
            progress: Called with one task per epoch; its name has the time left and the best accuracy so far.

        Raises:
            TrainingError: The loss is NaN or infinite.
        """
        best, lowest = self._vector(), np.inf
        if resume:
            best, lowest = self._restore(*resume)
        self._replicas.require_same(len(self.history), "the number of trained epochs")
        try:
            while (epoch := len(self.history)) < self.epochs:
                if validation is not None and self._has_stalled(epoch):
                    break
                entry = self._epoch(training, validation, epoch, progress)
                self._position += (1 - self._position) / (self.epochs - epoch)
                self.history.append(entry)
                self._fit(seconds, most)
                if entry.get("validation_loss", -np.inf) < lowest:
                    best, self.best_epoch = self._vector(), epoch + 1
                    lowest = entry.get("validation_loss", lowest)
                save(self._arrays(best), self._state(float(lowest)))
        except KeyboardInterrupt:
            self.interrupted = True
        if self.recipe.patience is None and not self.interrupted:
            # the loss of a network that is too sure of itself rises while the embedding still improves
            self.best_epoch = len(self.history)
        else:
            assign_variables(self._kept, best)

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the embeddings [N, D] of normalized images."""
        return np.asarray(self._forward(images)[0])

    def _epoch(
        self, training: Pipeline, validation: Pipeline | None, epoch: int, progress: Progress
    ) -> dict[str, float]:
        task, started = self._describe(epoch), time.perf_counter()
        losses = right = 0.0
        parts = self._parts(epoch, self._position, self.epochs)
        for step, batch in enumerate(training.training(epoch, parts.size)):
            number = epoch * training.steps + step
            loss, hits = self._train(batch, number, self._rate(epoch, step / training.steps))
            losses, right = losses + loss * len(batch[1]), right + hits
            progress(task, step + 1, training.steps)
        count = len(training.paths)
        entry = {"phase": 3, "epoch": epoch + 1, "loss": losses / count, "accuracy": right / count}
        if not np.isfinite(losses):
            raise TrainingError(
                f"the loss became {losses} in epoch {epoch + 1} of all layers, at the rate {self.recipe.rate:g}; "
                "train with a lower --rate"
            )
        if validation is not None:
            entry |= {f"validation_{name}": value for name, value in self._judge(validation).items()}
        entry |= {"pixels": parts.size[0], "seconds": time.perf_counter() - started}
        return dict(zip(entry, self._replicas.agree(list(entry.values())).tolist(), strict=True))

    def _train(
        self, batch: tuple[NDArray[np.float32], NDArray[np.int64]], step: int, rate: float
    ) -> tuple[float, float]:
        images, targets = batch
        recipe = self.recipe
        self._optimizer.learning_rate.assign(rate)
        spread = spread_targets(targets, len(self.class_weights), 0.0)
        if recipe.mixup:
            images, spread = mix_photos(images, spread, recipe.mixup, recipe.seed, step)
        importance = (spread @ self.class_weights).astype(np.float32)
        smooth = spread * np.float32(1 - recipe.label_smoothing) + np.float32(
            recipe.label_smoothing / len(self.class_weights)
        )
        loss, hits = self._steps[images.shape[1:3]](
            images, smooth, importance, np.array([recipe.seed % 2**31, step], np.int32)
        )
        return float(loss), float(hits)

    def _rate(self, epoch: int, fraction: float) -> float:
        """Return the learning rate after a fraction of an epoch."""
        position = self._position + (1 - self._position) / (self.epochs - epoch) * fraction
        if position < _WARM_UP:
            return self.recipe.rate * max(_LOWEST, position / _WARM_UP)
        return float(self.recipe.rate * (1 + np.cos(np.pi * (position - _WARM_UP) / (1 - _WARM_UP))) / 2)

    def _parts(self, epoch: int, position: float, epochs: int) -> Division:
        """Return what an epoch that starts at a position of the schedule trains; the last one trains on large images.

        Random crops show objects larger than the device does, which the smaller images make good, but the backbone has to
        see the size of the device in the end (Touvron et al. 2019, "Fixing the train-test resolution discrepancy").
        """
        return self._small if position < _SMALL and epoch + 1 < epochs else self._large

    def _cost(self, parts: Division) -> float:
        """Return the time of a step as a fraction of that of one on large images: it grows with the number of pixels."""
        rows, columns = parts.size
        return rows * columns / (self._large.size[0] * self._large.size[1])

    def _seconds_for(self, count: int) -> float:
        """Return the seconds that the rest of the schedule takes if it has `count` epochs, by the speed of the last two."""
        done, last = len(self.history), self.history[-2:]
        cost = {parts.size[0]: self._cost(parts) for parts in (self._large, self._small)}
        speed = np.mean([entry["seconds"] / cost[int(entry["pixels"])] for entry in last])
        starts = [self._position + (1 - self._position) * place / count for place in range(count)]
        planned = [self._parts(done + at, start, done + count) for at, start in enumerate(starts)]
        return float(speed) * sum(self._cost(parts) for parts in planned)

    def _fit(self, seconds: float | None, most: int | None) -> None:
        """Plan as many epochs as fit into `seconds`: at least one more, in which the rate falls to 0, at most `most`.

        Epochs are added only while the schedule is at smaller images: later the rate is too low for them to matter.
        """
        if seconds is None:
            return
        left, done = seconds - sum(entry["seconds"] for entry in self.history), len(self.history)
        limit = max(self.epochs, most or 0) if self._position < _SMALL else self.epochs
        count = limit - done
        while count > 1 and self._seconds_for(count) > left:
            count -= 1
        self.epochs = min(limit, done + max(1, count))

    def _judge(self, part: Pipeline) -> dict[str, float]:
        logits = np.concatenate([np.asarray(self._forward(images)[1]) for images, _ in part.plain()])
        return judge(softmax(logits.astype(np.float64)), part.targets, self.class_weights)

    def _has_stalled(self, epoch: int) -> bool:
        patience = self.recipe.patience
        return patience is not None and 2 * epoch >= self.epochs and epoch - self.best_epoch >= patience

    def _describe(self, epoch: int) -> str:
        notes = []
        if self.history:
            notes.append(f"{self._seconds_for(self.epochs - epoch) / 60:.1f} min left")
        if self.best_epoch and "validation_accuracy" in self.history[-1]:
            notes.append(f"accuracy so far {self.history[self.best_epoch - 1]['validation_accuracy']:.3f}")
        ending = f" ({', '.join(notes)})" if notes else ""
        return f"all layers, epoch {epoch + 1} of {self.epochs}{ending}"

    def _vector(self) -> NDArray[np.uint8]:
        return flatten_variables(self._kept)

    def _arrays(self, best: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {"now": self._vector(), "best": best, "moments": flatten_variables(self._optimizer.variables)}

    def _state(self, lowest: float) -> dict[str, Any]:
        return {
            "history": list(self.history),
            "best": self.best_epoch,
            "lowest": lowest,
            "epochs": self.epochs,
            "position": self._position,
        }

    def _restore(
        self, arrays: dict[str, NDArray[Any]], state: dict[str, Any]
    ) -> tuple[NDArray[np.uint8], float]:
        self.history, self.best_epoch = list(state["history"]), int(state["best"])
        self.epochs, self._position = int(state["epochs"]), float(state["position"])
        assign_variables(self._kept, arrays["now"])
        assign_variables(self._optimizer.variables, arrays["moments"])
        return arrays["best"], float(state["lowest"])


def _make_step(owner: WholeTraining, parts: Division) -> Callable[..., Any]:
    import tensorflow as tf

    trunk, tail, recipe, trained = parts.trunk, parts.tail, owner.recipe, owner._trained

    def differentiate(images: Any, spread: Any, importance: Any, kept: Any, total: Any) -> list[Any]:
        """Return loss, number of hits and gradients of a part of a batch of `total` photos."""
        features = images if trunk is None else trunk(images, training=False)
        with tf.GradientTape() as tape:
            embedding = tail(features, training=recipe.scratch)
            logits = (embedding * kept) @ owner.weights.value + owner.bias.value
            losses = tf.nn.softmax_cross_entropy_with_logits(spread, logits)
            loss = tf.reduce_sum(losses * importance) / total
            if owner._penalty is not None:
                part = tf.cast(tf.shape(images)[0], tf.float32) / total
                loss += part * owner._penalty(images, embedding)
        gradients = tape.gradient(loss, [variable.value for variable in trained])
        hits = tf.cast(tf.argmax(logits, axis=1) == tf.argmax(spread, axis=1), tf.float32)
        return [loss, tf.reduce_sum(hits), *gradients]

    def step(images: Any, spread: Any, importance: Any, seed: Any) -> Any:
        total = tf.shape(images)[0]
        kept = tf.ones((total, tail.output_shape[-1]))
        if recipe.dropout:
            # stateless and of the whole batch: the same after an interruption, and for any number of replicas
            kept = tf.nn.experimental.stateless_dropout(kept, recipe.dropout, seed)
        loss, hits, *gradients = owner._replicas.add_up(
            functools.partial(differentiate, total=tf.cast(total, tf.float32)),
            images,
            spread,
            importance,
            kept,
        )
        owner._optimizer.apply(gradients, trained)
        return loss, hits

    signature = [
        _image_spec(tail if trunk is None else trunk),
        tf.TensorSpec((None, len(owner.class_weights)), tf.float32),
        tf.TensorSpec((None,), tf.float32),
        tf.TensorSpec((2,), tf.int32),
    ]
    compiled: Callable[..., Any] = tf.function(step, input_signature=signature)
    return compiled


def _make_forward(owner: WholeTraining) -> Callable[..., Any]:
    import tensorflow as tf

    def forward(images: Any) -> Any:
        embedding = owner.backbone(images, training=False)
        return embedding, embedding @ owner.weights.value + owner.bias.value

    compiled: Callable[..., Any] = tf.function(forward, input_signature=[_image_spec(owner.backbone)])
    return compiled


def _image_spec(backbone: Any) -> Any:
    import tensorflow as tf

    return tf.TensorSpec((None, *backbone.input_shape[1:]), tf.float32)


def flatten_variables(variables: list[Any]) -> NDArray[np.uint8]:
    """Return the bytes of all variables, which have different types: weights, counters and random states."""
    return np.concatenate([np.frombuffer(np.asarray(variable).tobytes(), np.uint8) for variable in variables])


def assign_variables(variables: list[Any], packed: NDArray[np.uint8]) -> None:
    """Set variables to the bytes that `flatten_variables` returned."""
    start = 0
    for variable in variables:
        value = np.asarray(variable)
        end = start + value.nbytes
        variable.assign(np.frombuffer(packed[start:end].tobytes(), value.dtype).reshape(value.shape))
        start = end
