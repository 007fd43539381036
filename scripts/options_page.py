"""The tables of docs/options.md: each option of the command line once, with the commands that have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import click

from edgetl.cli import SECTIONS, main

_NOT_LISTED = {"--help"}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, also those of groups."""
    context = click.Context(main)
    for name in (name for names in SECTIONS.values() for name in names):
        command = main.get_command(context, name)
        if command is not None:
            yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())


def options() -> dict[tuple[str, str], list[str]]:
    """Return the commands per option, which is its names with its value, and its help."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, command in commands():
        with click.Context(command, info_name=name) as context:
            for parameter in command.params:
                record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
                if record and not _NOT_LISTED & set(parameter.opts):
                    found[record[0], _one_line(record[1])].append(name)
    return dict(found)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def write_tables(write: Callable[[str], None]) -> None:
    """Write the table of shared options, and then those of one command each."""
    found = options()
    shared = {key: names for key, names in found.items() if len(names) > 1}
    write("\n## Shared options\n\n| option | meaning | commands |\n|---|---|---|")
    for (option, meaning), names in sorted(shared.items(), key=lambda item: (-len(item[1]), item[0])):
        write(f"| `{_slashes(option)}` | {meaning} | {_links(names)} |")
    write("\n## Options of one command")
    for name, _ in commands():
        own = {option: meaning for (option, meaning), names in found.items() if names == [name]}
        if own:
            write(f"\n### {name}\n\n| option | meaning |\n|---|---|")
            for option, meaning in own.items():
                write(f"| `{_slashes(option)}` | {meaning} |")
    write("")


def _links(names: list[str]) -> str:
    return ", ".join(f"[{name}](commands.md#edgetl-{name.replace(' ', '-')})" for name in names)


def _slashes(option: str) -> str:
    """Return an option with its choices separated by slashes: a bar would end the cell of a table."""
    return option.replace("|", "/")
