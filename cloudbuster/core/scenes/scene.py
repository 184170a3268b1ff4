"""A scene: one acquisition of one MGRS tile at one product level, independent of its catalog."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.scenes.encoding import Declaration


@dataclass(frozen=True)
class RasterMetadata:
    """What the item of a scene states about one raster.

    Attributes
    ----------
    values : Declaration
        Scale, offset and nodata of the band.
    band_count : int
        Number of bands that the item describes in the file; 0 if it describes none.
    crs : str or None
        ``EPSG:<code>``, or WKT, of the asset or the item; None if neither states one.
    transform : tuple of float or None
        First six numbers of ``proj:transform`` of the asset, or else of the item.
    shape : tuple of int or None
        (rows, columns) that belong to ``transform``.
    is_of_asset : bool
        Whether ``transform`` is the asset's own, and not one for the whole item.
    """

    values: Declaration = field(default=Declaration())
    band_count: int = 0
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    shape: tuple[int, int] | None = None
    is_of_asset: bool = True


@dataclass(frozen=True)
class BandAsset:
    """Location of one band or one mask.

    Attributes
    ----------
    href : str
        URI or path, absolute.
    band_index : int
        1-based index of the band in the raster.
    metadata : RasterMetadata
        What the item states about the raster; not compared.
    """

    href: str
    band_index: int = 1
    metadata: RasterMetadata = field(default=RasterMetadata(), compare=False)


@dataclass(frozen=True)
class Scene:
    """One acquisition of one MGRS tile.

    Attributes
    ----------
    id : str
        Item id in its catalog.
    kind : {"L1C", "L2A"}
        Product level.
    collection : str or None
        Collection of the item.
    acquired : datetime or None
        Acquisition time, UTC, timezone-aware.
    platform : str or None
        ``sentinel-2a``, ``-2b`` or ``-2c``.
    mgrs_tile : str or None
        MGRS tile, for example ``33TWL``.
    datatake : str or None
        Platform and start of the datatake's sensing, for example ``S2A_20230818T100031``. L1C, L2A
        and every reprocessing have the same.
    relative_orbit : int or None
        1 to 143.
    baseline : str or None
        Processing baseline, for example ``05.09``.
    cloud_cover : float or None
        Cloudy share of the valid pixels according to the catalog, percent.
    nodata_percent : float or None
        Share of the tile without data according to the catalog, percent.
    sun_azimuth_deg, sun_elevation_deg : float or None
        Degrees clockwise from north, and above the horizon.
    epsg : int or None
        EPSG code of the rasters' CRS according to the item.
    footprint : mapping or None
        GeoJSON geometry, longitude and latitude.
    bands : mapping of str to BandAsset
        Reflectance bands by name (``B02``).
    masks : mapping of str to BandAsset
        The product's own masks: ``scl`` (classes 0-11), ``cld`` (cloud probability, percent),
        ``classi`` (MSK_CLASSI: opaque, cirrus, snow from `BandAsset.band_index` on),
        ``gml`` (MSK_CLOUDS polygons).
    offset_removed_flag : bool or None
        ``earthsearch:boa_offset_applied``: whether the provider declares the offset removed.
    declared_offset : float or None
        ``raster:bands`` offset of the reflectance bands (-0.1 or 0) according to the catalog.
    unnamed : tuple of BandAsset
        Rasters of which the item does not say which bands they hold; the files may say it.
    twin : Scene or None
        L1C scene of the same datatake and tile, if the query attached one.
    catalog : str
        Name, URL or path of its catalog, which decides what its hrefs may refer to.
    asset_mirror : tuple of str
        ``FROM=TO`` of each asset mirror that its hrefs were rewritten by.
    """

    id: str
    kind: Kind
    collection: str | None = None
    acquired: datetime | None = None
    platform: str | None = None
    mgrs_tile: str | None = None
    datatake: str | None = None
    relative_orbit: int | None = None
    baseline: str | None = None
    cloud_cover: float | None = None
    nodata_percent: float | None = None
    sun_azimuth_deg: float | None = None
    sun_elevation_deg: float | None = None
    epsg: int | None = None
    footprint: Mapping[str, Any] | None = None
    bands: Mapping[str, BandAsset] = field(default_factory=dict)
    masks: Mapping[str, BandAsset] = field(default_factory=dict)
    offset_removed_flag: bool | None = None
    declared_offset: float | None = None
    unnamed: tuple[BandAsset, ...] = ()
    twin: "Scene | None" = None
    catalog: str = ""
    asset_mirror: tuple[str, ...] = ()

    @property
    def hrefs(self) -> tuple[str, ...]:
        """Hrefs of every file that a gather may read: bands and masks, then those of an L1C twin.

        An L2A twin serves thumbnails alone.
        """
        files = (*self.bands.values(), *self.unnamed, *self.masks.values())
        own = (asset.href for asset in files)
        return (*own, *(self.twin.hrefs if self.twin and self.twin.kind == "L1C" else ()))
