"""Check the prose of the documents: proselint's rules, and the words that CONTRIBUTING.md asks for.

`python -m scripts.prose` checks README.md, the other pages at the top, docs/ and examples/. Code, comments and quoted messages
are left out.

proselint was chosen over Vale because it is a Python package: `pip install vale` downloads a program from outside of the package
registry when it is first run, which fails without a network and in CI.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from proselint.checks import __register__
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/*.md", "examples/*.md")
# Markdown and code have straight quotes, and the pages show figures such as 640x480 as programs print them
_OFF = (
    "typography.symbols.curly_quotes",
    "typography.symbols.ellipsis",
    "typography.symbols.multiplication",
    "dates_times.dates",  # COIL-20 is no decade, and a size such as 3-5 no range of dates
    "spelling.consistency",  # codespell holds American English; CHANGELOG.md quotes a name of an earlier version
)
# in place of a joke
_MESSAGES = {"weasel_words.very": "'very' adds nothing: leave it out, or write how much"}
_TERMS = re.compile(r"\bdiscriminant\b")  # Fisher's; proselint prefers "discriminating"
_CODE = (
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"^( *)```.*?^ *```$", re.DOTALL | re.MULTILINE),
    re.compile(r"`[^`]*`"),
    re.compile(r"\"[^\"\n]*\""),
    re.compile(r"\]\([^)\s]*\)"),
)
_WORDS = {
    r"(?:say|says|said|tell|tells|told)": "a program shows, prints, reports or means",
    r"gives?": "return, pass, show or produce",
    r"(?:nobody|whoever)": "no one, or name who",
    r"so many": "as many, or the number",
    r"lies (?:in|at|between|near|on|with)": "is",
    r"stands? for": "represents or replaces",
    r"(?:comes to|makes of)": "is",
    r"goes on": "continues",
    r"(?:utilize[ds]?|utilizing|in order to)": "use; to",
    r"(?:simply|obviously|of course|please|easily)": "leave it out",
    r"(?:hence|thus|thereby|whereas|therein)": "so, but, in it",
}


class Finding(NamedTuple):
    """What is wrong in a line.

    Attributes:
        page: The page, relative to the repository.
        line: Its line, from 1.
        rule: Name of the rule.
        text: What was found and what to write.
    """

    page: str
    line: int
    rule: str
    text: str


def prose_of(text: str) -> str:
    """Return a page with one word for each piece of code, comment, quote and target of a link; lines stay the same."""
    for pattern in (*_CODE, _TERMS):
        text = pattern.sub(lambda found: f"c{found.start()}" + "\n" * found[0].count("\n"), text)
    # a heading is no part of the sentence below it
    return re.sub(r"^#.*$", r"\g<0>.", text, flags=re.MULTILINE)


def words_in(page: str, text: str) -> Iterator[Finding]:
    """Yield the words of `_WORDS` in prose."""
    for line, sentence in enumerate(text.splitlines(), 1):
        for pattern, advice in _WORDS.items():
            for found in re.finditer(rf"\b{pattern}\b", sentence, re.IGNORECASE):
                yield Finding(page, line, "edgetl.words", f"'{found[0]}': {advice}")


def style_in(page: str, text: str) -> Iterator[Finding]:
    """Yield what proselint finds in prose."""
    registry = CheckRegistry()
    if not registry.checks:
        registry.register_many(__register__)
    for found in LintFile(page, content=text).lint(DEFAULT):
        rule, message = found.check_result.check_path, found.check_result.message
        if not rule.startswith(_OFF):
            yield Finding(page, found.pos[0], rule, _MESSAGES.get(rule, message))


def findings(page: str, text: str) -> list[Finding]:
    """Return everything that is wrong in a page of Markdown."""
    prose = prose_of(text)
    return sorted([*words_in(page, prose), *style_in(page, prose)])


def main() -> int:
    """Print the findings; return 1 if there are any."""
    paths = sorted(path for pattern in PAGES for path in ROOT.glob(pattern))
    found = [
        finding
        for path in paths
        for finding in findings(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    for finding in found:
        print(f"{finding.page}:{finding.line}: {finding.rule}: {finding.text}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
