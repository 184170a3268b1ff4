"""Areas that do not lie in the middle of one zone: across 180 degrees, over zones, large ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from shapely.geometry import box

from cloudbuster.core.areas.antimeridian import split, unwrapped
from cloudbuster.core.areas.aoi import geometry_document, parse_aoi
from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import ExitCode
from cloudbuster.products.stac_item import lonlat_footprint
from tests import command_line
from tests.command_line import invoke, last_line
from tests.factories import SceneSpec, write_scene

SIZE = 200
# Taveuni, Fiji: the antimeridian, and with it the border of the zones 60 and 1, crosses the island.
TAVEUNI = (180.0, -16.83)


def corner_of(crs: str, longitude: float, latitude: float) -> tuple[float, float]:
    """Upper left corner, a multiple of 60 m, of a scene whose middle is about there."""
    x, y = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(longitude, latitude)
    half = SIZE * 10 / 2
    return (round((x - half) / 60) * 60.0, round((y + half) / 60) * 60.0)


def scene_at(crs: str, longitude: float, latitude: float, **changes: Any) -> SceneSpec:
    """A scene of 2 km around a place, with the footprint that a right catalog gives it."""
    west, north = corner_of(crs, longitude, latitude)
    geometry, bounds = lonlat_footprint(Grid(crs, west, north, 10, 10, SIZE, SIZE))
    place: dict[str, Any] = {"west": west, "north": north, "size": SIZE, "crs": crs}
    place |= {"geometry": geometry, "bbox": bounds, "cloud_cover": 1.0}
    return SceneSpec(**(place | changes))


def run_flags(folder: Path, area: dict[str, Any], **changes: str) -> list[str]:
    (folder / "area.geojson").write_text(json.dumps(area))
    known = {"name": "far", "coverage_count": "1", "backstop": "False", "bands": "B04"}
    return command_line.run_flags(folder, **(known | changes))


def globe_box(footprint: dict[str, Any]) -> list[float]:
    """Bounding box as careless catalogs make it: of the least and the greatest longitude."""
    points = np.array(shapely.get_coordinates(shapely.geometry.shape(footprint)))
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def jumping_ring(footprint: dict[str, Any]) -> dict[str, Any]:
    """The same outline as one ring that jumps from one end of the map to the other."""
    outline = unwrapped(shapely.geometry.shape(footprint)).exterior
    ring = [[(x + 180) % 360 - 180, y] for x, y in outline.coords]
    return {"type": "Polygon", "coordinates": [ring]}


def taveuni_scenes(style: str) -> list[SceneSpec]:
    """Two scenes beside each other, one of each zone; both cross the antimeridian."""
    specs = []
    for crs, tile, shift, dn in (
        ("EPSG:32760", "60KZF", -0.004, 500),
        ("EPSG:32701", "01KAB", 0.004, 800),
    ):
        spec = scene_at(
            crs,
            TAVEUNI[0] + shift,
            TAVEUNI[1],
            id=f"S2A_{tile}_20230510_0_L2A",
            tile=tile,
            dn=dn,
        )
        assert spec.geometry is not None
        if style == "jumping ring":
            spec.geometry = jumping_ring(spec.geometry)
        if style != "split":
            spec.bbox = globe_box(spec.geometry)
        if style == "box alone":
            spec.geometry = {}
        specs.append(spec)
    return specs


AREA = box(TAVEUNI[0] - 0.006, TAVEUNI[1] - 0.005, TAVEUNI[0] + 0.006, TAVEUNI[1] + 0.005)


def written(style: str) -> dict[str, Any]:
    """The area as people write it."""
    west, south, east, north = AREA.bounds
    if style == "beyond 180":
        return dict(shapely.geometry.mapping(AREA))
    if style == "split":
        return geometry_document(AREA)
    if style == "jumping ring":
        return jumping_ring(geometry_document(AREA))
    bounds = [west, south, east - 360, north]
    return {"type": "Feature", "properties": {}, "geometry": None, "bbox": bounds}


@pytest.mark.parametrize(
    ("area_style", "item_style"),
    [
        ("beyond 180", "split"),
        ("split", "jumping ring"),
        ("jumping ring", "box alone"),
        ("box", "split"),
    ],
)
def test_an_area_across_180_degrees_is_one_mosaic_without_a_gap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], area_style: str, item_style: str
) -> None:
    for spec in taveuni_scenes(item_style):
        write_scene(tmp_path / "catalog", spec)
    assert invoke(*run_flags(tmp_path, written(area_style)), "--json") == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    assert result["assessment"]["hole_fraction"] == 0
    assert result["assessment"]["area_km2"] == pytest.approx(1.4147, abs=0.001)
    with rasterio.open(result["products"]["cloudless"]) as mosaic:
        # 0.012 degrees of longitude at 17 south are 1.28 km.
        assert mosaic.crs.to_epsg() == 32701
        assert 128 <= mosaic.width <= 133
        assert 110 <= mosaic.height <= 115
        red, index = mosaic.read(1), mosaic.read(2)
    assert (index > 0).all()
    assert set(np.unique(red)) == {502, 802} or set(np.unique(red)) == {500, 800}
    item = json.loads(Path(result["products"]["item"]).read_text())
    assert item["geometry"]["type"] == "MultiPolygon"
    assert item["bbox"][0] > 179
    assert item["bbox"][2] < -179


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3832", "EPSG:8859", "EPSG:32760"])
def test_an_area_across_180_degrees_in_a_crs_that_holds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], crs: str
) -> None:
    for spec in taveuni_scenes("split"):
        write_scene(tmp_path / "catalog", spec)
    assert invoke(*run_flags(tmp_path, written("split"), crs=crs), "--json") == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    with rasterio.open(result["products"]["cloudless"]) as mosaic:
        assert 100 <= mosaic.width <= 140
        assert (mosaic.read(2) > 0).mean() > 0.99
        if crs == "EPSG:4326":
            assert mosaic.bounds.left == pytest.approx(179.994, abs=2e-4)
            assert mosaic.bounds.right == pytest.approx(180.006, abs=2e-4)
    assert result["assessment"]["hole_fraction"] == 0


def test_whole_scenes_across_180_degrees_are_kept_without_bounds_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec in taveuni_scenes("split"):
        write_scene(tmp_path / "catalog", spec)
    for crs in ("utm", "EPSG:4326"):
        flags = run_flags(
            tmp_path, written("split"), bounds_clip="False", crs=crs, output=str(tmp_path / crs)
        )
        assert invoke(*flags, "--json") == ExitCode.DONE
        result = json.loads(capsys.readouterr().out)
        with rasterio.open(result["products"]["cloudless"]) as mosaic:
            assert 200 <= mosaic.width <= 350


def test_a_crs_that_is_cut_at_180_degrees_is_refused_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec in taveuni_scenes("split"):
        write_scene(tmp_path / "catalog", spec)
    flags = run_flags(tmp_path, written("split"), crs="EPSG:3857")
    assert invoke(*flags) == ExitCode.BAD_INPUT
    line = last_line(capsys.readouterr().err)
    assert line.startswith("GridError: EPSG:3857 cuts the area apart")
    assert "EPSG:8859" in line


def zone_scenes() -> list[SceneSpec]:
    """Two scenes on each side of 6 degrees east, the border of the zones 31 and 32."""
    return [
        scene_at("EPSG:32631", 5.996, 45.0, id="S2A_31TGK_20230510_0_L2A", tile="31TGK", dn=500),
        scene_at("EPSG:32632", 6.004, 45.0, id="S2A_32TKQ_20230510_0_L2A", tile="32TKQ", dn=800),
    ]


OVER_ZONES = box(5.99, 44.996, 6.01, 45.004)


def test_utm_each_makes_one_mosaic_for_each_zone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec in zone_scenes():
        write_scene(tmp_path / "catalog", spec)
    flags = run_flags(tmp_path, geometry_document(OVER_ZONES), crs="utm-each")
    assert invoke(*flags, "--json") == ExitCode.DONE
    results = json.loads(capsys.readouterr().out)
    assert [(part["name"], part["crs"], part["exit_code"]) for part in results] == [
        ("far-31n", "EPSG:32631", 0),
        ("far-32n", "EPSG:32632", 0),
    ]
    total = sum(part["result"]["assessment"]["area_km2"] for part in results)
    assert total == pytest.approx(1.402, abs=0.002)
    for part in results:
        product = Path(part["result"]["products"]["cloudless"])
        assert product == tmp_path / "out" / part["name"] / f"{part['name']}-cloudless.tif"
        with rasterio.open(product) as mosaic:
            assert f"EPSG:{mosaic.crs.to_epsg()}" == part["crs"]
        assert part["result"]["assessment"]["hole_fraction"] == 0
    # Each part is a run of its own and resumes by itself.
    assert invoke(*flags) == ExitCode.DONE
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if " " not in line] == ["far-31n", "far-32n"]
    assert text.count("-cloudless.tif") == 2


def test_utm_each_ends_as_its_worst_part_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    west, _ = zone_scenes()
    write_scene(tmp_path / "catalog", west)
    flags = run_flags(tmp_path, geometry_document(OVER_ZONES), crs="utm-each")
    # The scene of zone 31 reaches over the border and sees a part of what lies in zone 32.
    assert invoke(*flags, "--json") == ExitCode.NOT_COVERED
    captured = capsys.readouterr()
    assert [part["exit_code"] for part in json.loads(captured.out)] == [0, 4]
    assert last_line(captured.err).startswith("NotCoveredError: 1 of 2 parts: far-32n: ")
    far = box(12.001, 44.996, 12.002, 45.004)
    apart = geometry_document(shapely.union_all([OVER_ZONES, far]))
    flags = run_flags(tmp_path, apart, crs="utm-each", output=str(tmp_path / "wide"))
    assert invoke(*flags) == ExitCode.NOTHING_USABLE
    captured = capsys.readouterr()
    assert "far-31n-cloudless.tif" in captured.out
    assert last_line(captured.err).startswith("NothingUsableError: 2 of 3 parts: ")


def test_utm_each_is_not_for_a_single_mosaic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec in zone_scenes():
        write_scene(tmp_path / "catalog", spec)
    area = geometry_document(box(5.99, 44.996, 5.998, 45.004))
    assert invoke(*run_flags(tmp_path, area)) == ExitCode.DONE
    selection = tmp_path / "out" / "selection.json"
    gather = ["gather", "--response", selection, "--name", "n", "--output-path", tmp_path / "n"]
    assert invoke(*gather, "--crs", "utm-each") == ExitCode.BAD_INPUT
    assert "`cloudbuster run --crs utm-each`" in last_line(capsys.readouterr().err)


def test_a_selection_of_half_the_world_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scene(tmp_path / "catalog", zone_scenes()[0])
    area = geometry_document(box(5.99, 44.996, 5.998, 45.004))
    assert invoke(*run_flags(tmp_path, area)) == ExitCode.DONE
    selection = json.loads((tmp_path / "out" / "selection.json").read_text())
    selection["cloudbuster"]["aoi"] = dict(shapely.geometry.mapping(box(-100, 40, 100, 50)))
    (tmp_path / "wide.json").write_text(json.dumps(selection))
    gather = ["gather", "--response", tmp_path / "wide.json", "--name", "n"]
    assert invoke(*gather, "--output-path", tmp_path / "n") == ExitCode.BAD_INPUT
    assert last_line(capsys.readouterr().err).startswith("AoiError: aoi: the geometry: it is 200")


def coast(vertices: int) -> dict[str, Any]:
    """A ragged coastline around the middle of the zones' scenes."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    noise = np.random.default_rng(4).normal(0, 1, vertices).cumsum()
    noise -= np.linspace(0, noise[-1], vertices)
    radius = 0.0035 * (1 + 0.3 * noise / np.abs(noise).max())
    ring = np.column_stack([5.9955 + radius * np.cos(angle), 45 + radius * np.sin(angle)])
    return {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}


