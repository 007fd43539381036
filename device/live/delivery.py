"""Deliver the current state to receivers: commands, web addresses, message brokers.

The state is the label in view, and whether there is a prediction at all. Each receiver has a thread and room for one
waiting state: a newer state replaces an older one, and a state equal to the last one delivered is not delivered again. So
a receiver that is slow or was unreachable gets the current state and never a queue of old changes, and the camera never
waits.
"""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from ..addresses import redact
from ..cameras import Notice
from ..printable import printable
from .watching import Observation

SECONDS = 5.0  # time limit for the response of a receiver
CLOSING_SECONDS = 10.0  # time limit for the last state, for all receivers together
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0  # seconds between two attempts
LONGEST_REQUEST = 300.0  # maximum delay that a receiver may request, in seconds

Clock = Callable[[], float]
State = tuple[str, bool]  # the label, and whether there is a prediction


class Undelivered(Exception):  # noqa: N818  (a response of the receiver, not an error here)
    """A receiver did not accept a state.

    Attributes:
        lasting: Whether another attempt would fail too; only the next change is tried.
        delay: Seconds of delay that the receiver requests before the next attempt, 0 for none.
    """

    def __init__(self, reason: str, *, lasting: bool = False, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.lasting, self.delay = lasting, delay


class Outbox:
    """The state that waits for a receiver, and the time at which it may be delivered.

    Times are seconds of a monotonic clock.

    Args:
        every: Minimum seconds between the starts of two deliveries.

    Example:
        >>> outbox = Outbox(every=5.0)
        >>> outbox.delay(now=0.0) is None  # nothing waits
        True
    """

    def __init__(self, every: float = 0.0) -> None:
        self._every = every
        self._present: Observation | None = None
        self._last: State | None = None  # the last state delivered; None: not known, or none
        self._free_at = -float("inf")
        self._failures = 0

    def offer(self, observation: Observation, wanted: bool = True) -> bool:
        """Record the current state.

        Args:
            observation: What is in view.
            wanted: Whether the receiver wants this label; if not, no state waits any more, and the next wanted
                label counts as new.

        Returns:
            Whether the waiting state may have changed.
        """
        before = self._present
        if not wanted:
            self._present = self._last = None
        elif before is None or _state(before) != _state(observation):
            self._present = observation
        return self._present is not before

    @property
    def present(self) -> Observation | None:
        """The current state, or None where the receiver does not want it."""
        return self._present

    def delay(self, now: float) -> float | None:
        """Return the seconds until the waiting state may be delivered, or None when none waits."""
        if self._present is None or _state(self._present) == self._last:
            return None
        return max(0.0, self._free_at - now)

    def take(self, now: float) -> Observation:
        """Return the waiting state; from now on it counts as delivered."""
        if self._present is None:
            raise LookupError("nothing waits for this receiver")
        self._last = _state(self._present)
        self._free_at = now + self._every
        return self._present

    def succeed(self) -> None:
        """Record that the receiver has accepted the state, or never will."""
        self._failures = 0

    def fail(self, now: float, requested: float = 0.0) -> None:
        """Record that the receiver may lack the state: it waits again, longer after each failure.

        Args:
            now: The current time.
            requested: Seconds of delay that the receiver requests.
        """
        self._last = None
        self._failures += 1
        own = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures - 1, 60))
        self._free_at = max(self._free_at, now + max(own, min(requested, LONGEST_REQUEST)))

    def hurry(self) -> None:
        """Record that the receiver is back: the waiting state may be delivered at once."""
        self._free_at = -float("inf")


def _state(observation: Observation) -> State:
    # an unknown frame has a nearest label, which receivers must not keep when everything was forgotten
    return observation.label, observation.prediction is not None


