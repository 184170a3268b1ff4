"""Products as people download them: every layout becomes the same scene."""

import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from shapely.geometry import box

from cloudbuster.catalogs import open_catalog, product_folders
from cloudbuster.catalogs.local import LocalCatalog
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.catalogs.search import SceneSearch
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.errors import CatalogError, RasterError, UntrustedAddressError
from cloudbuster.storage.addresses.trust import (
    ALLOW_FOLDERS_VARIABLE,
    FOREIGN_REQUESTS_VARIABLE,
    server_trust,
)
from cloudbuster.storage.files.uri import read_bytes
from cloudbuster.storage.rasters.raster_file import RasterFile

BANDS_10M, BANDS_20M = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12")
L1C_BANDS = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
)
GEOMETRY = "46.1 14.99 46.1 16.4 45.1 16.4 45.1 14.99 46.1 14.99"
EVERYWHERE = box(-179, -80, 179, 80)


def product_xml(
    kind: str,
    *,
    platform: str = "Sentinel-2A",
    baseline: str = "05.09",
    name: str = "",
    ring: str = GEOMETRY,
) -> str:
    """Metadata of a product, as ESA writes them at a baseline."""
    level = "2A" if kind == "L2A" else "1C"
    tag = "BOA" if kind == "L2A" else "RADIO"
    offsets = "".join(
        f'<{tag}_ADD_OFFSET band_id="{n}">-1000</{tag}_ADD_OFFSET>' for n in range(13)
    )
    return f"""<?xml version="1.0"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/x.xsd">
<n1:General_Info><Product_Info>
<PRODUCT_START_TIME>2023-08-15T10:00:31.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>{name}</PRODUCT_URI><PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE>
<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<GENERATION_TIME>2023-08-15T13:45:26.000000Z</GENERATION_TIME>
<Datatake datatakeIdentifier="G{name[:3]}_20230815T100031_042551_N{baseline}">
<SPACECRAFT_NAME>{platform}</SPACECRAFT_NAME><SENSING_ORBIT_NUMBER>122</SENSING_ORBIT_NUMBER>
</Datatake></Product_Info><Product_Image_Characteristics>
<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>
{offsets if baseline >= "04.00" else ""}
</Product_Image_Characteristics></n1:General_Info>
<n1:Geometric_Info><EXT_POS_LIST>{ring}</EXT_POS_LIST></n1:Geometric_Info>
<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment>
</n1:Quality_Indicators_Info></n1:Level-{level}_User_Product>"""


def tile_xml(tile: str = "33TWL", *, west: int = 499980, north: int = 5100000) -> str:
    """Metadata of a granule."""
    return f"""<?xml version="1.0"?>
<n1:Level-1C_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/tile.xsd">
<n1:General_Info><TILE_ID>S2A_OPER_MSI_L1C_TL_2APS_20230815T134526_A042551_T{tile}_N05.09</TILE_ID>
<DATASTRIP_ID>S2A_OPER_MSI_L1C_DS_2APS_20230815T134526_S20230815T100027_N05.09</DATASTRIP_ID>
<SENSING_TIME>2023-08-15T10:08:07.123456Z</SENSING_TIME></n1:General_Info>
<n1:Geometric_Info><Tile_Geocoding><HORIZONTAL_CS_CODE>EPSG:32633</HORIZONTAL_CS_CODE>
<Size resolution="10"><NROWS>10980</NROWS><NCOLS>10980</NCOLS></Size>
<Size resolution="20"><NROWS>5490</NROWS><NCOLS>5490</NCOLS></Size>
<Geoposition resolution="10"><ULX>{west}</ULX><ULY>{north}</ULY><XDIM>10</XDIM><YDIM>-10</YDIM>
</Geoposition></Tile_Geocoding><Tile_Angles>
<Sun_Angles_Grid><Zenith><Values>1 2</Values></Zenith></Sun_Angles_Grid>
<Mean_Sun_Angle><ZENITH_ANGLE unit="deg">33.5</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">155.25</AZIMUTH_ANGLE></Mean_Sun_Angle></Tile_Angles></n1:Geometric_Info>
<n1:Quality_Indicators_Info><Image_Content_QI>
<CLOUDY_PIXEL_PERCENTAGE>12.25</CLOUDY_PIXEL_PERCENTAGE>
<NODATA_PIXEL_PERCENTAGE>3.5</NODATA_PIXEL_PERCENTAGE></Image_Content_QI>
</n1:Quality_Indicators_Info></n1:Level-1C_Tile_ID>"""


