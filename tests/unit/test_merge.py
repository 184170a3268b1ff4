import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import orjson
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbuster import merge
from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.errors import (
    BadInputError,
    GridError,
    NothingUsableError,
    OutputError,
    RasterError,
    RequestError,
)
from cloudbuster.events import Event, OnEvent
from cloudbuster.gathered.scene_files import find_scenes
from cloudbuster.gathered.scene_raster import SceneRaster, scene_bands
from cloudbuster.gathered.scene_writer import open_scene_writer
from cloudbuster.merge import MosaicRecipe, merge_scenes, product_paths
from cloudbuster.models import MergeResult
from cloudbuster.products import blocks as mosaic_blocks
from cloudbuster.storage.tiled_raster import raster_profile
from tests.cogs import cog_errors
from tests.hand_made import (
    BANDS,
    GRID,
    THREE,
    GatheredSpec,
    make_record,
    read,
    spec,
    write_gathered,
    write_original,
    write_three,
)


def run(folder: Path, *, on_event: OnEvent | None = None, **options: Any) -> MergeResult:
    recipe = MosaicRecipe("m", **options)
    return merge_scenes(str(folder / "scenes"), str(folder), recipe, on_event=on_event)


def test_merge_takes_clear_then_low_rank_then_backstop_by_index(tmp_path: Path) -> None:
    write_three(tmp_path)
    result = run(tmp_path)
    pixels = read(result.cloudless)
    index = np.array([[1, 2, 1, 0], [3, 3, 2, 0]])
    np.testing.assert_array_equal(pixels[-1], index)
    for band in range(3):
        expected = np.where(index, index * 100 + 10 * band + 1, 0)
        np.testing.assert_array_equal(pixels[band], expected)
    with rasterio.open(result.cloudless) as dataset:
        assert dataset.descriptions == (*BANDS, "scene_index")
        assert (dataset.nodata, dataset.dtypes[0]) == (0, "uint16")


def test_merge_writes_the_backstop_alone(tmp_path: Path) -> None:
    write_three(tmp_path)
    result = run(tmp_path)
    pixels = read(result.cloudy)
    np.testing.assert_array_equal(pixels[-1], [[3, 3, 3, 0], [3, 3, 3, 0]])
    np.testing.assert_array_equal(pixels[1], np.where(pixels[-1], 311, 0))


