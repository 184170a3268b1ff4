import numpy as np
import pytest

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.scenes.scene import BandAsset
from cloudbuster.detectors.stock import StockDetector
from cloudbuster.errors import MaskError
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of

GRID = grid_of(8, 12)
SCL = np.array(
    [
        [[4, 4, 5, 6, 9, 0], [4, 3, 5, 6, 10, 0], [2, 11, 7, 8, 1, 12], [4, 4, 4, 4, 4, 4]],
    ],
    dtype=np.uint8,
)


def l2a(**masks):
    return FakeSource(scene_of("L2A"), GRID, masks=masks)


def l1c(masks):
    return FakeSource(scene_of("L1C"), GRID, masks=masks)


def test_stock_on_l2a_reads_classes_at_their_own_resolution():
    mask = StockDetector("L2A").detect(l2a(scl=(grid_of(4, 6, 20), SCL)), GRID)
    assert mask.grid == grid_of(4, 6, 20)
    assert mask.detector == "stock scl standard"
    np.testing.assert_array_equal(mask.cloud, np.isin(SCL[0], [7, 8, 9, 10]))
    np.testing.assert_array_equal(mask.shadow, SCL[0] == 3)
    np.testing.assert_array_equal(mask.defective, np.isin(SCL[0], [0, 1, 12]))
    np.testing.assert_array_equal(mask.low_rank, np.isin(SCL[0], [2, 11]))


def test_stock_covers_the_area_and_no_more():
    source = l2a(scl=(grid_of(4, 6, 20), SCL))
    mask = StockDetector("L2A").detect(source, GRID.crop(GridWindow(3, 3, 2, 4)))
    assert mask.grid == grid_of(4, 6, 20).crop(GridWindow(1, 1, 2, 3))
    np.testing.assert_array_equal(mask.cloud_or_shadow, [[True, False, False], [False, True, True]])


def test_stock_takes_cells_beyond_the_mask_as_defective():
    clear = np.zeros((3, 2, 3), dtype=np.uint8)
    source = l1c({"classi": (grid_of(2, 3, 20), clear)})
    mask = StockDetector("L1C").detect(source, GRID)
    assert mask.grid.shape == (4, 6)
    assert not mask.defective[:2, :3].any()
    assert mask.defective[2:].all()
    assert mask.defective[:, 3:].all()


def test_stock_at_a_coarser_cell_masks_a_cell_that_touches_cloud():
    source = l2a(scl=(grid_of(4, 6, 20), SCL))
    mask = StockDetector("L2A", mask_gsd_m=60).detect(source, GRID)
    assert mask.grid == grid_of(2, 2, 60)
    assert mask.detector == "stock scl standard gsd_m=60"
    np.testing.assert_array_equal(mask.cloud, [[True, True], [False, False]])
    # The last row of cells extends beyond the scene, but its cells are not defective.
    np.testing.assert_array_equal(mask.defective, [[False, True], [False, False]])


def test_stock_at_a_coarser_cell_does_not_depend_on_the_area():
    source = l2a(scl=(grid_of(4, 6, 20), SCL))
    detector = StockDetector("L2A", mask_gsd_m=60)
    part = detector.detect(source, GRID.crop(GridWindow(0, 7, 2, 2)))
    whole = detector.detect(source, GRID)
    assert part.grid == whole.grid.crop(GridWindow(0, 1, 1, 1))
    assert part.cloud[0, 0] == whole.cloud[0, 1]
    assert part.defective[0, 0] == whole.defective[0, 1]


def test_stock_at_a_finer_cell_keeps_the_masks_own():
    mask = StockDetector("L2A", mask_gsd_m=10).detect(l2a(scl=(grid_of(4, 6, 20), SCL)), GRID)
    assert mask.grid.x_size == 20


def test_the_preset_original_uses_the_cloud_probability():
    cld = np.full((1, 4, 6), 40, dtype=np.uint8)
    cld[0, 1, 1] = 41
    source = l2a(cld=(grid_of(4, 6, 20), cld), scl=(grid_of(4, 6, 20), SCL))
    mask = StockDetector("L2A", "original").detect(source, GRID)
    assert mask.detector == "stock cld"
    np.testing.assert_array_equal(mask.cloud, cld[0] > 40)


@pytest.mark.parametrize(("preset", "named"), [("standard", "scl"), ("original", "cld")])
def test_stock_without_its_mask_names_the_alternatives(preset, named):
    other = {"cld" if named == "scl" else "scl": (grid_of(4, 6, 20), SCL)}
    with pytest.raises(MaskError, match=rf"no mask {named} .*--s2cloudless.*--donor-mask"):
        StockDetector("L2A", preset).detect(l2a(**other), GRID)


def test_stock_refuses_a_mask_in_another_crs():
    source = l2a(scl=(grid_of(4, 6, 20, crs="EPSG:32634"), SCL))
    with pytest.raises(MaskError, match="mask scl is in EPSG:32634"):
        StockDetector("L2A").detect(source, GRID)


