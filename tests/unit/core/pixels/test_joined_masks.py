from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.joined_masks import join_masks
from cloudbuster.core.pixels.masks import DetectedMask, pixel_classes


def grid_of(shape: tuple[int, int], size: float = 20, crs: str = "EPSG:32633") -> Grid:
    return Grid(crs, 600_000, 5_100_000, size, size, shape[1], shape[0])


def picture(*rows: str, mark: str = "#") -> npt.NDArray[np.bool_]:
    return np.array([[cell == mark for cell in row] for row in rows])


def mask_of(*rows: str, size: float = 20, name: str = "any", crs: str = "EPSG:32633") -> Any:
    """Mask by one letter for each cell: c cloud, s shadow, d defective, l low rank."""
    cloud, shadow, defective, low_rank = (picture(*rows, mark=mark) for mark in "csdl")
    grid = grid_of(cloud.shape, size, crs)
    return DetectedMask(grid, cloud, defective, low_rank, name, shadow=shadow)


def test_plus_takes_the_finer_grid_and_what_any_says():
    fine = mask_of("c...", "....", "....", "....", size=10, name="fine")
    coarse = mask_of(".c", "..", name="coarse")
    expected = picture("#.##", "..##", "....", "....")
    for joined in (join_masks([fine, coarse], "+"), join_masks([coarse, fine], "+")):
        assert joined.grid == fine.grid
        np.testing.assert_array_equal(joined.cloud, expected)
    assert join_masks([coarse, fine], "+").detector == "coarse + fine"


def test_nothing_is_added_outside_of_the_other_mask():
    joined = join_masks([mask_of("....", "....", size=10), mask_of("c")], "+")
    np.testing.assert_array_equal(joined.cloud, picture("##..", "##.."))
    joined = join_masks([mask_of("cccc", "cccc", size=10), mask_of("c")], "&")
    np.testing.assert_array_equal(joined.cloud, picture("##..", "##.."))


def test_masks_in_two_coordinate_reference_systems_are_refused():
    with pytest.raises(ValueError, match="EPSG:32633 and EPSG:32634"):
        join_masks([mask_of("c"), mask_of("c", crs="EPSG:32634")], "+")


@pytest.mark.parametrize(
    ("operator", "cloud", "shadow"),
    [("+", "###.#....", ".#.###..."), ("&", "##..#....", ".#..#....")],
)
def test_cloud_and_shadow_are_kept_apart(operator, cloud, shadow):
    joined = join_masks([mask_of("ccc.c..d."), mask_of("cs.sss..d")], operator)
    np.testing.assert_array_equal(joined.cloud, picture(cloud))
    np.testing.assert_array_equal(joined.layers.shadow, picture(shadow))
    np.testing.assert_array_equal(joined.defective, picture(".......##"))


def test_agreement_counts_the_detectors_that_judged_the_cell():
    three = [mask_of("c..dd."), mask_of("cc..d."), mask_of("csc..c")]
    np.testing.assert_array_equal(join_masks(three, "+").agreement, [[100, 67, 67, 100, 100, 67]])
    # The second cell of a mask that ends is judged by one detector alone.
    two = [mask_of("cc", "cc"), mask_of("c.")]
    np.testing.assert_array_equal(join_masks(two, "&").agreement, [[100, 50], [100, 100]])


def test_a_cell_that_one_detector_cannot_judge_is_never_clear():
    for operator in ("+", "&"):
        joined = join_masks([mask_of("d."), mask_of("..")], operator)
        np.testing.assert_array_equal(pixel_classes(joined, 0), [[1, 3]])


def test_shadow_that_one_detector_alone_finds_may_need_a_second_opinion():
    # Shadow in both; in the doubtful one; in the other; shadow and cloud, both ways; low rank;
    # a cell that the other cannot judge.
    doubtful, other = mask_of("ss.scls"), mask_of("s.scs.d")
    joined = join_masks([doubtful, other], "+", doubtful=[0])
    np.testing.assert_array_equal(joined.layers.shadow, picture("#.###.#"))
    np.testing.assert_array_equal(joined.cloud, picture("...##.."))
    np.testing.assert_array_equal(joined.low_rank, picture(".#...#."))
    # A mask that knows no shadow has no second opinion.
    blind = DetectedMask(other.grid, other.cloud, other.defective, other.low_rank, "blind")
    joined = join_masks([doubtful, blind], "+", doubtful=[0])
    np.testing.assert_array_equal(joined.layers.shadow, picture("##.#..#"))


def test_cloud_that_one_detector_alone_finds_may_be_overruled():
    # Cloud in both; in the overruling one; in the other; shadow of the other; unjudged; clear.
    overruling, other = mask_of("cc..d."), mask_of("c.csc.")
    np.testing.assert_array_equal(
        join_masks([overruling, other], "+", overruling=[0]).cloud, picture("###.#.")
    )
    other = replace(other, firm_cloud=np.zeros_like(other.cloud))
    joined = join_masks([overruling, other], "+", overruling=[0])
    np.testing.assert_array_equal(joined.cloud, picture("##..#."))
    np.testing.assert_array_equal(joined.layers.shadow, picture("...#.."))
    np.testing.assert_array_equal(joined.low_rank, picture("..#..."))
    both = join_masks([overruling, other], "&", overruling=[0])
    np.testing.assert_array_equal(both.low_rank, picture("......"))
