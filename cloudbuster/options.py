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


tmp_flag = click.option("--tmp", default=None, help="Folder for temporary files.  [default: /tmp]")


def gather_flags(command: F) -> F:
    """Options of gather that ``run`` and ``meta-gather`` take as well."""
    for option in reversed(
        (
            click.option("--index-start", type=int, default=1, show_default=True),
            switch("--bounds-clip", default=True, help_text="Clip to the area's bounding box."),
            click.option("--architecture", help="Python file with make_model (pytorch)."),
            click.option("--weights", help="State dict, TorchScript or exported model (pytorch)."),
            switch("--trust-architecture", help_text="Let the architecture's code run."),
            switch("--s2cloudless", help_text="Find clouds with s2cloudless."),
            switch("--donate-mask", help_text="Keep each scene's mask."),
            click.option("--donor-mask", help="Mask of another run, or the folder that holds it."),
            click.option("--donor-mask-name", help="Name of the mask in --donor-mask."),
            switch("--also-stock", help_text="Add the product's own mask to the detector's."),
            click.option(
                "--preset",
                type=click.Choice(["standard", "strict", "original"]),
                default="standard",
                show_default=True,
                help="Which classes of the product's own mask count as cloud.",
            ),
            click.option("--threshold", type=float, default=0.4, show_default=True),
            click.option("--average-over", type=int, default=4, show_default=True),
            click.option("--dilation-size", type=int, default=1, show_default=True),
            click.option("--bands", help="Bands in output order, as B04,B03,B02; all by default."),
            click.option(
                "--crs",
                default="utm",
                show_default=True,
                help="utm, utm-each (run: one mosaic per UTM zone), or any CRS.",
            ),
            click.option(
                "--gsd", type=float, default=10.0, show_default=True, help="Cell, metres."
            ),
            click.option("--dilate-m", type=float, default=50.0, show_default=True),
            click.option("--mask-gsd", type=float, help="Cell of the mask, metres."),
            click.option(
                "--on-radiometry-conflict",
                type=click.Choice(["trust-pixels", "skip", "fail"]),
                default="trust-pixels",
                show_default=True,
                help="A scene whose metadata and pixels disagree on its radiometric offset.",
            ),
        )
    ):
        command = option(command)
    return command


def bands_of(text: str | None) -> tuple[str, ...] | None:
    """Read ``B02,B03`` or ``B02 B03``."""
    if text is None:
        return None
    return tuple(text.replace(",", " ").upper().split())
