"""Text from outside, made safe to display."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from device.printable import printable, visible


def test_controls_become_visible_and_joiners_stay() -> None:
    """Nothing moves the cursor or reorders the line; Persian and emoji stay unchanged."""
    assert printable("a\x1b[2J\r\n\u202eb\u2066c\u200f\x85") == (
        "a\\u001b[2J\\u000d\\u000a\\u202eb\\u2066c\\u200f\\u0085"
    )
    for text in ("می\u200cخواهم", "👩\u200d🔬", "Größe", "שלום"):
        assert printable(text) == text


@given(st.text())
def test_no_control_or_bidirectional_control_is_left(text: str) -> None:
    """For any text, by the categories and classes of Unicode."""
    for character in printable(text):
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in (
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B",
        )  # fmt: skip


def test_complete_output_keeps_line_breaks_and_colors() -> None:
    """Only characters that cannot be seen become escapes; in JSON the escape means the same character."""
    assert visible("\x1b[1m\u200fשלום\x1b[0m\n\u202eb") == "\x1b[1m\\u200fשלום\x1b[0m\n\\u202eb"
    assert json.loads(visible(json.dumps("\u200fשלום", ensure_ascii=False))) == "\u200fשלום"