class Hook(ABC):
    """A receiver of the current state."""

    @abstractmethod
    def update(self, observation: Observation) -> None:
        """Record what is in view, without waiting."""

    @abstractmethod
    def finish(self) -> None:
        """Start to stop: the waiting state is delivered at once, with one attempt; does not wait."""

    @abstractmethod
    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Stop, after waiting at most `seconds` for a delivery in progress."""


class Receiver(Hook):
    """A hook that delivers from a thread.

    Args:
        name: Name of the receiver in messages; contains no secrets.
        notice: Called with messages for the user, also from the thread.
        every: Minimum seconds between the starts of two deliveries.
        clock: Returns seconds.
    """

    def __init__(
        self, name: str, notice: Notice = print, *, every: float = 0.0, clock: Clock = time.monotonic
    ) -> None:
        self._name, self._notice, self._clock = name, notice, clock
        self._outbox = Outbox(every)
        self._changed = threading.Condition()
        self._finishing = self._tried_last = False
        self._condition = ""  # the condition reported last; "" while everything works
        self._thread = threading.Thread(target=self._work, name=f"edgetl {name}", daemon=True)
        self._thread.start()

    def update(self, observation: Observation) -> None:
        """Record what is in view, without waiting."""
        with self._changed:
            if self._outbox.offer(observation, self.wants(observation)):
                self._changed.notify_all()

    def wants(self, observation: Observation) -> bool:
        """Return whether the receiver wants this state."""
        return True

    @abstractmethod
    def deliver(self, observation: Observation) -> None:
        """Deliver a state and wait until it has arrived.

        Raises:
            Undelivered: The state has not arrived, or this is not known.
        """

    @property
    def present(self) -> Observation | None:
        """The current state, or None where the receiver does not want it."""
        with self._changed:
            return self._outbox.present

    @property
    def finishing(self) -> bool:
        """Whether the receiver is stopping."""
        return self._finishing

    def wake(self) -> None:
        """Check the clock again."""
        with self._changed:
            self._changed.notify_all()

    def hurry(self) -> None:
        """Deliver the waiting state at once: the receiver is back."""
        with self._changed:
            self._outbox.hurry()
            self._changed.notify_all()

    def finish(self) -> None:
        """Start to stop: the waiting state is delivered at once, with one attempt; does not wait."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Stop, after waiting at most `seconds` for a delivery in progress."""
        self.finish()
        self._thread.join(seconds)

    def report(self, message: str) -> None:
        """Pass a message on; one that cannot be written must not stop the deliveries."""
        with contextlib.suppress(Exception):
            self._notice(printable(redact(message)))

    def _work(self) -> None:
        while (observation := self._next()) is not None:
            try:
                self.deliver(observation)
            except Undelivered as failure:
                self._fail(failure)
            except Exception as error:  # an error in edgetl must not stop the deliveries either
                self._fail(Undelivered(f"failed: {type(error).__name__}: {error}"))
            else:
                self._succeed()

    def _next(self) -> Observation | None:
        """Wait for a state that may be delivered and return it, or None at the end."""
        with self._changed:
            while True:
                now = self._clock()
                delay = self._outbox.delay(now)
                if self._finishing:
                    if delay is None or self._tried_last:
                        return None
                    self._tried_last = True
                    return self._outbox.take(now)
                if delay == 0.0:
                    return self._outbox.take(now)
                self._changed.wait(delay)

    def _succeed(self) -> None:
        with self._changed:
            self._outbox.succeed()
        self.note("")

    def _fail(self, failure: Undelivered) -> None:
        with self._changed:
            if failure.lasting:
                self._outbox.succeed()
            else:
                self._outbox.fail(self._clock(), failure.delay)
            step = "trying again until it has the current state"
            if failure.lasting:
                step = "this change is dropped, the next one is tried"
            elif self._finishing:
                step = "the last state is not delivered"
        self.note(str(failure), step)

    def note(self, condition: str, step: str = "") -> None:
        """Report the condition of the receiver, once per change and not with every attempt.

        Args:
            condition: What is wrong; "" when everything works.
            step: What happens next.
        """
        with self._changed:
            before, self._condition = self._condition, condition
        if condition and condition != before:
            self.report(f"{self._name} {condition}; {step}")
        elif before and not condition:
            self.report(f"{self._name} works again and has the current state")


class Hooks(Hook):
    """Several receivers as one."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = tuple(hooks)

    def update(self, observation: Observation) -> None:
        """Pass on what is in view to all receivers."""
        for hook in self._hooks:
            hook.update(observation)

    def finish(self) -> None:
        """Start to stop all receivers at the same time."""
        for hook in self._hooks:
            hook.finish()

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Stop all receivers, within `seconds` together."""
        self.finish()
        deadline = time.monotonic() + seconds
        for hook in self._hooks:
            hook.close(max(0.0, deadline - time.monotonic()))