def test_merge_writes_the_cloudy_product_without_any_backstop(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    result = run(tmp_path)
    assert not read(result.cloudy).any()
    assert cog_errors(Path(result.cloudy)) == []


def test_merge_counts_observations_by_acquisition(tmp_path: Path) -> None:
    write_three(tmp_path)
    times_observed, times_clear, distance, state = read(run(tmp_path).quality)
    np.testing.assert_array_equal(times_observed, [[2, 2, 2, 0], [2, 2, 2, 0]])
    np.testing.assert_array_equal(times_clear, [[2, 1, 2, 0], [0, 0, 2, 0]])
    np.testing.assert_array_equal(distance, [[700, 90, 700, 0], [0, 0, 90, 0]])
    np.testing.assert_array_equal(state, [[3, 3, 3, 0], [2, 2, 3, 0]])


def test_merge_distinguishes_never_clear_from_never_observed(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", spec(1, [[3, 1, 1, 0], [3, 1, 1, 0]]))
    result = run(tmp_path)
    np.testing.assert_array_equal(read(result.quality)[3], [[3, 1, 1, 0], [3, 1, 1, 0]])
    shares = (result.clear_fraction, result.backstop_fraction, result.hole_fraction)
    assert shares == (0.25, 0.0, 0.75)


def test_merge_result_names_the_products_and_their_shares(tmp_path: Path) -> None:
    write_three(tmp_path)
    result = run(tmp_path)
    assert result.scene_count == 3
    assert (result.clear_fraction, result.backstop_fraction) == (0.5, 0.25)
    assert result.hole_fraction == 0.25
    named = result.model_dump(include=set(product_paths("x", "m")))
    assert named == product_paths(str(tmp_path), "m")
    for path in named.values():
        assert Path(path).is_file()
    rest = {path.name for path in tmp_path.iterdir()} - {Path(path).name for path in named.values()}
    assert rest == {"scenes"}
    table = orjson.loads(Path(result.item).read_bytes())["properties"]["cloudbuster:scenes"]
    assert [(row["index"], row["backstop"], row["share"]) for row in table] == [
        (1, False, 0.25),
        (2, False, 0.25),
        (3, True, 0.25),
    ]


def test_merge_orders_indices_as_numbers(tmp_path: Path) -> None:
    for index in (99, 100, 101, 1000):
        write_gathered(tmp_path / "scenes", spec(index, [[3, 3, 3, 3], [3, 3, 3, 3]]))
    assert (read(run(tmp_path).cloudless)[-1] == 99).all()
    files = find_scenes(str(tmp_path / "scenes"), "m")
    assert [file.index for file in files] == [99, 100, 101, 1000]


def test_merge_handles_more_scenes_than_it_keeps_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic_blocks, "MAX_OPEN_SCENES", 3)
    monkeypatch.setattr(mosaic_blocks, "BLOCK_SIZE", 2)
    grid = replace(GRID, width=110)
    for index in range(1, 111):
        write_gathered(tmp_path / "scenes", spec(index, [[3], [3]], col=index - 1), grid=grid)
    result = run(tmp_path)
    np.testing.assert_array_equal(read(result.cloudless)[-1], [range(1, 111)] * 2)
    assert result.hole_fraction == 0


def test_merge_takes_only_the_files_of_its_name(tmp_path: Path) -> None:
    write_three(tmp_path)
    expected = read(run(tmp_path).cloudless)
    scenes = tmp_path / "scenes"
    everywhere = [[3, 3, 3, 3], [3, 3, 3, 3]]
    for name in ("m-2020", "mm", "am", "m.x"):
        write_gathered(scenes, spec(1, everywhere), name=name)
    for foreign in (
        "mask-m-01.tif",
        "m-01.tif.aux.xml",
        "m-001.tif",
        "m-1.tif",
        "m-04.TIF",
        "m-05.jp2",
        ".m-01.tif.1a2b3c4d.partial",
        "backstop-backstop-m-01.tif",
        "m-\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}.tif",
        "m--01.tif",
    ):
        (scenes / foreign).write_bytes(b"not a raster")
    result = run(tmp_path)
    assert result.scene_count == 3
    np.testing.assert_array_equal(read(result.cloudless), expected)


def test_merge_treats_the_name_as_text_not_as_a_pattern(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0], name="axb")
    with pytest.raises(NothingUsableError, match="no scene"):
        merge_scenes(str(tmp_path / "scenes"), str(tmp_path), MosaicRecipe("a.b"))


@pytest.mark.parametrize("name", ["", "backstop-m", "mask-m", "../m", "a/b", "a b"])
def test_merge_refuses_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="cannot name a mosaic"):
        merge_scenes(str(tmp_path), str(tmp_path), MosaicRecipe(name))


def test_merge_refuses_an_unknown_composite(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="choose one of first"):
        run(tmp_path, composite="loudest")


@pytest.mark.parametrize("folder", ["", "missing"])
def test_merge_without_a_scene_writes_nothing(tmp_path: Path, folder: str) -> None:
    with pytest.raises(NothingUsableError, match="gather some"):
        merge_scenes(str(tmp_path / folder), str(tmp_path / "out"), MosaicRecipe("m"))
    assert not (tmp_path / "out").exists()