TILE_INFO = """{"path": "tiles/33/T/WL/2023/8/15/0", "timestamp": "2023-08-15T10:08:07.123Z",
"utmZone": 33, "latitudeBand": "T", "gridSquare": "WL", "dataCoveragePercentage": 96.5,
"cloudyPixelPercentage": 12.25, "productName": "%s", "productPath": "products/2023/8/15/x",
"tileDataGeometry": {"type": "Polygon", "crs": {"type": "name", "properties":
{"name": "urn:ogc:def:crs:EPSG:8.8.1:32633"}}, "coordinates": [[[499980, 5100000],
[609780, 5100000], [609780, 4990200], [499980, 4990200], [499980, 5100000]]]}}"""


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files; those of rasters are empty, because only their names are read here."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def l1c(folder: Path, *, baseline: str = "05.09", platform: str = "2A") -> Path:
    """L1C product in the layout since December 2016."""
    number = baseline.replace(".", "")
    name = f"S{platform}_MSIL1C_20230815T100031_N{number}_R122_T33TWL_20230815T134526.SAFE"
    granule = "GRANULE/L1C_T33TWL_A042551_20230815T100027"
    mask = "MSK_CLASSI_B00.jp2" if baseline >= "04.00" else "MSK_CLOUDS_B00.gml"
    xml = product_xml("L1C", platform=f"Sentinel-{platform}", baseline=baseline, name=name)
    return write(
        folder / name,
        {
            "MTD_MSIL1C.xml": xml,
            "manifest.safe": "<a/>",
            f"{granule}/MTD_TL.xml": tile_xml(),
            **{f"{granule}/IMG_DATA/T33TWL_20230815T100031_{b}.jp2": "" for b in L1C_BANDS},
            f"{granule}/IMG_DATA/T33TWL_20230815T100031_TCI.jp2": "",
            f"{granule}/QI_DATA/{mask}": "",
            f"{granule}/QI_DATA/MSK_DETFOO_B01.jp2": "",
            f"{granule}/QI_DATA/T33TWL_20230815T100031_PVI.jp2": "",
            "DATASTRIP/DS_2APS_20230815T134526_S20230815T100027/MTD_DS.xml": "<a/>",
        },
    )


def l2a(folder: Path, *, baseline: str = "05.09", platform: str = "2A") -> Path:
    """L2A product in the layout since December 2016."""
    number = baseline.replace(".", "")
    name = f"S{platform}_MSIL2A_20230815T100031_N{number}_R122_T33TWL_20230815T144526.SAFE"
    images = "GRANULE/L2A_T33TWL_A042551_20230815T100027/IMG_DATA"
    stem = "T33TWL_20230815T100031"
    fine, middle, coarse = BANDS_10M, (*BANDS_10M[:3], *BANDS_20M, "B01"), ("B01", "B09", "B8A")
    xml = product_xml("L2A", platform=f"Sentinel-{platform}", baseline=baseline, name=name)
    return write(
        folder / name,
        {
            "MTD_MSIL2A.xml": xml,
            f"{Path(images).parent}/MTD_TL.xml": tile_xml(),
            **{f"{images}/R10m/{stem}_{b}_10m.jp2": "" for b in (*fine, "AOT", "TCI", "WVP")},
            **{f"{images}/R20m/{stem}_{b}_20m.jp2": "" for b in (*middle, "SCL", "TCI")},
            **{f"{images}/R60m/{stem}_{b}_60m.jp2": "" for b in (*coarse, "B02", "SCL")},
            f"{Path(images).parent}/QI_DATA/MSK_CLDPRB_20m.jp2": "",
            f"{Path(images).parent}/QI_DATA/MSK_CLDPRB_60m.jp2": "",
            f"{Path(images).parent}/QI_DATA/MSK_SNWPRB_20m.jp2": "",
        },
    )


