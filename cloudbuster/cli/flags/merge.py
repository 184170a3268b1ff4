"""Options of ``merge``."""

from dataclasses import dataclass

import click

from cloudbuster.cli.flags.kinds import ExpertMergeOption, MergeOption, as_one, given


@dataclass(frozen=True)
class MergeFlags:
    """What was given of ``merge``: the attributes are fields of `MergeOptions`."""

    composite: str | None
    haze_limit_dn: float | None
    layout: str | None
    clip: bool | None
    self_check: bool | None

    def fields(self) -> dict[str, object]:
        """Fields that were given."""
        return given(vars(self))


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

self_check_option = click.option(
    "--self-check/--no-self-check",
    default=None,
    cls=MergeOption,
    help="Measure the error of the mosaic with dates that are held out.",
)

merge_options = as_one(
    MergeFlags,
    "merge_flags",
    [composite_option, haze_limit_option, layout_option, clip_option, self_check_option],
)
