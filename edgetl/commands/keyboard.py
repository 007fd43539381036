"""Single keys from a terminal, without Enter."""

from __future__ import annotations

import os
import select
import sys
from types import TracebackType
from typing import Any


class Keyboard:
    """Read keys as they are pressed; at the end the terminal gets its settings back.

    Where stdin is not a terminal, its characters count as keys and its end as ``q``.
    """

    def __init__(self) -> None:
        self._handle = sys.stdin.fileno()
        self._before: list[Any] | None = None

    def key(self) -> str:
        """Return the key pressed since the last call, "" for none, "q" at the end of input."""
        ready, _, _ = select.select([self._handle], [], [], 0)
        if not ready:
            return ""
        pressed = os.read(self._handle, 1)
        if not pressed:
            return "q"
        return pressed.decode(errors="replace") if pressed.strip() else self.key()

    def __enter__(self) -> Keyboard:
        if os.isatty(self._handle):
            import termios
            import tty

            self._before = termios.tcgetattr(self._handle)
            # deliver keys at once, and let Ctrl-C interrupt; NOW, because the default discards keys pressed before
            tty.setcbreak(self._handle, termios.TCSANOW)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(self._handle, termios.TCSADRAIN, self._before)
