"""Tests of reading what a scene shows clear at low resolution."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.errors import GridError, MaskError, RasterError
from cloudbuster.models import DetectorOptions
from cloudbuster.source.thumbnails.sky_thumbnail import read_sky_thumbnail, thumbnail_hrefs
from tests.factories import write_raster

CRS, WEST, NORTH = "EPSG:32633", 500_040.0, 5_000_040.0
NOTHING, MASKED, LOW, CLEAR = 0, 1, 2, 3
STOCK = DetectorOptions(type="stock")
# 1300 pixels are reduced four times: 325 cells of 80 m; the last of 1301 reaches over the edge.
SIDE = 1300


def written(path: Path, values: np.ndarray, gsd: float = 20, crs: str = CRS) -> str:
    write_raster(path, values, west=WEST, north=NORTH, gsd=gsd, crs=crs)
    return str(path)


def cog(path: Path, values: np.ndarray, resampling: str, gsd: float = 20) -> str:
    """A COG with overviews made by ``resampling``; a file without nodata, as some providers have.

    The overviews then mix missing data into the classes beside it.
    """
    work = path.with_suffix(".work.tif")
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": values.shape[1],
        "height": values.shape[0],
        "count": 1,
        "dtype": values.dtype.name,
        "crs": CRS,
        "transform": Affine(gsd, 0, WEST, 0, -gsd, NORTH),
    }
    with rasterio.open(work, "w", **profile) as dataset:
        dataset.write(values, 1)
    rasterio.shutil.copy(
        work, path, driver="COG", blocksize=128, compress="DEFLATE", overview_resampling=resampling
    )
    work.unlink()
    return str(path)


def jp2(path: Path, values: np.ndarray, gsd: float = 20) -> str:
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        width=width,
        height=height,
        count=count,
        dtype="uint8",
        crs=CRS,
        transform=Affine(gsd, 0, WEST, 0, -gsd, NORTH),
        quality="100",
        reversible="YES",
        ycc="NO",
    ) as dataset:
        dataset.write(values)
    return str(path)


def scene_of(kind: str = "L2A", *, bands: dict[str, str] | None = None, **masks: str) -> Scene:
    return Scene(
        f"S2A_33TWL_20230510_0_{kind}",
        kind,  # type: ignore[arg-type]
        bands={name: BandAsset(href) for name, href in (bands or {}).items()},
        masks={name: BandAsset(href) for name, href in masks.items()},
    )


def classes_of(scene: Scene, detector: DetectorOptions = STOCK, **options: Any) -> np.ndarray:
    return read_sky_thumbnail(scene, ("B04",), detector, options.get("dilate_m", 50)).classes


EVERY_CLASS = np.arange(13, dtype=np.uint8)[None]
STANDARD = [NOTHING, NOTHING, LOW, MASKED, CLEAR, CLEAR, CLEAR, *[MASKED] * 4, LOW, MASKED]
MEANING = {"standard": STANDARD, "strict": [*STANDARD[:2], MASKED, *STANDARD[3:]]}


@pytest.mark.parametrize("preset", MEANING)
def test_a_small_classification_is_read_whole_with_the_preset(tmp_path: Path, preset: Any) -> None:
    scene = scene_of(scl=written(tmp_path / "scl.tif", EVERY_CLASS))
    detector = DetectorOptions(type="stock", preset=preset)
    thumbnail = read_sky_thumbnail(scene, ("B04",), detector, 0)
    assert thumbnail.grid == Grid(CRS, WEST, NORTH, 20, 20, 13, 1)
    np.testing.assert_array_equal(thumbnail.classes, [MEANING[preset]])


def test_cloud_grows_where_cells_are_small_enough(tmp_path: Path) -> None:
    scene = scene_of(scl=written(tmp_path / "scl.tif", np.array([[4, 4, 4, 4, 9]], np.uint8)))
    np.testing.assert_array_equal(
        classes_of(scene, dilate_m=50), [[CLEAR, CLEAR, MASKED, MASKED, MASKED]]
    )


@pytest.mark.parametrize(
    ("shape", "gsd", "cells", "size"),
    [
        ((512, 512), 20, (512, 512), 20),
        ((513, 10), 20, (257, 5), 40),
        ((1830, 1830), 60, (458, 458), 240),
        # Cells are not larger than 320 m, however large the raster is.
        ((3000, 7), 240, (3000, 7), 240),
        ((2400, 4), 160, (1200, 2), 320),
    ],
)
def test_cells_are_powers_of_two_of_pixels_from_the_corner(
    tmp_path: Path, shape: tuple[int, int], gsd: float, cells: tuple[int, int], size: float
) -> None:
    scene = scene_of(scl=written(tmp_path / "scl.tif", np.full(shape, 4, np.uint8), gsd))
    thumbnail = read_sky_thumbnail(scene, ("B04",), STOCK, 0)
    assert thumbnail.grid == Grid(CRS, WEST, NORTH, size, size, cells[1], cells[0])
    assert (thumbnail.classes == CLEAR).all()


def striped(side: int = SIDE + 1) -> np.ndarray:
    """Missing data on the right, cloud at the bottom, the rest clear; borders between cells."""
    scl = np.full((side, side), 4, np.uint8)
    scl[1000:] = 9
    scl[:, 1100:] = 0
    return scl


def striped_cells(side: int = SIDE + 1) -> np.ndarray:
    cells = -(-side // 4)
    expected = np.full((cells, cells), CLEAR)
    expected[250:] = MASKED
    expected[:, 275:] = NOTHING
    return expected


@pytest.mark.parametrize("overviews", ["nearest", "average", "cubic", "none"])
def test_the_swath_and_the_cloud_are_where_the_pixels_are(tmp_path: Path, overviews: str) -> None:
    path = tmp_path / "scl.tif"
    href = written(path, striped()) if overviews == "none" else cog(path, striped(), overviews)
    np.testing.assert_array_equal(classes_of(scene_of(scl=href)), striped_cells())


@pytest.mark.parametrize("resampling", ["average", "cubic"])
def test_an_overview_of_averages_is_replaced_by_pixels(tmp_path: Path, resampling: str) -> None:
    # Slanted borders, so that averages of vegetation and cloud would be bare soil and water.
    rows, cols = np.mgrid[:SIDE, :SIDE]
    scl = np.where((rows * 3 + cols * 7) % 900 < 400, 9, 4).astype(np.uint8)
    scl[rows * 0.3 + cols > 1250] = 0
    expected = np.select([scl == 0, scl == 9], [NOTHING, MASKED], CLEAR)[2::4, 2::4]
    href = cog(tmp_path / "scl.tif", scl, resampling)
    np.testing.assert_array_equal(classes_of(scene_of(scl=href)), expected)


@pytest.mark.parametrize("has_overviews", [False, True])
def test_a_stretched_overview_is_put_back_in_place(tmp_path: Path, has_overviews: bool) -> None:
    # The overview of 1301 pixels has 326, which are 3.991 pixels wide: without a correction the
    # cloud, which begins with cell 310, would begin with cell 311.
    scl = np.full((1301, 8), 4, np.uint8)
    scl[1240:] = 9
    href = cog(tmp_path / "c.tif", scl, "nearest")
    if not has_overviews:
        href = written(tmp_path / "p.tif", scl)
    found = classes_of(scene_of(scl=href), dilate_m=0)
    np.testing.assert_array_equal(found[:, 0], np.where(np.arange(326) < 310, CLEAR, MASKED))


def test_jpeg_2000_hides_no_cloud_at_the_borders_that_its_wavelets_mix(tmp_path: Path) -> None:
    found = classes_of(scene_of(scl=jp2(tmp_path / "scl.jp2", striped()[None])))
    expected = striped_cells()
    assert not ((found == CLEAR) & (expected != CLEAR)).any()
    # It costs one cell at each border.
    np.testing.assert_array_equal(found[:248, :273], CLEAR)
    np.testing.assert_array_equal(found[:, 276:], NOTHING)


def test_missing_data_of_jpeg_2000_is_not_hidden_by_its_wavelets(tmp_path: Path) -> None:
    dn = np.full((1, 1301, 1301), 200, np.uint8)
    dn[0, :, 1100:] = 0
    rows, cols = np.mgrid[:1301, :1301]
    dn[0, rows * 0.3 + cols > 1300] = 0
    band = jp2(tmp_path / "B01.jp2", dn, 60)
    cld = written(tmp_path / "cld.tif", np.zeros((1301, 1301), np.uint8), 60)
    found = classes_of(scene_of("L1C", bands={"B01": band}, cld=cld))
    middles = np.minimum(4 * np.arange(326) + 2, 1300)
    empty = dn[0][middles[:, None], middles[None, :]] == 0
    assert (found[empty] == NOTHING).all()
    assert (found[~empty] == CLEAR).mean() > 0.98


def l1c(tmp_path: Path, **masks: str) -> Scene:
    """L1C scene of 10 x 10 cells of 60 m, whose B01 has no data in the first two columns."""
    dn = np.full((10, 10), 900, np.uint16)
    dn[:, :2] = 0
    fine = np.full((60, 60), 900, np.uint16)
    bands = {
        "B01": written(tmp_path / "B01.tif", dn, 60),
        "B04": written(tmp_path / "B04.tif", fine, 10),
    }
    return scene_of("L1C", bands=bands, **masks)


def classi_of(path: Path, name: str = "tif") -> str:
    classi = np.zeros((3, 10, 10), np.uint8)
    classi[0, 0, 4] = classi[1, 0, 5] = classi[2, 0, 6] = 1
    if name == "jp2":
        return jp2(path / "classi.jp2", classi, 60)
    with rasterio.open(
        path / "classi.tif",
        "w",
        driver="GTiff",
        width=10,
        height=10,
        count=3,
        dtype="uint8",
        crs=CRS,
        transform=Affine(60, 0, WEST, 0, -60, NORTH),
    ) as dataset:
        dataset.write(classi)
    return str(path / "classi.tif")


FIRST_ROW = [NOTHING, NOTHING, CLEAR, CLEAR, MASKED, MASKED, LOW, CLEAR, CLEAR, CLEAR]


@pytest.mark.parametrize("name", ["tif", "jp2"])
def test_l1c_reads_its_classification_and_missing_data_of_the_coarsest_band(
    tmp_path: Path, name: str
) -> None:
    found = classes_of(l1c(tmp_path, classi=classi_of(tmp_path, name)))
    np.testing.assert_array_equal(found[0], FIRST_ROW)
    np.testing.assert_array_equal(found[1:, 2:], CLEAR)
    np.testing.assert_array_equal(found[:, :2], NOTHING)


def test_missing_data_comes_from_a_requested_band_if_the_coarsest_cannot_be_read(
    tmp_path: Path,
) -> None:
    scene = l1c(tmp_path, classi=classi_of(tmp_path))
    (tmp_path / "B01.tif").unlink()
    found = classes_of(scene)
    np.testing.assert_array_equal(found[0, :2], CLEAR)
    (tmp_path / "B04.tif").unlink()
    with pytest.raises(RasterError, match="B04"):
        classes_of(scene)


def test_l1c_draws_its_cloud_polygons(tmp_path: Path) -> None:
    west, south, east, north = WEST + 310, NORTH - 590, WEST + 350, NORTH - 550
    ring = f"{west} {north} {east} {north} {east} {south} {west} {south} {west} {north}"
    (tmp_path / "clouds.gml").write_text(
        "<eop:Mask xmlns:eop='http://www.opengis.net/eop/2.0' "
        "xmlns:gml='http://www.opengis.net/gml/3.2'><eop:MaskFeature>"
        "<eop:maskType>OPAQUE</eop:maskType><gml:Polygon srsName='EPSG:32633'><gml:exterior>"
        f"<gml:posList>{ring}</gml:posList></gml:exterior></gml:Polygon></eop:MaskFeature>"
        "</eop:Mask>"
    )
    expected = np.full((10, 10), CLEAR)
    expected[9, 5] = MASKED
    expected[:, :2] = NOTHING
    found = classes_of(l1c(tmp_path, gml=str(tmp_path / "clouds.gml")))
    np.testing.assert_array_equal(found, expected)


PROBABILITY = np.full((10, 10), 40, np.uint8)
PROBABILITY[3, 3] = 41


@pytest.mark.parametrize(
    ("kind", "preset", "others"),
    [
        ("L2A", "original", ("scl",)),
        ("L2A", "standard", ()),
        ("L1C", "standard", ()),
        ("L1C", "original", ("classi",)),
    ],
)
def test_the_cloud_probability_is_read_where_it_is_preferred_or_alone(
    tmp_path: Path, kind: Any, preset: Any, others: tuple[str, ...]
) -> None:
    # The other masks do not exist: reading one would be an error.
    masks = {"cld": written(tmp_path / "cld.tif", PROBABILITY, 60)}
    masks |= {name: str(tmp_path / f"{name}.none.tif") for name in others}
    scene = l1c(tmp_path, **masks)
    scene = scene_of(kind, bands={name: each.href for name, each in scene.bands.items()}, **masks)
    expected = np.full((10, 10), CLEAR)
    expected[3, 3] = MASKED
    expected[:, :2] = NOTHING
    found = classes_of(scene, DetectorOptions(preset=preset))
    np.testing.assert_array_equal(found, expected)


def test_l1c_without_masks_is_seen_through_the_classification_of_its_twin(tmp_path: Path) -> None:
    twin = scene_of(scl=written(tmp_path / "scl.tif", EVERY_CLASS))
    scene = Scene("S2A_33TWL_20230510_0_L1C", "L1C", twin=twin)
    np.testing.assert_array_equal(classes_of(scene, dilate_m=0), [MEANING["standard"]])
    assert thumbnail_hrefs(scene, ("B04",), STOCK) == (str(tmp_path / "scl.tif"),)


@pytest.mark.parametrize("type_", ["s2cloudless", "stock"])
def test_another_detector_looks_through_the_twin_first_whatever_the_masks_of_the_scene(
    tmp_path: Path, type_: Any
) -> None:
    # The public bucket's items list no masks: this address is a guess.
    twin = scene_of(scl=written(tmp_path / "scl.tif", EVERY_CLASS))
    masks = {"classi": BandAsset(str(tmp_path / "none.jp2"))}
    scene = Scene("S2A_33TWL_20230510_0_L1C", "L1C", masks=masks, twin=twin)
    detector = DetectorOptions(type=type_)
    if type_ == "stock":
        with pytest.raises(MaskError, match=r"none\.jp2"):
            classes_of(scene, detector)
    else:
        found = classes_of(scene, detector, dilate_m=0)
        np.testing.assert_array_equal(found, [MEANING["standard"]])
        expected = (str(tmp_path / "scl.tif"), str(tmp_path / "none.jp2"))
        assert thumbnail_hrefs(scene, (), detector) == expected


def test_another_detector_looks_through_the_next_mask_if_the_first_cannot_be_read(
    tmp_path: Path,
) -> None:
    scene = scene_of(
        scl=str(tmp_path / "none.tif"),
        cld=written(tmp_path / "cld.tif", np.array([[0, 90, 0, 90]], dtype=np.uint8)),
        bands={"B04": written(tmp_path / "B04.tif", np.full((1, 4), 900, dtype=np.uint16))},
    )
    found = classes_of(scene, DetectorOptions(type="s2cloudless"), dilate_m=0)
    assert (found == PixelClass.MASKED).tolist() == [[False, True, False, True]]


def test_a_scene_without_any_mask_is_an_error() -> None:
    with pytest.raises(MaskError, match=r"no mask scl or cld \(it has none\)"):
        classes_of(scene_of())


def test_a_missing_mask_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"none\.tif"):
        classes_of(scene_of(scl=str(tmp_path / "none.tif")))


def test_a_truncated_mask_is_an_error_though_its_overviews_are_whole(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(4, 7, (SIDE, SIDE)).astype(np.uint8)
    path = Path(cog(tmp_path / "scl.tif", noise, "nearest"))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(MaskError, match=r"scl\.tif: truncated at \d+ bytes; fetch"):
        classes_of(scene_of(scl=str(path)))


def test_a_mask_without_a_crs_is_an_error(tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "scl.tif",
        "w",
        driver="GTiff",
        width=4,
        height=4,
        count=1,
        dtype="uint8",
        transform=Affine(20, 0, WEST, 0, -20, NORTH),
    ) as dataset:
        dataset.write(np.full((4, 4), 4, np.uint8), 1)
    with pytest.raises(GridError, match="no coordinate reference system"):
        classes_of(scene_of(scl=str(tmp_path / "scl.tif")))


def test_a_mask_in_another_crs_than_the_bands_is_an_error(tmp_path: Path) -> None:
    cld = written(tmp_path / "cld.tif", PROBABILITY, 60, "EPSG:32634")
    with pytest.raises(MaskError, match="mask is in EPSG:32634, but its bands in EPSG:32633"):
        classes_of(l1c(tmp_path, cld=cld))


def test_a_value_that_is_no_class_is_never_clear(tmp_path: Path) -> None:
    # 260 is 4 in eight bits.
    scl = np.array([[4, 260, 12, 4, 4]], np.uint16)
    found = classes_of(scene_of(scl=written(tmp_path / "scl.tif", scl)), dilate_m=0)
    np.testing.assert_array_equal(found, [[CLEAR, MASKED, MASKED, CLEAR, CLEAR]])
