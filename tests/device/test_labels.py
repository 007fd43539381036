"""Valid and invalid labels."""

from __future__ import annotations

import pytest

from device.errors import LabelError
from device.labels import check_label, check_labels


def test_spaces_and_other_scripts_are_accepted() -> None:
    """Labels are for people."""
    assert check_labels(["rosa canina", "Löwenzahn", "茶碗"]) == ("rosa canina", "Löwenzahn", "茶碗")


def test_two_spellings_of_one_text_are_one_label() -> None:
    """A decomposed umlaut equals a composed one (macOS folders have the former)."""
    assert check_label("Lo\u0308we") == "Löwe"
    with pytest.raises(LabelError, match="more than once"):
        check_labels(["Lo\u0308we", "Löwe"])


def test_letters_of_right_to_left_scripts_are_accepted() -> None:
    """And the joiners that Persian and emoji need; only marks that reorder the text around them are refused."""
    assert check_labels(["כוס", "فنجان", "می\u200cخواهم"]) == ("כוס", "فنجان", "می\u200cخواهم")


@pytest.mark.parametrize("mark", ["\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069"])
def test_characters_that_change_the_direction_of_text_are_refused(mark: str) -> None:
    """Such a label could be displayed as another one; the message shows it escaped."""
    with pytest.raises(LabelError, match="direction") as caught:
        check_label(f"{mark}gnp.exe")
    assert mark not in str(caught.value)


@pytest.mark.parametrize("bad", ["", "  ", "two\nlines", "bell\a", "x" * 101, "\ud800", 7])
def test_invalid_labels_are_refused(bad: object) -> None:
    """Empty, too long, control characters, line breaks, and other types than text."""
    with pytest.raises(LabelError):
        check_label(bad)  # type: ignore[arg-type]
