"""The hours in which a camera or region is watched, in local time."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from ..errors import CameraError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60  # minutes
_WEEK = 7 * _DAY
_NAMES = "|".join(_DAYS)
_SPAN = re.compile(
    rf"(?:({_NAMES})(?:-({_NAMES}))?\s+)?(\d{{1,2}}):(\d\d)-(\d{{1,2}}):(\d\d)", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True)
class Hours:
    """Spans of a week in which something is watched.

    Attributes:
        spans: Start of each span in minutes since Monday 00:00, and its length in minutes.

    Example:
        >>> hours = Hours.parse("mon-fri 07:00-19:00, sat 22:00-02:00")
        >>> monday = time.mktime((2026, 11, 30, 6, 30, 0, 0, 0, -1))
        >>> hours.is_open(monday), hours.opening(monday), hours.is_open(monday + 3600)
        (False, '07:00', True)
    """

    spans: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Return the hours in a text such as ``07:00-19:00`` or ``mon-fri 07:00-19:00,sat 22:00-02:00``.

        A span without a day is on every day. One that ends at or before its start ends on the next day; ``24:00`` is
        the end of a day.

        Raises:
            CameraError: The text has another form.
        """
        spans = [span for part in text.split(",") for span in _spans(part.strip(), text)]
        return cls(tuple(dict.fromkeys(spans)))

    def is_open(self, now: float) -> bool:
        """Return whether a time is in one of the spans; `now` is in seconds since the epoch."""
        minute = _minute(now)
        return any((minute - start) % _WEEK < length for start, length in self.spans)

    def opening(self, now: float) -> str:
        """Return when the next span begins, such as ``07:00``, with the day if that is not within 24 hours."""
        minute = _minute(now)
        wait = min((start - minute) % _WEEK or _WEEK for start, _ in self.spans)
        day, rest = divmod((minute + wait) % _WEEK, _DAY)
        clock = f"{rest // 60:02d}:{rest % 60:02d}"
        return clock if wait < _DAY else f"{_DAYS[day]} {clock}"

    def closed(self, now: float) -> str:
        """Return a message for people, such as ``closed until 07:00``."""
        return f"closed until {self.opening(now)}"


def _minute(now: float) -> int:
    """Return the minutes since Monday 00:00 in local time."""
    local = time.localtime(now)
    return local.tm_wday * _DAY + local.tm_hour * 60 + local.tm_min


def _spans(part: str, text: str) -> list[tuple[int, int]]:
    matched = _SPAN.fullmatch(part)
    if matched is None:
        raise CameraError(
            f"hours are FROM-TO, such as 07:00-19:00 or mon-fri 07:00-19:00, several with commas; got {text[:100]!r}"
        )
    start, end = (_time(matched[place], matched[place + 1], text) for place in (3, 5))
    length = end - start if end > start else end - start + _DAY
    if not 0 < length < _DAY and (start, end) != (0, _DAY):
        raise CameraError(f"hours have a start and another end, such as 07:00-19:00; got {text[:100]!r}")
    return [((day * _DAY + start) % _WEEK, length) for day in _days(matched[1], matched[2])]


def _days(first: str | None, last: str | None) -> list[int]:
    """Return the days from `first` to `last`, also over the end of the week; all days without `first`."""
    if first is None:
        return list(range(7))
    begin, end = _DAYS.index(first.lower()), _DAYS.index((last or first).lower())
    return [(begin + more) % 7 for more in range((end - begin) % 7 + 1)]


def _time(hour: str, minute: str, text: str) -> int:
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > _DAY:
        raise CameraError(f"a time is from 00:00 to 24:00; got {text[:100]!r}")
    return value
