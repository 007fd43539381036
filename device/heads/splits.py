"""Find labels that seem to hold two things.

If the samples of a label show two things, the nearest neighbors of a sample mostly show the same one: the graph of nearest
neighbors falls into two parts with few edges between them. The parts come from the second eigenvector of the graph (Shi
and Malik 2000, "Normalized cuts and image segmentation"); the share of the edges of the smaller part that lead to the
other is the conductance of the cut, and a label is reported if it is below `LIMIT`.

All samples differ in light, place and angle, which also divides them. Therefore the samples are compared in the metric of
the spread that the other labels have: with the rows R of their samples around the means of their labels,

    K = Z (R^T R / lam + I)^-1 Z^T = Z Z^T - Z R^T (R R^T + lam I)^-1 R Z^T

so that differences count that the other labels do not have within them. docs/heads.md shows how often ordinary labels are
reported, and how often two labels joined into one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes
from .base import Floats

FEWEST = 40  # views of a label; with fewer, ordinary labels are cut cleanly too
MOST = 100  # views that are looked at
LABELS = 20  # that are looked at, those with the most views
NEIGHBORS = 5
SMALLEST = 0.15  # share of the views in the smaller part
LIMIT = 0.038
_OTHERS = 200  # samples of other labels that make the metric
SHOWN = 4  # samples of each part


@dataclass(frozen=True)
class SplitLabel:
    """A label that seems to hold two things.

    Attributes:
        label: The label.
        parts: Share of the views in each part, the larger first.
        conductance: Share of the edges of the smaller part that lead to the other; low means two things.
        samples: Ids of typical samples of each part, at most `SHOWN` each; those of the host are left out.
    """

    label: str
    parts: tuple[float, float]
    conductance: float
    samples: tuple[tuple[int, ...], tuple[int, ...]]


def find_splits(
    codes: Codes,
    labels: tuple[str, ...],
    owners: NDArray[np.int64],
    groups: NDArray[np.int64],
    ids: NDArray[np.int64],
) -> tuple[SplitLabel, ...]:
    """Return the labels that seem to hold two things, the clearest first.

    Args:
        codes: int16 [N, D].
        labels: C labels.
        owners: int64 [N], their places in `labels`.
        groups: int64 [N]; samples of one group are one view.
        ids: int64 [N], ids of the samples; negative for those of the host.
    """
    views = [_views(np.flatnonzero(owners == owner), groups) for owner in range(len(labels))]
    often = sorted(range(len(labels)), key=lambda owner: -len(views[owner]))[:LABELS]
    found = []
    for owner in often:
        mine = _spread(views[owner], MOST)
        others = [one for other, one in enumerate(views) if other != owner and len(one) > 1]
        if len(mine) >= FEWEST and others:
            alike = _similarities(codes[mine], _around_means(codes, others))
            split = _split(labels[owner], alike, ids[mine])
            found += [split] if split is not None else []
    return tuple(sorted(found, key=lambda split: split.conductance))


def _views(mine: NDArray[np.intp], groups: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return one sample per group."""
    _, firsts = np.unique(groups[mine], return_index=True)
    return mine[np.sort(firsts)]


def _spread(places: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    return places[np.unique(np.linspace(0, len(places) - 1, min(len(places), most)).round().astype(np.intp))]


def _around_means(codes: Codes, labels: list[NDArray[np.intp]]) -> NDArray[np.float32]:
    """Return samples of some labels, each around the mean of its label, float32 [R, D]."""
    each = max(2, _OTHERS // len(labels))
    parts = [codes[_spread(places, each)].astype(np.float32) for places in labels[: _OTHERS // 2]]
    return np.concatenate([part - part.mean(axis=0) for part in parts])


def _similarities(codes: Codes, spread: NDArray[np.float32]) -> Floats:
    """Return the cosines of samples around their mean in the metric of `spread`, float64 [n, n]."""
    values = codes.astype(np.float32)  # half the time of float64, and precise enough for ranks
    values -= values.mean(axis=0)
    inner = (spread @ spread.T).astype(np.float64)
    ridge = max(float(np.trace(inner)) / len(inner), 1e-9)
    across = (spread @ values.T).astype(np.float64)
    products = values @ values.T - across.T @ np.linalg.solve(inner + ridge * np.eye(len(inner)), across)
    length = np.sqrt(np.maximum(np.diagonal(products), 1e-9))
    cosines: Floats = products / (length[:, None] * length)
    return cosines


def _split(label: str, alike: Floats, ids: NDArray[np.int64]) -> SplitLabel | None:
    order, size, conductance = _best_cut(_neighbor_graph(alike))
    if conductance >= LIMIT:
        return None
    parts = sorted((order[:size], order[size:]), key=len, reverse=True)
    shares = [len(part) / len(alike) for part in parts]
    samples = [_typical(alike, part, ids) for part in parts]
    return SplitLabel(label, (shares[0], shares[1]), conductance, (samples[0], samples[1]))


def _neighbor_graph(alike: Floats) -> Floats:
    """Return the weights of the edges, float64 [n, n]: each sample is joined with its nearest neighbors."""
    others = alike - 4 * np.eye(len(alike))  # a sample is not its own neighbor
    nearest = np.argsort(-others, axis=1, kind="stable")[:, :NEIGHBORS]
    edges = np.zeros_like(alike)
    edges[np.arange(len(alike))[:, None], nearest] = 1
    both: Floats = (edges + edges.T) / 2
    return both


def _best_cut(edges: Floats) -> tuple[NDArray[np.intp], int, float]:
    """Return an order of the samples, where it is cut, and the conductance of this cut."""
    degree = edges.sum(axis=1)
    _, vectors = np.linalg.eigh(edges / np.sqrt(degree[:, None] * degree))
    order = np.argsort(vectors[:, -2] / np.sqrt(degree), kind="stable")
    sorted_edges, volume = edges[np.ix_(order, order)], np.cumsum(degree[order])
    inside = np.cumsum(2 * np.tril(sorted_edges, -1).sum(axis=1) + np.diagonal(sorted_edges))
    conductance = (volume - inside)[:-1] / np.minimum(volume, volume[-1] - volume)[:-1]
    fewest = max(2, int(SMALLEST * len(edges)))
    place = fewest - 1 + int(conductance[fewest - 1 : len(edges) - fewest].argmin())
    return order, place + 1, float(conductance[place])


def _typical(alike: Floats, part: NDArray[np.intp], ids: NDArray[np.int64]) -> tuple[int, ...]:
    central = part[np.argsort(-alike[np.ix_(part, part)].mean(axis=1), kind="stable")]
    return tuple(int(ids[place]) for place in central if ids[place] >= 0)[:SHOWN]
