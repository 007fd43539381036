"""Text from outside, made safe to show: on a terminal, in a log, on the page."""

from __future__ import annotations

import re

# C0 and C1 controls move a terminal's cursor; bidirectional controls (Unicode UAX #9) reorder the text around
# them; separators break lines; the others have no width and make two labels look alike. Zero-width joiners
# stay: Persian, Indic scripts and emoji need them.
_INVISIBLE = "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
_HIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f{_INVISIBLE}]")
_UNSEEN = re.compile(f"[{_INVISIBLE}]")


def printable(text: str) -> str:
    r"""Return `text` with control and invisible characters replaced by visible escapes.

    Example:
        >>> print(printable("mug\u202egum\x1b[2J"))
        mug\u202egum\u001b[2J
    """
    return _HIDDEN.sub(_escaped, text)


def visible(text: str) -> str:
    r"""Return `text` with invisible characters replaced by escapes; line breaks and terminal colors stay.

    For complete output, JSON included: there the escape means the same character.

    Example:
        >>> print(visible("mug\u202egum"))
        mug\u202egum
    """
    return _UNSEEN.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
