"""Text from outside, made safe to show: on a terminal, in a log, on the page."""

from __future__ import annotations

import re

# C0 and C1 controls move a terminal's cursor; bidirectional controls (Unicode UAX #9) reorder what stands around
# them; separators break lines; the others have no width and make two labels look alike. Zero-width joiners
# stay: Persian, Indic scripts and emoji need them.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return `text` with control and invisible characters replaced by visible escapes.

    Example:
        >>> print(printable("mug\u202egum\x1b[2J"))
        mug\u202egum\u001b[2J
    """
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
