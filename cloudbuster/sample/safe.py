"""Write the scenes of a sample world as products: SAFE folders in the layout of the Data Space.

Metadata hold what readers of products use; a real product has more of it. The pixels are those
that ESA would deliver: from baseline 04.00 on they have the offset, which the sample's L2A files
may have lost.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.features import shapes
from rasterio.io import MemoryFile

from cloudbuster.core.scenes.bands import BANDS, BANDS_BY_KIND, Kind
from cloudbuster.sample.files import GDAL_OPTIONS
from cloudbuster.sample.items import ASSETS
from cloudbuster.sample.world.product import OFFSET_DN

FIRST_OFFSET_BASELINE = "04.00"
JP2_OPTIONS = {"driver": "JP2OpenJPEG", "quality": "100", "reversible": "YES", "ycc": "NO"}
# Scene classes by the band of MSK_CLASSI (opaque cloud, cirrus, snow) that they belong to.
CLASSI_BANDS = ((8, 9), (10,), (11,))


@dataclass(frozen=True)
class _Product:
    """One product to write.

    Attributes
    ----------
    item : dict
        Item of the sample.
    source : Path
        Folder of its rasters.
    scl : Path
        Scene classification of the same datatake and tile.
    added_dn : int
        DN to add to the valid pixels of the files.
    """

    item: dict[str, Any]
    source: Path
    scl: Path
    added_dn: int

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of the item."""
        properties: Mapping[str, Any] = self.item["properties"]
        return properties

    @property
    def kind(self) -> Kind:
        """Product level."""
        return "L2A" if self.properties["s2:product_type"] == "S2MSI2A" else "L1C"

    @property
    def has_offset(self) -> bool:
        """Whether ESA adds an offset in this baseline."""
        return str(self.properties["s2:processing_baseline"]) >= FIRST_OFFSET_BASELINE


def write_products(world: Path, folder: Path) -> list[Path]:
    """Write every scene of a sample world as a SAFE folder.

    Parameters
    ----------
    world : Path
        Folder of the sample, with COG or JP2 files.
    folder : Path
        Folder of the products; those that are there already are kept.

    Returns
    -------
    list of Path
        Folders of the products. A scene that lacks a band is left out.
    """
    written = []
    with rasterio.Env(**GDAL_OPTIONS):
        for product in _products(world):
            target = folder / str(product.properties["s2:product_uri"])
            if not target.is_dir():
                partial = target.with_suffix(".partial")
                _write_product(product, partial)
                partial.rename(target)
            written.append(target)
    return written


def _products(world: Path) -> Iterator[_Product]:
    """Yield the products of a world that have every band."""
    truth = json.loads((world / "truth" / "truth.json").read_text())
    paths = {path.stem: path for path in (world / "catalog").rglob("*.json")}
    items = {scene["id"]: json.loads(paths[scene["id"]].read_text()) for scene in truth["scenes"]}
    for scene in truth["scenes"]:
        if scene["missing_assets"]:
            continue
        # L1C has no scene classification; its cloud mask is made of that of L2A.
        twin = paths[scene["id"].replace("L1C", "L2A")].parent
        scl = next(iter(sorted(twin.glob("SCL.*"))))
        should = OFFSET_DN if scene["processing_baseline"] >= FIRST_OFFSET_BASELINE else 0
        yield _Product(
            items[scene["id"]], paths[scene["id"]].parent, scl, should - scene["offset_dn"]
        )


def _write_product(product: _Product, folder: Path) -> None:
    """Write the files of a product to a new folder."""
    properties = product.properties
    tile = str(properties["grid:code"]).removeprefix("MGRS-")
    sensed = str(properties["s2:datatake_id"]).split("_")[1]
    orbit = str(properties["s2:datatake_id"]).split("_")[2]
    granule = folder / "GRANULE" / f"{product.kind}_T{tile}_A{orbit}_{sensed}"
    images, quality = granule / "IMG_DATA", granule / "QI_DATA"
    for band in BANDS_BY_KIND[product.kind]:
        asset = product.item["assets"][ASSETS[band][0]]
        gsd = BANDS[band].gsd_m
        name = f"T{tile}_{sensed}_{band}"
        target = (
            images / f"R{gsd}m" / f"{name}_{gsd}m.jp2"
            if product.kind == "L2A"
            else images / f"{name}.jp2"
        )
        _copy(product.source / asset["href"], target, added_dn=product.added_dn)
    if product.kind == "L2A":
        _copy(product.scl, images / "R20m" / f"T{tile}_{sensed}_SCL_20m.jp2")
        _copy(product.scl.with_name(f"CLD{product.scl.suffix}"), quality / "MSK_CLDPRB_20m.jp2")
    else:
        _write_cloud_mask(product, quality)
    _write_text(granule / "MTD_TL.xml", _tile_metadata(product))
    _write_text(folder / f"MTD_MSI{product.kind}.xml", _product_metadata(product))
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.*"))]
    _write_text(folder / "manifest.safe", _manifest(name for name in names if "." in name))


