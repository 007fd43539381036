"""A model file that was taught the photos of a job, written from their exact sums."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from device.errors import HeadError
from device.heads.exact import ExactHead
from device.heads.memory import learn_memory
from device.learner.export import write_personal
from device.lookalikes import group_lookalikes, read_shots
from device.model.codes import content_keys
from device.model.memory import Memory, Samples, Sums, remember, sums_are_smaller
from device.model.modelfile import ModelFile
from device.progress import Progress

from .shards import Content
from .sums import Sum
from .work import known_keys


def write_taught(
    model: ModelFile,
    path: Path,
    total: Sum,
    contents: Iterable[Content],
    root: Path,
    views: str,
    progress: Progress,
) -> ModelFile:
    """Write a copy of `model` that was also taught the photos.

    A few photos are kept as samples, as `edgetl convert` does: any head learns from them, and they calibrate it. Of many,
    the file contains the sums, whose size does not depend on the number of photos.

    Args:
        model: The model file of the job.
        path: The new file, which is overwritten.
        total: The sums of all photos.
        contents: The content of every shard, read only if the photos are few.
        root: The folder of the photos.
        views: Views of a frame.
        progress: Called while photos are compared.

    Raises:
        EdgetlError: The head of the model file cannot be written.
    """
    memory = _memory(model, total, contents, root, progress)
    head = ExactHead(model.manifest.dimensions)
    learn_memory(head, memory)
    linear = head.linear()
    if linear is None:
        raise HeadError("the exact head has no linear form")
    return write_personal(
        model, path, linear, tuple(head.labels), memory, views=views, negatives=model.negatives, force=True
    )


def _memory(
    model: ModelFile, total: Sum, contents: Iterable[Content], root: Path, progress: Progress
) -> Memory:
    before = model.memory
    few = not sums_are_smaller(total.statistics.total, total.statistics.dimensions)
    if few and not isinstance(before, Sums):
        return _samples(model, contents, root, progress)
    numbers, sums = total.statistics.sums()
    labels = tuple(total.statistics.counts)
    added = Sums(labels, numbers, sums, total.statistics.gram(), np.unique(np.concatenate(total.keys)))
    if isinstance(before, Samples):
        before = Sums.of(before.codes, before.labels)
    return Sums.added([before, added]) if isinstance(before, Sums) else added


def _samples(model: ModelFile, contents: Iterable[Content], root: Path, progress: Progress) -> Memory:
    codes, named = [], []
    known = known_keys(model)
    for content in contents:
        fresh = ~np.isin(content_keys(content.codes), known)
        codes.append(content.codes[fresh])
        pairs = zip(content.names, content.labels, fresh.tolist(), strict=True)
        named += [(root / name, str(label)) for name, label, new in pairs if new]
    groups = group_lookalikes(read_shots(named, progress)).groups
    labels = [label for _, label in named]
    together = np.concatenate(codes)
    if model.memory is None:
        return remember(together, labels, groups=groups)
    return model.memory.together(together, labels, groups)