def test_merge_of_scenes_without_a_pixel_writes_nothing(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", spec(1, [[1, 1, 0, 0], [0, 0, 0, 0]]))
    with pytest.raises(NothingUsableError, match="none of the 1 scenes"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_merge_names_a_truncated_scene(tmp_path: Path) -> None:
    grid = replace(GRID, width=700, height=600)
    classes = np.full((600, 700), 3)
    write_gathered(tmp_path / "scenes", spec(1, classes), grid=grid)
    path = write_gathered(tmp_path / "scenes", spec(2, classes), grid=grid)
    whole = path.read_bytes()
    for size in (0, 3, 200, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:size])
        with pytest.raises(RasterError, match=r"m-02\.tif.*gather this scene again"):
            run(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scenes"]


def test_merge_names_a_scene_off_the_grid(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    path = write_gathered(tmp_path / "scenes", THREE[1], grid=replace(GRID, west=500_005))
    path.with_suffix(".json").write_bytes(make_record(THREE[1], "m", GRID).to_json())
    with pytest.raises(RasterError, match=r"m-02\.tif.*not aligned"):
        run(tmp_path)


def test_merge_names_a_scene_in_another_crs(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    path = write_gathered(tmp_path / "scenes", THREE[1], grid=replace(GRID, crs="EPSG:32634"))
    path.with_suffix(".json").write_bytes(make_record(THREE[1], "m", GRID).to_json())
    with pytest.raises(RasterError, match=r"m-02\.tif.*EPSG:32634"):
        run(tmp_path)


def test_merge_names_a_scene_with_other_bands(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    path = tmp_path / "scenes" / "m-02.tif"
    with open_scene_writer(path, GRID, ("B02",), index=2) as writer:
        classes = np.full((2, 4), 3)
        writer.write(GRID.window, np.ones((1, 2, 4), dtype=np.uint16), classes, classes)
    with pytest.raises(RasterError, match=r"m-02\.tif: bands B02"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (("B02", "B03", "pixel_class", "scene_index"), "uint16"),
        (("B02", "x"), "uint16"),
        ((), "float32"),
    ],
)
def test_merge_names_a_raster_of_another_layout(
    tmp_path: Path, names: tuple[str, ...], dtype: str
) -> None:
    count = len(names) or 2
    path = tmp_path / "scenes" / "m-01.tif"
    path.parent.mkdir()
    profile = {**raster_profile(GRID, count), "dtype": dtype, "predictor": 1}
    with rasterio.open(path, "w", **profile) as dataset:
        if names:
            dataset.descriptions = names
    with pytest.raises(RasterError, match=r"m-01\.tif"):
        run(tmp_path)


def test_merge_refuses_records_of_two_grids(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    write_gathered(tmp_path / "scenes", THREE[1], grid=replace(GRID, width=5))
    with pytest.raises(GridError, match=r"m-02\.tif is on another grid than m-01\.tif"):
        run(tmp_path)


def test_merge_refuses_a_record_of_another_scene_or_without_sense(tmp_path: Path) -> None:
    path = write_gathered(tmp_path / "scenes", THREE[0])
    document = path.with_suffix(".json")
    document.write_bytes(make_record(THREE[1], "m", GRID).to_json())
    with pytest.raises(RequestError, match="is the record of scene 2 of m"):
        run(tmp_path)
    document.write_bytes(b'{"schema": "cloudbuster.scene/1"')
    with pytest.raises(RequestError, match=r"m-01\.json"):
        run(tmp_path)


def test_merge_refuses_one_index_for_two_items(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    write_gathered(tmp_path / "scenes", spec(1, [[3]], backstop=True, item_id="OTHER"))
    with pytest.raises(RasterError, match="share index 1"):
        run(tmp_path)


@pytest.mark.parametrize("stem", ["m-00", "m-65535", "m-70000"])
def test_merge_refuses_an_index_that_the_band_cannot_hold(tmp_path: Path, stem: str) -> None:
    write_original(tmp_path / "scenes", stem, np.ones((3, 2, 4)))
    with pytest.raises(RasterError, match="not in 1 to 65534"):
        run(tmp_path)


def test_merge_refuses_a_scene_whose_classes_promise_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "scenes" / "m-01.tif"
    with open_scene_writer(path, GRID, BANDS, index=1) as writer:
        pixels = np.full((3, 2, 4), 500, dtype=np.uint16)
        pixels[1, 0, 0] = 0
        classes = np.full((2, 4), 3)
        writer.write(GRID.window, pixels, classes, classes)
    with pytest.raises(RasterError, match="have no value"):
        run(tmp_path)


def test_merge_reads_the_layout_of_the_original(tmp_path: Path) -> None:
    first = np.full((14, 2, 4), 700)
    first[3, 0, 0] = 0
    first[:, 1] = 0
    first[-1] = 1
    second = np.full((14, 2, 4), 900)
    second[:, :, 3] = 0
    write_original(tmp_path / "scenes", "m-01", first)
    write_original(tmp_path / "scenes", "backstop-m-02", second)
    result = run(tmp_path)
    pixels = read(result.cloudless)
    np.testing.assert_array_equal(pixels[-1], [[2, 1, 1, 1], [2, 2, 2, 0]])
    np.testing.assert_array_equal(pixels[0], [[900, 700, 700, 700], [900, 900, 900, 0]])
    np.testing.assert_array_equal(read(result.quality)[3], [[2, 3, 3, 3], [2, 2, 2, 0]])
    with rasterio.open(result.cloudless) as dataset:
        assert dataset.descriptions[8:] == ("B8A", "B09", "B10", "B11", "B12", "scene_index")


def test_merge_without_records_covers_all_aligned_rasters(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    write_gathered(scenes, spec(1, [[3, 3]], row=0, col=2), record=False)
    write_gathered(scenes, spec(2, [[3], [3]], row=-1, col=-1), record=False)
    result = run(tmp_path)
    with rasterio.open(result.cloudless) as dataset:
        assert (dataset.transform.c, dataset.transform.f) == (499_990, 5_100_010)
    np.testing.assert_array_equal(read(result.cloudless)[-1], [[2, 0, 0, 0, 0], [2, 0, 0, 1, 1]])


def test_merge_crosses_block_edges(tmp_path: Path) -> None:
    """Return a raster of 1030 rows and 1040 columns, so that the last ones are in other blocks."""
    grid = replace(GRID, width=1040, height=1030)
    top, bottom = np.full((520, 1040), 3), np.full((530, 1000), 3)
    bottom[100:110, 990:] = 1
    top[510:, 1023:1025] = 1
    write_gathered(tmp_path / "scenes", spec(1, top), grid=grid)
    write_gathered(tmp_path / "scenes", spec(2, bottom, row=500, col=40), grid=grid)
    result = run(tmp_path)
    expected = np.zeros((1030, 1040), dtype=int)
    expected[500:, 40:] = np.where(bottom == 3, 2, 0)
    expected[:520] = np.where(top == 3, 1, expected[:520])
    np.testing.assert_array_equal(read(result.cloudless)[-1], expected)
    for path in (result.cloudless, result.cloudy, result.quality):
        assert cog_errors(Path(path)) == []
    with rasterio.open(result.quality) as dataset:
        assert dataset.overviews(4) == [2, 4]
        assert dataset.nodata is None


@st.composite
def scene_sets(draw: st.DrawFn) -> list[GatheredSpec]:
    """Draw up to five scenes of any classes, in any window of a 7x9 grid or beyond its edge."""
    scenes = []
    for index in range(1, draw(st.integers(1, 5)) + 1):
        height, width = draw(st.integers(1, 7)), draw(st.integers(1, 9))
        codes = draw(st.lists(st.integers(0, 3), min_size=63, max_size=63))
        scenes.append(
            spec(
                draw(st.sampled_from([index, index + 97])),
                np.array(codes).reshape(7, 9)[:height, :width],
                row=draw(st.integers(-2, 6)),
                col=draw(st.integers(-2, 8)),
                backstop=draw(st.booleans()),
                item_id=draw(st.sampled_from([None, "SHARED"])),
                distance=index * 10,
            )
        )
    return list({scene.index: scene for scene in scenes}.values())


def reference(scenes: list[GatheredSpec], grid: Grid) -> dict[str, np.ndarray]:
    """Compute the three rasters cell by cell from whole arrays."""
    cloudless, cloudy = (np.zeros((4, *grid.shape), dtype=int) for _ in range(2))
    quality = np.zeros((4, *grid.shape), dtype=int)
    for row, col in np.ndindex(grid.shape):
        here = []
        for scene in scenes:
            inside = GridWindow(row, col, 1, 1).intersection(scene.window)
            if not inside.is_empty:
                cell = (row - scene.row, col - scene.col)
                here.append(
                    (scene, int(scene.classes[cell]), scene.reflectance[(slice(None), *cell)])
                )
        here.sort(
            key=lambda entry: (entry[0].backstop, -(entry[1] >= 2) * entry[1], entry[0].index)
        )
        clear = [entry for entry in here if entry[1] >= 2 and not entry[0].backstop]
        fallback = [entry for entry in here if entry[1] >= 1 and entry[0].backstop]
        fallback.sort(key=lambda entry: entry[0].index)
        for raster, choices in ((cloudless, clear + fallback), (cloudy, fallback)):
            if choices:
                raster[:, row, col] = [*choices[0][2], choices[0][0].index]
        seen = {entry[0].item_id or entry[0].index for entry in here if entry[1] >= 1}
        seen_clear = {entry[0].item_id or entry[0].index for entry in clear}
        state = 3 if clear else 2 if fallback else 1 if seen else 0
        distance = clear[0][0].distance if clear else 0
        quality[:, row, col] = [len(seen), len(seen_clear), distance, state]
    return {"cloudless": cloudless, "cloudy": cloudy, "quality": quality}


@settings(max_examples=25, deadline=None)
@given(scene_sets())
def test_merge_equals_the_choice_made_cell_by_cell(scenes: list[GatheredSpec]) -> None:
    grid = replace(GRID, width=9, height=7)
    expected = reference(scenes, grid)
    with TemporaryDirectory() as name, mock.patch.object(mosaic_blocks, "BLOCK_SIZE", 4):
        for scene in scenes:
            write_gathered(Path(name) / "scenes", scene, grid=grid)
        if not expected["cloudless"].any():
            with pytest.raises(NothingUsableError):
                run(Path(name))
            return
        result = run(Path(name))
        for key, raster in expected.items():
            np.testing.assert_array_equal(read(getattr(result, key)), raster, err_msg=key)
        fractions = result.clear_fraction + result.backstop_fraction + result.hole_fraction
        assert fractions == pytest.approx(1)


def test_merge_does_not_depend_on_the_order_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_three(tmp_path)
    first = {path.name: path.read_bytes() for path in products(run(tmp_path))}
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(listing(path), reverse=True)))
    second = {path.name: path.read_bytes() for path in products(run(tmp_path))}
    assert first == second


def products(result: MergeResult) -> list[Path]:
    return [Path(path) for path in product_paths(str(Path(result.item).parent), "m").values()]


def test_merge_into_another_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    write_three(tmp_path)
    here = products(run(tmp_path))
    elsewhere = merge_scenes(
        str(tmp_path / "scenes"), str(tmp_path / "a" / "b c"), MosaicRecipe("m")
    )
    for one, other in zip(here, products(elsewhere), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_an_interrupted_merge_keeps_the_products_that_were_there(tmp_path: Path) -> None:
    write_three(tmp_path)
    before = {path: path.read_bytes() for path in products(run(tmp_path))}
    write_gathered(tmp_path / "scenes", spec(1, [[3, 3, 3, 3], [3, 3, 3, 3]]))

    def interrupt(_event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_event=interrupt)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in tmp_path.iterdir()} == {"scenes", *(p.name for p in before)}


@pytest.mark.parametrize("stage", ["write_preview", "write_report", "write_item"])
def test_a_merge_that_fails_late_keeps_the_products_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    write_three(tmp_path)
    before = {path: path.read_bytes() for path in products(run(tmp_path))}
    write_gathered(tmp_path / "scenes", spec(1, [[3, 3, 3, 3], [3, 3, 3, 3]]))
    monkeypatch.setattr(merge, stage, mock.Mock(side_effect=OutputError("no")))
    with pytest.raises(OutputError):
        run(tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in tmp_path.iterdir()} == {"scenes", *(p.name for p in before)}


def test_merge_into_a_place_that_is_no_folder_is_an_output_error(tmp_path: Path) -> None:
    write_three(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="choose a folder"):
        merge_scenes(str(tmp_path / "scenes"), str(tmp_path / "file"), MosaicRecipe("m"))


def test_merge_of_remote_folders_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="give a local path"):
        merge_scenes("https://host/scenes", str(tmp_path), MosaicRecipe("m"))
    with pytest.raises(BadInputError, match="give a folder or an s3:// prefix"):
        merge_scenes(str(tmp_path), "https://host/products", MosaicRecipe("m"))


def test_merge_reads_reflectance_only_of_scenes_that_give_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in (1, 2, 3):
        write_gathered(tmp_path / "scenes", spec(index, [[3, 3, 3, 3], [3, 3, 3, 3 - index % 2]]))
    read_by: list[tuple[str, GridWindow]] = []
    original = SceneRaster.read_reflectance

    def spy(raster: SceneRaster, window: GridWindow) -> np.ndarray:
        read_by.append((Path(raster.path).name, window))
        return original(raster, window)

    monkeypatch.setattr(SceneRaster, "read_reflectance", spy)
    run(tmp_path)
    assert read_by == [("m-01.tif", GridWindow(0, 0, 2, 4)), ("m-02.tif", GridWindow(1, 3, 1, 1))]


def test_merge_reports_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mosaic_blocks, "BLOCK_SIZE", 2)
    write_three(tmp_path)
    events: list[Event] = []
    with caplog.at_level(logging.INFO, logger="cloudbuster.merge"):
        run(tmp_path, on_event=events.append)
    assert [(event.stage, event.done, event.total) for event in events] == [
        ("merge", 1, 3),
        ("merge", 2, 3),
        ("merge", 3, 3),
    ]
    assert [record.message for record in caplog.records] == ["mosaic_merged"]


def test_scene_writer_keeps_the_layout(tmp_path: Path) -> None:
    scene = spec(7, [[3, 1, 2, 0], [3, 3, 3, 3]], distance=4000)
    path = write_gathered(tmp_path, scene)
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == scene_bands(BANDS)
        assert dataset.nodata == 0
        assert dataset.profile["compress"] == "deflate"
        np.testing.assert_array_equal(
            dataset.read()[3:],
            [
                scene.classes,
                np.full((2, 4), 3000),
                [[7, 0, 7, 0], [7, 7, 7, 7]],
            ],
        )
    with SceneRaster(path) as raster:
        assert raster.bands == BANDS
        outside = raster.read_classes(GridWindow(-1, 2, 2, 4))
    np.testing.assert_array_equal(outside, [[0, 0, 0, 0], [2, 0, 0, 0]])


def test_scene_writer_refuses_shapes_that_do_not_match(tmp_path: Path) -> None:
    def write_wrong() -> None:
        with open_scene_writer(tmp_path / "m-01.tif", GRID, BANDS, index=1) as writer:
            classes = np.zeros((2, 4))
            writer.write(GRID.window, np.zeros((2, 2, 4), dtype=np.uint16), classes, classes)

    with pytest.raises(ValueError, match="do not fit"):
        write_wrong()
    assert list(tmp_path.iterdir()) == []
