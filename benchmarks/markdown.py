"""Tables for the documents, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a line per row.

    Example:
        >>> print(markdown_table(["set", "gain"], [["elpv", 1]]), end="")
        | set | gain |
        | --- | --- |
        | elpv | 1 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
