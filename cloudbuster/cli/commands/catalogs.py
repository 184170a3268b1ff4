"""``cloudbuster catalogs``."""

from typing import TYPE_CHECKING

import click

from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show

if TYPE_CHECKING:
    from cloudbuster.catalogs.named import CatalogStatus


@click.command(cls=Command, short_help="List the catalogs, and what each needs.")
@click.option("--json/--no-json", "as_json", default=False, help="Print them as JSON.")
def catalogs(*, as_json: bool) -> None:
    """List the named catalogs, what each needs, and whether that is there now.

    Examples
    --------
    $ cloudbuster catalogs --json
    """
    from cloudbuster.catalogs.named import catalog_statuses
    from cloudbuster.cli.inputs import json_text

    statuses = catalog_statuses()
    show(json_text(statuses) if as_json else "\n\n".join(map(_text, statuses)))


def _text(status: "CatalogStatus") -> str:
    """Describe a catalog in a few lines."""
    paid = f"; requester pays for {' and '.join(status.requester_pays)}"
    lines = [
        f"{status.name:20} {' '.join(status.levels):10} {status.url}",
        f"{'':20} {status.note}{paid if status.requester_pays else ''}",
    ]
    for need in status.needs:
        verb = "takes" if need.optional else "needs"
        every = need.levels == status.levels
        what = f"{verb} {need.what}{'' if every else ', for ' + ' and '.join(need.levels)}"
        lines.append(f"{'':20} {'[x]' if need.is_there else '[ ]'} {what}")
    if not status.needs:
        lines.append(f"{'':20} [x] needs nothing")
    return "\n".join(lines)