def old_l1c(folder: Path, tiles: tuple[str, ...] = ("33TWL", "33TWM")) -> Path:
    """L1C product of before December 2016: several tiles, long names, heights in footprints."""
    heights = "46.1 14.99 0 46.1 16.4 0 45.1 16.4 0 45.1 14.99 0 46.1 14.99 0"
    name = "S2A_OPER_PRD_MSIL1C_PDMC_20160815T162434_R122_V20160815T100032_20160815T100032.SAFE"
    metadata = name.replace("PRD_MSI", "MTD_SAF").replace(".SAFE", ".xml")
    files = {metadata: product_xml("L1C", baseline="02.04", name=name, ring=heights)}
    for tile in tiles:
        stem = f"S2A_OPER_MSI_L1C_TL_SGS__20160815T153432_A006001_T{tile}"
        granule = f"GRANULE/{stem}_N02.04"
        north = 5100000 if tile == "33TWL" else 5200020
        files[f"{granule}/{stem.replace('MSI', 'MTD')}.xml"] = tile_xml(tile, north=north)
        files |= {f"{granule}/IMG_DATA/{stem}_{band}.jp2": "" for band in L1C_BANDS}
        mask = stem.replace("MSI_L1C_TL", "MSK_CLOUDS")
        files[f"{granule}/QI_DATA/{mask}_B00_MSIL1C.gml"] = ""
    return write(folder / name, files)


def early_l2a(folder: Path) -> Path:
    """L2A product of Sen2Cor 2.3, whose files begin with their level."""
    name = "S2A_MSIL2A_20170815T100031_N0205_R122_T33TWL_20170815T100513.SAFE"
    images = "GRANULE/L2A_T33TWL_A011204_20170815T100513/IMG_DATA"
    stem = "L2A_T33TWL_20170815T100031"
    xml = product_xml("L2A", baseline="02.05", name=name).replace("PRODUCT_URI", "PRODUCT_URI_2A")
    return write(
        folder / name,
        {
            "MTD_MSIL2A.xml": xml,
            f"{Path(images).parent}/MTD_TL.xml": tile_xml(),
            **{f"{images}/R10m/{stem}_{band}_10m.jp2": "" for band in BANDS_10M},
            **{f"{images}/R20m/{stem}_{band}_20m.jp2": "" for band in BANDS_20M},
            **{f"{images}/R60m/{stem}_{band}_60m.jp2": "" for band in ("B01", "B09")},
            f"{images}/R20m/{stem}_SCL_20m.jp2": "",
            f"{Path(images).parent}/QI_DATA/{stem}_CLD_20m.jp2": "",
        },
    )


def bucket_l1c(folder: Path) -> Path:
    """L1C tile in the layout of the public bucket."""
    name = "S2A_MSIL1C_20230815T100031_N0509_R122_T33TWL_20230815T134526"
    return write(
        folder / "tiles/33/T/WL/2023/8/15/0",
        {
            "tileInfo.json": TILE_INFO % name,
            "metadata.xml": tile_xml(),
            **{f"{band}.jp2": "" for band in L1C_BANDS},
            "TCI.jp2": "",
            "preview/B01.jp2": "",
            "qi/MSK_CLASSI_B00.jp2": "",
        },
    )


def bucket_l2a(folder: Path) -> Path:
    """L2A tile in the layout of the public bucket."""
    name = "S2A_MSIL2A_20230815T100031_N0509_R122_T33TWL_20230815T144526"
    return write(
        folder / "tiles/33/T/WL/2023/8/15/0",
        {
            "tileInfo.json": TILE_INFO % name,
            "metadata.xml": tile_xml(),
            **{f"R10m/{band}.jp2": "" for band in (*BANDS_10M, "TCI")},
            **{f"R20m/{band}.jp2": "" for band in (*BANDS_10M[:3], *BANDS_20M, "SCL")},
            **{f"R60m/{band}.jp2": "" for band in ("B01", "B02", "B09", "SCL")},
            "qi/CLD_20m.jp2": "",
            "qi/CLD_60m.jp2": "",
        },
    )


def scenes_of(uri: str) -> list[Scene]:
    """Scenes of a catalog, L1C first, whatever their place and day."""
    catalog = open_catalog(uri)
    found: list[Scene] = []
    for kind in ("L1C", "L2A"):
        search = SceneSearch(EVERYWHERE, ((date(2015, 1, 1), date(2099, 1, 1)),), kind)
        found += [parse_scene(item, catalog=uri) for item in catalog.search(search).items]
    return found


