"""What the page does to the learner: teach, take back, correct, export."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import HeadError, LabelError, SampleNotFoundError
from ..images import read_photo
from ..labels import check_label
from ..learner import Learner
from ..store import Entry
from .doubts import Doubts
from .loop import Loop

_DRAFTS = 64  # labels that were added and not taught yet


class Lessons:
    """Every change a viewer can make, one at a time; thread-safe.

    Args:
        learner: Is taught.
        loop: Gives the frames.
        doubts: The queue.
        changed: Called after each change, for whoever watches.
    """

    def __init__(self, learner: Learner, loop: Loop, doubts: Doubts, changed: Callable[[], None]) -> None:
        self.version = 1
        self._learner, self._loop, self._doubts, self._changed = learner, loop, doubts, changed
        self._lock = threading.RLock()
        self._exporting = threading.Lock()
        self._drafts: list[str] = []
        self._taught_frame = 0
        self._hold, self._held = "", 0  # what is held down now, and how many samples it taught
        self._report: tuple[int, dict[str, Any]] | None = None

    def labels(self) -> list[dict[str, Any]]:
        """List the labels with their counts; those not taught yet come last."""
        counts = self._counts()
        drafts = [name for name in self._drafts if name not in counts]
        return [{"label": name, "samples": count} for name, count in counts.items()] + [
            {"label": name, "samples": 0} for name in drafts
        ]

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
            self._drafts.append(label)
            self._bump()
        return label

    def teach(self, label: str, hold: str = "") -> dict[str, Any]:
        """Teach the newest frame that was not taught yet; returns once it is durable.

        Args:
            label: What the frame shows.
            hold: Names one press of a button; its samples are taken back together.

        Raises:
            CameraError: No new frame came.
        """
        label = check_label(label)
        moment = self._loop.newer(self._taught_frame)  # waits, so not under the lock
        with self._lock:
            while moment.number <= self._taught_frame:  # somebody else taught it meanwhile
                moment = self._loop.newer(self._taught_frame)
            frame = moment.frame
            sample = self._learner.learn_one(frame.image, label, frame.source, embedding=moment.embedding)
            self._taught_frame = moment.number
            same = bool(hold) and hold == self._hold
            self._hold, self._held = hold, self._held + 1 if same else 1
            self._forget_draft(label)
            self._bump()
        return {"id": sample.id, "label": label, "samples": self._counts().get(label, 0)}

    def release(self) -> None:
        """Judge the queue anew once a press has ended; it costs a solve, too much for each sample."""
        try:
            self._doubts.review(self._learner.predict_embedding)
        except HeadError:  # nothing is taught any more
            self._doubts.clear()
        self._changed()

    def undo(self) -> dict[str, Any]:
        """Take back the last change, or everything the last press of a button taught.

        Returns:
            ``undone``, how many changes, 0 when nothing was left; ``message``, what they were.
        """
        with self._lock:
            wanted = max(1, self._held)
            self._hold, self._held = "", 0
            entries: list[Entry] = []
            for _ in range(wanted):
                entry = self._learner.undo()
                if entry is None:
                    break
                entries.append(entry)
            self._bump()
        self.release()
        return {"undone": len(entries), "message": describe(entries)}

    def rename(self, old: str, new: str) -> str:
        """Rename a label; the name of another one joins the two.

        Raises:
            LabelError: There is no label `old`, or `new` is no label.
        """
        new = check_label(new)
        with self._lock:
            if old in self._counts():
                self._learner.rename_label(old, new)
            elif old not in self._drafts:
                raise LabelError(f"there is no label {old!r}; reload the page")
            elif new not in self._drafts and new not in self._counts():
                self._drafts.append(new)
            self._forget_draft(old)
            self._changed_by_hand()
        return new

    def delete(self, label: str) -> None:
        """Forget a label and all its samples; can be undone.

        Raises:
            LabelError: There is no such label.
        """
        with self._lock:
            if label in self._counts():
                self._learner.delete_label(label)
            elif label not in self._drafts:
                raise LabelError(f"there is no label {label!r}; reload the page")
            self._forget_draft(label)
            self._changed_by_hand()

    def relabel(self, number: int, label: str) -> None:
        """Give a sample another label.

        Raises:
            SampleNotFoundError: There is no such sample.
        """
        label = check_label(label)
        with self._lock:
            self._learner.relabel(number, label)
            self._forget_draft(label)
            self._changed_by_hand()

    def forget(self, number: int) -> None:
        """Forget a sample, exactly as if it had never been seen.

        Raises:
            SampleNotFoundError: There is no such sample.
        """
        with self._lock:
            self._learner.forget(number)
            self._changed_by_hand()

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
            image = read_photo(doubt.jpeg)  # for the thumbnail
            self._learner.learn_one(image, label, "page: was unsure", embedding=doubt.embedding)
            self._doubts.settle(number)
            self._forget_draft(label)
            self._changed_by_hand()

    def skip(self, number: int) -> None:
        """Take a frame out of the queue without teaching it."""
        self._doubts.settle(number)
        self._bump()

    def report(self) -> dict[str, Any]:
        """Give the learner's status; computed once after each change, however many ask."""
        with self._lock:
            if self._report is None or self._report[0] != self.version:
                self._report = (self.version, self._learner.status().to_dict())
            return self._report[1]

    def export(self, folder: Path) -> Path:
        """Write a model file that starts with what was learned into `folder`."""
        path = folder / f"{self._learner.model.path.stem}-taught.tflite"
        with self._exporting:  # one at a time: each holds a whole model in memory
            self._learner.export(path)
        return path

    def _counts(self) -> dict[str, int]:
        return dict(self._learner.head.counts)

    def _forget_draft(self, label: str) -> None:
        if label in self._drafts:
            self._drafts.remove(label)

    def _changed_by_hand(self) -> None:
        self._hold, self._held = "", 0
        self._bump()
        self.release()

    def _bump(self) -> None:
        self.version += 1
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
