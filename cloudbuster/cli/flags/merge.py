"""Options of ``merge``."""

import click

from cloudbuster.cli.flags.kinds import MergeOption

layout_option = click.option(
    "--layout",
    type=click.Choice(["multi-band", "per-band"]),
    cls=MergeOption,
    help="Whether each band gets a file of its own, beside the mosaic.",
)

clip_option = click.option(
    "--clip/--no-clip",
    default=None,
    cls=MergeOption,
    help="Leave cells outside of the area without a value.",
)

composite_option = click.option(
    "--composite", type=click.Choice(["first"]), cls=MergeOption, help="Which pixel is taken."
)
