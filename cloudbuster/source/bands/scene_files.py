"""The files of a scene, opened when they are needed: which bands they hold, and how."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np
from rasterio.enums import Resampling

from cloudbuster.core.arrays import Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.scenes.bands import BANDS
from cloudbuster.core.scenes.encoding import (
    Declaration,
    Encoding,
    Look,
    as_stored,
    check_type,
    declared_scale,
    dn_per_stored_unit,
    look_of,
    same_offset,
    stored_scale,
)
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.errors import GridError, RasterError
from cloudbuster.source.bands.band_raster import BandRaster
from cloudbuster.source.bands.declared import (
    alpha_band,
    declared_bands,
    declared_mask,
    declared_values,
)
from cloudbuster.source.bands.georeference import place_raster
from cloudbuster.storage.addresses.trust import catalog_trust
from cloudbuster.storage.rasters.decoded_tiles import DecodedTiles
from cloudbuster.storage.rasters.raster_file import RasterFile

# Longest side of the reduced read by which the unit of floating point values is decided, pixels.
LOOK_PIXELS = 256
# Number of bands from the first one of MSK_CLASSI on: opaque cloud, cirrus, snow.
CLASSI_BANDS = 3
# File names that a note names before it only counts.
NAMED_FILES = 3


class SceneFiles:
    """Files of one scene.

    Use it as a context manager, which closes them.

    Parameters
    ----------
    scene : Scene
        Description of the scene by its catalog.
    bands : tuple of str
        Bands of the mosaic.

    Attributes
    ----------
    scene : Scene
        The scene with the bands that its files were found to hold.
    bands : tuple of str
        Bands of the mosaic.
    tiles : DecodedTiles
        Tiles of the files that were decoded.

    Raises
    ------
    RasterError, TryAgainError
        If nothing names the raster of a band of the mosaic, or a file cannot be read.
    UntrustedAddressError
        If its catalog may not have a file opened.
    """

    def __init__(self, scene: Scene, bands: tuple[str, ...]) -> None:
        """Find the bands of the mosaic; files are opened only where the item does not name them."""
        self._trust = catalog_trust(scene.catalog, scene.asset_mirror)
        self.tiles = DecodedTiles()
        self._stack = ExitStack()
        self._open: dict[str, RasterFile] = {}
        self._rasters: dict[str, BandRaster] = {}
        self._notes: defaultdict[str, list[str]] = defaultdict(list)
        self.bands = bands
        self.scene = scene
        missing = [name for name in bands if name not in scene.bands]
        if missing and scene.unnamed:
            self.scene = replace(scene, bands={**self._told_by_files(), **scene.bands})
            missing = [name for name in bands if name not in self.scene.bands]
        if missing:
            raise RasterError(self._missing_message(missing))

    def __enter__(self) -> Self:
        """Return the files themselves."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is unusual about the files opened so far, and how they were understood."""
        return tuple(
            f"{_listed([_short_name(name) for name in dict.fromkeys(names)])}: {text}"
            for text, names in self._notes.items()
        )

    def note(self, href: str, text: str) -> None:
        """Note something about a file, in words that complete "FILE: ..."."""
        self._notes[text].append(href)

    def dataset(self, asset: BandAsset) -> RasterFile:
        """Open file of an asset, cached; raise RasterError if it lacks the band of the asset."""
        if asset.href not in self._open:
            opened = RasterFile(asset.href, self._trust, tiles=self.tiles)
            self._open[asset.href] = self._stack.enter_context(opened)
        dataset = self._open[asset.href]
        if asset.band_index > dataset.count:
            msg = f"{asset.href} has {dataset.count} bands, and band {asset.band_index} is needed"
            raise RasterError(msg)
        return dataset

    def _check_crs(self, asset: BandAsset, grid: Grid) -> None:
        """Raise GridError if a band is in another CRS than those that were read before."""
        first = next(iter(self._rasters.values()), None)
        if first is not None and first.grid.crs != grid.crs:
            msg = (
                f"{asset.href} is in {grid.crs}, and other bands of {self.scene.id} in "
                f"{first.grid.crs}; drop the scene"
            )
            raise GridError(msg)

    def band(self, name: str) -> BandRaster:
        """Return a band with its grid and its encoding, cached.

        Raises
        ------
        RasterError, TryAgainError
            If the scene has no such band, or its values cannot be understood.
        GridError
            If the raster is not georeferenced, or not in the CRS of the other bands.
        """
        if name not in self._rasters:
            asset = self._checked(name)
            dataset = self.dataset(asset)
            grid = self.grid(asset, (BANDS[name].gsd_m,))
            self._check_crs(asset, grid)
            encoding = self._encoding(name, asset)
            mask = declared_mask(dataset, asset.band_index, self.claimed[asset.href])
            self._rasters[name] = BandRaster(
                dataset, asset.band_index, grid, encoding=encoding, mask=mask
            )
            if not encoding.is_plain:
                self.note(asset.href, f"stored as {encoding}")
            if mask is not None:
                self.note(asset.href, f"with a {mask}")
        return self._rasters[name]

    def grid(self, asset: BandAsset, gsds_m: tuple[int, ...]) -> Grid:
        """Return the grid of an asset's raster; raise GridError if nothing says where it lies.

        ``gsds_m`` are the native cell sizes of what it holds, metres.
        """
        placement = place_raster(
            asset.href,
            self.dataset(asset),
            asset.metadata,
            gsds_m=gsds_m,
            scene_epsg=self.scene.epsg,
        )
        for note in placement.notes:
            self.note(asset.href, note)
        return placement.grid

    @cached_property
    def claimed(self) -> Mapping[str, frozenset[int]]:
        """1-based indices of the bands in each file that hold a band or a mask of the scene."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for asset in self.scene.bands.values():
            found[asset.href].add(asset.band_index)
        for name, asset in self.scene.masks.items():
            count = CLASSI_BANDS if name == "classi" else 1
            found[asset.href].update(range(asset.band_index, asset.band_index + count))
        return defaultdict(frozenset, {href: frozenset(each) for href, each in found.items()})

    @property
    def is_declared(self) -> bool:
        """Whether a scale is declared for a band of the mosaic, or one is floating point."""
        return any(
            self._scale(self.scene.bands[name]) is not None or self._is_float(name)
            for name in self.bands
        )

    @property
    def are_reflectance(self) -> bool:
        """Whether the bands of the mosaic are stored as reflectance, and not as DN."""
        return all(self.band(name).encoding.dn_per_value != 1 for name in self.bands)

    @property
    def item_offset(self) -> float | None:
        """Offset that the item declares for the bands, reflectance; None if it declares none.

        Raises
        ------
        RasterError
            If it declares different ones.
        """
        return self._common_offset("the item", (asset.metadata.values for asset in self._assets))

    @property
    def file_offset(self) -> float | None:
        """Offset that the files declare, reflectance; None if it is none or 0.

        An offset of 0 is what tools write where none is known. Raises RasterError if the files
        declare different ones.
        """
        declared = (declared_values(self.dataset(each), each.band_index) for each in self._assets)
        return self._common_offset("the files", declared) or None

    @property
    def _assets(self) -> list[BandAsset]:
        """Assets of the bands of the mosaic."""
        return [self.scene.bands[name] for name in self.bands]

    def _common_offset(self, whose: str, declared: Iterable[Declaration]) -> float | None:
        """Offset on which the bands agree."""
        try:
            return same_offset(each.reflectance_offset for each in declared)
        except ValueError as error:
            msg = f"{self.scene.id}: {whose} {error}; correct them, or drop the scene"
            raise RasterError(msg) from error

    def _told_by_files(self) -> dict[str, BandAsset]:
        """Bands of the rasters that the item does not describe, by their own descriptions."""
        found: dict[str, BandAsset] = {}
        for asset in self.scene.unnamed:
            for index, name in enumerate(declared_bands(self.dataset(asset)), start=1):
                if name is not None and name not in found:
                    found[name] = replace(asset, band_index=index)
        return {name: found[name] for name in BANDS if name in found}

    def _missing_message(self, missing: Iterable[str]) -> str:
        """Message about bands that are in no file, or in one that does not say so."""
        names = ", ".join(missing)
        if not self.scene.unnamed:
            return (
                f"{self.scene.id} has no asset for {names}; ask for other bands or drop the scene"
            )
        files = _listed([_short_name(asset.href) for asset in self.scene.unnamed])
        return (
            f"{self.scene.id}: nothing says which bands of {files} are {names}, their names only "
            "count them; add common_name or center_wavelength to the item's eo:bands, or describe "
            "the bands of the file (B02, ...)"
        )

    def _checked(self, name: str) -> BandAsset:
        """Asset of a band, at the index at which the file itself says that it is.

        Raises RasterError if the file says that it is another band, or has several bands and
        neither it nor the item says which is meant.
        """
        asset = self.scene.bands.get(name)
        if asset is None:
            msg = f"{self.scene.id} has no asset for {name}"
            raise RasterError(msg)
        dataset = self.dataset(asset)
        described = declared_bands(dataset)
        here = described[asset.band_index - 1]
        if here == name:
            return asset
        if name in described:
            index = described.index(name) + 1
            self.note(asset.href, f"{name} is band {index}, by the file's own description")
            return replace(asset, band_index=index)
        if here is not None:
            msg = f"{asset.href} says that its band {asset.band_index} is {here}, the item {name}"
            raise RasterError(f"{msg}; correct one of them, or drop the scene")
        count = dataset.count - (alpha_band(dataset, self.claimed[asset.href]) is not None)
        if count > max(1, asset.metadata.band_count):
            msg = f"{asset.href} has {count} bands, and nothing says which of them is {name}"
            raise RasterError(f"{msg}; describe them in the item's eo:bands, or in the file")
        return asset

    def _encoding(self, name: str, asset: BandAsset) -> Encoding:
        """How the values of a band become DN; raise RasterError if they cannot be understood."""
        dtype = self.dataset(asset).dtypes[asset.band_index - 1]
        scale = self._scale(asset)
        try:
            check_type(dtype)
            if scale is None and self._is_float(name):
                scale = self._stored_scale(name)
        except ValueError as error:
            msg = f"{asset.href} {error}, or drop the scene"
            raise RasterError(msg) from error
        return Encoding(dtype, dn_per_stored_unit(scale), self.nodata(asset))

    def nodata(self, asset: BandAsset) -> tuple[float, ...]:
        """Values that mean no data, by the file and by the item."""
        file = declared_values(self.dataset(asset), asset.band_index)
        both = (*file.nodata, *asset.metadata.values.nodata)
        return tuple({repr(value): value for value in both}.values())

    def _scale(self, asset: BandAsset) -> float | None:
        """Scale that file or item declare for a band; None if neither does."""
        try:
            return declared_scale(
                declared_values(self.dataset(asset), asset.band_index), asset.metadata.values
            )
        except ValueError as error:
            msg = f"{asset.href} {error}, or drop the scene"
            raise RasterError(msg) from error

    def _is_float(self, name: str) -> bool:
        """Whether a band is stored as floating point numbers."""
        asset = self.scene.bands[name]
        return bool(np.dtype(self.dataset(asset).dtypes[asset.band_index - 1]).kind == "f")

    def _stored_scale(self, name: str) -> float:
        """Scale of a floating point band without a declared one, by the scene's values."""
        floats = [
            each
            for each in dict.fromkeys((*self.bands, name))
            if self._is_float(each) and self._scale(self.scene.bands[each]) is None
        ]
        looks = {each: self._look(each) for each in floats}
        return stored_scale(
            {each: look for each, (look, _) in looks.items()},
            {each: top for each, (_, top) in looks.items()},
        )

    def _look(self, name: str) -> tuple[Look, float]:
        """How the values of a band look, and the greatest of them."""
        if name not in self._looks:
            values = self.sample(self._checked(name))
            known = values[np.isfinite(values)]
            self._looks[name] = look_of(values), float(known.max()) if known.size else float("nan")
        return self._looks[name]

    @cached_property
    def _looks(self) -> dict[str, tuple[Look, float]]:
        """Results of `_look` by band."""
        return {}

    def sample(self, asset: BandAsset) -> Raster:
        """Read every n-th value of a band, as stored, without those declared as nodata; 1-D."""
        dataset = self.dataset(asset)
        shape = tuple(min(LOOK_PIXELS, side) for side in (dataset.height, dataset.width))
        how = {"out_shape": shape, "resampling": Resampling.nearest}
        values: Raster = dataset.read(asset.band_index, **how)
        mask = declared_mask(dataset, asset.band_index, self.claimed[asset.href])
        known = np.ones(values.shape, dtype=np.bool_) if mask is None else ~mask.read(**how)
        for nodata in self.nodata(asset):
            known &= values != as_stored(nodata, values.dtype)
        return values[known]


def _short_name(href: str) -> str:
    """Last part of an address."""
    return href.rpartition("/")[2].partition("?")[0]


def _listed(names: list[str]) -> str:
    """Write the first names, and the number of the others."""
    more = len(names) - NAMED_FILES
    return ", ".join(names[:NAMED_FILES]) + (f" and {more} more" if more > 0 else "")
