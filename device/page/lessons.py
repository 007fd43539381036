"""The changes that viewers make: teach, undo, correct, export."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LabelError
from ..images import Image
from ..labels import check_label
from ..learner.correcting import Correction, Target
from ..learner.doubts import Doubts
from ..learner.learner import Learner
from ..learner.selecting import SampleFilter
from ..negatives import count_fields, split_label
from ..negatives import describe as meaning_of
from ..store import Entry, Sample
from ..store.records import plain_label
from .loop import Capture, Loop

_DRAFTS = 64  # maximum number of labels that were added and not taught yet
_GROUPS = 500
_HOLDS = 32  # number of presses remembered
_TEACHING = ("learn", "forget", "relabel")  # changes that keep the labels


class Lessons:
    """Every change that a viewer can make, one at a time; thread-safe.

    Args:
        learner: The learner that is taught.
        loop: Delivers the frames.
        doubts: The queue of uncertain frames.
        changed: Called after each change, to notify viewers.
    """

    def __init__(self, learner: Learner, loop: Loop, doubts: Doubts, changed: Callable[[], None]) -> None:
        self._learner, self._loop, self._doubts, self._changed = learner, loop, doubts, changed
        self._lock = threading.RLock()
        self._exporting = threading.Lock()
        self._reporting = threading.Lock()
        self._order: list[str] = []  # labels keep their places on the page; new ones come last
        self._drafts: set[str] = set()
        self._edits = 1  # number of changes outside the state file
        self._taught_frame = 0
        self._hold = ""
        self._holds: deque[str] = deque(maxlen=_HOLDS)  # presses that have taught a sample
        # number of changes that one undo reverts, newest last
        self._groups: deque[int] = deque(maxlen=_GROUPS)
        self._position = learner.store.position()
        self._report: tuple[int, dict[str, Any]] | None = None
        self._arrange()

    @property
    def version(self) -> int:
        """Increases with every change, also with changes of the state file by other processes."""
        return self._edits + self._learner.store.position()

    def labels(self) -> list[dict[str, Any]]:
        """Return the labels with their number of samples, 0 for those that were not taught yet."""
        with self._lock:
            counts = self._arrange()
            return [{"label": label, "samples": counts[label]} for label in self._order]

    def add(self, label: str) -> str:
        """Add a label; until its first sample only the page stores it.

        Raises:
            LabelError: The text cannot be a label, the label exists, or there are too many.
        """
        label = check_label(label)
        with self._lock:
            if label in self._drafts or label in self._counts():
                raise LabelError(f"the label {label!r} exists already; choose another name")
            if len(self._drafts) >= _DRAFTS:
                raise LabelError(f"{_DRAFTS} labels were added and not taught yet; teach or delete one first")
            self._drafts.add(label)
            self._edited()
        return label

    def teach(self, label: str, hold: str = "") -> dict[str, Any]:
        """Teach the newest frame that was not taught yet; returns once it is durable.

        Args:
            label: What the frame shows.
            hold: Identifies one press of a button; its samples are undone together.

        Raises:
            CameraError: No new frame arrived.
            LabelError: The label was renamed or deleted while the button was held.
        """
        return self._teach_next(check_label(label), None, hold)

    def deny(self, label: str | None, hold: str = "") -> dict[str, Any]:
        """Teach what the newest frame is not; returns once it is durable.

        Args:
            label: The frame is a negative of this label; None makes it background.
            hold: As for `teach`.

        Raises:
            CameraError: No new frame arrived.
            LabelError: Nothing was taught as `label`.
        """
        self._learner.resolve_label(None, label)  # before waiting for a frame
        return self._teach_next(None, label, hold)

    def in_view(self) -> str | None:
        """Return the label that is predicted; None while nothing is predicted."""
        capture = self._loop.capture
        prediction = capture.observation.prediction if capture else None
        return prediction.label if prediction else None

    def _teach_next(self, label: str | None, not_label: str | None, hold: str) -> dict[str, Any]:
        while True:
            capture = self._loop.newer(self._taught_frame)  # waits, so not under the lock
            with self._lock:
                if capture.number > self._taught_frame:  # else another viewer has taught it meanwhile
                    return self._teach(capture, label, not_label, hold)

    def _teach(self, capture: Capture, label: str | None, not_label: str | None, hold: str) -> dict[str, Any]:
        frame = capture.frame
        embedding = capture.embedding if capture.own else self._learner.embed_one(frame.image)
        if label is not None:
            self._check_still_there(label, hold)
        with self._one_change(hold):
            sample = self._learner.learn_one(
                frame.image, label, frame.source, not_label=not_label, embedding=embedding
            )
        self._taught_frame = capture.number
        self._drafts -= {label}
        self._doubts.drop_like(embedding)
        self._changed()
        if label is not None:
            return {"id": sample.id, "label": label, "samples": self._counts().get(label, 0)}
        count = self._learner.store.hidden_counts().get(sample.stored_label, 0)
        return {"id": sample.id, "label": None, "not_label": sample.not_label, "samples": count}

    def learn(
        self,
        image: Image,
        label: str | None,
        source: str = "",
        *,
        not_label: str | None = None,
        hold: str = "",
    ) -> tuple[Sample, dict[str, int]]:
        """Teach an image that another program sent; returns once it is durable.

        Args:
            image: uint8 [H, W, 3] RGB, any size.
            label: Its label; None for a negative, and for background without `not_label`.
            source: Origin of the image. Samples of one label and one source less than two seconds apart count as one
                burst; without a source each sample is a burst of its own.
            not_label: The label that a negative denies.
            hold: As for `teach`.

        Returns:
            The sample, and the number of samples per label.

        Raises:
            LabelError: The text cannot be a label, or nothing was taught as `not_label`.
            StorageError: The sample cannot be written.
        """
        self._learner.resolve_label(label, not_label)
        label = None if label is None else check_label(label)
        embedding = self._learner.embed_one(image)  # takes long, so not under the lock
        with self._lock:
            if label is not None:
                self._check_still_there(label, hold)
            with self._one_change(hold):
                if source:
                    sample = self._learner.learn_one(
                        image, label, source, not_label=not_label, embedding=embedding
                    )
                else:
                    (sample,) = self._learner.learn_many(
                        [image], [label], not_label=not_label, embeddings=embedding[np.newaxis]
                    )
            self._drafts -= {label}
            self._doubts.drop_like(embedding)
            counts = self._counts()
        self._changed()
        return sample, counts

    def counts(self) -> dict[str, int]:
        """Return the number of samples per label."""
        with self._lock:
            return self._counts()

    def release(self) -> None:
        """Update the queue after a press has ended; that needs a solve, which is too slow for each sample."""
        self._doubts.review()
        self._changed()

    def undo(self) -> dict[str, Any]:
        """Undo the last change, or everything that the last press of a button taught.

        Returns:
            ``undone``, the number of changes, 0 when there was nothing to undo; ``message``, a description; ``change``, what it
            is made from, see `summarize`.
        """
        with self._lock, self._keeping_labels() as emptied:
            self._hold = ""
            self._forget_groups_of_others()
            wanted = self._groups.pop() if self._groups else 1
            undone = [entry for entry in (self._learner.undo() for _ in range(wanted)) if entry is not None]
            self._position = self._learner.store.position()
            if any(entry.action not in _TEACHING for entry in undone):
                emptied.clear()  # a name that the change introduced disappears too
        self.release()
        return {"undone": len(undone), "message": describe(undone), "change": summarize(undone)}

    def rename(self, old: str, new: str) -> str:
        """Rename a label; with the name of another label the two are merged.

        Raises:
            LabelError: There is no label `old`, or `new` cannot be a label.
        """
        new = check_label(new)
        with self._lock:
            self._check_known(old)
            places = [new if label == old else label for label in self._order if label != new]
            if old in self._counts():
                with self._one_change():
                    self._learner.rename_label(old, new)
            elif new not in self._counts():
                self._drafts.add(new)
            self._drafts.discard(old)
            self._order = places
            self._edited()
        self.release()
        return new

    def delete(self, label: str) -> None:
        """Delete a label and all its samples; can be undone.

        Raises:
            LabelError: There is no such label.
        """
        with self._lock:
            self._check_known(label)
            if label in self._counts():
                with self._one_change():
                    self._learner.delete_label(label)
            self._drafts.discard(label)
            self._edited()
        self.release()

    def hidden(self) -> dict[str, Any]:
        """Return the number of ``negatives`` per denied label, and of ``background`` samples."""
        return count_fields(self._learner.store.hidden_counts())

    def relabel(self, number: int, label: str | None, *, not_label: str | None = None) -> None:
        """Change the label of a sample; None makes it background, or a negative of `not_label`.

        Raises:
            SampleNotFoundError: There is no such sample.
            LabelError: `label` cannot be a label, or nothing was taught as `not_label`.
        """
        label = None if label is None else check_label(label)
        with self._lock, self._keeping_labels():
            with self._one_change():
                self._learner.relabel(number, label, not_label=not_label)
            self._drafts -= {label}
        self.release()

    def forget(self, number: int) -> None:
        """Forget a sample, exactly as if it had never been seen.

        Raises:
            SampleNotFoundError: There is no such sample.
        """
        with self._lock, self._keeping_labels(), self._one_change():
            self._learner.forget(number)
        self.release()

    def forget_last(self) -> list[int]:
        """Forget the newest burst of samples, and return their ids; empty if there are no samples."""
        with self._lock:
            ids = self._learner.last_burst()
            if ids:
                with self._keeping_labels(), self._one_change():
                    self._learner.forget(ids)
        self.release()
        return ids

    def correct(
        self, wanted: SampleFilter, action: str, target: Target, *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Relabel, forget, exclude or include many samples in one change; see `Learner.correct`.

        Raises:
            SelectionError: There is no condition, or the label does not fit the action.
            SampleNotFoundError: A sample that a condition names was never taught or is forgotten.
            LabelError: The label cannot be one, or nothing was taught as the denied label.
        """

        def work() -> Correction:
            return self._learner.correct(wanted, action, **vars(target), dry_run=dry_run)

        if dry_run:
            return work().to_dict()
        with self._lock, self._keeping_labels():
            with self._one_change():
                done = work()
            self._drafts -= {target.label}
        self.release()
        return done.to_dict()

    def answer(
        self, numbers: Sequence[int], label: str | None, *, not_label: str | None = None
    ) -> list[Sample]:
        """Teach frames of the queue, in one change.

        Args:
            numbers: Their ids.
            label: Their label; None makes them background, or negatives of `not_label`.
            not_label: The label that negatives deny.

        Raises:
            SampleNotFoundError: A frame is no longer in the queue; then none is taught.
            LabelError: `label` cannot be a label, or nothing was taught as `not_label`.
        """
        label = None if label is None else check_label(label)
        labels = dict.fromkeys(numbers, label) if not_label is None else {}
        denied = {} if not_label is None else dict.fromkeys(numbers, not_label)
        with self._lock:
            with self._one_change():
                samples = self._learner.answer(labels, not_labels=denied)
            self._drafts -= {label}
        self.release()
        return samples

    def drop(self, numbers: Sequence[int]) -> None:
        """Take frames out of the queue without teaching them."""
        self._doubts.settle(numbers)
        self.release()

    def report(self, forecast: bool = False) -> dict[str, Any]:
        """Return the status of the learner, with the forecast if asked for; computed once for all viewers."""
        with self._reporting:  # not the lock of changes: evaluating thousands of samples takes seconds
            version = self.version
            if self._report is None or self._report[0] != version or self._report[1]["behind"]:
                wait = not self._learner.is_settling
                with self._loop.judging:  # the picture must not stop for it
                    self._report = (version, self._learner.status(wait=wait).to_dict())
            if forecast and self._report[1]["forecast"] is None:
                made = self._learner.status(forecast=True).to_dict()  # predictions continue meanwhile
                if self.version != version:
                    return made
                self._report = (version, made)
            return self._report[1]

    def export(self, folder: Path) -> Path:
        """Write a model file that starts with what was learned into `folder`."""
        path = folder / f"{self._learner.model.path.stem}-taught.tflite"
        with self._exporting:  # one at a time: each needs a whole model in RAM
            self._learner.export(path)
        return path

    def _counts(self) -> dict[str, int]:
        return dict(self._learner.head.counts)

    def _arrange(self) -> dict[str, int]:
        counts = dict.fromkeys(sorted(self._drafts), 0) | self._counts()
        self._order = [label for label in self._order if label in counts]
        self._order += [label for label in counts if label not in self._order]
        return counts

    def _check_known(self, label: str) -> None:
        if label not in self._drafts and label not in self._counts():
            raise LabelError(f"there is no label {label!r}; reload the page")

    def _check_still_there(self, label: str, hold: str) -> None:
        if hold in self._holds:
            if label not in self._drafts and label not in self._counts():
                raise LabelError(
                    f"another viewer renamed or deleted {label!r} meanwhile; release the button and press again"
                )
        elif hold:
            self._holds.append(hold)

    @contextlib.contextmanager
    def _keeping_labels(self) -> Iterator[set[str]]:
        """Keep labels on the page when the change in the block removes their last samples.

        Yields:
            The labels before the change; a label removed from this set is not kept.
        """
        known, places = set(self._counts()), list(self._order)
        yield known
        self._order = places
        self._drafts |= set(sorted(known - self._counts().keys())[: _DRAFTS - len(self._drafts)])
        self._arrange()

    @contextlib.contextmanager
    def _one_change(self, hold: str = "") -> Iterator[None]:
        """Record the change in the block for undo; changes with the same `hold` are undone together."""
        self._forget_groups_of_others()
        yield
        if hold and hold == self._hold and self._groups:
            self._groups[-1] += 1
        else:
            self._groups.append(1)
        self._hold = hold
        self._position = self._learner.store.position()
        self._arrange()

    def _forget_groups_of_others(self) -> None:
        if self._position != self._learner.store.position():  # another process has changed the state file
            self._groups.clear()

    def _edited(self) -> None:
        self._edits += 1
        self._arrange()
        self._changed()