Maker = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("make", "kind", "masks"),
    [
        (l1c, "L1C", {"classi": "MSK_CLASSI_B00.jp2"}),
        (l2a, "L2A", {"scl": "_SCL_20m.jp2", "cld": "MSK_CLDPRB_20m.jp2"}),
        (early_l2a, "L2A", {"scl": "_SCL_20m.jp2", "cld": "_CLD_20m.jp2"}),
        (lambda folder: old_l1c(folder, ("33TWL",)), "L1C", {"gml": "_B00_MSIL1C.gml"}),
        (bucket_l1c, "L1C", {"classi": "qi/MSK_CLASSI_B00.jp2"}),
        (bucket_l2a, "L2A", {"scl": "R20m/SCL.jp2", "cld": "qi/CLD_20m.jp2"}),
    ],
)
def test_every_layout_is_read_as_a_scene_with_masks_metadata_and_sun(
    tmp_path: Path, make: Maker, kind: str, masks: dict[str, str]
) -> None:
    folder = make(tmp_path)

    (scene,) = scenes_of(str(folder))

    assert (scene.kind, scene.mgrs_tile, scene.epsg) == (kind, "33TWL", 32633)
    assert (scene.platform, scene.cloud_cover) == ("sentinel-2a", 12.25)
    assert scene.nodata_percent == pytest.approx(3.5)
    assert (scene.sun_azimuth_deg, scene.sun_elevation_deg) == (155.25, 56.5)
    assert scene.acquired is not None
    assert scene.acquired.isoformat() == "2023-08-15T10:08:07.123456+00:00"
    expected = L1C_BANDS if kind == "L1C" else [band for band in L1C_BANDS if band != "B10"]
    assert sorted(scene.bands) == sorted(expected)
    assert all(Path(asset.href).is_file() for asset in scene.bands.values())
    assert {mask: Path(scene.masks[mask].href).is_file() for mask in masks} == dict.fromkeys(
        masks, True
    )
    assert all(scene.masks[mask].href.endswith(end) for mask, end in masks.items())


@pytest.mark.parametrize("make", [l2a, bucket_l2a])
def test_a_band_is_taken_at_its_own_resolution(tmp_path: Path, make: Maker) -> None:
    (scene,) = scenes_of(str(make(tmp_path)))

    folders = {band: Path(asset.href).parent.name for band, asset in scene.bands.items()}
    assert folders == {
        **dict.fromkeys(BANDS_10M, "R10m"),
        **dict.fromkeys(BANDS_20M, "R20m"),
        **dict.fromkeys(("B01", "B09"), "R60m"),
    }


def test_the_finest_file_is_taken_of_a_product_without_the_resolution_of_a_band(
    tmp_path: Path,
) -> None:
    folder = l2a(tmp_path)
    for file in folder.rglob("R10m/*.jp2"):
        file.unlink()

    (scene,) = scenes_of(str(folder))

    assert Path(scene.bands["B02"].href).parent.name == "R20m"
    assert "B08" not in scene.bands


@pytest.mark.parametrize("platform", ["2A", "2B", "2C"])
@pytest.mark.parametrize(
    ("baseline", "offset"),
    [("02.01", 0), ("02.14", 0), ("03.01", 0), ("04.00", -0.1), ("05.00", -0.1), ("05.11", -0.1)],
)
@pytest.mark.parametrize("make", [l1c, l2a])
def test_every_baseline_and_satellite_has_its_offset(
    tmp_path: Path, make: Callable[..., Path], baseline: str, offset: float, platform: str
) -> None:
    (scene,) = scenes_of(str(make(tmp_path, baseline=baseline, platform=platform)))

    assert (scene.baseline, scene.platform) == (baseline, f"sentinel-{platform.lower()}")
    assert scene.declared_offset == pytest.approx(offset)
    assert scene.datatake == f"S{platform}_20230815T100031"
    assert scene.relative_orbit == 122


def test_each_tile_of_an_old_product_is_a_scene_of_its_own(tmp_path: Path) -> None:
    scenes = scenes_of(str(old_l1c(tmp_path)))

    assert [scene.mgrs_tile for scene in scenes] == ["33TWL", "33TWM"]
    assert all(
        scene.mgrs_tile is not None and f"_T{scene.mgrs_tile}_" in asset.href
        for scene in scenes
        for asset in (*scene.bands.values(), *scene.masks.values())
    )


