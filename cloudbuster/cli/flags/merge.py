"""Options of ``merge``."""

import click

from cloudbuster.cli.flags.kinds import ExpertMergeOption, MergeOption

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
    "--composite",
    metavar="NAME",
    cls=MergeOption,
    help="How each pixel is made: first, best, median, medoid, geomedian, percentile:P.",
)

haze_limit_option = click.option(
    "--haze-limit",
    "haze_limit_dn",
    type=float,
    cls=ExpertMergeOption,
    help="DN of haze that composite best rejects; 0 for none.",
)
