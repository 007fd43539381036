"""The commands in the documents: edgetl accepts each of them, and pip installs only existing extras."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from edgetl.cli import main
from scripts.blocks import FENCE, GENERATED

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(?:console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:sudo )?edgetl [a-z][^`]+)`")


def bare(lines: list[str]) -> set[str]:
    """Return the lines that call edgetl, without sudo or a path in front."""
    cut = (re.sub(r"^(sudo )?(~/edgetl/bin/)?(?=edgetl )", "", " ".join(line.split())) for line in lines)
    return {line for line in cut if line.startswith("edgetl ")}


def commands_in(page: Path) -> list[tuple[str, str, bool]]:
    """Return (page, line, complete) per command; lines in blocks are complete, those in sentences may be abbreviated."""
    text = GENERATED.sub("", page.read_text(encoding="utf-8"))
    whole = bare([line for block in FENCED.findall(text) for line in block.splitlines()])
    return [(page.name, line, line in whole) for line in sorted(whole | bare(INLINE.findall(text)))]


LINES = [found for page in PAGES for found in commands_in(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pip_runs_in_a_virtual_environment_and_installs_known_extras(page: Path) -> None:
    """Debian refuses pip outside of a virtual environment (PEP 668)."""
    for block in FENCED.findall(page.read_text(encoding="utf-8")):
        before, found, after = block.partition("pip install")
        wanted = re.findall(r"'\.\[([\w,-]+)\]'", after)
        assert not found or "-m venv" in before or before.endswith("~/edgetl/bin/"), (
            f"{page.name}: pip without a virtual environment:\n{block}"
        )
        assert {extra for extras in wanted for extra in extras.split(",")} <= EXTRAS.keys(), page.name


def test_blocks_with_commands_have_a_language() -> None:
    """The tests of this file would not find a block without a language."""
    for page in PAGES:
        fences = FENCE.findall(page.read_text(encoding="utf-8"))
        unmarked = [text for language, text in fences if language == ""]
        assert not [text for text in unmarked if re.search(r"^(edgetl|pip|make) ", text, re.MULTILINE)], (
            page.name
        )


LINK = re.compile(r"\]\(((?!https?:|mailto:)[^)\s]+)\)")
WITH_LINKS = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: page.name)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    """The file exists in the repository, and the heading in the file."""
    shown = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(shown):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}, which does not exist"
        if anchor:
            assert anchor in anchors(target), (
                f"{page.name} links to {link}; headings: {sorted(anchors(target))}"
            )


def find(words: list[str]) -> tuple[click.Command | None, list[str]]:
    """Return the command that the first words name, and the words after them."""
    command: click.Command | None = main
    with click.Context(main) as context:
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            inside = command.get_command(context, words[0])
            if inside is None and any(isinstance(found, click.Argument) for found in command.params):
                break  # `bench`, whose arguments are models
            command, words = inside, words[1:]
    return command, words


def test_the_documents_have_commands() -> None:
    """Without commands, the test below would pass without a case."""
    assert sum(whole for _, _, whole in LINES) > 10
    assert {page for page, _, _ in LINES} >= {"README.md", "demo.md", "raspberry-pi.md", "serve.md"}


@pytest.mark.parametrize(("page", "line", "whole"), LINES)
def test_a_command_line_in_the_documents_is_valid(page: str, line: str, whole: bool) -> None:
    """Its command and options exist and its arguments are complete; its files need not exist."""
    words = shlex.split(line, comments=True)[1:]
    command, rest = find(words)
    assert command is not None, f"{page}: there is no such command: {line}"
    if words[:2] == ["service", "install"]:  # takes another command behind two dashes
        command, rest = find(words[words.index("--") + 1 :])
        assert command is not None, f"{page}: the service has no command: {line}"
    if not rest and not whole:
        return  # the name of a command in a sentence
    problem = ""
    try:
        command.make_context(command.name, rest)
    except click.exceptions.Exit:
        pass  # --help, --version
    except click.NoSuchOption as error:
        problem = error.format_message()
    except click.UsageError as error:
        problem = error.format_message() if whole and "does not exist" not in error.format_message() else ""
    assert not problem, f"{page}: {line}: {problem}"
