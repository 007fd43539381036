"""The lessons since the last complete fit, and the fit that they lead to without solving everything again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..model.codes import Codes
from .base import Fit
from .ridge import Solution
from .unknown import Unknown
from .update import Update

FEWEST = 100  # with fewer samples, a complete fit takes about as long as an embedding
MOST = 32  # lessons after which the update would take longer than it saves
_GROWTH = 20  # the ridge and the temperature are kept until one sample in twenty is new
_PATIENT_GROWTH = 10  # or in ten, while another thread is about to compute them

Lesson = tuple[Codes, Sequence[str], int]


@dataclass(frozen=True)
class Complete:
    """A complete fit.

    Attributes:
        solution: The solution of the ridge regression.
        labels: Its labels, sorted.
        unknown: The unknown score.
        sharpness: The factor on the scores.
        fit: The fit itself.
    """

    solution: Solution
    labels: tuple[str, ...]
    unknown: Unknown
    sharpness: float
    fit: Fit


class Lessons:
    """What was learned and forgotten since a complete fit.

    Attributes:
        ready: The updated fit of the present samples, once it is computed.
        patient: Whether another thread computes the complete fit soon.
    """

    def __init__(self) -> None:
        self._complete: Complete | None = None
        self._update: Update | None = None
        self._recorded: list[Lesson] = []  # since the complete fit
        self._applied = 0  # recorded lessons that the update contains
        self.ready: Fit | None = None
        self.patient = False
        self._restarts = 0
        self._number = 0  # of lessons ever

    @property
    def waiting(self) -> int:
        """Number of samples learned or forgotten since the complete fit."""
        return sum(len(labels) for _, labels, _ in self._recorded)

    @property
    def due(self) -> bool:
        """Whether so many samples are new that the complete fit should not wait for a rest."""
        return self._complete is not None and self.waiting > self._most(_GROWTH)

    def start(self, complete: Complete) -> None:
        """Start from a complete fit of all samples."""
        self._begin(complete, [])

    def restart(self) -> None:
        """Drop the complete fit, because something other than lessons changed."""
        self._restarts += 1
        self._begin(None, [])

    def add(self, codes: Codes, labels: Sequence[str], sign: int) -> None:
        """Add samples [N, D] that were learned (`sign` 1) or forgotten (-1)."""
        self._number += 1
        self.ready = None
        if self._complete is not None:
            self._recorded.append((codes, list(labels), sign))
            if self.waiting > self._most(_PATIENT_GROWTH if self.patient else _GROWTH):
                self._begin(None, [])

    def usable(self, counts: Mapping[str, int]) -> bool:
        """Return whether the complete fit can be updated to the samples with these counts per label."""
        return self._complete is not None and all(label in counts for label in self._complete.labels)

    def fit(self, make: Callable[[Update, Complete], Fit]) -> Fit:
        """Compute the fit of the present samples; call only if `usable`.

        Args:
            make: Makes a fit from the update and the complete fit.
        """
        complete = self._complete
        assert complete is not None  # noqa: S101 - it is usable
        if self._update is None:
            self._update = Update(complete.solution, complete.labels)
        for lesson in self._recorded[self._applied :]:
            self._update.add(*lesson)
        self._applied = len(self._recorded)
        self.ready = make(self._update, complete)
        return self.ready

    def snapshot(self) -> Lessons:
        """Return lessons without a complete fit, for a copy of the head that computes one."""
        other = Lessons()
        other._restarts, other._number = self._restarts, self._number
        return other

    def adopt(self, other: Lessons) -> bool:
        """Continue from the complete fit of a `snapshot`; return whether it was of use."""
        since = self._number - other._number
        if other._complete is None or other._restarts != self._restarts or since > len(self._recorded):
            return False
        self._begin(other._complete, self._recorded[len(self._recorded) - since :])
        return True

    def _begin(self, complete: Complete | None, recorded: list[Lesson]) -> None:
        self._complete, self._update, self.ready = complete, None, None
        self._recorded, self._applied = recorded, 0

    def _most(self, growth: int) -> float:
        """Return the number of samples that may change before everything is solved again."""
        assert self._complete is not None  # noqa: S101
        total = self._complete.solution.moments.total
        return min(MOST, total // growth) if total >= FEWEST else 0