def zipped(product: Path, name: str = "") -> Path:
    """Zip of a product, with its folder in it, as it is downloaded."""
    path = product.parent / (name or f"{product.name}.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(product.rglob("*")):
            archive.write(file, file.relative_to(product.parent))
    return path


@pytest.mark.parametrize("make", [l1c, l2a, old_l1c, early_l2a])
def test_a_zipped_product_is_the_same_scene(tmp_path: Path, make: Maker) -> None:
    product = make(tmp_path)
    path = zipped(product)

    plain, packed = scenes_of(str(product)), scenes_of(str(path))

    assert [scene.id for scene in packed] == [scene.id for scene in plain]
    for scene, twin in zip(packed, plain, strict=True):
        for asset, same in zip(scene.bands.values(), twin.bands.values(), strict=True):
            inner = Path(same.href).relative_to(tmp_path).as_posix()
            assert asset.href == f"zip://{path}!/{inner}"
            assert read_bytes(asset.href) == b""


@pytest.mark.parametrize("file", ["MTD_MSIL1C.xml", "manifest.safe", "", "GRANULE/.."])
def test_a_product_is_found_by_its_folder_and_by_its_metadata(tmp_path: Path, file: str) -> None:
    product = l1c(tmp_path)

    assert [scene.kind for scene in scenes_of(str(product / file))] == ["L1C"]


def test_a_folder_of_products_of_every_kind_is_a_catalog(tmp_path: Path) -> None:
    l1c(tmp_path / "a b")
    zipped(l2a(tmp_path / "c")).rename(tmp_path / "download.ZIP")
    old_l1c(tmp_path / "d" / "deep")
    bucket_l1c(tmp_path / "mirror" / "sentinel-s2-l1c")
    (tmp_path / "notes.zip").write_bytes(b"PK\x03\x04 cut short")

    catalog = LocalCatalog.open(str(tmp_path))
    assert isinstance(catalog, LocalCatalog)

    assert len(scenes_of(str(tmp_path))) == 6
    assert [entry.item_id for entry in catalog.unreadable] == ["notes.zip"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "MTD_MSIL1C.xml").write_text("<a>"), "is not readable as XML"),
        (
            lambda folder: (folder / "MTD_MSIL1C.xml").write_text(
                '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
            ),
            "is not readable as XML",
        ),
        (
            lambda folder: next(folder.rglob("MTD_TL.xml")).unlink(),
            "has no metadata of a tile",
        ),
        (lambda folder: next(folder.rglob("MTD_TL.xml")).write_text(""), "not readable as XML"),
        (
            lambda folder: (folder / "MTD_MSIL1C.xml").write_text(" " * (8 * 2**20 + 1)),
            "is over 8 MiB",
        ),
    ],
)
def test_a_damaged_product_is_left_out_with_its_reason(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    product = l1c(tmp_path)
    damage(product)
    l2a(tmp_path)

    catalog = LocalCatalog.open(str(tmp_path))
    assert isinstance(catalog, LocalCatalog)

    (left_out,) = catalog.unreadable
    assert left_out.item_id == product.name
    assert message in left_out.reason
    assert [scene.kind for scene in scenes_of(str(tmp_path))] == ["L2A"]


@pytest.mark.parametrize(
    ("bucket", "make"),
    [("sentinel-s2-l1c", bucket_l1c), ("sentinel-s2-l2a", bucket_l2a)],
)
def test_a_tile_folder_in_a_bucket_is_read_without_listing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str, make: Maker
) -> None:
    root = f"s3://{bucket}/tiles/33/T/WL/2023/8/15/0"
    folder = make(tmp_path)
    asked: list[str] = []

    def read(uri: str, **_bounds: object) -> bytes:
        asked.append(uri.removeprefix(f"{root}/"))
        return (folder / asked[-1]).read_bytes()

    monkeypatch.setattr("cloudbuster.catalogs.product_folders.read_file", read)

    (scene,) = scenes_of(f"{root}/")

    assert set(asked) == {"tileInfo.json", "metadata.xml"}
    local = {asset.href.removeprefix(f"{root}/") for asset in scene.bands.values()}
    assert all((folder / name).is_file() for name in local)
    assert scene.masks
    assert all(asset.href.startswith(root) for asset in scene.masks.values())


