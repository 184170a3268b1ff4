"""Pieces of the command line that several subcommands share; no click import outside adapters."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class SeveralValues(click.Command):
    """A command some of whose options take several values in a row, as the original's did.

    ``--mindate A B`` is read as ``--mindate A --mindate B``: click itself knows only the latter.
    """

    several: Sequence[str] = ("--mindate", "--maxdate")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further value, then parse as usual."""
        spread: list[str] = []
        current = ""
        seen = 0
        for arg in args:
            if arg.startswith("--"):
                current, seen = (arg, 0) if arg in self.several else ("", 0)
            elif current:
                if seen:
                    spread.append(current)
                seen += 1
            spread.append(arg)
        return super().parse_args(ctx, spread)


def switch(*names: str, help_text: str, default: bool = False) -> Callable[[F], F]:
    """Make an option that is a switch and also takes ``True`` or ``False``, as the original's."""
    return click.option(
        *names,
        type=click.BOOL,
        is_flag=False,
        flag_value=True,
        default=default,
        show_default=True,
        metavar="[BOOLEAN]",
        help=help_text,
    )


def bands_of(text: str | None) -> tuple[str, ...] | None:
    """Read ``B02,B03`` or ``B02 B03``."""
    if text is None:
        return None
    return tuple(text.replace(",", " ").upper().split())