def _meaning(stored: str | None) -> str | None:
    """Return what a stored label means, for people; None for a sample that is not taught."""
    return None if stored is None else meaning_of(*split_label(plain_label(stored)))


def summarize(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what undoing changes of one kind did: ``action``, ``samples``, the meanings ``old`` and ``new``, and ``several``.

    Empty without changes. ``several`` is whether the samples had several meanings.
    """
    if not entries:
        return {}
    change = entries[0].changes[0] if entries[0].changes else None
    return {
        "action": entries[0].action,
        "samples": sum(entry.samples() for entry in entries),
        "old": None if change is None else _meaning(change.old),
        "new": None if change is None else _meaning(change.new),
        "several": len({run.old for entry in entries for run in entry.changes}) > 1,
    }


def describe(entries: Sequence[Entry]) -> str:
    """Return a sentence that describes what undoing changes of one kind did."""
    if not entries:
        return ""
    done = summarize(entries)
    count, old, new, several = done["samples"], done["old"], done["new"], done["several"]
    samples = f"{count} sample{'' if count == 1 else 's'}"
    sentences = {
        "learn": f"Removed {samples} of {new}.",
        "forget": f"Restored {samples}{'' if several else f' of {old}'}.",
        "delete": f"Restored {old} with {samples}.",
        "relabel": f"Changed {samples} back to {'their labels' if several else old}.",
        "exclude": f"Included {samples} again.",
        "include": f"Excluded {samples} again.",
        "rename": f"Renamed {new} back to {old}.",
        "merge": f"Removed the {samples} that were merged.",
    }
    return sentences.get(entries[0].action, f"Undid: {entries[0].action}.")
