import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import (
    DetectedMask,
    PixelClass,
    classes_to_mask,
    classification_to_mask,
    distance_to,
    grow,
    grows,
    may_cut_isolated_zeros,
    pixel_classes,
    probability_to_mask,
    repair_isolated_zeros,
    valid_pixels,
)


def grid_of(shape: tuple[int, int], x_size: float = 20, y_size: float = 20) -> Grid:
    return Grid("EPSG:32633", 600_000, 5_100_000, x_size, y_size, shape[1], shape[0])


def picture(*rows: str) -> npt.NDArray[np.bool_]:
    return np.array([[cell == "#" for cell in row] for row in rows])


def mask_of(
    cloud: npt.NDArray[np.bool_], grid: Grid | None = None, *, name: str = "test"
) -> DetectedMask:
    nothing = np.zeros_like(cloud)
    return DetectedMask(grid or grid_of(cloud.shape), cloud, nothing, nothing.copy(), name)


ALL_CLASSES = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 255]], dtype=np.uint8)


def test_standard_grows_cloud_masks_defects_and_ranks_dark_land_and_snow_last():
    layers = classes_to_mask(ALL_CLASSES, "standard")
    np.testing.assert_array_equal(layers.cloud, picture(".......####..."))
    np.testing.assert_array_equal(layers.shadow, picture("...#.........."))
    np.testing.assert_array_equal(layers.defective, picture("##..........##"))
    np.testing.assert_array_equal(layers.low_rank, picture("..#........#.."))


def test_strict_masks_dark_land_too():
    layers = classes_to_mask(ALL_CLASSES, "strict")
    np.testing.assert_array_equal(layers.cloud, picture(".......####..."))
    np.testing.assert_array_equal(layers.shadow, picture("...#.........."))
    np.testing.assert_array_equal(layers.defective, picture("###.........##"))
    np.testing.assert_array_equal(layers.low_rank, picture("...........#.."))


def test_a_preset_that_does_not_go_by_classes_is_refused():
    with pytest.raises(ValueError, match="original does not use classes"):
        classes_to_mask(ALL_CLASSES, "original")


def test_classification_takes_opaque_and_cirrus_as_cloud_and_snow_last():
    layers = classification_to_mask(
        np.array([[[1, 0, 0, 0]], [[0, 1, 0, 0]], [[1, 0, 1, 0]]], dtype=np.uint8)
    )
    np.testing.assert_array_equal(layers.cloud, picture("##.."))
    np.testing.assert_array_equal(layers.defective, picture("...."))
    np.testing.assert_array_equal(layers.low_rank, picture("#.#."))


def test_probability_is_cloud_above_40_percent_and_where_it_is_a_blend():
    layers = probability_to_mask(np.array([[0, 40, 41, 100, 102]], dtype=np.uint8))
    np.testing.assert_array_equal(layers.cloud, picture("..###"))
    assert not layers.defective.any()
    assert not layers.low_rank.any()


def test_valid_pixels_need_a_value_in_every_band():
    bands = np.array([[[1, 0, 5, 65535]], [[1, 5, 5, 5]]], dtype=np.uint16)
    np.testing.assert_array_equal(valid_pixels(bands), picture("#.#."))


def band_of(*rows: str) -> npt.NDArray[np.uint16]:
    return np.array([[0 if cell == "0" else 9 for cell in row] for row in rows], dtype=np.uint16)


def test_an_enclosed_zero_becomes_1():
    band = band_of("....", ".0..", "....")
    expected = band.copy()
    expected[1, 1] = 1
    np.testing.assert_array_equal(repair_isolated_zeros(band), expected)
    assert band[1, 1] == 0


@pytest.mark.parametrize(
    "rows",
    [
        ("....", "0...", "...."),
        ("0...", ".0..", "...."),
        ("....", "..0.", ".0..", "0..."),
        ("....", "....", "...."),
        ("000", "000", "000"),
    ],
    ids=["touches the border", "touches it at a corner", "steps to it", "no zero", "all zero"],
)
def test_zeros_that_reach_the_border_stay(rows):
    band = band_of(*rows)
    np.testing.assert_array_equal(repair_isolated_zeros(band), band)


def test_a_group_of_15_zeros_is_repaired_and_one_of_16_is_not():
    band = np.full((20, 30), 9, dtype=np.uint16)
    band[2:5, 2:7] = 0
    band[10:14, 10:14] = 0
    repaired = repair_isolated_zeros(band)
    assert (repaired[2:5, 2:7] == 1).all()
    assert (repaired[10:14, 10:14] == 0).all()


@given(
    hnp.arrays(np.uint16, (24, 24), elements=st.sampled_from([0, 0, 7])),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_repair_of_a_part_with_margin_is_that_of_the_whole(middle, row, col):
    whole = np.pad(middle, 20, constant_values=7)
    part = whole[row : row + 44, col : col + 44]
    np.testing.assert_array_equal(
        repair_isolated_zeros(part)[16:-16, 16:-16],
        repair_isolated_zeros(whole)[row + 16 : row + 28, col + 16 : col + 28],
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("....", "...."), False),
        (("....", ".0..", "...."), False),
        (("....", "...0", "...."), True),
        ((".0..", "....", "...."), True),
        (("0000", "0000", "0000", "0000"), False),
        (("0000", "000.", "0000", "0000"), True),
        (("0000.", "0000.", "0000.", "0000."), False),
        (("0000.", "0000.", "0000.", "0000.", "....0"), False),
        (("0000.0", "0000..", "0000..", "0000.."), True),
        (("000", "000"), True),
    ],
)
def test_only_small_groups_at_the_border_may_be_cut(rows, expected):
    assert may_cut_isolated_zeros(band_of(*rows)) is expected