def test_stock_on_l1c_prefers_classification():
    classi = np.zeros((3, 2, 2), dtype=np.uint8)
    classi[0, 0, 0] = classi[1, 0, 1] = classi[2, 1, 1] = 1
    cld = np.full((1, 2, 2), 99, dtype=np.uint8)
    masks = {"cld": (grid_of(2, 2, 60), cld), "classi": (grid_of(2, 2, 60), classi)}
    mask = StockDetector("L1C").detect(l1c(masks), GRID)
    assert mask.detector == "stock classi"
    np.testing.assert_array_equal(mask.cloud, [[True, True], [False, False]])
    np.testing.assert_array_equal(mask.low_rank, [[False, False], [False, True]])


def test_stock_on_l1c_falls_back_to_probability():
    cld = np.full((1, 2, 2), 99, dtype=np.uint8)
    mask = StockDetector("L1C").detect(l1c({"cld": (grid_of(2, 2, 60), cld)}), GRID)
    assert mask.cloud.all()


def gml_of(*polygons, crs="32633"):
    features = "".join(
        f"<eop:MaskFeature><eop:maskType>{kind}</eop:maskType><eop:extentOf><gml:Polygon>"
        f"<gml:exterior><gml:LinearRing><gml:posList srsDimension='2'>{ring}</gml:posList>"
        "</gml:LinearRing></gml:exterior></gml:Polygon></eop:extentOf></eop:MaskFeature>"
        for kind, ring in polygons
    )
    return (
        "<eop:Mask xmlns:eop='http://www.opengis.net/eop/2.0' "
        "xmlns:gml='http://www.opengis.net/gml/3.2'>"
        f"<gml:boundedBy><gml:Envelope srsName='urn:ogc:def:crs:EPSG:8.7:{crs}'/></gml:boundedBy>"
        f"<eop:maskMembers>{features}</eop:maskMembers></eop:Mask>"
    )


def l1c_with_gml(tmp_path, text):
    path = tmp_path / "MSK_CLOUDS_B00.gml"
    path.write_text(text)
    grid = grid_of(30, 24)
    return FakeSource(scene_of("L1C", masks={"gml": BandAsset(str(path))}), grid)


def test_stock_on_l1c_draws_the_cloud_polygons_on_60_m_cells(tmp_path):
    inside = "600070 5099930 600110 5099930 600110 5099890 600070 5099890 600070 5099930"
    source = l1c_with_gml(tmp_path, gml_of(("CIRRUS", inside)))
    mask = StockDetector("L1C").detect(source, source.grid)
    assert mask.grid == grid_of(5, 4, 60)
    assert mask.detector == "stock gml"
    expected = np.zeros((5, 4), dtype=bool)
    expected[1, 1] = True
    np.testing.assert_array_equal(mask.cloud, expected)
    assert not mask.defective.any()


def test_stock_on_l1c_without_any_polygon_is_clear(tmp_path):
    source = l1c_with_gml(tmp_path, gml_of())
    assert not StockDetector("L1C").detect(source, source.grid).cloud.any()


def test_stock_refuses_polygons_in_another_crs(tmp_path):
    ring = "600070 5099930 600110 5099930 600110 5099890 600070 5099930"
    source = l1c_with_gml(tmp_path, gml_of(("OPAQUE", ring), crs="32634"))
    with pytest.raises(MaskError, match="is in EPSG:32634"):
        StockDetector("L1C").detect(source, source.grid)


def test_stock_does_not_take_a_missing_file_as_clear(tmp_path):
    scene = scene_of("L1C", masks={"gml": BandAsset(str(tmp_path / "none.gml"))})
    with pytest.raises(MaskError, match=r"none\.gml"):
        StockDetector("L1C").detect(FakeSource(scene, GRID), GRID)


def test_stock_on_l1c_without_masks_names_the_alternatives():
    with pytest.raises(MaskError, match=r"no mask classi or gml or cld .*--s2cloudless"):
        StockDetector("L1C").detect(l1c({}), GRID)


@pytest.mark.real_data
def test_stock_draws_real_cloud_polygons(test_data):
    path = test_data / "l1c-masks" / "T32TNM_20170226_MSK_CLOUDS_B00.gml"
    tile = Grid("EPSG:32632", 499_980, 4_700_040, 10, 10, 10980, 10980)
    source = FakeSource(scene_of("L1C", masks={"gml": BandAsset(str(path))}), tile)
    mask = StockDetector("L1C").detect(source, tile)
    assert mask.grid.shape == (1830, 1830)
    # The polygons (10.5 square kilometres) run along the cells' edges.
    assert 10.5 < mask.cloud.sum() * 0.06**2 < 11.5
    rows, cols = np.nonzero(mask.cloud)
    assert (cols.min(), rows.max()) == (31, 788)
