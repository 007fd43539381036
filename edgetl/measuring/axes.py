"""Axes of the pictures of a measurement, as parts of an SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WIDTH = 800  # pixels of every picture
LEFT, RIGHT = 4, 130  # margins
# of a decade, until two are on the axis
_STEPS = ((1, 2, 5), range(1, 10), [half / 2 for half in range(2, 20)])


@dataclass(frozen=True)
class Axis:
    """A horizontal axis.

    Attributes:
        low: Value at the left end.
        high: Value at the right end.
        logarithmic: Whether equal ratios have equal lengths; then `low` is positive.
        left: Coordinate of the left end.
        right: Coordinate of the right end.
    """

    low: float
    high: float
    logarithmic: bool = False
    left: float = LEFT
    right: float = WIDTH - RIGHT

    @classmethod
    def of(cls, low: float, high: float, *, logarithmic: bool = False, left: float = LEFT) -> Axis:
        """Return an axis that contains two values, with a margin on a logarithmic one."""
        if not logarithmic:
            return cls(0.0, max(high, 1e-6), left=left)
        low, high = max(low, 1e-4), max(high, low, 1e-4)
        return cls(low / 1.15, high * 1.15, logarithmic=True, left=left)

    def place(self, value: float) -> float:
        """Return the coordinate of a value; values outside are at the ends.

        Example:
            >>> Axis(0.0, 10.0, left=100, right=200).place(5.0)
            150.0
        """
        share = (self._scaled(value) - self._scaled(self.low)) / (
            self._scaled(self.high) - self._scaled(self.low)
        )
        return round(self.left + (self.right - self.left) * min(1.0, max(0.0, share)), 1)

    def ticks(self) -> list[float]:
        """Return round values on the axis, at most about ten."""
        if not self.logarithmic:
            return _even_ticks(self.high)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        coarse = _STEPS[0] if len(decades) <= 4 else (1,)
        tried = [self._within(decades, steps) for steps in (coarse, *_STEPS[1:])]
        return next((found for found in tried if len(found) > 1), tried[-1])

    def _within(self, decades: Iterable[int], steps: Iterable[float]) -> list[float]:
        values = [step * 10.0**decade for decade in decades for step in steps]
        return [value for value in values if self.low <= value <= self.high]

    def drawn(self, top: float, base: float, caption: str) -> Iterator[str]:
        """Yield the grid, the values below it and a caption."""
        yield f'<path class="axis" d="M{self.left} {base}H{self.right}"/>'
        for value in self.ticks():
            x = self.place(value)
            yield f'<path class="grid" d="M{x} {top}V{base}"/>'
            yield f'<text class="soft middle" x="{x}" y="{base + 18}">{value:g}</text>'
        yield f'<text class="soft middle" x="{(self.left + self.right) / 2}" y="{base + 38}">{caption}</text>'

    def _scaled(self, value: float) -> float:
        return math.log(max(value, self.low)) if self.logarithmic else value


def _even_ticks(high: float) -> list[float]:
    rough = high / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    return [round(step * number, 10) for number in range(int(high / step + 1e-9) + 1)]
