"""Verify a finished mosaic: make every check that can be made, and report what disagrees."""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path

from rasterio.errors import NotGeoreferencedWarning
from shapely.geometry.base import BaseGeometry

from cloudbuster.checks.cells import CellChecks, Draw
from cloudbuster.checks.layout import check_complete, check_layout, check_metadata
from cloudbuster.checks.origins import Origins
from cloudbuster.checks.overviews import check_overviews
from cloudbuster.checks.results import Count, not_checked
from cloudbuster.checks.scene_table import check_table, read_records
from cloudbuster.checks.scenes import check_scenes
from cloudbuster.checks.sources import SourceChecks, check_sources
from cloudbuster.checks.stac import check_files, check_footprint, check_schemas
from cloudbuster.errors import (
    BadInputError,
    CloudBusterError,
    RequestError,
    TryAgainError,
    VerifyError,
)
from cloudbuster.inputs.areas import document_area, request_area
from cloudbuster.models import Check, Verification
from cloudbuster.mosaics.opened import CLOUDY, QUALITY, FinishedMosaic, open_mosaic
from cloudbuster.mosaics.rasters import MosaicRasters
from cloudbuster.storage.files.folders import input_folder
from cloudbuster.storage.rasters.gdal_env import RASTER_ERRORS, gdal_env

DEFAULT_SAMPLES = 100
REMEDY = "make the mosaic again (run with --force), and do not use this one"

# Errors of a raster that is damaged: those of this package, and those of GDAL.
UNREADABLE: tuple[type[Exception], ...] = (BadInputError, *RASTER_ERRORS)


@dataclass(frozen=True)
class VerifyOptions:
    """How a mosaic is verified.

    Attributes
    ----------
    samples : int
        Number of places whose sources are read.
    seed : int
        Seed by which the places are drawn.
    offline : bool
        Whether sources are left alone.
    run, scenes : str or None
        As for `cloudbuster.mosaics.opened.open_mosaic`.
    """

    samples: int = DEFAULT_SAMPLES
    seed: int = 0
    offline: bool = False
    run: str | None = None
    scenes: str | None = None


@dataclass(frozen=True)
class Verified:
    """Result of `verify_mosaic`.

    Attributes
    ----------
    report : Verification
        All checks.
    unread : CloudBusterError or None
        Error of the first source that could not be read; None if all could.
    """

    report: Verification
    unread: CloudBusterError | None = None

    def raise_for_disagreement(self) -> None:
        """Raise an error if a check disagrees, or a source could not be read.

        Raises
        ------
        VerifyError
            If anything disagrees.
        CloudBusterError
            If sources could not be read, of the class of the first such error.
        """
        wrong = self.report.disagreeing
        if wrong:
            first, *others = [_words(check) for check in wrong]
            more = f"; and {'; '.join(others)}" if others else ""
            msg = f"{self.report.mosaic}: {first}{more}; {REMEDY}"
            raise VerifyError(msg)
        if self.unread is not None:
            why = next(check for check in self.report.checks if check.name == "sources")
            msg = f"{why.message}; --offline checks what needs no source"
            raise type(self.unread)(msg)


def verify_mosaic(place: str, options: VerifyOptions | None = None) -> Verified:
    """Verify a mosaic.

    Parameters
    ----------
    place : str
        As for `cloudbuster.mosaics.opened.open_mosaic`. Products in S3 are copied to this machine
        first.
    options : VerifyOptions, optional
        How.

    Returns
    -------
    Verified
        Checks that need something that is missing are reported as not made.

    Raises
    ------
    NotFoundError
        If there is no mosaic.
    VerifyError
        If its item cannot be read.
    TryAgainError, AccessError
        If the storage of the products fails or refuses access.
    """
    options = options or VerifyOptions()
    try:
        mosaic = open_mosaic(place, run=options.run, scenes=options.scenes)
    except RequestError as error:
        msg = f"{error}; {REMEDY}"
        raise VerifyError(msg) from error
    name = mosaic.name
    with (
        input_folder(
            mosaic.folder, lambda file: file.startswith((f"{name}-", f"{name}."))
        ) as folder,
        gdal_env(),
        warnings.catch_warnings(),
    ):
        # A damaged raster may have lost its place, which a check reports.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        uri = str(folder / mosaic.uri.rpartition("/")[2])
        return _Verification(dataclasses.replace(mosaic, uri=uri), folder, options).run()


