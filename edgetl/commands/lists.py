"""Options that accept several values, separated by commas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # click 8.1 has it without a type parameter
    Kind = click.ParamType[Any]
else:
    Kind = click.ParamType


class CommaList(Kind):
    """Several values of one type, such as ``1,2,4``; a value that is repeated counts once.

    Args:
        kind: The type of each value.
    """

    name = "list"

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values as a tuple."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(parts):
            self.fail(f"{value!r} has an empty value; separate values by one comma, such as 1,2", param, ctx)
        return tuple(dict.fromkeys(self._kind.convert(part, param, ctx) for part in parts))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the placeholder of the value in the help text."""
        if isinstance(self._kind, click.Choice):
            return f"[{','.join(map(str, self._kind.choices))}]"
        return "N,..."


class Shots(Kind):
    """A number of photos per label, or ``all``, which becomes 0."""

    name = "shots"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        if value == "all":
            return 0
        number: int = click.IntRange(1, 100_000).convert(value, param, ctx)
        return number