@given(
    hnp.arrays(np.uint16, (24, 24), elements=st.sampled_from([0, 7, 7])),
    st.integers(0, 24),
    st.integers(0, 24),
)
def test_a_part_that_cuts_no_small_group_is_repaired_like_the_whole(middle, row, col):
    whole = np.pad(middle, 20, constant_values=7)
    part = whole[row : row + 20, col : col + 20]
    if not may_cut_isolated_zeros(part):
        expected = repair_isolated_zeros(whole)[row : row + 20, col : col + 20]
        np.testing.assert_array_equal(repair_isolated_zeros(part), expected)


def test_growth_is_a_disk_of_cell_centres():
    mask = np.zeros((7, 7), dtype=np.bool_)
    mask[3, 3] = True
    np.testing.assert_array_equal(
        grow(mask, 50, grid_of((7, 7))),
        picture(
            ".......",
            "..###..",
            ".#####.",
            ".#####.",
            ".#####.",
            "..###..",
            ".......",
        ),
    )


def test_growth_honours_cells_that_are_not_square():
    mask = np.zeros((5, 7), dtype=np.bool_)
    mask[2, 3] = True
    np.testing.assert_array_equal(
        grow(mask, 20, grid_of((5, 7), x_size=10, y_size=20)),
        picture(".......", "...#...", ".#####.", "...#...", "......."),
    )


def test_growth_reaches_exactly_its_radius():
    mask = np.zeros((6, 6), dtype=np.bool_)
    mask[0, 0] = True
    grown = grow(mask, 100, grid_of((6, 6)))
    assert grown[3, 4]
    assert not grown[4, 4]


def test_growth_below_a_cell_has_no_effect_and_grows_says_so():
    mask = picture("...", ".#.", "...")
    np.testing.assert_array_equal(grow(mask, 19.9, grid_of((3, 3))), mask)
    assert not grows(19.9, grid_of((3, 3)))
    assert grows(20, grid_of((3, 3)))


def test_growth_larger_than_the_mask_fills_it():
    mask = picture("#..", "...")
    assert grow(mask, 10_000, grid_of((2, 3))).all()


@pytest.mark.parametrize(
    ("mask", "radius"), [(picture("#.", ".."), -1), (picture("#.."), 1)], ids=["radius", "shape"]
)
def test_growth_refuses_what_makes_no_sense(mask, radius):
    with pytest.raises(ValueError, match=r"cannot grow|does not match"):
        grow(mask, radius, grid_of((2, 2)))


SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)
MASKS = SHAPES.flatmap(
    lambda shape: hnp.arrays(np.bool_, shape, elements=st.sampled_from([False] * 5 + [True]))
)
SIZES = st.sampled_from([(20.0, 20.0), (10.0, 25.0), (9.9948, 9.9974)])


def distances_by_hand(mask: npt.NDArray[np.bool_], grid: Grid) -> npt.NDArray[np.float64]:
    found = np.full(mask.shape, np.inf)
    for row, col in np.argwhere(mask):
        rows, cols = np.indices(mask.shape)
        distance = np.hypot((rows - row) * grid.y_size, (cols - col) * grid.x_size)
        found = np.minimum(found, distance)
    return found


@given(MASKS, SIZES, st.sampled_from([0, 10, 20, 45, 50, 100, 160, 400]))
def test_growth_is_all_within_the_radius(mask, size, radius):
    grid = grid_of(mask.shape, *size)
    expected = distances_by_hand(mask, grid) <= radius * (1 + 1e-9)
    np.testing.assert_array_equal(grow(mask, radius, grid), expected)


@given(MASKS, st.floats(0, 300), st.floats(0, 300))
def test_growth_is_monotone_and_never_more_than_the_sum(mask, first, second):
    grid = grid_of(mask.shape)
    small, large = sorted((first, second))
    once = grow(mask, small, grid)
    assert (mask <= once).all()
    assert (once <= grow(mask, large, grid)).all()
    assert (grow(once, large, grid) <= grow(mask, small + large + 1e-6, grid)).all()


@given(MASKS, SIZES, st.sampled_from([25, 60, 200]), st.sampled_from([1, 2, 5]))
def test_distance_in_blocks_is_that_of_the_whole(mask, size, limit, block):
    grid = grid_of(mask.shape, *size)
    blockwise = distance_to(mask, grid, limit, block=block)
    exact = np.floor(distances_by_hand(mask, grid) * (1 + 1e-9))
    expected = np.where(mask, 0, np.clip(exact, 1, limit)).astype(np.uint16)
    np.testing.assert_array_equal(blockwise, expected)
    np.testing.assert_array_equal(blockwise, distance_to(mask, grid, limit))
    np.testing.assert_array_equal(blockwise == 0, mask)


def test_distance_is_whole_metres_up_to_the_limit():
    mask = picture("#....")
    np.testing.assert_array_equal(
        distance_to(mask, grid_of((1, 5)), 60), np.array([[0, 20, 40, 60, 60]], dtype=np.uint16)
    )
    assert (distance_to(picture("..."), grid_of((1, 3))) == 3000).all()


def test_pixel_classes_grow_cloud_but_neither_defects_nor_low_rank():
    mask = DetectedMask(
        grid_of((1, 8)),
        cloud=picture("#......."),
        defective=picture("....#..."),
        low_rank=picture("##....##"),
        detector="test",
    )
    masked, low, clear = int(PixelClass.MASKED), int(PixelClass.LOW_RANK), int(PixelClass.CLEAR)
    np.testing.assert_array_equal(
        pixel_classes(mask, 20), [[masked, masked, clear, clear, masked, clear, low, low]]
    )
    np.testing.assert_array_equal(
        pixel_classes(mask, 0), [[masked, low, clear, clear, masked, clear, low, low]]
    )
