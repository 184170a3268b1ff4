import numpy as np

from cloudbuster.core.grids.regrid import count_in_boxes


def test_boxes_count_their_own_cells_and_nothing_outside() -> None:
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 2] = mask[2, 2] = True
    rows = (np.array([-5, 1, 2, 0, 9]), np.array([1, 2, 3, 9, 12]))
    cols = (np.array([0, 2, 0, -9, 0]), np.array([4, 3, 4, 9, 4]))
    np.testing.assert_array_equal(count_in_boxes(mask, rows, cols), [0, 1, 1, 2, 0])


def test_boxes_of_rows_and_of_columns_are_broadcast() -> None:
    mask = np.array([[True, False], [True, True]])
    rows = (np.array([[0], [1]]), np.array([[1], [2]]))
    cols = (np.array([[0, 1]]), np.array([[1, 2]]))
    np.testing.assert_array_equal(count_in_boxes(mask, rows, cols), [[1, 0], [1, 1]])
