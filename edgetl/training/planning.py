"""Which layers to train, and for how many epochs, from the number of photos and the time granted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from device.files import atomic_output

from ..errors import TrainingError

AUTO, HEAD, BLOCKS, ALL = "auto", "head", "blocks", "all"
LAYERS = (AUTO, HEAD, BLOCKS, ALL)
DEFAULT_MINUTES = 15.0
# With fewer, about 25 photos are held out: chance decides whether they find the tuned backbone better.
ENOUGH_PHOTOS = 100
FEWEST_EPOCHS = 4  # a shorter schedule ends before it has made good what its high rate spoiled
MOST_EPOCHS = 12  # with more, the weights move so far that points on the way there gain less
SCRATCH_EPOCHS = 30  # of small networks with random weights
GAN_MINUTES, GAN_RATE = 10.0, 5e-4
_BLOCKS_COST = 3  # the default training of the last blocks takes about as long as three epochs of all layers

_PLAN = "plan.json"


class TooLittleTimeError(TrainingError):
    """The time is too short for the training that was asked for."""


@dataclass(frozen=True)
class Plan:
    """What a run trains.

    Attributes:
        layers: ``head``, ``blocks`` or ``all``.
        epochs: Epochs of all layers; 0 for the others.
        reason: Why, a sentence for the user; "" when the user chose.
        seconds: Time for the epochs, where it decided their number; where they take longer, there are fewer of them.
        most: Maximum number of epochs where they take less time; 0 for no more than `epochs`.
    """

    layers: str
    epochs: int = 0
    reason: str = ""
    seconds: float | None = None
    most: int = 0

    def save(self, folder: Path) -> None:
        """Write the plan, so that an interrupted run keeps it although the machine is faster or slower then."""
        with atomic_output(folder / _PLAN, force=True) as temporary:
            temporary.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Plan | None:
        """Read the plan of an interrupted run, if there is one."""
        path = folder / _PLAN
        return cls(**json.loads(path.read_text())) if path.is_file() else None


def resolve_layers(layers: str, *, head_only: bool, blocks: int | None, epochs: int | None) -> str:
    """Return which layers the options name; ``auto`` when that is left open.

    Raises:
        TrainingError: `layers` is unknown, or the options contradict each other.
    """
    if layers not in LAYERS:
        raise TrainingError(f"layers must be one of {', '.join(LAYERS)}, got {layers!r}")
    implied = AUTO
    if head_only or blocks == 0 or epochs == 0:
        implied = HEAD
    elif blocks is not None:
        implied = BLOCKS
    if AUTO not in (layers, implied) and layers != implied:
        named = "head_only, or 0 blocks or epochs," if implied == HEAD else f"blocks={blocks}"
        raise TrainingError(
            f"layers={layers!r} contradicts {named} which trains {implied!r}; use one of the two"
        )
    return implied if layers == AUTO else layers


def train_from_scratch(backbone: str, layers: str) -> str:
    """Return the layers to train of a backbone without pretrained weights: all.

    Raises:
        TrainingError: `layers` leaves some of them random.
    """
    if layers not in (AUTO, ALL):
        raise TrainingError(
            f"{backbone} has no pretrained weights, so all its layers must be trained; leave out the options that train "
            "the head alone or the last blocks"
        )
    return ALL


def may_train_all(training: int, validation: int) -> Plan | None:
    """Return the plan of `auto` where the photos rule out training all layers, else None.

    Args:
        training: Number of training photos.
        validation: Number of validation photos.
    """
    if not validation:
        return Plan(
            BLOCKS, reason="the last blocks are trained, because no photo is held out to judge all layers by"
        )
    if training < ENOUGH_PHOTOS:
        return Plan(
            BLOCKS,
            reason=f"the last blocks are trained, because there are {training} training photos: training all layers "
            f"pays from about {ENOUGH_PHOTOS} on; --layers all does it anyway",
        )
    return None


def caution(layers: str, scratch: bool, training: int) -> tuple[str, ...]:
    """Return a warning where the user chose to train all layers on few photos.

    Args:
        layers: The layers that the user chose.
        scratch: Whether the backbone has no pretrained weights, so that there is no other choice.
        training: Number of training photos.
    """
    if layers != ALL or scratch or training >= ENOUGH_PHOTOS:
        return ()
    return (
        f"{training} training photos are few for all layers, which pays from about {ENOUGH_PHOTOS} on; compare with the "
        "last blocks: --layers blocks",
    )


def plan_by_time(
    layers: str, epochs: int | None, minutes: float, seconds_left: float, per_epoch: float
) -> Plan:
    """Return how many epochs of all layers to train, or what to train instead.

    Args:
        layers: ``auto`` or ``all``.
        epochs: Number of epochs that the user asked for, or None.
        minutes: Time granted for the run, for the message.
        seconds_left: Remaining seconds of it for training.
        per_epoch: Measured seconds per epoch.
    """
    fitting = max(0, int(seconds_left / per_epoch))
    if layers == ALL and epochs is not None:
        return Plan(ALL, epochs)
    if fitting >= max(FEWEST_EPOCHS, epochs or 0):
        if epochs:
            return Plan(ALL, epochs)
        return Plan(ALL, min(fitting, MOST_EPOCHS), seconds=seconds_left, most=MOST_EPOCHS)
    needed = FEWEST_EPOCHS if epochs is None else epochs
    more = minutes + (needed * per_epoch - seconds_left) / 60
    instead = BLOCKS if fitting >= _BLOCKS_COST else HEAD
    named = "the last blocks are" if instead == BLOCKS else "the head alone is"
    return Plan(
        instead,
        reason=f"{named} trained, because {needed} epochs of all layers at {per_epoch:.0f} s each do not fit into "
        f"{minutes:g} minutes; --minutes {more:.0f} is enough for them",
    )
