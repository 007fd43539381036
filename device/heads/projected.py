"""The fit of many labels after a lesson, as products that are computed for each frame instead of once for all of them.

The linear map of C labels is ``W M`` with W of D x C and M of C x C numbers. For a hundred labels this product takes as long as
a fifth of an embedding, and a lesson would wait for it; with a frame z it is ``(z W) M``, which takes microseconds.
"""

from __future__ import annotations

from ..model.codes import Codes
from .base import Floats, Linear
from .update import Moved


class ProjectedLinear(Linear):
    """A linear map ``(z - m) W M + c``.

    Args:
        moved: The solution, which contains m and W.
        M: float64 [C, C].
        c: float64 [C].
    """

    _moved: Moved
    _M: Floats
    _c: Floats

    def __init__(self, moved: Moved, M: Floats, c: Floats) -> None:
        vars(self).update(_moved=moved, _M=M, _c=c)  # the base class is frozen

    @property
    def W(self) -> Floats:  # noqa: N802 - the attribute of Linear
        """The map, float64 [D, C]."""
        W: Floats = self._moved.W @ self._M
        return W

    @property
    def b(self) -> Floats:
        """The constant, float64 [C]."""
        b: Floats = self._c - self._moved.mean @ self.W
        return b

    def logits(self, codes: Codes) -> Floats:
        """Return ``z @ W + b`` as float64 [N, C]."""
        logits: Floats = self._moved.project(codes) @ self._M + self._c
        return logits
