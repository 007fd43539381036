"""Help pages and mistyped names of groups of commands."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edgetl.cli import main
from edgetl.commands.group import Group


def groups(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    """Yield each group of commands below a command, with the words that reach it."""
    if not isinstance(command, click.Group):
        return
    yield words, command
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from groups(below, (*words, name))


GROUPS = dict(groups(main))


def test_every_group_of_commands_is_found() -> None:
    """Also those that are imported when they are used."""
    assert {(), ("bench",), ("import",), ("key",), ("label",), ("service",)} <= set(GROUPS)


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_group_shows_complete_summaries_at_80_columns_and_a_near_name(words: tuple[str, ...]) -> None:
    """Summaries are wrapped, not cut; `Group` does both."""
    group = GROUPS[words]
    assert isinstance(group, Group)
    page = CliRunner().invoke(main, [*words, "--help"], terminal_width=80).output
    listed = page.partition("Commands:" if words else "On the laptop:")[2]
    assert "..." not in listed
    shown = " ".join(listed.split())
    for name, summary in group.summaries(click.Context(group), group.list_commands(click.Context(group))):
        assert f"{name} {summary}" in shown


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
