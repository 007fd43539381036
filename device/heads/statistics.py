"""Additive statistics of labeled codes, in integers: bit for bit the same for any order and any split.

For codes z (int16) with labels c they are the counts n_c, the sums S_c = sum z and the second moment
G = sum z z^T. While there are fewer samples than dimensions, the codes themselves are smaller than G and are kept
instead; G is computed from them when needed. G is float64 because matrix products of floats are fast, and it is exact
because every partial sum is an integer below 2**53.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..arrays import pack_texts, unpack_texts
from ..errors import EdgetlError, HeadError
from ..model.codes import Codes
from . import fingerprint
from .base import Floats, State
from .integers import pack_integers, pack_symmetric, unpack_integers, unpack_symmetric
from .keys import Keys, KeySet, content_keys
from .products import inner, second_moment
from .sketch import Sketch
from .vocabulary import Vocabulary

WEIGHT_STEPS = 16
"""Weights of foreign statistics are multiples of 1/16: sums of such fractions are exact in float64, as integers are."""

MAX_SAMPLES = 2**22  # 2**22 * (2**15)**2 < 2**53: with more samples, float64 could round
# codes to collect before one matrix product adds them to G, because a rank-1 update causes the same memory traffic
_PENDING = 256


@dataclass(frozen=True)
class Selection:
    """The samples with the smallest keys, with which a head judges itself.

    Attributes:
        codes: int16 [n, D].
        owners: int64 [n], columns of the counts.
        copies: int64 [n], the number of times that each was learned.
        places: int64 [n], their indices among the kept codes; None if codes are no longer kept.
        keys: uint64 [n], hashes of their content.
    """

    codes: Codes
    owners: NDArray[np.int64]
    copies: NDArray[np.int64]
    places: NDArray[np.intp] | None
    keys: NDArray[np.uint64]

    def fingerprint(self) -> bytes:
        """Return bytes that are equal only for equal selections."""
        return b"".join(array.tobytes() for array in (self.keys, self.owners, self.copies))


class Statistics:
    """Counts, sums and second moment of codes, and the codes themselves while they are few.

    Args:
        dimensions: D.
        tuned: Keys of samples that tuned the backbone, which are summed but never in a selection.
    """

    def __init__(self, dimensions: int, tuned: KeySet | None = None) -> None:
        self.dimensions = dimensions
        self.tuned = KeySet() if tuned is None else tuned
        self._vocabulary = Vocabulary()
        # int64, or float64 if foreign samples have weights
        self._sums: NDArray[Any] = np.zeros((0, dimensions), np.int64)
        self._gram: Floats | None = None  # None while every code is kept
        self._codes = np.zeros((0, dimensions), np.int16)  # kept, or not yet added to the gram
        self._owners = np.zeros(0, np.int32)
        self._keys = np.zeros(0, np.uint64)
        self._used = 0
        self._squares: float = 0  # an integer, except with weights
        self._fingerprint = np.zeros(fingerprint.COUNT, np.int64)  # of the second moment in units of `_scale`
        self._products: Floats = np.zeros((0, 0))  # inner products of the first codes, while all are kept
        self._multiplied = 0  # number of codes in `_products`
        self._sketch = Sketch(dimensions)

    @property
    def complete(self) -> bool:
        """Whether every code is still kept."""
        return self._gram is None

    @property
    def total(self) -> int:
        """Number of samples that were learned and not forgotten."""
        return self._vocabulary.total

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples per label, sorted by label, without labels that have no samples."""
        return self._vocabulary.counts

    @property
    def codes(self) -> Codes:
        """The kept codes, int16 [n, D], in the canonical order of `kept_order`."""
        return self._codes[self.kept_order()]

    def kept_order(self) -> NDArray[np.intp]:
        """Return the canonical order of the kept codes, which depends only on them: by key, then by label."""
        ranks = self._vocabulary.ranks()[self._owners[: self._used]]
        return np.lexsort((ranks, self._keys[: self._used]))

    def owners(self) -> NDArray[np.int64]:
        """Return the labels of the kept codes as columns of `counts`, in canonical order, int64 [n]."""
        return self._vocabulary.ranks()[self._owners[: self._used]][self.kept_order()]

    @property
    def weights(self) -> dict[str, float]:
        """As `counts`, with the fractions that weighted foreign samples lead to."""
        return self._vocabulary.weights

    @property
    def weighted(self) -> bool:
        """Whether samples with a weight were added, so that counts and sums are float64."""
        return self._sums.dtype.kind == "f"

    def sums(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return counts [C] and sums [C, D], int64 or float64, with rows in the order of `counts`."""
        rows = self._vocabulary.present()
        return self._vocabulary.numbers[rows], self._sums[rows]

    def sum_of(self, label: str) -> NDArray[Any]:
        """Return the sum of the codes of a label, int64 or float64 [D]."""
        total: NDArray[Any] = self._sums[self._vocabulary.rows[label]]
        return total

    def products(self, chosen: NDArray[np.intp] | None = None) -> Floats:
        """Return the inner products of the kept codes, integers in float64 [n, n].

        Args:
            chosen: Indices in the canonical order; default all, in canonical order.
        """
        done, used = self._multiplied, self._used
        if len(self._products) < used:
            room = max(used, min(3 * len(self._products) // 2, self.dimensions))
            grown = np.empty((room, room))
            grown[:done, :done] = self._products[:done, :done]
            self._products = grown
        if done < used:
            codes = self._codes[:used]
            new = inner(codes if done == 0 else codes[done:], codes)
            self._products[done:used, :used] = new
            self._products[:done, done:used] = new[:, :done].T
            self._multiplied = used
        order = self.kept_order()
        order = order if chosen is None else order[chosen]
        return self._products[order[:, None], order]

    def squares(self) -> float:
        """Return the trace of G, the sum of all squared codes."""
        return self._squares

    def gram(self) -> Floats:
        """Return G, integers in float64 [D, D]."""
        if self._gram is not None:
            self._flush()
            return self._gram
        gram: Floats = np.zeros((self.dimensions, self.dimensions))
        for start in range(0, self._used, _PENDING):
            gram += second_moment(self._codes[start : min(start + _PENDING, self._used)])
        return gram

    def selection(self, size: int) -> Selection:
        """Return at most `size` of the samples that may judge; the choice depends only on the learned samples."""
        if self._gram is not None:
            codes, rows, copies, keys = self._sketch.smallest(size, self._vocabulary.ranks())
            return Selection(codes, self._vocabulary.ranks()[rows], copies, None, keys)
        order, owners = self.kept_order(), self.owners()
        keys = self._keys[order]
        fresh = np.ones(len(order), bool)
        fresh[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
        starts = np.flatnonzero(fresh)
        times = np.diff(np.append(starts, len(order))).astype(np.int64)
        judges = np.flatnonzero(~self.tuned.holds(keys[starts]))[:size]
        places = starts[judges]
        return Selection(self._codes[order[places]], owners[places], times[judges], places, keys[places])

    def exclude(self, keys: Keys) -> None:
        """Exclude samples with these keys, whether learned already or later, from every selection."""
        self.tuned.add(keys)
        self._sketch.exclude(self.tuned)

    def add(self, codes: Codes, labels: Sequence[str]) -> None:
        """Add samples, codes int16 [N, D].

        Raises:
            HeadError: There would be more samples than can be summed exactly.
        """
        if self.total + len(codes) > MAX_SAMPLES:
            raise HeadError(
                f"at most {MAX_SAMPLES} samples can be summed exactly, got {self.total + len(codes)}; forget some first"
            )
        owners = self._vocabulary.add(labels)
        keys = content_keys(codes)
        self._add_sums(codes, owners, 1)
        for start in range(0, len(codes), _PENDING):
            part = slice(start, start + _PENDING)
            self._keep(codes[part], owners[part], keys[part])

    def remove(self, codes: Codes, labels: Sequence[str]) -> None:
        """Remove samples exactly; on an error, remove none.

        Raises:
            HeadError: A sample was never added. If codes are no longer kept, only the count of its label is checked.
        """
        self._vocabulary.check(labels)
        owners = self._vocabulary.rows_of(labels)
        keys = content_keys(codes)
        if self._gram is None:
            self._drop(self._find(codes, owners, keys))
        else:
            self._flush()
            values = codes.astype(np.float64)
            self._gram -= values.T @ values
            judges = ~self.tuned.holds(keys)
            self._sketch.remove(codes[judges], owners[judges], keys[judges])
        self._vocabulary.remove(labels)
        self._add_sums(codes, owners, -1)
        self._forget_when_empty()

    def add_statistics(
        self, labels: Sequence[str], counts: NDArray[Any], sums: NDArray[Any], gram: Floats
    ) -> None:
        """Add sums over other samples, in the integers of codes, or in multiples of 1/`WEIGHT_STEPS` of them.

        Args:
            labels: C labels.
            counts: int64 or float64 [C].
            sums: int64 or float64 [C, D].
            gram: float64 [D, D].
        """
        self._compress()
        owners = self._vocabulary.add_counts(labels, counts)
        self._grow()
        self._become(np.result_type(self._sums, sums))
        np.add.at(self._sums, owners, sums)
        self._squares += _number(np.trace(gram))
        self._add_fingerprint(fingerprint.of_gram(gram * self._scale), 1)
        self._gram = self.gram() + gram

    def merge(self, other: Statistics) -> None:
        """Add everything in `other`, which does not change."""
        if other.complete:
            names = {row: label for label, row in other._vocabulary.rows.items()}
            self.add(
                other._codes[: other._used], [names[row] for row in other._owners[: other._used].tolist()]
            )
            return
        self._compress()
        gram = other.gram()
        rows = self._vocabulary.merge(other._vocabulary)
        self._grow()
        self._become(np.result_type(self._sums, other._sums))
        np.add.at(self._sums, rows, other._sums)
        self._squares += other._squares
        self._add_fingerprint(other._fingerprint, self._scale // other._scale)
        self._gram = self.gram() + gram
        self._sketch.merge(other._sketch, rows)
        self._sketch.exclude(self.tuned)

    def copy(self) -> Self:
        """Return an independent copy."""
        return copy.deepcopy(self)

    def rename(self, old: str, new: str) -> None:
        """Rename a label, or join it to an existing one."""
        row, target = self._vocabulary.rename(old, new)
        if row != target:
            self._sums[target] += self._sums[row]
            self._sums[row] = 0
            self._owners[self._owners == row] = target
            self._sketch.rename(row, target)

    def delete(self, label: str) -> None:
        """Remove every sample of a label.

        Raises:
            HeadError: The codes are no longer kept, so the label's share of the second moment is unknown.
        """
        if self._gram is not None:
            raise HeadError(
                f"the head no longer keeps the samples of {label!r} one by one; "
                "forget them with their codes, as the learner does from its store"
            )
        mine = np.flatnonzero(self._owners[: self._used] == self._vocabulary.rows[label])
        self.remove(self._codes[mine], [label] * len(mine))

    def digest(self) -> str:
        """Return the sha256 of labels, counts, sums and the fingerprint of the second moment, sorted by label, and of `tuned`."""
        counts, sums = self.sums()
        kind = "weighted statistics" if self.weighted else "statistics"
        digest = hashlib.sha256(f"edgetl {kind} 2, {self.dimensions} dimensions\n".encode())
        digest.update("\n".join(self.counts).encode())
        for array in (counts * self._scale, sums * self._scale, self._fingerprint):
            digest.update(array.astype("<i8").tobytes())
        digest.update(self.tuned.keys.astype("<u8").tobytes())  # empty if no sample tuned the backbone
        return digest.hexdigest()

    def state(self) -> State:
        """Return the arrays to store: the codes while they are kept, otherwise the packed triangle of G."""
        counts, sums = self.sums()
        state: State = {"labels": pack_texts(list(self.counts)), "dimensions": np.array([self.dimensions])}
        state |= self.tuned.state()
        if self._gram is None:
            return state | {"codes": self.codes, "owners": self.owners()}
        scale = self._scale
        if self.weighted:
            state["scale"] = np.array([scale])
        whole = (sums * scale).astype(np.int64)
        summed: State = {"counts": (counts * scale).astype(np.int64), "sums": pack_integers(whole)}
        moment = pack_symmetric((self.gram() * scale).astype(np.int64))
        return state | summed | moment | self._sketch.state(self._vocabulary.ranks())

    @classmethod
    def restore(cls, dimensions: int, state: State) -> Self:
        """Return statistics with the given state.

        Raises:
            HeadError: The state is damaged or has another number of dimensions.
        """
        try:
            if state["dimensions"].tolist() != [dimensions]:
                raise HeadError(
                    f"the state has {state['dimensions'].tolist()} dimensions, expected {dimensions}"
                )
            return cls._restored(dimensions, unpack_texts(state["labels"]), state)
        except HeadError:
            raise
        except (KeyError, IndexError, ValueError, EdgetlError) as error:
            raise HeadError(f"the head's state is damaged: {error}; rebuild it from the samples") from error

    @classmethod
    def _restored(cls, dimensions: int, labels: list[str], state: State) -> Self:
        statistics = cls(dimensions, KeySet.restore(state))
        if "codes" in state:
            statistics.add(
                state["codes"].astype(np.int16), [labels[owner] for owner in state["owners"].tolist()]
            )
            return statistics
        gram, sums = _restored_gram(dimensions, state), unpack_integers(state["sums"])
        if "scale" in state:
            scale = int(state["scale"][0])
            statistics.add_statistics(labels, state["counts"] / scale, sums / scale, gram / scale)
        else:
            statistics.add_statistics(labels, state["counts"], sums, gram)
        statistics._sketch = Sketch.restore(dimensions, state)
        return statistics

    def _grow(self) -> None:
        """Add a row of sums for each new row of the vocabulary."""
        new = len(self._vocabulary.numbers) - len(self._sums)
        if new:
            self._sums = np.concatenate([self._sums, np.zeros((new, self.dimensions), np.int64)])

    def _add_sums(self, codes: Codes, owners: NDArray[np.int32], sign: int) -> None:
        self._grow()
        self._squares += sign * int((codes.astype(np.int64) ** 2).sum())
        self._add_fingerprint(fingerprint.of_samples(codes), sign * self._scale)
        # np.unique would import numpy.ma, which slows every start
        for owner in np.flatnonzero(np.bincount(owners)):
            self._sums[owner] += sign * codes[owners == owner].sum(axis=0, dtype=np.int64)

    def _add_fingerprint(self, one: fingerprint.Fingerprint, times: int) -> None:
        self._fingerprint = (self._fingerprint + times * one) % fingerprint.PRIME

    @property
    def _scale(self) -> int:
        """The number that makes integers of counts, sums and second moment."""
        return WEIGHT_STEPS if self.weighted else 1

    def _become(self, dtype: np.dtype[Any]) -> None:
        """Sum in float64 from now on, if `dtype` is not an integer."""
        before = self._scale
        self._sums = self._sums.astype(dtype)
        self._fingerprint = self._fingerprint * (self._scale // before) % fingerprint.PRIME

    def _keep(self, codes: Codes, owners: NDArray[np.int32], keys: NDArray[np.uint64]) -> None:
        end = self._used + len(codes)
        if end > len(self._codes):
            room = max(end, 2 * self._used, 16) - self._used
            self._codes = np.concatenate(
                [self._codes[: self._used], np.zeros((room, self.dimensions), np.int16)]
            )
            self._owners = np.concatenate([self._owners[: self._used], np.zeros(room, np.int32)])
            self._keys = np.concatenate([self._keys[: self._used], np.zeros(room, np.uint64)])
        place = slice(self._used, end)
        self._codes[place], self._owners[place], self._keys[place] = codes, owners, keys
        self._used = end
        if self._gram is not None:
            self._sketch_judges(codes, owners, keys)
            if self._used >= _PENDING:
                self._flush()
        elif self._used >= self.dimensions:
            self._compress()

    def _compress(self) -> None:
        """Replace the kept codes by the second moment and a sketch."""
        if self._gram is None:
            kept = slice(0, self._used)
            self._sketch_judges(self._codes[kept], self._owners[kept], self._keys[kept])
            self._gram = self.gram()
            self._used, self._multiplied, self._products = 0, 0, np.zeros((0, 0))
            self._codes = self._codes[:_PENDING].copy()

    def _sketch_judges(self, codes: Codes, owners: NDArray[np.int32], keys: Keys) -> None:
        judges = ~self.tuned.holds(keys)
        self._sketch.add(codes[judges], owners[judges], keys[judges])

    def _flush(self) -> None:
        """Add the collected codes to G in one matrix product."""
        if self._gram is not None and self._used:
            self._gram += second_moment(self._codes[: self._used])
            self._used, self._multiplied, self._products = 0, 0, np.zeros((0, 0))
            self._codes = self._codes[:_PENDING].copy()

    def _find(self, codes: Codes, owners: NDArray[np.int32], keys: NDArray[np.uint64]) -> list[int]:
        """Return the indices of kept samples, without repetition."""
        found: list[int] = []
        for code, owner, key in zip(codes, owners, keys, strict=True):
            alike = np.flatnonzero((self._keys[: self._used] == key) & (self._owners[: self._used] == owner))
            place = next(
                (at for at in alike.tolist() if at not in found and np.array_equal(self._codes[at], code)),
                None,
            )
            if place is None:
                raise HeadError("cannot forget a sample that was never learned; none was forgotten")
            found.append(place)
        return found

    def _drop(self, places: list[int]) -> None:
        """Remove kept codes; each place is filled from the end, because the order of the kept codes has no meaning."""
        products = self._products
        for place in sorted(places, reverse=True):
            hole = place
            if place < self._multiplied:
                self._multiplied -= 1
                hole = self._multiplied
                products[place, :hole], products[:hole, place] = products[hole, :hole], products[:hole, hole]
                products[place, place] = products[hole, hole]
                self._move(hole, place)
            self._used -= 1
            self._move(self._used, hole)

    def _move(self, source: int, target: int) -> None:
        for array in (self._codes, self._owners, self._keys):
            array[target] = array[source]

    def _forget_when_empty(self) -> None:
        if not self.total:
            fresh: dict[str, Any] = vars(type(self)(self.dimensions, self.tuned))
            vars(self).update(fresh)


def _number(value: Any) -> float:
    """Return a sum as an integer if it is one, because integers of Python are exact beyond 2**53."""
    number = float(value)
    return int(number) if number.is_integer() else number


def _restored_gram(dimensions: int, state: State) -> Floats:
    if "gram" not in state:
        return unpack_symmetric(state, dimensions)
    gram = np.zeros((dimensions, dimensions))  # the format before rows were packed
    upper = np.triu_indices(dimensions)
    gram[upper] = unpack_integers(state["gram"])
    gram.T[upper] = gram[upper]
    return gram
