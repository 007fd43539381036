"""What the page does to the learner: teach, take back, correct, export."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import HeadError, LabelError, SampleNotFoundError
from ..images import read_photo
from ..labels import check_label
from ..learner.learner import Learner
from ..store import Entry
from .doubts import Doubts
from .loop import Capture, Loop

_DRAFTS = 64  # labels that were added and not taught yet
_GROUPS = 500
_HOLDS = 32  # presses remembered
_TEACHING = ("learn", "forget", "relabel")  # changes that leave the labels as they are


class Lessons:
    """Every change a viewer can make, one at a time; thread-safe.

    Args:
        learner: Is taught.
        loop: Gives the frames.
        doubts: The queue.
        changed: Called after each change, for whoever watches.
    """

    def __init__(self, learner: Learner, loop: Loop, doubts: Doubts, changed: Callable[[], None]) -> None:
        self._learner, self._loop, self._doubts, self._changed = learner, loop, doubts, changed
        self._lock = threading.RLock()
        self._exporting = threading.Lock()
        self._reporting = threading.Lock()
        self._order: list[str] = []  # labels stay where they are on the page, new ones come last
        self._drafts: set[str] = set()
        self._edits = 1  # changes of what is not in the state file
        self._taught_frame = 0
        self._hold = ""
        self._holds: deque[str] = deque(maxlen=_HOLDS)  # presses that have taught something
        self._groups: deque[int] = deque(maxlen=_GROUPS)  # changes that one undo takes back, newest last
        self._position = learner.store.position()
        self._report: tuple[int, dict[str, Any]] | None = None
        self._arrange()

    @property
    def version(self) -> int:
        """Grows with every change, also with those that other processes make to the state file."""
        return self._edits + self._learner.store.position()

    def labels(self) -> list[dict[str, Any]]:
        """List the labels with their counts, 0 for those that wait to be taught."""
        with self._lock:
            counts = self._arrange()
            return [{"label": label, "samples": counts[label]} for label in self._order]

    def add(self, label: str) -> str:
        """Offer a label to be taught; until its first sample it is remembered by the page alone.

        Raises:
            LabelError: It is no label, is there already, or there are too many.
        """
        label = check_label(label)
        with self._lock:
            if label in self._drafts or label in self._counts():
                raise LabelError(f"the label {label!r} is there already; choose another name")
            if len(self._drafts) >= _DRAFTS:
                raise LabelError(f"{_DRAFTS} labels wait to be taught already; teach or delete one first")
            self._drafts.add(label)
            self._edited()
        return label

    def teach(self, label: str, hold: str = "") -> dict[str, Any]:
        """Teach the newest frame that was not taught yet; returns once it is durable.

        Args:
            label: What the frame shows.
            hold: Names one press of a button; its samples are taken back together.

        Raises:
            CameraError: No new frame came.
            LabelError: The label was renamed or deleted while the button was held.
        """
        label = check_label(label)
        while True:
            capture = self._loop.newer(self._taught_frame)  # waits, so not under the lock
            with self._lock:
                if capture.number > self._taught_frame:  # else another viewer has taught it meanwhile
                    return self._teach(capture, label, hold)

    def _teach(self, capture: Capture, label: str, hold: str) -> dict[str, Any]:
        frame = capture.frame
        self._check_still_there(label, hold)
        with self._one_change(hold):
            sample = self._learner.learn_one(frame.image, label, frame.source, embedding=capture.embedding)
        self._taught_frame = capture.number
        self._drafts.discard(label)
        self._doubts.drop_like(capture.embedding)
        self._changed()
        return {"id": sample.id, "label": label, "samples": self._counts().get(label, 0)}

    def release(self) -> None:
        """Judge the queue anew once a press has ended; it costs a solve, too much for each sample."""
        try:
            self._doubts.review(lambda one: self._learner.predict_embedding(one, all_scores=True))
        except HeadError:  # nothing is taught any more
            self._doubts.clear()
        self._changed()

    def undo(self) -> dict[str, Any]:
        """Take back the last change, or everything the last press of a button taught.

        Returns:
            ``undone``, how many changes, 0 when nothing was left; ``message``, what they were.
        """
        with self._lock, self._keeping_labels() as emptied:
            self._hold = ""
            self._forget_groups_of_others()
            wanted = self._groups.pop() if self._groups else 1
            undone = [entry for entry in (self._learner.undo() for _ in range(wanted)) if entry is not None]
            self._position = self._learner.store.position()
            if any(entry.action not in _TEACHING for entry in undone):
                emptied.clear()  # a name that was given, or came with a merge, goes with it
        self.release()
        return {"undone": len(undone), "message": describe(undone)}

    def rename(self, old: str, new: str) -> str:
        """Rename a label; the name of another one joins the two.

        Raises:
            LabelError: There is no label `old`, or `new` is no label.
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
        """Forget a label and all its samples; can be undone.

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

    def relabel(self, number: int, label: str) -> None:
        """Give a sample another label.

        Raises:
            SampleNotFoundError: There is no such sample.
        """
        label = check_label(label)
        with self._lock, self._keeping_labels():
            with self._one_change():
                self._learner.relabel(number, label)
            self._drafts.discard(label)
        self.release()

    def forget(self, number: int) -> None:
        """Forget a sample, exactly as if it had never been seen.

        Raises:
            SampleNotFoundError: There is no such sample.
        """
        with self._lock, self._keeping_labels(), self._one_change():
            self._learner.forget(number)
        self.release()

    def answer(self, number: int, label: str) -> None:
        """Teach a frame of the queue.

        Raises:
            SampleNotFoundError: It has left the queue.
        """
        label = check_label(label)
        with self._lock:
            doubt = self._doubts.get(number)
            if doubt is None:
                raise SampleNotFoundError(f"frame {number} has left the queue; take another one")
            with self._one_change():
                image = read_photo(doubt.jpeg)  # for the thumbnail
                self._learner.learn_one(image, label, "page: was unsure", embedding=doubt.embedding)
            self._doubts.settle(number)
            self._doubts.drop_like(doubt.embedding)
            self._drafts.discard(label)
        self.release()

    def skip(self, number: int) -> None:
        """Take a frame out of the queue without teaching it."""
        self._doubts.settle(number)
        self._changed()

    def report(self) -> dict[str, Any]:
        """Give the learner's status; computed once after each change, however many ask."""
        with self._reporting:  # not the lock of changes: judging thousands of samples takes seconds
            version = self.version
            if self._report is None or self._report[0] != version:
                with self._loop.judging:  # nor may the picture stand still for it
                    self._report = (version, self._learner.status().to_dict())
            return self._report[1]

    def export(self, folder: Path) -> Path:
        """Write a model file that starts with what was learned into `folder`."""
        path = folder / f"{self._learner.model.path.stem}-taught.tflite"
        with self._exporting:  # one at a time: each holds a whole model in memory
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
                raise LabelError(f"somebody renamed or deleted {label!r} meanwhile; let go and press again")
        elif hold:
            self._holds.append(hold)

    @contextlib.contextmanager
    def _keeping_labels(self) -> Iterator[set[str]]:
        """Let labels wait to be taught again when what is done within takes their last samples.

        Yields:
            Labels known before; those taken out of it are let go.
        """
        known, places = set(self._counts()), list(self._order)
        yield known
        self._order = places
        self._drafts |= set(sorted(known - self._counts().keys())[: _DRAFTS - len(self._drafts)])
        self._arrange()

    @contextlib.contextmanager
    def _one_change(self, hold: str = "") -> Iterator[None]:
        """Remember the change made within as one that undo takes back; those of one hold together."""
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


def describe(entries: Sequence[Entry]) -> str:
    """Say what undoing changes of one kind did, for a person."""
    if not entries:
        return ""
    count = sum(entry.samples() for entry in entries)
    samples = f"{count} sample{'' if count == 1 else 's'}"
    change = entries[0].changes[0] if entries[0].changes else None
    old, new = (change.old, change.new) if change is not None else (None, None)
    sentences = {
        "learn": f"Took back {samples} of {new}.",
        "forget": f"Brought back {samples} of {old}.",
        "delete": f"Brought back {old} with {samples}.",
        "relabel": f"Gave {samples} the label {old} again.",
        "rename": f"{new} is called {old} again.",
        "merge": f"Took back the {samples} that were merged.",
    }
    return sentences.get(entries[0].action, f"Took back: {entries[0].action}.")