def test_a_safe_folder_in_a_bucket_is_read_by_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = l2a(tmp_path)
    root = f"s3://eodata/Sentinel-2/MSI/L2A/2023/08/15/{product.name}"
    names = [file.relative_to(product).as_posix() for file in product.rglob("*") if file.is_file()]
    links = "".join(f'<fileLocation locatorType="URL" href="./{name}"/>' for name in names)
    (product / "manifest.safe").write_text(f"<a>{links}</a>")
    monkeypatch.setattr(
        "cloudbuster.catalogs.product_folders.read_file",
        lambda uri, **_bounds: (product / uri.removeprefix(f"{root}/")).read_bytes(),
    )

    (scene,) = scenes_of(root)

    assert len(scene.bands) == 12
    assert scene.bands["B02"].href.startswith(f"{root}/GRANULE/")
    (product / "manifest.safe").write_text("<a/>")
    with pytest.raises(CatalogError, match="lists no files"):
        open_catalog(root)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (None, "no product of Sentinel-2 in it; give a SAFE folder"),
        (lambda folder: (folder / "MTD_MSIL1C.xml").write_text("<a>"), "not readable as XML"),
    ],
)
def test_a_zip_without_a_readable_product_is_no_catalog(
    tmp_path: Path, damage: Callable[[Path], object] | None, message: str
) -> None:
    product = l1c(tmp_path)
    if damage is None:
        (product / "MTD_MSIL1C.xml").unlink()
    else:
        damage(product)

    with pytest.raises(CatalogError, match=message):
        open_catalog(str(zipped(product)))


VRT = (
    '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="UInt16" band="1">'
    "<SimpleSource><SourceFilename>/etc/secret.tif</SourceFilename></SimpleSource>"
    "</VRTRasterBand></VRTDataset>"
)


@pytest.mark.parametrize("packed", [False, True])
def test_a_virtual_raster_under_the_name_of_a_band_is_not_opened(
    tmp_path: Path, packed: bool
) -> None:
    product = l1c(tmp_path)
    for file in product.rglob("*_B04.jp2"):
        file.write_text(VRT)

    (scene,) = scenes_of(str(zipped(product) if packed else product))

    with pytest.raises(RasterError, match=r"a virtual raster \(VRT\)"):
        RasterFile(scene.bands["B04"].href)


@pytest.mark.parametrize("name", ["../x/MTD_MSIL1C.xml", "/etc/MTD_MSIL1C.xml", "a/../../b.jp2"])
def test_a_zip_whose_members_lead_out_of_it_is_left_out(tmp_path: Path, name: str) -> None:
    path = zipped(l1c(tmp_path / "a"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")

    with pytest.raises(CatalogError, match="leads out of the zip"):
        open_catalog(str(path))


def test_metadata_in_a_zip_are_unpacked_no_further_than_their_bound(tmp_path: Path) -> None:
    product = l1c(tmp_path)
    (product / "MTD_MSIL1C.xml").write_bytes(b"<a>" + bytes(64 * 2**20))

    with pytest.raises(CatalogError, match="is over 8 MiB"):
        open_catalog(str(zipped(product)))


def test_a_manifest_names_files_below_its_folder_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["../x.jp2", "./../x.jp2", "./a/../../x.jp2", ".//x.jp2", "./%2e%2e/x.jp2", "./G/x.jp2"]
    links = "".join(f'<a href="{name}"/>' for name in names)
    monkeypatch.setattr(
        product_folders, "read_file", lambda _uri, **_bounds: f"<a>{links}</a>".encode()
    )

    (files,) = product_folders.remote_products("https://h/a.SAFE", server_trust("https://h/a.SAFE"))

    assert files.names == ("G/x.jp2",)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1/a.SAFE", "http://169.254.169.254/tiles/33/T/WL/2023/8/15/0"]
)
def test_others_name_no_product_on_a_server_of_this_network(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")

    with pytest.raises(UntrustedAddressError):
        open_catalog(address)


@pytest.mark.parametrize("name", ["MTD_MSIL1C.xml", "a.zip", "a.json"])
def test_links_out_of_an_allowed_folder_are_not_followed_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    product = l1c(secret)
    zipped(product).rename(secret / "a.zip")
    (product / "MTD_MSIL1C.xml").rename(secret / "MTD_MSIL1C.xml")
    (secret / "a.json").write_text('{"type": "Feature", "id": "a"}')
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / name).symlink_to(secret / name)
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")
    monkeypatch.setenv(ALLOW_FOLDERS_VARIABLE, str(allowed))

    catalog = open_catalog(str(allowed))

    assert isinstance(catalog, LocalCatalog)
    (left_out,) = catalog.unreadable
    assert "may not name one" in left_out.reason