class _Verification:
    """The checks of one mosaic, whose products are on this machine."""

    def __init__(self, mosaic: FinishedMosaic, folder: Path, options: VerifyOptions) -> None:
        self._mosaic = mosaic
        self._folder = folder
        self._options = options
        self._checks: list[Check] = []
        self._sources: SourceChecks | None = None

    def run(self) -> Verified:
        """Make all checks; without readable rasters, those of the item alone."""
        self._checks.append(check_schemas(self._mosaic.item))
        paths = self._paths()
        complete = check_complete(list(paths.values()))
        self._checks.append(complete)
        if complete.status == "agrees":
            try:
                self._checks.append(check_layout(list(paths.values())))
                self._checks.append(check_metadata(paths, self._mosaic.item))
                self._check_rasters(list(paths.values()))
            except UNREADABLE as error:
                count = Count("rasters", "rasters")
                count.expect(False, str(error))
                self._checks.append(count.check)
        places = 0 if self._sources is None else self._sources.places
        report = Verification(
            mosaic=self._mosaic.name,
            samples=places,
            seed=self._options.seed,
            checks=tuple(self._checks),
        )
        return Verified(report, self._unread())

    def _unread(self) -> CloudBusterError | None:
        """Return the error of a source that could not be read, first one that may pass."""
        errors = [] if self._sources is None else [error for _, error in self._sources.unread]
        passing = [error for error in errors if isinstance(error, TryAgainError)]
        return next(iter(passing or errors), None)

    def _paths(self) -> dict[str, Path]:
        """Return the rasters by the key of their asset."""
        assets = self._mosaic.item.get("assets") or {}
        files = {key: self._mosaic.raster(key) for key in assets if _is_cog(assets[key])}
        for key in (CLOUDY, QUALITY):
            files.setdefault(key, str(self._folder / f"{self._mosaic.name}-{key}.tif"))
        return {key: Path(path) for key, path in files.items()}

    def _check_rasters(self, paths: list[Path]) -> None:
        """Make the checks that read the rasters."""
        mosaic = self._mosaic
        with MosaicRasters(mosaic) as rasters:
            self._checks.append(check_files(mosaic.item, self._folder, rasters.grid))
            self._checks.append(check_footprint(mosaic.item, rasters.grid))
            self._checks.append(check_overviews(paths))
            records = read_records(mosaic)
            self._checks.append(check_table(mosaic, records))
            draw = Draw(self._options.samples, self._options.seed)
            self._checks += CellChecks(mosaic, self._area()).run(rasters, draw)
            self._checks.append(check_scenes(mosaic, rasters, self._clip_area()))
            if self._options.offline:
                self._checks.append(not_checked("pixels", "--offline reads no source"))
                return
            origins = Origins(mosaic, records, rasters.grid, rasters.bands)
            self._sources = check_sources(mosaic, rasters, origins, draw.places())
            self._checks += self._sources.checks()

    def _area(self) -> BaseGeometry | None:
        """Return the area that shares are of; None for the whole grid, or if it is unknown."""
        selection = self._mosaic.run.selection
        if selection is not None and "cloudbuster:request" in self._mosaic.properties:
            return document_area(selection.cloudbuster.aoi)
        return self._requested_area()

    def _clip_area(self) -> BaseGeometry | None:
        """Return the area that the products are clipped to; None for none."""
        request = self._mosaic.request
        return self._requested_area() if request is not None and request.merge.clip else None

    def _requested_area(self) -> BaseGeometry | None:
        """Return the area of the request; None without one, or if it cannot be read any more."""
        request = self._mosaic.request
        try:
            return None if request is None else request_area(request.aoi, request.query)
        except CloudBusterError:
            return None


def _is_cog(asset: object) -> bool:
    """Return whether an asset is a raster of the mosaic."""
    return isinstance(asset, dict) and str(asset.get("href")).endswith(".tif")


def _words(check: Check) -> str:
    """Describe what a check found in a few words."""
    return f"{check.name}: {check.wrong} of {check.checked} {check.of} disagree ({check.message})"


def verification_text(report: Verification) -> str:
    """Write a verification in lines, one for each check."""
    signs = {"agrees": "ok", "disagrees": "WRONG", "not-checked": "--"}
    lines = [
        f"{signs[check.status]:6}{check.name:14}{_line(check)}".rstrip() for check in report.checks
    ]
    places = f"{report.samples} places were read from their sources (seed {report.seed})."
    return "\n".join([f"{report.mosaic}:", *lines, places])


def _line(check: Check) -> str:
    """Describe the result of one check."""
    if check.status == "not-checked":
        return f"not checked: {check.message}"
    if check.status == "agrees":
        return f"{check.checked} {check.of}"
    return f"{check.wrong} of {check.checked} {check.of}: {check.message}"
