"""Products of the sample world: bands and masks that the instrument would record of its ground."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cloudbuster.core.scenes.bands import BANDS, Kind
from cloudbuster.sample.world import spectra
from cloudbuster.sample.world.ground import Ground, make_ground
from cloudbuster.sample.world.noise import Axis, Field, hash_lattice, spline_noise, stable_key
from cloudbuster.sample.world.plan import Datatake
from cloudbuster.sample.world.sky import Sky, SkyFields, in_swath, sky_fields

Digital = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]

# A reflectance of 1 is DN 10000; since baseline 04.00 ESA adds 1000 to the DN.
QUANTIFICATION = 10_000
OFFSET_DN = 1000
# Largest value of a JP2 with 15 bits.
MAX_DN = 32_767
# Amplitude of the sensor noise: uniform in +-4 DN, as over dark targets.
NOISE_DN = 4.0
# A pixel is affected if clouds change its reflectance in one of the bands VISIBLE by more than
# VEIL_LIMIT, or if a shadow darkens B08 by a share of more than SHADE_LIMIT.
VEIL_LIMIT = 0.02
SHADE_LIMIT = 0.15
VISIBLE = ("B02", "B03", "B04", "B08")

(_NOISE, _RAGGED, _GUESS, _DOUBT) = range(40, 44)


@dataclass(frozen=True)
class Block:
    """A window on the 60 m grid of a tile.

    Attributes
    ----------
    west_m, north_m : int
        Upper left corner, metres; a multiple of 60 away from that of the tile.
    rows, columns : int
        Size in pixels of 10 m; multiples of 6.
    """

    west_m: int
    north_m: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        """Raise ValueError unless the block holds whole pixels of 60 m."""
        if self.rows % 6 or self.columns % 6:
            msg = f"block of {self.rows} x {self.columns} pixels: sides must be multiples of 6"
            raise ValueError(msg)

    def axes(self, gsd_m: int, *, halo: int = 0) -> tuple[Axis, Axis]:
        """Eastings and northings of the pixel centres, with ``halo`` more pixels on each side."""
        step = gsd_m / 10
        columns, rows = int(self.columns / step), int(self.rows / step)
        x: Axis = self.west_m + (np.arange(-halo, columns + halo, dtype=np.float64) + 0.5) * gsd_m
        y: Axis = self.north_m - (np.arange(-halo, rows + halo, dtype=np.float64) + 0.5) * gsd_m
        return x, y


def pool(field: Field, factor: int) -> Field:
    """Average groups of ``factor`` x ``factor`` pixels; shape (y / factor, x / factor)."""
    if factor == 1:
        return field
    # Slices are added in a fixed order, so that the rounding is the same in every window.
    rows = field[0::factor]
    for row in range(1, factor):
        rows = rows + field[row::factor]
    total = rows[:, 0::factor]
    for column in range(1, factor):
        total = total + rows[:, column::factor]
    return total * np.float32(1 / factor**2)


def pool_any(flags: npt.NDArray[np.bool_], factor: int) -> npt.NDArray[np.bool_]:
    """Whether any pixel in groups of ``factor`` x ``factor`` is set; shape (y / f, x / f)."""
    rows, columns = flags.shape
    groups = flags.reshape(rows // factor, factor, columns // factor, factor)
    pooled: npt.NDArray[np.bool_] = np.any(groups, axis=(1, 3))
    return pooled


def blur(field: Field) -> Field:
    """Blur with the kernel (1 2 1) in both directions, as optics do; shape (y - 2, x - 2)."""
    rows = field[:-2] + 2 * field[1:-1] + field[2:]
    spread: Field = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    spread *= np.float32(1 / 16)
    return spread


def shift_dn(reflectance: Field, valid: npt.NDArray[np.bool_], *, offset_dn: int) -> Digital:
    """Convert reflectance to digital numbers (DN).

    Parameters
    ----------
    reflectance : ndarray of float32, shape (..., y, x)
        Reflectance. Not modified.
    valid : ndarray of bool, same shape
        True within the swath.
    offset_dn : int
        Offset, added after the DN are clamped to at least 1.

    Returns
    -------
    ndarray of uint16, same shape
        DN; 0 where not valid.
    """
    dn = np.clip(np.rint(reflectance * QUANTIFICATION), 1, MAX_DN - OFFSET_DN) + offset_dn
    return np.where(valid, dn, 0).astype(np.uint16)


def has_offset(datatake: Datatake, kind: Kind) -> bool:
    """Whether the pixels of a product have the radiometric offset; only L2A can have it removed."""
    return datatake.convention == "present" if kind == "L2A" else datatake.convention != "none"


class SceneBlock:
    """A window of a datatake; bands and levels share its ground and sky.

    Parameters
    ----------
    sky : Sky
        Sky of the datatake.
    block : Block
        Window.
    """

    def __init__(self, sky: Sky, block: Block) -> None:
        """Start with empty caches; fields are computed when a product needs them."""
        self.sky = sky
        self.block = block
        self.datatake: Datatake = sky.datatake
        self.table = spectra.surface_table(self.datatake.day)
        self._sky: dict[int, SkyFields] = {}
        self._noise: dict[tuple[int, int], npt.NDArray[np.uint32]] = {}
        self._valid: dict[int, npt.NDArray[np.bool_]] = {}

    @cached_property
    def ground(self) -> Ground:
        """Ground shifted by the geolocation error, with one more pixel on each side."""
        x, y = self.block.axes(10, halo=1)
        east, north = self.datatake.jitter_m
        return make_ground(x - east, y - north, seed=self.sky.seed)

    def sky_at(self, gsd_m: int) -> SkyFields:
        """Sky in pixels of ``gsd_m``."""
        if gsd_m not in self._sky:
            if gsd_m == 10:
                fields = sky_fields(self.sky, *self.block.axes(10))
            else:
                fine, factor = self.sky_at(10), gsd_m // 10
                fields = SkyFields(
                    cloud=pool(fine.cloud, factor),
                    cirrus=pool(fine.cirrus, factor),
                    shadow=pool(fine.shadow, factor),
                    haze=pool(fine.haze, factor),
                    top=pool(fine.top, factor),
                )
            self._sky[gsd_m] = fields
        return self._sky[gsd_m]

    def valid(self, gsd_m: int) -> npt.NDArray[np.bool_]:
        """Mask of the pixels of ``gsd_m`` that lie wholly in the swath, shape (y, x)."""
        if gsd_m not in self._valid:
            fine = in_swath(self.sky.edge, *self.block.axes(10))
            self._valid[gsd_m] = ~pool_any(~fine, gsd_m // 10)
        return self._valid[gsd_m]

    def surface(self, band: str) -> Field:
        """Reflectance of the ground in a band at its resolution, float32, shape (y, x)."""
        fine = surface_reflectance(self.ground, self.table, band)
        factor = BANDS[band].gsd_m // 10
        return blur(fine) if factor == 1 else pool(fine[1:-1, 1:-1], factor)

    def reflectance(self, band: str, kind: Kind) -> Field:
        """Reflectance of a band of a product without noise, float32, shape (y, x)."""
        number = spectra.BAND_NAMES.index(band)
        sky = self.sky_at(BANDS[band].gsd_m)
        seen_ground = self.surface(band) * (1 - np.float32(spectra.SHADOW[number]) * sky.shadow)
        if kind == "L1C":
            seen_ground = np.float32(spectra.PATH[number]) + (
                np.float32(spectra.TRANSMITTANCE[number]) * seen_ground
            )
        return veil(seen_ground, sky, number, kind)

    def digital(self, band: str, kind: Kind) -> Digital:
        """DN of a band of a product, uint16, shape (y, x); 0 outside the swath."""
        number = spectra.BAND_NAMES.index(band)
        gsd_m = BANDS[band].gsd_m
        noisy = self.reflectance(band, kind) + self._sensor_noise(number, gsd_m)
        offset_dn = OFFSET_DN if has_offset(self.datatake, kind) else 0
        return shift_dn(noisy, self.valid(gsd_m), offset_dn=offset_dn)

    def _sensor_noise(self, number: int, gsd_m: int) -> Field:
        """Uniform noise of a band, from four bits of a hash, reflectance, shape (y, x)."""
        word = number // 8
        if (gsd_m, word) not in self._noise:
            x, y = self.block.axes(gsd_m)
            column = np.floor(x / gsd_m).astype(np.int64)[np.newaxis, :]
            row = np.floor(y / gsd_m).astype(np.int64)[:, np.newaxis]
            product = self.datatake.index + 100 * self.datatake.sequence
            key = stable_key(self.sky.seed, (product, _NOISE, word))
            self._noise[gsd_m, word] = hash_lattice(column, row, key)
        bits = (self._noise[gsd_m, word] >> np.uint32(4 * (number % 8))) & np.uint32(15)
        # Both levels share one measurement. The noise of B10 is far lower than that of the others.
        scale = 0.15 if number == spectra.BAND_NAMES.index("B10") else 1.0
        step = np.float32(scale * NOISE_DN / QUANTIFICATION / 7.5)
        return (bits.astype(np.float32) - np.float32(7.5)) * step

    def _error_noise(self, number: int, cell_m: float) -> Field:
        """Noise at 20 m for the errors of a classification, about standard normal, (y, x)."""
        key = stable_key(self.sky.seed, (self.datatake.index, number))
        return spline_noise(*self.block.axes(20), cell_m=(cell_m, cell_m), key=key)

    def scene_classes(self) -> Bytes:
        """Scene classification (SCL) at 20 m, uint8, shape (y, x), with errors at cloud edges."""
        sky = self.sky_at(20)
        surface = self.ground.surface[1:-1, 1:-1][::2, ::2]
        classes = spectra.scene_classes(self.datatake.day)[surface]
        ragged = np.clip(self._error_noise(_RAGGED, 70), -2, 2)
        classes[sky.shadow > 0.16 + 0.03 * ragged] = 3
        classes[sky.cirrus > 0.026] = 10
        # At the edges of clouds, noise decides between class 7 and the class of the land.
        edge = sky.cloud > 0.05 + 0.02 * ragged
        classes[edge & (self._error_noise(_GUESS, 60) > 0)] = 7
        medium = sky.cloud > 0.12 + 0.03 * ragged
        classes[medium] = 8
        classes[sky.cloud > 0.50 + 0.08 * ragged] = 9
        classes[~self.valid(20)] = 0
        return classes

    def cloud_probability(self) -> Bytes:
        """Cloud probability (CLD) at 20 m, percent, uint8, shape (y, x)."""
        sky = self.sky_at(20)
        opaque = 1 - (1 - sky.cloud) * (1 - sky.cirrus)
        doubt = self._error_noise(_DOUBT, 90) * np.float32(6)
        percent = np.float32(130) * np.sqrt(opaque) - 12 + doubt
        percent = np.where(opaque > 0.01, percent, doubt - 8)
        return np.where(self.valid(20), np.clip(np.rint(percent), 0, 100), 0).astype(np.uint8)

    def affected(self) -> Bytes:
        """Truth at 20 m, uint8, shape (y, x): 0 nodata, 1 clear, 2 cloud or cirrus, 3 shadow.

        A pixel of 20 m is affected if any of its four pixels of 10 m is.
        """
        sky = self.sky_at(10)
        veiled = np.zeros(sky.cloud.shape, bool)
        for band in VISIBLE:
            number = spectra.BAND_NAMES.index(band)
            lit = self.surface(band) * (1 - np.float32(spectra.SHADOW[number]) * sky.shadow)
            veiled |= np.abs(veil(lit, sky, number, "L2A") - lit) > VEIL_LIMIT
        shadow = spectra.SHADOW[spectra.BAND_NAMES.index("B08")] * sky.shadow > SHADE_LIMIT
        truth = np.where(pool_any(shadow, 2), 3, 1)
        truth[pool_any(veiled, 2)] = 2
        truth[~self.valid(20)] = 0
        return truth.astype(np.uint8)


def surface_reflectance(ground: Ground, table: Field, band: str) -> Field:
    """Reflectance of the ground in a band at the resolution of the ground, float32, (y, x)."""
    number = spectra.BAND_NAMES.index(band)
    fine = table[:, number][ground.surface] * ground.light
    return fine * ground.vigour if band in ("B06", "B07", "B08", "B8A", "B09") else fine


def veil(ground: Field, sky: SkyFields, number: int, kind: Kind) -> Field:
    """Add haze, water cloud and cirrus above the ground.

    Parameters
    ----------
    ground : ndarray of float32, shape (y, x)
        Reflectance of the ground with shadows (and a clear atmosphere for L1C). Not modified.
    sky : SkyFields
        Sky at the same resolution.
    number : int
        Index of the band in `spectra.BAND_NAMES`.
    kind : {"L1C", "L2A"}
        Product level, which determines the reflectance of clouds.

    Returns
    -------
    ndarray of float32, shape (y, x)
        Reflectance that the product measures.
    """
    is_l1c = kind == "L1C"
    haze = np.float32((spectra.HAZE_L1C if is_l1c else spectra.HAZE_L2A)[number])
    cloud = np.float32((spectra.CLOUD_L1C if is_l1c else spectra.CLOUD_L2A)[number])
    cirrus = np.float32((spectra.CIRRUS_L1C if is_l1c else spectra.CIRRUS_L2A)[number])
    hazy: Field = ground + haze * sky.haze
    # Thick parts of a cloud are brighter than thin ones.
    white = cloud * sky.top * (np.float32(0.82) + np.float32(0.3) * sky.cloud)
    return _blend(_blend(hazy, white, sky.cloud), cirrus, sky.cirrus)


def _blend(below: Field, color: Field | np.float32, opacity: Field) -> Field:
    """Blend a layer of a colour and opacity over what is below it."""
    mixed: Field = below + opacity * (color - below)
    return mixed


def truth_reflectance(block: Block, *, day: int, seed: int) -> Field:
    """Cloud-free surface reflectance of every L2A band at 10 m.

    Parameters
    ----------
    block : Block
        Window.
    day : int
        Day of the year.
    seed : int
        Seed of the sample.

    Returns
    -------
    ndarray of float32, shape (band, y, x)
        Reflectance in the order of an L2A product. Bands of 20 and 60 m also show the ground at
        10 m, not averaged over their pixels.
    """
    ground = make_ground(*block.axes(10, halo=1), seed=seed)
    table = spectra.surface_table(day)
    names = [name for name in spectra.BAND_NAMES if name != "B10"]
    bands = [blur(surface_reflectance(ground, table, name)) for name in names]
    stacked: Field = np.stack(bands, dtype=np.float32)
    return stacked
