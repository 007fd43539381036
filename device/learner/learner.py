"""The learner: backbone, head and state file in one object."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import EdgetlError, EmbeddingError, HeadError, LabelError, StateError
from ..files import refuse_existing
from ..heads import Head, Prediction
from ..images import Image, thumbnail
from ..labels import check_label, listed
from ..model.codes import Codes, encode
from ..model.embedder import Embedder
from ..model.memory import Sums
from ..model.modelfile import ModelFile
from ..model.runtime import Runtime
from ..negatives import BACKGROUND, check_one, is_hidden, negative_of, stored_label
from ..printable import printable
from ..store import Entry, ModelIdentity, NewSample, Sample, Store, Version
from ..store.records import new_burst
from .asking import answer, open_doubts
from .bursts import Bursts
from .classifier import Classifier, write_classifier
from .correcting import Correction, Target, correct
from .derived import DerivedHead
from .doubts import Doubts
from .export import Snapshot, export
from .figures import KeptFigures, Shown
from .remembered import refuse_remembered, remembered_from
from .selecting import SampleFilter, select
from .settling import Settling
from .signatures import HeadMaker
from .status import Status, status_of
from .views import settle_views

Result = TypeVar("Result")


class Learner:
    """A model that is taught on the device: every sample is durable before the call returns.

    Use `Learner.open`. All methods may be called from several threads. Other processes may teach the same
    state file at the same time: their samples are learned before the next prediction.

    Attributes:
        model: The opened model file.
        store: The state file, or a state in RAM.
        embedder: The backbone.

    Example:
        >>> from device.learner import Learner
        >>> learner = Learner.open("mugs.tflite", "mugs.db")  # doctest: +SKIP
        >>> learner.learn_one(image, "mug").id                # doctest: +SKIP
        1
    """

    def __init__(
        self,
        model: ModelFile,
        store: Store,
        embedder: Embedder,
        derived: DerivedHead,
        embedding: threading.Lock,
        *,
        thumbnails: bool = True,
    ) -> None:
        self.model = model
        self.store = store
        self.embedder = embedder
        self._derived = derived
        self._thumbnails = thumbnails
        self._bursts = Bursts()
        self._lock = threading.RLock()  # store and head
        self._embedding = embedding  # an interpreter runs for one thread at a time
        self._settling: Settling | None = None
        self._is_guest = False  # another learner closes the backbone
        self._figures = KeptFigures(model, store, derived.key)
        self._doubts: Doubts | None = None

    @classmethod
    def open(
        cls,
        model: str | Path | ModelFile,
        state: str | Path | EllipsisType | None = ...,
        *,
        head: str = "exact",
        threads: int | None = None,
        delegate: str | None = None,
        thumbnails: bool = True,
        read_only: bool = False,
        priors: str | None = None,
        views: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Learner:
        """Open a model file and a state file.

        Args:
            model: The model file.
            state: The state file; it is created if it does not exist. By default it has the name of the model
                file with the suffix ``.db``, as with the commands. None keeps the state in RAM only: what is
                taught is lost when the learner is closed.
            head: Kind of head; it is derived from the samples, so it may differ from run to run.
            threads: CPU threads of the backbone.
            delegate: ``edgetpu`` to use a Coral.
            thumbnails: Store a small JPEG of each image that is taught, for people to look at.
            read_only: Predict only, and write nothing. Where the default state file does not exist, the model
                file alone is used.
            priors: How frequent labels are expected: ``even``, or as frequent as they were ``taught``. None is the
                default of the head: even, for ``lda`` and ``knn`` as taught.
            views: Views of a frame that a new state is taught and predicts from: ``one``, or ``flip`` for the average of
                the frame and its mirror image, which takes twice the time. The state file keeps it; None uses what it
                keeps, or the views of the model file.
            options: Further options of the head, such as ``{"false_rejection": 0.02}``.

        Raises:
            ModelFileError: The model file is damaged or foreign.
            StateError: The state is damaged, newer, or of another model, was taught with other views, or contains samples
                that the model file contains too.
            StorageError: The state cannot be opened or made.
        """
        opened = model if isinstance(model, ModelFile) else ModelFile.open(model)
        chosen = dict(options or {}) | ({} if priors is None else {"priors": priors})
        path = state_beside(opened.path, read_only) if state is ... else state
        store = _open_store(path, opened, views, read_only=read_only)
        try:
            embedder, embedding = (
                Embedder(opened, threads=threads, delegate=delegate, views=store.identity.views),
                threading.Lock(),
            )
            derived = DerivedHead(store, opened, HeadMaker.of(head, embedder, embedding, chosen))
        except BaseException:
            store.close()
            raise
        return cls(opened, store, embedder, derived, embedding, thumbnails=thumbnails)

    def beside(self, state: str | Path | None) -> Learner:
        """Open another state file for the same model, with the backbone of this learner, which stays in RAM once.

        Close it before this learner.

        Args:
            state: The state file; it is created if it does not exist. None keeps the state in RAM only.

        Raises:
            HeadError: The head is softmax, which is trained inside the interpreter of the backbone.
            StateError: The state is damaged, newer, of another model, was taught with other views, or contains samples that
                the model file contains too.
            StorageError: The state cannot be opened or made.
        """
        maker = self._derived.maker
        if maker.trainer is not None:
            raise HeadError(
                f"a {maker.name} head is trained inside the backbone's interpreter, so several states cannot share it; use "
                "the exact head, or one state for all"
            )
        store = _open_store(state, self.model, self.store.identity.views, read_only=self.store.read_only)
        try:
            derived = DerivedHead(store, self.model, maker)
        except BaseException:
            store.close()
            raise
        guest = Learner(
            self.model, store, self.embedder, derived, self._embedding, thumbnails=self._thumbnails
        )
        guest._is_guest = True
        return guest

    # properties

    @property
    def head(self) -> Head:
        """The head, up to date with the state file."""
        with self._lock:
            if self._derived.stale():
                self._derived.catch_up()
                self._notice_lesson()
            return self._derived.head

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it can predict, sorted."""
        return self.head.labels

    @property
    def position(self) -> int:
        """The position in the journal of the state file up to which the last prediction has learned."""
        return self._derived.position

    @property
    def runtime(self) -> Runtime:
        """The TFLite runtime in use."""
        return self.embedder.runtime

    @property
    def lock(self) -> threading.RLock:
        """The lock of store and head, for several calls that belong together."""
        return self._lock

    @property
    def doubts(self) -> Doubts:
        """The queue of uncertain frames; it is kept in a file beside the state file, unless the learner is read-only."""
        with self._lock:
            if self._doubts is None:
                self._doubts = open_doubts(self, keep=not self.store.read_only)
            return self._doubts

    # predicting

    def predict_one(self, image: Image) -> Prediction:
        """Return the prediction for an image, uint8 [H, W, 3] RGB of any size.

        Raises:
            HeadError: Nothing was taught yet.
            PhotoError: `image` is not such an image.
        """
        return self.predict_embedding(self.embed_one(image))

    def predict_many(self, images: Iterable[Image]) -> list[Prediction]:
        """Return the prediction for each image."""
        embeddings = self.embed_many(images)
        if not len(embeddings):
            return []
        codes = self._encoded(embeddings)
        with self._lock:
            return self.head.predict_many(codes)

    def predict_embedding(self, embedding: NDArray[np.float32], *, all_scores: bool = False) -> Prediction:
        """Return the prediction for an embedding from `embed_one`.

        Args:
            embedding: float32 [D].
            all_scores: Return the probability of every label, not only of the best few.

        Raises:
            HeadError: Nothing was taught yet.
        """
        code = self._encoded(embedding)
        with self._lock:
            return self.head.predict_one(code, all_scores=all_scores)

    def require_taught(self) -> None:
        """Raise `HeadError` with the next step unless something was taught, on the device or on the host."""
        if not self.labels:
            state = f" and {self.store.path} has no sample" if self.store.path else ""
            raise HeadError(
                f"{self.model.path.name} has no label yet{state}; teach something first:"
                f" edgetl teach {self.model.path} LABEL"
            )

    def embed_one(self, image: Image) -> NDArray[np.float32]:
        """Return the embedding of an image: float32 [D]."""
        with self._embedding:
            return self.embedder.embed_one(image)

    def embed_many(self, images: Iterable[Image]) -> NDArray[np.float32]:
        """Return the embeddings of images: float32 [N, D]."""
        with self._embedding:
            return self.embedder.embed_many(images)

    def knows(self, embedding: NDArray[np.float32], ids: Sequence[int]) -> bool:
        """Return whether one of the samples `ids` has exactly this embedding."""
        return bool(ids) and bool((self.store.codes(ids) == self._encoded(embedding)).all(axis=1).any())

    # teaching

    def learn_one(
        self,
        image: Image,
        label: str | EllipsisType | None = ...,
        source: str = "",
        *,
        not_label: str | None = None,
        embedding: NDArray[np.float32] | None = None,
    ) -> Sample:
        """Teach one image; returns once the sample survives a power cut.

        Args:
            image: uint8 [H, W, 3] RGB, any size.
            label: Its label. None means background: the image belongs to no label, and such images become unknown.
            source: Origin of the image, such as the name of the camera.
            not_label: The image is a negative of this label, in place of `label`: such images are no longer predicted
                as it, and the other labels stay as they are.
            embedding: The embedding of this image, if `embed_one` has been called for it already.

        Raises:
            LabelError: The label is empty or cannot be a label, or nothing was taught as `not_label`.
            PhotoError: `image` is not such an image.
            EmbeddingError: The embedding contains NaN or infinity. Then nothing is learned.
            StorageError: The sample cannot be written, because the disk is full or read-only. Then nothing is learned.
        """
        stored = self.resolve_label(label, not_label)
        code = self._encoded(self.embed_one(image) if embedding is None else embedding)
        picture = thumbnail(image) if self._thumbnails else None
        with self._lock:
            burst = self._bursts.number(stored, source)
            new = NewSample(stored, code, time.time(), source, burst, picture)
            return self._learned([new])[0]

    def learn_many(
        self,
        images: Iterable[Image],
        labels: Sequence[str | None],
        sources: Sequence[str] | str = "",
        *,
        not_label: str | Sequence[str | None] | None = None,
        times: Sequence[float] | None = None,
        bursts: Sequence[int] | None = None,
        embeddings: NDArray[np.float32] | None = None,
    ) -> list[Sample]:
        """Teach images in one transaction: all of them or, on any error, none.

        Args:
            images: uint8 [H, W, 3] RGB each, any size.
            labels: The label of each image; None means background, see `learn_one`.
            sources: The origin of each image, or one for all.
            not_label: The label that each image is a negative of, see `learn_one`, or one for all; an image with a
                label has None here, and a negative has None in `labels`.
            times: The time of each image in seconds. With them, images of one label and source less than 2 s
                apart count as one burst; without, each image is a burst of its own.
            bursts: A number for each image; images of one number are look-alikes and never judge each other
                (`device.store.records.new_burst` draws numbers). Bursts take precedence over `times`.
            embeddings: The embeddings of these images, float32 [N, D], if they have been embedded already.

        Raises:
            LabelError: A label cannot be one, the number of labels is not that of the images, or nothing was taught as
                `not_label`.
            PhotoError: An image is not such an image.
            EmbeddingError: An embedding contains NaN or infinity.
            StorageError: The samples cannot be written.
        """
        denied = [not_label] * len(labels) if not_label is None or isinstance(not_label, str) else not_label
        if len(denied) != len(labels):
            raise LabelError(f"{len(labels)} labels need {len(labels)} denied labels, got {len(denied)}")
        meant = list(zip(labels, denied, strict=True))
        known = {one: self.resolve_label(*one) for one in dict.fromkeys(meant)}
        names = [known[one] for one in meant]
        codes, pictures = self._prepared(images, len(names), embeddings)
        origins = [sources] * len(names) if isinstance(sources, str) else list(sources)
        for what, given in (("sources", origins), ("times", times), ("bursts", bursts)):
            if given is not None and len(given) != len(names):
                raise LabelError(f"{len(names)} images need {len(names)} {what}, got {len(given)}")
        with self._lock:
            return self._learned(self._new_samples(names, codes, pictures, origins, times, bursts))

    def resolve_label(self, label: str | EllipsisType | None = ..., not_label: str | None = None) -> str:
        """Return the label under which `learn_one` stores a sample, see `device.negatives`.

        Raises:
            LabelError: As for `learn_one`.
        """
        if isinstance(label, EllipsisType) and not_label is None:
            raise LabelError(
                "name what the image shows: a label, not_label='mug' for a negative, or label=None for background"
            )
        shown = None if isinstance(label, EllipsisType) else label
        if shown is not None:
            return stored_label(shown, not_label)
        denied = None if not_label is None else self._known(not_label)
        counts = self.head.counts
        bare = [known for known, count in counts.items() if not count and denied in (None, known)]
        if bare:
            raise LabelError(
                f"{listed(bare)}: labels of the classifier that the model file keeps have no sample to compare negatives and "
                "background with; teach them first"
            )
        return BACKGROUND if denied is None else negative_of(denied)

    def answer(
        self, labels: Mapping[int, str | None] | None = None, *, not_labels: Mapping[int, str] | None = None
    ) -> list[Sample]:
        """Teach frames of `doubts` in one change, and remove them from the queue.

        Args:
            labels: The label of each frame, by its id; None makes it background.
            not_labels: The label that each negative denies, by its id.

        Returns:
            The samples, first those of `labels`, then those of `not_labels`, in order.

        Raises:
            SampleNotFoundError: A frame is no longer in the queue; then none is taught.
            LabelError: A text cannot be a label, a frame has several answers, or nothing was taught as a denied label.
        """
        return answer(self, labels or {}, not_labels or {})

    def forget(self, id: int | Iterable[int]) -> Entry:
        """Forget one or several samples, exactly: as if they had never been taught. `undo` brings them back.

        Raises:
            SampleNotFoundError: A sample was never taught or is forgotten already; then none is forgotten.
        """
        numbers = [id] if isinstance(id, int) else list(id)
        return self._changed(lambda: self.store.relabel(dict.fromkeys(numbers), "forget"))

    def relabel(
        self,
        id: int | Iterable[int],
        label: str | EllipsisType | None = ...,
        *,
        not_label: str | None = None,
    ) -> Entry:
        """Change the label of one or several samples; excluded ones teach again.

        Args:
            id: One or several ids.
            label: The new label; None makes them background.
            not_label: Makes them negatives of this label, in place of `label`.

        Raises:
            SampleNotFoundError: A sample was never taught or is forgotten; then none is changed.
            LabelError: `label` cannot be a label, or nothing was taught as `not_label`.
        """
        stored = self.resolve_label(label, not_label)
        numbers = [id] if isinstance(id, int) else list(id)
        return self._changed(lambda: self.store.relabel(dict.fromkeys(numbers, stored)))

    def relabel_each(self, labels: Mapping[int, str]) -> Entry:
        """Change the labels of samples to a label each, in one change.

        Raises:
            SampleNotFoundError: A sample was never taught or is forgotten; then none is changed.
            LabelError: A text cannot be a label.
        """
        checked = {number: check_label(label) for number, label in labels.items()}
        return self._changed(lambda: self.store.relabel(checked))

    def exclude(self, id: int | Iterable[int]) -> Entry:
        """Keep one or several samples without teaching them: the head is as if they had never been taught.

        Raises:
            SampleNotFoundError: A sample was never taught or is forgotten; then none is excluded.
        """
        numbers = [id] if isinstance(id, int) else list(id)
        return self._changed(lambda: self.store.exclude(numbers))

    def include(self, id: int | Iterable[int]) -> Entry:
        """Teach excluded samples again.

        Raises:
            SampleNotFoundError: A sample was never taught or is forgotten; then none is included.
        """
        numbers = [id] if isinstance(id, int) else list(id)
        return self._changed(lambda: self.store.exclude(numbers, False))

    def select(self, wanted: SampleFilter) -> list[Sample]:
        """Return the samples that meet all conditions, oldest first, without thumbnails.

        Raises:
            SelectionError: There is no condition.
            SampleNotFoundError: A sample that a condition names was never taught or is forgotten.
        """
        return select(self.store, wanted, self.mislabeled)

    def correct(
        self,
        wanted: SampleFilter,
        action: str,
        label: str | None = None,
        *,
        not_label: str | None = None,
        background: bool = False,
        dry_run: bool = False,
    ) -> Correction:
        """Relabel, forget, exclude or include the selected samples in one change; see `device.learner.correcting`.

        Args:
            wanted: Which samples.
            action: relabel, forget, exclude or include.
            label: The new label. Without `label`, `not_label` and `background`, samples that are probably mislabeled are
                relabeled as suggested.
            not_label: Relabel them as negatives of this label.
            background: Relabel them as background.
            dry_run: Change nothing, and return what would change.

        Raises:
            SelectionError: There is no condition, or the label does not fit the action.
            SampleNotFoundError: A sample that a condition names was never taught or is forgotten.
            LabelError: `label` cannot be a label, or nothing was taught as `not_label`.
        """
        target = Target(label, not_label, background)
        with self._lock:
            return correct(self, wanted, action, target, dry_run=dry_run)

    def mislabeled(self) -> dict[int, str]:
        """Return the ids of samples that are probably mislabeled, with the label that each is predicted as instead."""
        with self._lock:
            head, position = self.head, self._derived.position
            report = self._figures.of(head, position).report
        return {} if report is None else dict(zip(report.suspects, report.suggested, strict=True))

    def rename_label(self, old: str, new: str) -> Entry:
        """Rename the label `old` to `new`, on the host's samples too; if `new` exists, the two labels become one.

        Its negatives become negatives of `new`.

        Raises:
            LabelError: `old` was never taught, or `new` cannot be a label.
        """
        new = check_label(new)
        return self._changed(lambda: self.store.rename(self._known(old), new, self._host_labels()))

    def delete_label(self, label: str) -> Entry:
        """Forget all samples and negatives of a label, those of the host too. `undo` brings them back.

        Raises:
            LabelError: The label was never taught.
            HeadError: The model file contains only sums over the host's samples, which cannot be taken apart.
        """
        memory = self.model.memory
        if isinstance(memory, Sums) and self._known(label) in self._host_names():
            raise HeadError(
                f"{label!r} was taught on the host, and the model file contains only the sums, which cannot be taken"
                " apart; rename the label, or convert the model without those photos"
            )
        return self._changed(lambda: self.store.rename(self._known(label), None, self._host_labels()))

    def undo(self) -> Entry | None:
        """Undo the newest change that is not undone.

        Teaching, forgetting, relabeling, excluding, renaming, deleting, merging and rolling back are changes. Each call
        goes back one more. Frames like those of `doubts` that were labeled may be queued again.

        Returns:
            The journal entry that was undone, or None when there is nothing to undo.
        """
        with self._lock:
            entry = self._changed(self.store.undo)
            if entry is None or entry.undoes is None:
                return None
            self.doubts.reconsider()
            return self.store.entries(after=entry.undoes - 1)[0]

    def merge(self, other: str | Path) -> Entry | None:
        """Learn the samples of another device, exactly: as if all had been taught here.

        Samples that are here already, from an earlier merge or a copied file, are not learned twice; and
        samples forgotten here stay forgotten. Samples that the model file itself contains are not learned either. What the
        other device forgot or renamed is not copied.

        Returns:
            The journal entry with the new samples, or None when there are none.

        Raises:
            StateError: `other` is damaged or of another model.
        """
        from ..store.merge import merge

        def known(source: Store) -> list[int]:
            return remembered_from(source, self.model)

        return self._changed(lambda: merge(self.store, Path(other), known=known))

    @contextlib.contextmanager
    def settling(self) -> Iterator[None]:
        """Complete the head in the background while the caller teaches and predicts.

        With the exact head and 100 samples or more, a prediction after a lesson comes from an update of the last complete
        fit, which takes less time than an embedding. `settling` completes the fit once no lesson has come for half a
        second; without it, the fit is completed by ``status(wait=True)``, `export`, and by a prediction after a twentieth of the
        samples is new. Afterwards the figures of `status` are computed, so that they are those of the present samples.
        """
        if self._settling is not None:
            yield
            return
        with Settling(self._derived, self._lock, self._figures.prepare) as settling:
            self._settling = settling
            try:
                yield
            finally:
                self._settling = None

    # reports, versions, export

    def samples(
        self,
        label: str | None = None,
        limit: int | None = None,
        before: int | None = None,
        excluded: bool = False,
        *,
        not_label: str | None = None,
        background: bool = False,
    ) -> list[Sample]:
        """Return taught samples, newest first, with thumbnails.

        Args:
            label: Only samples of this label.
            limit: Maximum number.
            before: Only samples of smaller ids.
            excluded: Return the excluded samples instead.
            not_label: Only negatives of this label.
            background: Only background.

        Raises:
            SelectionError: More than one of `label`, `not_label` and `background` is set.
        """
        check_one({"label": label, "not_label": not_label, "background": background}, optional=True)
        if not_label is not None:
            label = negative_of(not_label)
        stored = BACKGROUND if background else label
        return self.store.samples(stored, limit, before=before, excluded=excluded)

    def last_burst(self) -> list[int]:
        """Return the ids of the samples in the newest burst; empty if there are no samples."""
        newest = self.samples(limit=1)
        if not newest:
            return []
        ids, _, bursts = self.store.ids(hidden=None)
        return [int(number) for number in ids[bursts == newest[0].burst]]

    def status(self, *, forecast: bool = False, wait: bool = False) -> Status:
        """Return what was taught, the estimated accuracy, and sizes and runtime.

        With 150 samples or more, the estimate of the exact head may be the one from before the latest changes, because a new
        one takes as long as tens of embeddings; `Status.behind` is the number of samples that it leaves out. Within
        `settling`, a new estimate is ready a moment after the last lesson.

        Args:
            forecast: Also forecast the accuracy with more photos, for which some ten heads learn parts of the samples. A
                forecast that is known already is always returned.
            wait: Make the estimate of the present samples; `forecast` does so too.
        """
        with self._lock:
            head, position = self.head, self._derived.position
            known = self._figures
            exact = wait or forecast
            shown = Shown(known.of(head, position)) if exact else known.shown(head, position)
            names = self.store.host_labels()
        if forecast:  # without the lock: others may teach and predict meanwhile
            made = known.with_forecast(
                head, position, shown.figures, lambda: self._derived.maker.empty(names)
            )
            shown = Shown(made)
        with self._lock:
            return status_of(self.model, self.store, head.name, shown, self.embedder, head.rejection)

    def keep_figures(self) -> bool:
        """Store the estimate of `status` in the state file, where the next process finds it; closing does this too.

        Returns:
            Whether it could be written, or was there already. It can be written although the state is open for reading only,
            because nothing that was taught depends on it.
        """
        with self._lock:
            try:
                self._figures.store_beside() if self.store.read_only else self._figures.store()
            except EdgetlError:  # a full disk, a busy file
                return False
        return True

    @property
    def is_settling(self) -> bool:
        """Whether the head and its figures are completed in the background, see `settling`."""
        return self._settling is not None

    def save_version(self, note: str = "", *, metrics: Mapping[str, Any] | None = None) -> Version:
        """Store the present state as a version to which `rollback` can return."""
        with self._lock:
            figures = {"samples": sum(self.store.counts().values()), **(metrics or {})}
            return self.store.add_version(note, figures)

    def versions(self) -> list[Version]:
        """Return the versions, oldest first."""
        return self.store.versions()

    def rollback(self, version: int) -> Entry:
        """Return to a version, exactly; `undo` reverts this.

        Raises:
            StateError: There is no such version.
        """
        known = {found.version: found.seq for found in self.versions()}
        if version not in known:
            raise StateError(
                f"there is no version {version}; versions are: {', '.join(map(str, known)) or 'none yet'}"
            )
        return self._changed(lambda: self.store.rollback(known[version]))

    def export(self, path: str | Path, *, force: bool = False) -> ModelFile:
        """Write a model file that starts with everything learned here; other threads may teach meanwhile.

        Raises:
            HeadError: Nothing was taught yet, or the head has no linear form.
            LabelError: There are more labels than a head can have.
            ModelFileError: There are more labels than columns, and the head of this model file cannot grow.
            StateError: Samples were purged meanwhile.
            StorageError: `path` exists and `force` is false, or it cannot be written.
        """
        refuse_existing(Path(path), force)
        return export(self.model, self.store, self._snapshot(), path, force=force)

    def export_classifier(self, path: str | Path, *, force: bool = False) -> Classifier:
        """Write an ordinary image classifier for programs that do not know edgetl, see docs/export.md.

        It is a .tflite of one graph, image -> probabilities of the labels, with the labels in TFLite metadata. It
        predicts what the learner predicts for an image of the size of the input, but never "unknown".

        Raises:
            HeadError: Nothing was taught yet, or the head is not a linear map, such as ``knn``.
            ModelFileError: The backbone cannot be copied.
            StorageError: `path` exists and `force` is false, or it cannot be written.
        """
        refuse_existing(Path(path), force)
        with self._lock:
            self.require_taught()
            head = self.head
            linear, labels, name = head.linear(), head.labels, head.name
        if linear is None:
            raise HeadError(
                f"the {name} head compares images with the samples one by one, which an ordinary classifier cannot do; "
                "export with --head exact, lda, ncm or softmax"
            )
        return write_classifier(self.model, linear, labels, path, force=force)

    def purge(self) -> int:
        """Erase forgotten samples permanently from the file, and return their number."""
        with self._lock:
            return self.store.purge()

    def close(self) -> None:
        """Close the state file and the backbone; calling it again does nothing."""
        with self._lock:
            if not self.store.closed:
                with contextlib.suppress(EdgetlError):  # derived data: a full disk here loses no sample
                    self._derived.keep()
                    self._figures.store()
            if self._doubts is not None:
                self._doubts.close()
            self.store.close()
            if not self._is_guest:
                with self._embedding:
                    self.embedder.close()

    def __enter__(self) -> Learner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self.store.path.name if self.store.path else "in RAM"
        closed = ", closed" if self.store.closed else ""
        return f"<Learner {self.model.path.name}, {state}, {self._derived.maker.name} head{closed}>"

    def _snapshot(self) -> Snapshot:
        """Return what is known now; teaching waits meanwhile."""

        def look() -> Snapshot:
            self.require_taught()
            self._derived.catch_up()
            return Snapshot.of(self.model, self.store, self._derived.own_head())

        with self._lock:
            return self.store.database.read(look)

    def _encoded(self, embeddings: NDArray[np.float32]) -> Codes:
        width = self.model.manifest.dimensions
        if embeddings.shape[-1:] != (width,):
            raise EmbeddingError(
                f"embeddings of this model must have {width} numbers, got shape {embeddings.shape}"
            )
        return encode(embeddings, self.model.manifest.embedding_map)

    def _prepared(
        self, images: Iterable[Image], count: int, embeddings: NDArray[np.float32] | None
    ) -> tuple[list[Codes], list[bytes | None]]:
        codes, pictures = [], []
        if embeddings is not None and len(embeddings) != count:
            raise LabelError(f"{count} labels need {count} embeddings, got {len(embeddings)}")
        for place, image in enumerate(images):  # one at a time: a folder of photos need not fit into RAM
            if place < count:
                codes.append(
                    self._encoded(self.embed_one(image) if embeddings is None else embeddings[place])
                )
            pictures.append(thumbnail(image) if self._thumbnails else None)
        if len(pictures) != count:
            raise LabelError(f"each image needs a label, got {len(pictures)} images and {count} labels")
        return codes, pictures

    def _new_samples(
        self,
        names: Sequence[str],
        codes: Sequence[Codes],
        pictures: Sequence[bytes | None],
        origins: Sequence[str],
        times: Sequence[float] | None,
        bursts: Sequence[int] | None,
    ) -> list[NewSample]:
        now, counted = time.time(), Bursts()
        samples = []
        for place, (name, code, picture, origin) in enumerate(
            zip(names, codes, pictures, origins, strict=True)
        ):
            at = now if times is None else float(times[place])
            if bursts is not None:
                burst = int(bursts[place])
            else:
                burst = new_burst() if times is None else counted.number(name, origin, at)
            samples.append(NewSample(name, code, at, origin, burst, picture))
        return samples

    def _learned(self, new: Sequence[NewSample]) -> list[Sample]:
        if not new:
            return []
        shown = [sample.label for sample in new if not is_hidden(sample.label)]
        self._derived.maker.check_room(self.labels, shown)
        entry = self._changed(lambda: self.store.learn(new))
        first = next(change.first for change in entry.changes if hasattr(change, "first"))
        return [
            Sample.from_stored(
                first + place, sample.label, sample.time, sample.source, sample.burst, sample.thumbnail
            )
            for place, sample in enumerate(new)
        ]

    def _changed(self, change: Callable[[], Result]) -> Result:
        with self._lock:
            result = change()
            self._derived.catch_up()
            self._notice_lesson()
            return result

    def _notice_lesson(self) -> None:
        if self._settling is not None:
            self._settling.notice()

    def _known(self, label: str) -> str:
        label = check_label(label, stored=True)
        if label not in self.labels:  # perhaps as displayed, with its invisible characters escaped
            label = next((known for known in self.labels if printable(known) == label), label)
        if label not in self.labels:
            raise LabelError(f"nothing was taught as {label!r}; labels are: {listed(self.labels)}")
        return label

    def _host_labels(self) -> set[str]:
        """Return the labels of the model file: those in its memory, and those that it keeps from an old classifier."""
        memory = self.model.memory.labels if self.model.memory is not None else ()
        return {*memory, *self.model.manifest.kept_labels}

    def _host_names(self) -> set[str]:
        """Return the present names of these labels."""
        memory = self.model.memory
        return set() if memory is None else set(memory.renamed(self.store.host_labels()).labels)


def state_beside(model: Path, read_only: bool = False) -> Path | None:
    """Return the default state file of a model file; None where it does not exist and nothing may be written."""
    path = model.with_suffix(".db")
    return None if read_only and not path.exists() else path


def _open_store(path: str | Path | None, model: ModelFile, views: str | None, *, read_only: bool) -> Store:
    """Open a state file for a model, unless what was taught does not fit to the model or the views."""
    store = Store.open(path, identity_of(model), read_only=read_only)
    try:
        refuse_remembered(store, model)
        settle_views(store, model, views)
    except BaseException:
        store.close()
        raise
    return store


def identity_of(model: ModelFile) -> ModelIdentity:
    """Return the identity of a model, by which a state file belongs to it."""
    manifest = model.manifest
    return ModelIdentity(
        model.sha256,
        manifest.dimensions,
        manifest.embedding_map,
        manifest.backbone,
        model.path.name,
        manifest.views,
        model.backbone_digest,
    )
