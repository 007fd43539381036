"""The views of a learner, and what a second view of each frame would gain."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StateError
from ..heads import create_head
from ..heads.folds import balanced
from ..heads.report import near_duplicates
from ..model.codes import Codes, encode
from ..model.embedder import Embedder
from ..model.modelfile import ModelFile
from ..progress import Progress, no_progress
from ..store import Store, rows
from ..views import ONE, check_views
from .pictures import PictureFinder

_FEWEST = 10  # groups that judge; with fewer, no advice is given


def settle_views(store: Store, model: ModelFile, wanted: str | None = None) -> None:
    """Let a state use the views that are wanted, if nothing was taught with others.

    Args:
        store: The state.
        model: Its model file; the samples in its memory are of certain views too.
        wanted: The views, or None for those of the state.

    Raises:
        StateError: The state, or the memory of the model file, was taught with other views.
        ModelFileError: There are no such views.
    """
    kept = store.identity.views
    chosen = kept if wanted is None else check_views(wanted)
    name = model.path.name
    taught = model.memory is not None or model.negatives is not None
    if taught and chosen != model.manifest.views:
        raise StateError(
            f"what the host taught is in {name} with the views {model.manifest.views!r}, so {chosen!r} cannot be used; "
            f"convert the model with --views {chosen}, or use --views {model.manifest.views}"
        )
    if chosen == kept:
        return
    if store.position():
        raise StateError(
            f"{store.path} was taught with the views {kept!r}, so {chosen!r} cannot be used; embed the stored pictures again:"
            f" edgetl reembed {name} {store.path} --views {chosen} --state NEW.db"
        )
    store.set_views(chosen)


@dataclass(frozen=True)
class ViewsComparison:
    """One view against the average with the mirror image, by leaving samples out.

    Attributes:
        samples: Number of samples that both were judged on.
        groups: Number of separate views among them; bursts and look-alikes count as one.
        one: Accuracy with one view, 0 to 1; None if too few samples can be judged.
        flip: Accuracy with the mirror image.
        gain: `flip` minus `one`.
        error: Standard error of `gain`, from the differences of the groups.
        milliseconds: Median time of one embedding; the second one takes as long.
        without_picture: Number of taught samples that have no picture and were left out.
        current: Views that the state uses now; empty if there is none.
    """

    samples: int
    groups: int
    one: float | None
    flip: float | None
    gain: float | None
    error: float | None
    milliseconds: float | None = None
    without_picture: int = 0
    current: str = ""

    def __repr__(self) -> str:
        if self.gain is None:
            return f"<ViewsComparison of {self.samples} samples, too few to judge>"
        return f"<ViewsComparison of {self.samples} samples: gain {self.gain:+.3f}, standard error {self.error:.3f}>"

    @property
    def pays(self) -> bool | None:
        """Whether the gain is larger than twice its standard error; None if too few samples can be judged."""
        return None if self.gain is None or self.error is None else self.gain > 2 * self.error

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and `pays` as JSON-serializable values."""
        return {**asdict(self), "pays": self.pays}


def judge_views(
    one: Codes, flip: Codes, labels: list[str], bursts: NDArray[np.int64], **more: Any
) -> ViewsComparison:
    """Compare codes [N, D] of one view with codes of the average of both, by leaving groups out of the exact head.

    Args:
        one: int16 [N, D], from one view.
        flip: int16 [N, D], from both.
        labels: N labels.
        bursts: int64 [N]; samples of one number are left out together.
        **more: Further fields of the result.
    """
    owners = np.unique(np.array(labels, str), return_inverse=True)[1].astype(np.int64)
    groups = near_duplicates(one, owners, bursts) if len(one) else bursts
    several = np.array([len(np.unique(groups[owners == owner])) > 1 for owner in owners], bool)
    count, separate = int(several.sum()), len(np.unique(groups[several]))
    if separate < _FEWEST or len(np.unique(owners[several])) < 2:
        return ViewsComparison(count, separate, None, None, None, None, **more)
    blocks = np.arange(len(one)) + len(one)  # a sample that does not judge is left out alone
    blocks[several] = balanced(owners[several], groups[several])
    first, second = (_left_out_correct(codes, labels, blocks)[several] for codes in (one, flip))
    gain = second.astype(np.float64) - first
    totals = np.bincount(np.unique(groups[several], return_inverse=True)[1], weights=gain - gain.mean())
    error = float(np.sqrt((totals**2).sum() * separate / (separate - 1)) / count)
    return ViewsComparison(
        count, separate, float(first.mean()), float(second.mean()), float(gain.mean()), error, **more
    )


def _left_out_correct(codes: Codes, labels: list[str], blocks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which samples are predicted correctly by a head without them and their blocks."""
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes, labels)
    found = head.leave_out(codes, labels, blocks).argmax(axis=1)
    correct: NDArray[np.bool_] = np.array(head.labels)[found] == np.array(labels)
    return correct


def compare_views(
    model: str | Path | ModelFile,
    state: str | Path,
    *,
    photos: str | Path | None = None,
    threads: int | None = None,
    delegate: str | None = None,
    progress: Progress = no_progress,
) -> ViewsComparison:
    """Embed every taught sample of a state again, once and mirrored, and compare both by leaving samples out.

    Args:
        model: The model file.
        state: The state file, which is only read; it may be of another model.
        photos: The folder of photos that `teach --photos` used; else thumbnails are embedded.
        threads: CPU threads of the backbone.
        delegate: ``edgetpu`` to use a Coral.
        progress: Called as task "Embedding again" with the number of samples.

    Raises:
        StateError: The state is damaged.
        StorageError: The state is missing.
    """
    opened = model if isinstance(model, ModelFile) else ModelFile.open(model)
    with Store.open(state, None, read_only=True) as store:
        current = store.identity.views
        pictures = PictureFinder(store, None if photos is None else Path(photos))
        taught = f"SELECT id, source, label, burst FROM samples WHERE {rows.HAS_LABEL} ORDER BY id"  # noqa: S608
        listed = store.database.rows(taught)
        embedder = Embedder(opened, threads=threads, delegate=delegate, views=ONE)
        plain, both, kept, seconds = [], [], [], []
        try:
            for done, (number, source, label, burst) in enumerate(listed, 1):
                picture = pictures.of(number, source)
                if picture is not None:
                    started = time.perf_counter()
                    first = embedder.embed_one(picture)
                    seconds.append(time.perf_counter() - started)
                    second = embedder.embed_one(np.ascontiguousarray(picture[:, ::-1]))
                    plain.append(first)
                    both.append((first + second) / 2)
                    kept.append((str(label), int(burst)))
                progress("Embedding again", done, len(listed))
        finally:
            embedder.close()
    shape, kind = (len(kept), opened.manifest.dimensions), opened.manifest.embedding_map
    one, flip = (encode(np.reshape(np.array(part), shape), kind) for part in (plain, both))
    return judge_views(
        one,
        flip,
        [label for label, _ in kept],
        np.array([burst for _, burst in kept], np.int64),
        milliseconds=1000 * float(np.median(seconds)) if seconds else None,
        without_picture=len(listed) - len(kept),
        current=current,
    )