def _copy(source: Path, target: Path, *, added_dn: int = 0) -> None:
    """Copy a raster of one band to a lossless JP2."""
    with rasterio.open(source) as dataset:
        pixels, profile = dataset.read(), dataset.profile
    if added_dn:
        pixels = np.where(pixels == 0, 0, pixels + added_dn).astype(pixels.dtype)
    _write_jp2(target, pixels, profile)


def _write_jp2(target: Path, pixels: npt.NDArray[Any], profile: Mapping[str, Any]) -> None:
    """Write pixels of shape (band, y, x) as a lossless JP2 with the grid of a profile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    options = JP2_OPTIONS | ({"nbits": "15"} if pixels.dtype == np.uint16 else {})
    plain = {
        "driver": "GTiff",
        "count": pixels.shape[0],
        "dtype": pixels.dtype,
        **{key: profile[key] for key in ("width", "height", "crs", "transform")},
    }
    with MemoryFile() as memory:
        with memory.open(**plain) as dataset:
            dataset.write(pixels)
        with memory.open() as dataset:
            rasterio.shutil.copy(dataset, target, **options)


def _write_cloud_mask(product: _Product, folder: Path) -> None:
    """Write the cloud mask of L1C: a raster from baseline 04.00 on, before that polygons."""
    with rasterio.open(product.scl) as dataset:
        classes, profile = dataset.read(1), dataset.profile
    if not product.has_offset:
        clouds = np.isin(classes, (*CLASSI_BANDS[0], *CLASSI_BANDS[1]))
        rings = [
            shape["coordinates"]
            for shape, value in shapes(clouds.astype(np.uint8), transform=profile["transform"])
            if value
        ]
        _write_text(folder / "MSK_CLOUDS_B00.gml", _gml(rings, profile["crs"].to_epsg()))
        return
    # Three cells of 20 m make one of 60 m; a cell is cloud if any of them is.
    side = classes.shape[0] // 3
    cells = classes[: side * 3, : side * 3].reshape(side, 3, side, 3)
    layers = np.stack([np.isin(cells, wanted).any(axis=(1, 3)) for wanted in CLASSI_BANDS])
    coarse = {
        **profile,
        "width": side,
        "height": side,
        "transform": profile["transform"] @ rasterio.Affine.scale(3),
    }
    _write_jp2(folder / "MSK_CLASSI_B00.jp2", layers.astype(np.uint8), coarse)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _elements(values: Mapping[str, object]) -> str:
    """XML elements of texts."""
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in values.items())


def _document(kind: str, content: str, body: str) -> str:
    """XML document of a level (``User_Product``, ``Tile_ID``) in a namespace like that of ESA."""
    root = f"Level-{kind[1:]}_{content}"
    uri = f"https://psd-15.sentinel2.eo.esa.int/PSD/S2_{content}_Level-{kind[1:]}.xsd"
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
        f'<n1:{root} xmlns:n1="{uri}">{body}</n1:{root}>\n'
    )


def _product_metadata(product: _Product) -> str:
    """``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml``."""
    properties, kind = product.properties, product.kind
    platform = str(properties["platform"]).capitalize()
    platform = f"{platform[:-1]}{platform[-1].upper()}"
    datatake = str(properties["s2:datatake_id"])
    orbit = str(properties["s2:product_uri"]).split("_R")[1][:3]
    info = _elements(
        {
            "PRODUCT_START_TIME": properties["datetime"],
            "PRODUCT_STOP_TIME": properties["datetime"],
            "PRODUCT_URI": properties["s2:product_uri"],
            "PROCESSING_LEVEL": f"Level-{kind[1:]}",
            "PRODUCT_TYPE": properties["s2:product_type"],
            "PROCESSING_BASELINE": properties["s2:processing_baseline"],
            "GENERATION_TIME": properties["s2:generation_time"],
        }
    )
    taken = _elements({"SPACECRAFT_NAME": platform, "SENSING_ORBIT_NUMBER": int(orbit)})
    prefix = "BOA" if kind == "L2A" else "RADIO"
    offsets = "".join(
        f'<{prefix}_ADD_OFFSET band_id="{number}">-{OFFSET_DN}</{prefix}_ADD_OFFSET>'
        for number in range(len(BANDS))
    )
    quantification = (
        "<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>"
        "</QUANTIFICATION_VALUES_LIST>"
        if kind == "L2A"
        else "<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>"
    )
    scale = quantification + (offsets if product.has_offset else "")
    ring = product.item["geometry"]["coordinates"][0]
    positions = " ".join(f"{lat} {lon}" for lon, lat in ring)
    cover = properties["eo:cloud_cover"]
    body = (
        f"<n1:General_Info><Product_Info>{info}"
        f'<Datatake datatakeIdentifier="{escape(datatake)}">{taken}</Datatake></Product_Info>'
        f"<Product_Image_Characteristics>{scale}</Product_Image_Characteristics></n1:General_Info>"
        "<n1:Geometric_Info><Product_Footprint><Product_Footprint><Global_Footprint>"
        f"<EXT_POS_LIST>{positions}</EXT_POS_LIST>"
        "</Global_Footprint></Product_Footprint></Product_Footprint></n1:Geometric_Info>"
        f"<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>{cover}"
        "</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>"
    )
    return _document(kind, "User_Product", body)


def _tile_metadata(product: _Product) -> str:
    """``MTD_TL.xml``."""
    properties = product.properties
    grid = product.item["assets"][ASSETS["B02"][0]]
    rows, columns = grid["proj:shape"]
    west, north = grid["proj:transform"][2], grid["proj:transform"][5]
    info = _elements(
        {
            "TILE_ID": properties["s2:granule_id"],
            "DATASTRIP_ID": properties["s2:datastrip_id"],
            "SENSING_TIME": properties["datetime"],
        }
    )
    coding = _elements({"HORIZONTAL_CS_CODE": f"EPSG:{properties['proj:epsg']}"})
    size = _elements({"NROWS": rows, "NCOLS": columns})
    place = _elements({"ULX": west, "ULY": north, "XDIM": 10, "YDIM": -10})
    zenith = 90 - float(properties["view:sun_elevation"])
    sun = _elements({"ZENITH_ANGLE": zenith, "AZIMUTH_ANGLE": properties["view:sun_azimuth"]})
    quality = {"CLOUDY_PIXEL_PERCENTAGE": properties["eo:cloud_cover"]}
    if "s2:nodata_pixel_percentage" in properties:
        quality["NODATA_PIXEL_PERCENTAGE"] = properties["s2:nodata_pixel_percentage"]
    body = (
        f"<n1:General_Info>{info}</n1:General_Info><n1:Geometric_Info><Tile_Geocoding>{coding}"
        f'<Size resolution="10">{size}</Size>'
        f'<Geoposition resolution="10">{place}</Geoposition></Tile_Geocoding>'
        f"<Tile_Angles><Mean_Sun_Angle>{sun}</Mean_Sun_Angle></Tile_Angles></n1:Geometric_Info>"
        f"<n1:Quality_Indicators_Info><Image_Content_QI>{_elements(quality)}</Image_Content_QI>"
        "</n1:Quality_Indicators_Info>"
    )
    return _document(product.kind, "Tile_ID", body)


def _manifest(names: Iterator[str]) -> str:
    """``manifest.safe``: every file of the product."""
    files = "".join(
        f'<dataObject ID="{number}"><byteStream><fileLocation locatorType="URL" '
        f'href="./{escape(name)}"/></byteStream></dataObject>'
        for number, name in enumerate(names)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">'
        f"<dataObjectSection>{files}</dataObjectSection></xfdu:XFDU>\n"
    )


def _gml(polygons: list[list[list[tuple[float, float]]]], epsg: int) -> str:
    """``MSK_CLOUDS_B00.gml``: polygons of opaque cloud, with their holes."""
    members = "".join(_gml_feature(number, rings, epsg) for number, rings in enumerate(polygons))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0" '
        'xmlns:gml="http://www.opengis.net/gml/3.2" gml:id="clouds">'
        f'<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG::{epsg}"/></gml:boundedBy>'
        f"<eop:maskMembers>{members}</eop:maskMembers></eop:Mask>\n"
    )


def _gml_feature(number: int, rings: list[list[tuple[float, float]]], epsg: int) -> str:
    """One polygon."""
    parts = "".join(
        f'<gml:{side}><gml:LinearRing><gml:posList srsDimension="2">'
        f"{' '.join(f'{x:.10g} {y:.10g}' for x, y in ring)}"
        f"</gml:posList></gml:LinearRing></gml:{side}>"
        for side, ring in zip(["exterior", *["interior"] * (len(rings) - 1)], rings, strict=True)
    )
    return (
        f'<eop:MaskFeature gml:id="OPAQUE.{number}"><eop:maskType>OPAQUE</eop:maskType>'
        f'<eop:extentOf><gml:Polygon gml:id="OPAQUE.{number}_Polygon" '
        f'srsName="urn:ogc:def:crs:EPSG::{epsg}">{parts}</gml:Polygon></eop:extentOf>'
        "</eop:MaskFeature>"
    )
