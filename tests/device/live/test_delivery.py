"""Every receiver gets the current state in the end, and never a queue of old ones."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.live.delivery import LONGEST_DELAY, LONGEST_REQUEST, Hooks, Outbox, Receiver, Undelivered
from device.live.watching import Observation

from .seen import observation

PATIENCE = 30.0  # seconds to wait for another thread


def test_a_change_within_the_pause_is_delivered_when_it_is_over() -> None:
    """Unless the label in view then was the last one delivered."""
    outbox = Outbox(every=5.0)
    outbox.offer(observation("red"))
    assert outbox.delay(0.0) == 0.0
    assert outbox.take(0.0).label == "red"
    assert outbox.delay(0.0) is None
    outbox.offer(observation("blue"))
    assert outbox.delay(1.0) == 4.0
    outbox.offer(observation("red"))
    assert outbox.delay(2.0) is None
    outbox.offer(observation("blue"))
    assert outbox.delay(7.0) == 0.0
    assert outbox.take(7.0).label == "blue"


def test_a_label_that_comes_back_counts_as_new_for_a_receiver_of_that_label() -> None:
    """The receiver is no longer up to date once the label has left; the pause still applies."""
    outbox = Outbox(every=5.0)
    outbox.offer(observation("visitor"))
    outbox.take(0.0)
    outbox.offer(observation("unknown"), wanted=False)
    assert outbox.delay(1.0) is None
    outbox.offer(observation("visitor"))
    assert outbox.delay(1.0) == 4.0
    outbox.offer(observation("unknown"), wanted=False)
    assert outbox.delay(9.0) is None


def test_the_waiting_state_is_the_frame_of_the_change() -> None:
    """Later frames of the same label do not replace it."""
    outbox = Outbox()
    first = observation("red")
    assert outbox.offer(first)
    assert not outbox.offer(observation("red", changed=False))
    assert outbox.take(0.0) is first


def test_delays_double_up_to_a_limit_and_start_again_after_a_success() -> None:
    """They contain no randomness."""
    outbox, now, delays = Outbox(), 0.0, []
    outbox.offer(observation("red"))
    for _ in range(9):
        outbox.take(now)
        outbox.fail(now)
        delays.append(outbox.delay(now))
        now += delays[-1] or 0.0
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY]
    outbox.take(now)
    outbox.succeed()
    outbox.offer(observation("blue"))
    outbox.take(now)
    outbox.fail(now)
    assert outbox.delay(now) == 1.0


def test_a_delay_that_the_receiver_requests_is_kept_within_limits() -> None:
    """At least the delay of edgetl, and at most five minutes."""
    outbox = Outbox()
    outbox.offer(observation("red"))
    for requested, delay in ((30.0, 30.0), (0.0, 2.0), (1e9, LONGEST_REQUEST)):
        outbox.take(0.0)
        outbox.fail(0.0, requested)
        assert outbox.delay(0.0) == delay
        outbox.hurry()
        assert outbox.delay(0.0) == 0.0


def test_a_state_that_may_have_arrived_is_delivered_again() -> None:
    """A receiver that timed out on blue may have accepted it, so red, delivered before, may be out of date."""
    outbox = Outbox()
    outbox.offer(observation("red"))
    outbox.take(0.0)
    outbox.succeed()
    outbox.offer(observation("blue"))
    outbox.take(0.0)
    outbox.offer(observation("red"))
    outbox.fail(0.0)
    assert outbox.delay(0.0) == 1.0
    assert outbox.take(1.0).label == "red"


def test_a_receiver_learns_that_everything_was_forgotten_while_the_label_was_unknown() -> None:
    """An unknown frame has a nearest label, and without samples there is none; both are "unknown"."""
    outbox = Outbox()
    outbox.offer(observation("unknown"))
    assert outbox.take(0.0).prediction is not None
    forgotten = replace(observation("unknown", changed=False), prediction=None)
    assert outbox.offer(forgotten)
    assert outbox.delay(0.0) == 0.0
    assert outbox.take(0.0).prediction is None
    assert not outbox.offer(forgotten)
    assert outbox.delay(0.0) is None


# whole tenths of a second: hypothesis refuses floats where a runtime has switched subnormal numbers off
SECONDS = st.integers(0, 40).map(lambda tenths: tenths / 10)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), SECONDS, st.booleans())), SECONDS)
def test_in_the_end_the_receiver_has_the_current_state(
    events: list[tuple[str, float, bool]], every: float
) -> None:
    """For any order of events, and never with two starts closer than allowed."""
    outbox, now, taken, starts = Outbox(every), 0.0, "", []
    for label, pause, works in [*events, ("b", 100.0, True), ("b", 100.0, True)]:
        outbox.offer(observation(label))
        now += pause
        if outbox.delay(now) == 0.0:
            state = outbox.take(now).label
            starts.append(now)
            if works:
                taken = state
                outbox.succeed()
            else:
                outbox.fail(now)
    assert taken == "b"
    assert all(later - earlier >= every - 1e-9 for earlier, later in itertools.pairwise(starts))


class Recorder(Receiver):
    """A receiver that the test controls.

    Attributes:
        now: What the clock shows.
        answers: What the next deliveries end with; None is success.
        started: Labels of the deliveries that began.
        noted: Conditions that were noted, reported or not.
        remarks: What was reported.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.answers: queue.Queue[Undelivered | None] = queue.Queue()
        self.started: queue.Queue[str] = queue.Queue()
        self.noted: queue.Queue[str] = queue.Queue()
        self.remarks: list[str] = []
        super().__init__("the recorder", self.remarks.append, clock=lambda: self.now)

    def deliver(self, observation: Observation) -> None:
        """Report that it has started, then wait for the result from the test."""
        self.started.put(observation.label)
        answer = self.answers.get(timeout=PATIENCE)
        if answer is not None:
            raise answer

    def note(self, condition: str, step: str = "") -> None:
        """Record the call."""
        super().note(condition, step)
        self.noted.put(condition)

    def begun(self) -> str:
        """Wait for the next delivery."""
        return self.started.get(timeout=PATIENCE)

    def later(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds
        self.wake()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A receiver, closed at the end."""
    recorder = Recorder()
    yield recorder
    for _ in range(3):
        recorder.answers.put(None)
    recorder.close(PATIENCE)


def test_a_slow_receiver_gets_the_current_state_and_no_old_changes(recorder: Recorder) -> None:
    """`update` returns at once, whatever time the receiver needs."""
    recorder.update(observation("label 0"))
    assert recorder.begun() == "label 0"
    for number in range(1, 100):
        recorder.update(observation(f"label {number}"))
    recorder.answers.put(None)
    assert recorder.begun() == "label 99"
    recorder.answers.put(None)
    recorder.close(PATIENCE)
    assert recorder.started.empty()


def test_a_receiver_that_was_unreachable_gets_the_current_state(recorder: Recorder) -> None:
    """One message when it fails and one when it works again, not one per attempt."""
    recorder.update(observation("red"))
    for delay in (1.0, 2.0, 4.0):
        assert recorder.begun() == "red"
        recorder.answers.put(Undelivered("is down"))
        assert recorder.noted.get(timeout=PATIENCE) == "is down"
        if delay < 4.0:
            recorder.later(delay)
    recorder.update(observation("blue"))
    recorder.later(4.0)
    assert recorder.begun() == "blue"
    recorder.answers.put(None)
    recorder.close(PATIENCE)
    assert recorder.remarks == [
        "the recorder is down; trying again until it has the current state",
        "the recorder works again and has the current state",
    ]


def test_a_lasting_refusal_is_reported_and_not_tried_again_before_the_next_change(recorder: Recorder) -> None:
    """The same refusal of the next change is not reported again; a different one is."""
    for label, reason in (("red", "says 401"), ("blue", "says 401"), ("green", "says 404")):
        recorder.update(observation(label))
        assert recorder.begun() == label
        recorder.answers.put(Undelivered(reason, lasting=True))
    recorder.later(1000.0)
    recorder.close(PATIENCE)
    assert recorder.started.empty()
    assert [remark.partition(";")[0] for remark in recorder.remarks] == [
        "the recorder says 401",
        "the recorder says 404",
    ]


def test_at_the_end_the_waiting_state_is_tried_once(recorder: Recorder) -> None:
    """An unreachable receiver does not delay the end."""
    recorder.update(observation("red"))
    recorder.begun()
    recorder.update(observation("blue"))
    recorder.finish()
    recorder.answers.put(Undelivered("is down"))
    assert recorder.begun() == "blue"
    recorder.answers.put(Undelivered("is down"))
    recorder.close(PATIENCE)
    assert recorder.started.empty()


def test_an_error_in_a_receiver_does_not_stop_its_deliveries(recorder: Recorder) -> None:
    """It is reported, and the delivery is tried again."""
    recorder.update(observation("red"))
    recorder.begun()
    recorder.answers.put(ZeroDivisionError("by u:s3cret@host"))  # type: ignore[arg-type]  # a fault
    recorder.finish()
    assert recorder.begun() == "red"
    recorder.answers.put(None)
    recorder.close(PATIENCE)
    assert "ZeroDivisionError: by u:***@host" in recorder.remarks[0]
    assert "works again" in recorder.remarks[1]


def test_several_receivers_stop_together() -> None:
    """Each gets its last state although another one hangs."""
    hanging, working = Recorder(), Recorder()
    working.answers.put(None)
    hooks = Hooks([hanging, working])
    hooks.update(observation("red"))
    assert hanging.begun() == working.begun() == "red"
    hooks.close(0.01)
    working.close(PATIENCE)
    assert not working._thread.is_alive()
    hanging.answers.put(None)
    hanging.close(PATIENCE)
