"""The linter of the prose in `make lint` finds what it should, and leaves code alone."""

from __future__ import annotations

import pytest

pytest.importorskip("proselint", reason="no proselint: it is in the group dev")

from scripts.prose import findings


def test_a_rule_of_proselint_is_reported_with_its_line() -> None:
    """A repeated word is a mistake."""
    [found] = findings("page.md", "# Title\n\nOne line.\nTake the the next one.\n")
    assert (found.line, found.rule) == (4, "lexical_illusions")


def test_very_is_reported_with_what_to_write() -> None:
    """The message of proselint is a joke."""
    [found] = findings("page.md", "A very small board.\n")
    assert (found.rule, found.text) == (
        "weasel_words.very",
        "'very' adds nothing: leave it out, or write how much",
    )


def test_a_word_that_the_repository_avoids_is_reported_with_what_to_write() -> None:
    """A program shows something; it says nothing."""
    [found] = findings("page.md", "The command says what it does.\n")
    assert (found.rule, found.line) == ("edgetl.words", 1)
    assert "shows" in found.text


def test_code_comments_and_quotes_are_not_prose() -> None:
    """They are shown as programs write them."""
    text = (
        '# The file\n\nThe file, `so many`, "it says".\n<!-- the the -->\n\n```text\nvery very\n```\n'
        "See [the page](says.md).\n"
    )
    assert findings("page.md", text) == []