def test_a_coastline_of_20000_vertices_is_run_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec in zone_scenes():
        write_scene(tmp_path / "catalog", spec)
    area = coast(20_000)
    assert invoke(*run_flags(tmp_path, area), "--json") == ExitCode.DONE
    assessment = json.loads(capsys.readouterr().out)["assessment"]
    assert assessment["hole_fraction"] == 0
    request = json.loads((tmp_path / "out" / "request.json").read_text())
    assert request["aoi"] == {"uri": str(tmp_path / "area.geojson")}
    each = run_flags(tmp_path, area, crs="utm-each", output=str(tmp_path / "each"))
    assert invoke(*each, "--json") == ExitCode.DONE
    parts = json.loads(capsys.readouterr().out)
    assert [part["name"] for part in parts] == ["far-31n"]
    assert parts[0]["result"]["assessment"]["area_km2"] == pytest.approx(assessment["area_km2"])
    assert len(list((tmp_path / "each" / "far-31n").glob("aoi-*.geojson"))) == 1


@pytest.mark.parametrize(
    ("area", "error", "words"),
    [
        (geometry_document(box(10, 83.9, 10.1, 84.1)), "GridError", "UTM ends at 84 and -80"),
        (geometry_document(box(10, -80.1, 10.1, -79.9)), "GridError", "EPSG:3031 in the south"),
        (
            {
                "type": "Polygon",
                "coordinates": [[[0, 80], [90, 80], [180, 80], [-90, 80], [0, 80]]],
            },
            "AoiError",
            "goes round the north pole",
        ),
        (
            {
                "type": "Polygon",
                "coordinates": [[[-99, 1], [0, 1], [99, 1], [99, 2], [-99, 2], [-99, 1]]],
            },
            "AoiError",
            "198 degrees of longitude wide",
        ),
    ],
)
@pytest.mark.parametrize("crs", ["utm", "utm-each"])
def test_poles_and_half_the_world_are_refused_with_one_clear_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    area: dict[str, Any],
    error: str,
    words: str,
    crs: str,
) -> None:
    # A scene that lies there by its footprint, so that the search is not what refuses.
    shown = area if error == "GridError" else geometry_document(AREA)
    write_scene(tmp_path / "catalog", SceneSpec(geometry=shown))
    assert invoke(*run_flags(tmp_path, area, crs=crs)) == ExitCode.BAD_INPUT
    captured = capsys.readouterr()
    assert last_line(captured.err).startswith(f"{error}: ")
    assert words in last_line(captured.err)
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("latitude", [89.0, -89.0])
def test_query_and_run_refuse_alike_an_area_that_no_tile_reaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], latitude: float
) -> None:
    write_scene(tmp_path / "catalog", SceneSpec(geometry=geometry_document(AREA)))
    area = geometry_document(box(10, latitude - 0.1, 10.2, latitude + 0.1))
    run = run_flags(tmp_path, area)
    polar = run_flags(tmp_path, area, crs="EPSG:3413", output=str(tmp_path / "polar"))
    days = ("--mindate", "2023-05-01", "--maxdate", "2023-05-31")
    where = ("--geojson", tmp_path / "area.geojson", "--catalog", tmp_path / "catalog")
    told = []
    for command in (run, polar, ["query", *where, *days]):
        assert invoke(*command) == ExitCode.BAD_INPUT
        told.append(last_line(capsys.readouterr().err))
    assert len(set(told)) == 1
    assert told[0].startswith("AoiError: aoi: no tile of Sentinel-2 lies between ")


def test_a_polar_area_is_made_in_a_polar_crs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = scene_at("EPSG:32633", 15.0, 83.0, id="S2A_33XWN_20230510_0_L2A", tile="33XWN")
    write_scene(tmp_path / "catalog", spec)
    area = geometry_document(box(14.97, 82.996, 15.03, 83.004))
    assert invoke(*run_flags(tmp_path, area, crs="EPSG:3413"), "--json") == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    assert result["assessment"]["hole_fraction"] == 0


def test_the_area_in_a_document_is_split(tmp_path: Path) -> None:
    for spec in taveuni_scenes("split"):
        write_scene(tmp_path / "catalog", spec)
    assert invoke(*run_flags(tmp_path, written("beyond 180"))) == ExitCode.DONE
    for name in ("candidates.json", "selection.json"):
        document = json.loads((tmp_path / "out" / name).read_text())["cloudbuster"]["aoi"]
        assert document["type"] == "MultiPolygon"
        assert split(parse_aoi(document)).equals(shapely.geometry.shape(document))
