"""Options of ``gather``."""

from dataclasses import dataclass

import click

from cloudbuster.cli.flags.detector import DetectorFlags
from cloudbuster.cli.flags.kinds import BandsOption, ExpertGatherOption, GatherOption, as_one, given


@dataclass(frozen=True)
class GatherFlags:
    """What was given of ``gather``: the attributes are fields of `GatherOptions`."""

    bands: tuple[str, ...]
    crs: str | None
    gsd_m: float | None
    dilate_m: float | None
    bounds_clip: bool | None
    index_start: int | None
    donate_mask: bool | None
    on_radiometry_conflict: str | None

    def fields(self, detector: DetectorFlags) -> dict[str, object]:
        """Fields that were given, those of the detector included."""
        return given(vars(self) | {"detector": detector.fields()})


gather_options = as_one(
    GatherFlags,
    "gather_flags",
    [
        click.option(
            "--bands",
            multiple=True,
            metavar="BAND...",
            cls=BandsOption,
            help="Bands in output order, as B04,B03,B02.  [default: all of the level]",
        ),
        click.option(
            "--crs",
            cls=GatherOption,
            help="utm, utm-each (`run`: one mosaic per UTM zone), or any CRS.",
        ),
        click.option(
            "--gsd",
            "gsd_m",
            type=float,
            cls=GatherOption,
            help="Cell size of the mosaic, metres.  [default: that of the finest band]",
        ),
        click.option(
            "--dilate-m",
            type=float,
            cls=GatherOption,
            help="Growth of cloud and shadow, metres between cell centres.",
        ),
        click.option(
            "--bounds-clip/--no-bounds-clip",
            default=None,
            cls=GatherOption,
            help="Clip to the bounding box of the area.",
        ),
        click.option(
            "--donate-mask/--no-donate-mask",
            default=None,
            cls=GatherOption,
            help="Keep the mask of each scene.",
        ),
        click.option(
            "--index-start", type=int, cls=ExpertGatherOption, help="Index of the first scene."
        ),
        click.option(
            "--on-radiometry-conflict",
            type=click.Choice(["trust-pixels", "skip", "fail"]),
            cls=ExpertGatherOption,
            help="What to do with a scene whose metadata and pixels disagree on its radiometric "
            "offset.",
        ),
    ],
)
