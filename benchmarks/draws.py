"""Figures of several random draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def standard_error(values: ArrayLike) -> float:
    """Return the standard error of the mean of `values`; 0 for a single one."""
    found = np.asarray(values, np.float64)
    return float(found.std(ddof=1) / len(found) ** 0.5) if len(found) > 1 else 0.0
