"""Help pages and mistyped names of groups of commands."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from edgetl.cli import main


@pytest.mark.parametrize("group", [[], ["label"], ["service"], ["import"], ["key"]], ids=str)
def test_the_summaries_of_commands_are_complete_at_80_columns(group: list[str]) -> None:
    """They are wrapped, not cut."""
    page = CliRunner().invoke(main, [*group, "--help"], terminal_width=80).output
    assert "..." not in page.partition("Commands:" if group else "On the laptop:")[2]


def test_a_mistyped_command_is_answered_with_a_near_one() -> None:
    """Of the commands and of those of a group."""
    for words, near in (
        (["tech"], "'teach'"),
        (["label", "renam"], "'rename'"),
        (["key", "unpi"], "'unpin'"),
    ):
        result = CliRunner().invoke(main, words)
        assert (result.exit_code, f"Did you mean {near}?" in result.output) == (2, True), result.output


def test_a_name_that_resembles_no_command_gets_no_suggestion() -> None:
    """A wrong suggestion is worse than none."""
    result = CliRunner().invoke(main, ["xyzzy"])
    assert result.exit_code == 2
    assert "Did you mean" not in result.output
