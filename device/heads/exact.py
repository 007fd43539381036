"""The default head: ridge regression on exact statistics, independent of the order, with exact undo and merge.

Everything is computed from integer sums (`device.heads.statistics`): the linear map and, by leave-one-out formulas
(`device.heads.discriminant`), the ridge, the temperature, the unknown threshold and the estimate of the accuracy. No
samples are held out for validation, and there is no learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError
from ..model.codes import Codes
from .base import FALSE_REJECTION, ONE_LABEL, Fit, Floats, Head, Linear, State, check_codes
from .calibration import NO_JUDGES, fit_sharpness, loss, too_few_judges
from .discriminant import Discriminant, Readout, read_out, without
from .folds import balanced_singles, stacked
from .keys import Keys
from .lessons import Complete, Lessons
from .nearest import conformal_threshold, directions
from .projected import ProjectedLinear
from .ridge import Chosen, Solution, solve
from .single import MOST_LABELS, Novelty
from .statistics import Selection, Statistics
from .threads import one_blas_thread
from .unknown import Scale, Unknown, left_out_cosine
from .update import Update

SELECTION = 256  # maximum number of samples that choose ridge, temperature and threshold
TURNED = 128  # fewer samples than this are left out several times, each time in other blocks
PRIOR_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the logarithm of the priors, with `priors="taught"`
DEFAULT_SHARPNESS = 0.3  # if no sample can be left out
_WORK = 1e9  # each block that is left out takes the cube of the number of labels
_STACK = 2**20  # numbers in a stack of matrices of C x C, one per block; 8 MB each of a few
ILL = 1e12  # condition number above which float64 keeps fewer than four digits
ALIKE = 1e-9  # mean eigenvalue below which samples differ by less than the fixed-point resolution


class ExactHead(Head):
    """Ridge regression with exact leave-one-out, from additive statistics.

    Args:
        dimensions: D.
        ridge: Fixed ridge, absolute; None chooses it by leave-one-out.
        false_rejection: Share of the taught samples that may be predicted as unknown.
        priors: ``even``, or ``taught``: labels are expected as frequently as they were taught.

    Example:
        >>> import numpy as np
        >>> from device.model.codes import encode
        >>> head = ExactHead(2)
        >>> head.learn_one(encode([1.0, 0.0]), "east")
        >>> head.learn_one(encode([0.0, 1.0]), "north")
        >>> head.predict_one(encode([0.9, 0.1])).label
        'east'
    """

    name: ClassVar[str] = "exact"
    # a matrix of C x C numbers takes 32 MB then, and its inverse seconds
    most_labels: ClassVar[int | None] = 2_000

    def __init__(
        self,
        dimensions: int,
        *,
        ridge: float | None = None,
        false_rejection: float = FALSE_REJECTION,
        priors: str | None = None,
    ) -> None:
        super().__init__(dimensions, false_rejection=false_rejection, priors=priors)
        self.ridge = ridge
        self.statistics = Statistics(self.dimensions, self.tuned)
        self._solution: Solution | None = None
        self._chosen = Chosen()
        self._lessons = Lessons()

    @property
    def counts(self) -> dict[str, int]:
        """Number of learned samples per label, in the order of `labels`."""
        return self.statistics.counts

    def learn_statistics(
        self, labels: Sequence[str], counts: NDArray[Any], sums: NDArray[Any], gram: Floats
    ) -> None:
        """Learn from sums over samples, as `device.model.memory.Sums` holds them, or from multiples of 1/16 of them."""
        self.statistics.add_statistics(labels, counts, sums, gram)
        self._restart()

    @property
    def settled(self) -> bool:
        """Whether predictions come from the complete fit, or would if there were one to compute."""
        return self._fitted is not None or not self._lessons.usable(self.counts)

    @property
    def due(self) -> bool:
        """Whether the complete fit should be computed soon, even if lessons continue."""
        return not self.settled and self._lessons.due

    def expect_settling(self, expected: bool = True) -> None:
        """Note whether another thread completes the head soon, so that predictions may update the last fit longer."""
        self._lessons.patient = expected

    def snapshot(self) -> Self:
        """Return a copy with the same samples, whose complete fit another thread may compute for `adopt`."""
        other = type(self)(
            self.dimensions, ridge=self.ridge, false_rejection=self.false_rejection, priors=self.priors
        )
        other.statistics = self.statistics.copy()
        other.tuned = other.statistics.tuned
        other._lessons = self._lessons.snapshot()
        return other

    def adopt(self, other: Self) -> None:
        """Take over the complete fit of a `snapshot` of this head; lessons since then are updates of it.

        If something other than lessons happened since the snapshot, such as a renamed label, nothing is taken over.
        """
        if other._fitted is None or not self._lessons.adopt(other._lessons):
            return
        if not self._lessons.waiting:
            self._fitted, self._solution = other._fitted, other._solution

    def solution(self) -> Solution:
        """Return the solution of the ridge regression, before the temperature."""
        _ = self.fit
        assert self._solution is not None  # noqa: S101 - fit sets it
        return self._solution

    def latest_solution(self) -> Solution:
        """Return the solution of the last complete fit, even if a few lessons are newer; compute one if there is none."""
        latest = self._solution
        return latest if latest is not None and self._lessons.usable(self.counts) else self.solution()

    def leave_out(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> Floats:
        """Return the logits of each learned sample as if it, and its group, had never been learned.

        Raises:
            LabelError: A label was never learned.
        """
        codes = check_codes(codes, self.dimensions)
        sharpness, weight = self.fit.figures["sharpness"], self.fit.figures["prior weight"]
        columns = {label: column for column, label in enumerate(self.labels)}
        if missing := sorted(set(labels) - set(columns)):
            raise LabelError(f"cannot leave out samples of labels never learned: {', '.join(missing)}")
        owners = np.array([columns[label] for label in labels], np.int64)
        groups = np.arange(len(codes)) if groups is None else np.asarray(groups)
        solution = self.solution()
        logits = np.empty((len(codes), len(columns)))
        U, blocks = solution.project(codes), stacked(groups)
        for members, H in zip(blocks, solution.inverse.corners(codes, blocks), strict=True):
            Y = np.eye(len(columns))[owners[members]]
            left = without(H, U[members], solution.P, solution.moments.counts, Y)
            scores = self._scaled(read_out(*left), solution)
            logits[members] = sharpness * scores + weight * self._offset(left[2])[:, None, :]
        return logits

    def digest(self) -> str:
        """Return the sha256 of the statistics: labels, counts, sums, second moment."""
        return self.statistics.digest()

    def state(self) -> State:
        """Return the options and the statistics, or the codes while those are smaller."""
        options = [np.nan if self.ridge is None else self.ridge, self.false_rejection]
        return self.statistics.state() | {"options": np.array(options)} | self._priors_state()

    @classmethod
    def restore(cls, dimensions: int, state: State) -> Self:
        """Return a head with the given state.

        Raises:
            HeadError: The state is damaged or has another number of dimensions.
        """
        statistics = Statistics.restore(dimensions, state)
        ridge, false_rejection = state["options"].tolist()
        head = cls(
            dimensions,
            ridge=None if np.isnan(ridge) else ridge,
            false_rejection=false_rejection,
            priors=cls._priors_in(state),
        )
        head.statistics, head.tuned = statistics, statistics.tuned
        return head

    def _exclude(self, keys: Keys) -> None:
        if len(keys):
            self.statistics.exclude(keys)
            self._restart()

    def _learn(self, codes: Codes, labels: list[str]) -> None:
        self.statistics.add(codes, labels)
        self._lessons.add(codes, labels, 1)

    def _forget(self, codes: Codes, labels: list[str]) -> None:
        self.statistics.remove(codes, labels)
        self._lessons.add(codes, labels, -1)

    def _merge(self, other: Any) -> None:
        self.statistics.merge(other.statistics)
        self._restart()

    def _rename(self, old: str, new: str) -> None:
        self.statistics.rename(old, new)
        self._restart()

    def _delete(self, label: str) -> None:
        self.statistics.delete(label)
        self._restart()

    def _restart(self) -> None:
        """Forget the complete fit for good: what changed is more than lessons."""
        self._fitted = None
        self._lessons.restart()

    def _current_fit(self) -> Fit:
        if self._lessons.ready is not None:  # on every frame until the head is complete
            return self._lessons.ready
        if self.settled:
            return self.fit
        # predictions do not wait for another thread's complete fit
        with one_blas_thread(wait=False):
            return self._lessons.fit(self._updated)

    def _updated(self, update: Update, complete: Complete) -> Fit:
        """Return the fit of an updated solution, with the temperature and the threshold of the complete one."""
        moved = update.moved(self.statistics.weights)
        values = Discriminant.of(moved.P, moved.counts)
        unknown = replace(complete.unknown, means=self._means(update, complete))
        fit = replace(complete.fit, labels=tuple(self.counts))
        sharpness, weight = complete.sharpness, complete.fit.figures["prior weight"]
        if len(moved.counts) > MOST_LABELS:
            M, c = _reading(values, float(values.share))
            linear = ProjectedLinear(
                moved, sharpness * M, sharpness * c + weight * self._offset(moved.counts)
            )
            return replace(fit, linear=linear, novelty=Novelty(moved, values, unknown))
        solution = update.solution(moved)
        readout = self._readout(solution, values)
        return replace(
            fit,
            linear=self._calibrated(readout, sharpness, weight, solution),
            novelty=Novelty(solution, values, unknown),
        )

    def _means(self, update: Update, complete: Complete) -> Floats:
        """Return the directions of the labels' means, of which those of other labels than in the lessons are known."""
        if tuple(self.counts) != complete.labels:
            return directions(self.statistics.sums()[1].astype(np.float64))
        means, places = complete.unknown.means.copy(), {label: at for at, label in enumerate(complete.labels)}
        for label in update.labels:
            means[places[label]] = directions(self.statistics.sum_of(label)[np.newaxis].astype(np.float64))[0]
        return means

    def _compute_fit(self) -> Fit:
        selection = self._selection()
        solution = self._solution = self._solve(selection)
        values = Discriminant.of(solution.P, solution.moments.counts)
        readout = self._readout(solution, values)
        taken, C = solution.moments, len(solution.moments.counts)
        # the only sample of a label cannot be left out, because the label would be unknown without it
        fair = taken.counts[selection.owners] > 1
        owners, copies = selection.owners[fair], selection.copies[fair]
        turns = max(1, min(TURNED // len(owners), int(_WORK / C**3))) if fair.any() else 1
        left_out = [self._left_out(solution, selection, fair, turn) for turn in range(turns)]
        held_out, offset, relative = (np.concatenate(parts) for parts in zip(*left_out, strict=True))
        sharpness, weight = DEFAULT_SHARPNESS, 1.0
        if fair.any():
            judged = np.tile(owners, turns), np.tile(copies, turns)
            sharpness, weight = self._calibration(held_out, offset, *judged) if C > 1 else (1.0, 1.0)
        linear = self._calibrated(readout, sharpness, weight, solution)
        sums = self.statistics.sums()[1].astype(np.float64)
        cosine = left_out_cosine(selection.codes[fair], owners, sums)
        unknown = Unknown(directions(sums), Scale.of(relative), Scale.of(cosine))
        threshold = conformal_threshold(
            np.repeat(unknown.combine(relative[: len(owners)], cosine), copies), self.false_rejection
        )
        figures = {
            "ridge": solution.lam,
            "sharpness": sharpness,
            "prior weight": weight,
            "condition": solution.condition,
        }
        fit = Fit(linear, Novelty(solution, values, unknown), threshold, self._notes(solution, fair), figures)
        self._lessons.start(Complete(solution, tuple(self.counts), unknown, sharpness, fit))
        return fit

    def _selection(self) -> Selection:
        """Return the samples that choose ridge, temperature and threshold; none where too few may judge."""
        selection = self.statistics.selection(SELECTION)
        if len(self.tuned) and too_few_judges(selection.owners):
            return self.statistics.selection(0)
        return selection

    def _left_out(
        self, solution: Solution, selection: Selection, fair: NDArray[np.bool_], turn: int
    ) -> tuple[Floats, Floats, Floats]:
        """Return scores [n, C], what the priors add [n, C] and distances [n] of the fair samples, left out in blocks."""
        taken, owners = solution.moments, selection.owners[fair]
        H, U, Y = solution.H[np.ix_(fair, fair)], solution.U[fair], np.eye(len(taken.counts))[owners]
        scores, offset, distance = np.empty_like(Y), np.empty_like(Y), np.empty(len(owners))
        for members in stacked(balanced_singles(owners, turn), most=_STACK // len(taken.counts) ** 2):
            corner = H[members[:, :, None], members[:, None, :]]
            left = without(corner, U[members], solution.P, taken.counts, Y[members])
            readout = read_out(*left)
            scores[members], distance[members] = self._scaled(readout, solution), readout.distance
            offset[members] = self._offset(left[2])[:, None, :]
        return scores, offset, distance

    def _solve(self, selection: Selection) -> Solution:
        return solve(self.statistics, selection, self.ridge, self._chosen)

    def _readout(self, solution: Solution, values: Discriminant) -> Linear:
        """Return the scores as a linear map of the embedding, before the temperature."""
        return self._linear(solution, values, float(values.share))

    def _linear(self, solution: Solution, values: Discriminant, share: float) -> Linear:
        """Return the blend of discriminant and cosine readout, with this share of the latter."""
        M, c = _reading(values, share)
        W = solution.W @ M
        return Linear(W, c - solution.moments.mean @ W)

    def _calibration(
        self, scores: Floats, offset: Floats, owners: NDArray[np.int64], copies: NDArray[np.int64]
    ) -> tuple[float, float]:
        """Return the sharpness of left-out scores [n, C] and the weight of what the priors add to them [n, C].

        The scores of rare labels are low already, because the ridge shrinks their directions more, so that the full
        logarithm of the priors may count them twice.
        """
        tried = []
        for weight in PRIOR_WEIGHTS if offset.any() else (1.0,):
            sharpness = fit_sharpness(scores, owners, copies, weight * offset)
            tried.append((loss(sharpness * scores + weight * offset, owners, copies), sharpness, weight))
        return min(tried)[1:]

    def _calibrated(self, readout: Linear, sharpness: float, weight: float, solution: Solution) -> Linear:
        """Return the logits as a linear map: the scores times their sharpness, and the priors."""
        offset = weight * self._offset(solution.moments.counts)
        return Linear(sharpness * readout.W, sharpness * readout.b + offset)

    def _offset(self, counts: Floats) -> Floats:
        """Return what the priors add to the scores for counts [..., C], before their weight; for subclasses to override."""
        return self._log_priors(counts)

    def _scaled(self, readout: Readout, solution: Solution) -> Floats:
        """Return the scores in the scale of `_readout`; for subclasses to override."""
        return readout.blended

    def _notes(self, solution: Solution, fair: NDArray[np.bool_]) -> tuple[str, ...]:
        notes = []
        if len(solution.moments.counts) < 2:
            notes.append(ONE_LABEL)
        if solution.moments.eigenvalue <= ALIKE:
            notes.append(
                "all samples look the same, so labels cannot be distinguished; check the camera and the light"
            )
        if not fair.any() and len(self.tuned):
            notes.append(NO_JUDGES)
        elif not fair.any():
            notes.append("too few samples to leave one out: probabilities and 'known' are not calibrated yet")
        if solution.condition > ILL:
            notes.append(
                f"the ridge regression is ill-conditioned ({solution.condition:.0e}): raise the ridge"
            )
        return tuple(notes)


def _reading(values: Discriminant, share: float) -> tuple[Floats, Floats]:
    """Return the map [C, C] and the constant [C] that make scores of ``U = (z - m) W``, with this share of the cosine readout."""
    total = float(values.n.sum())
    M: Floats = (1 - share) * total * values.R + share * np.diag(values.factors)
    return M, -(1 - share) * total / 2 * values.spread
