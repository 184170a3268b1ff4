"""Composites: which scene each pixel of a mosaic is taken from.

A composite is fed the ranks of the cells of one block, scene by scene, and decides which scene wins
each cell. Reflectance is read afterwards, and only from scenes that win a cell. All bands of a
pixel come from one scene. (The interface, `feed` and `is_done`, follows rio-tiler.)
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, Raster, UInt8Raster
from cloudbuster.core.pixels.masks import PixelClass

# Rank of a backstop's pixel: below every rank of a clear pixel (`PixelClass`), above 0 for none.
BACKSTOP_RANK = 1


class CellState(IntEnum):
    """Where the value of a mosaic's cell comes from; codes of the band ``state`` of its quality."""

    NEVER_OBSERVED = 0
    """No scene observed the cell."""
    NEVER_CLEAR = 1
    """Observed, but never clear, and no backstop fills it."""
    BACKSTOP = 2
    """Never clear; filled from the unmasked backstop."""
    CLEAR = 3
    """Observed clear."""


class BlockComposite(Protocol):
    """Decides which scene wins each cell of one block."""

    def feed(self, position: int, rank: UInt8Raster) -> None:
        """Offer the cells of a scene.

        Parameters
        ----------
        position : int
            Position of the scene in the order of preference, from 0. Positions ascend from call to
            call.
        rank : ndarray of uint8, shape (y, x)
            Rank of each cell (`class_rank`, `backstop_rank`); 0 for a cell that has no value.
        """

    @property
    def is_done(self) -> bool:
        """Whether no further scene can win a cell."""

    @property
    def winner(self) -> npt.NDArray[np.intp]:
        """Position of the winning scene of each cell, shape (y, x); -1 for none."""

    @property
    def rank(self) -> UInt8Raster:
        """Rank of the winner in each cell, uint8, shape (y, x); 0 for none."""


class FirstComposite:
    """Takes each cell from the first scene of the highest rank.

    Clear pixels come first, then pixels of low rank, then those of a backstop.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the block.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        """Start with no winner."""
        self._winner = np.full(shape, -1, dtype=np.intp)
        self._rank = np.zeros(shape, dtype=np.uint8)
        self._last = -1

    def feed(self, position: int, rank: UInt8Raster) -> None:
        """Offer the cells of a scene; see `BlockComposite.feed`.

        Raises
        ------
        ValueError
            If the shape is not the block's, or the position is not above the one before.
        """
        if rank.shape != self._rank.shape or position <= self._last:
            msg = f"rank {rank.shape} of scene {position} after {self._last}, {self._rank.shape}"
            raise ValueError(msg)
        self._last = position
        better = rank > self._rank
        self._winner[better] = position
        np.maximum(self._rank, rank, out=self._rank)

    @property
    def is_done(self) -> bool:
        """Whether every cell has a clear pixel."""
        return bool((self._rank == PixelClass.CLEAR).all())

    @property
    def winner(self) -> npt.NDArray[np.intp]:
        """Position of the winning scene of each cell, shape (y, x); -1 for none."""
        return self._winner

    @property
    def rank(self) -> UInt8Raster:
        """Rank of the winner in each cell, uint8, shape (y, x); 0 for none."""
        return self._rank


class ChosenComposite:
    """Takes what was chosen for each cell before; see `cloudbuster.core.pixels.best`.

    Parameters
    ----------
    winner : ndarray of intp, shape (y, x)
        Position of the chosen scene of each cell; -1 for none.
    rank : ndarray of uint8, shape (y, x)
        Its rank; 0 for none.
    """

    def __init__(self, winner: npt.NDArray[np.intp], rank: UInt8Raster) -> None:
        """Start with what was chosen."""
        self.winner = winner
        self.rank = rank

    @property
    def is_done(self) -> bool:
        """Whether every cell has a value."""
        return bool((self.rank > 0).all())

    def feed(self, position: int, rank: UInt8Raster) -> None:
        """Offer the cells of a backstop, which are taken where nothing was chosen."""
        takes = (self.rank == 0) & (rank == BACKSTOP_RANK)
        self.winner[takes] = position
        self.rank[takes] = BACKSTOP_RANK


COMPOSITES: dict[str, Callable[[tuple[int, int]], BlockComposite]] = {"first": FirstComposite}


def class_rank(classes: Raster) -> UInt8Raster:
    """Rank the cells of a cloud-free scene by their pixel class.

    Parameters
    ----------
    classes : ndarray of int, shape (y, x)
        Codes of `PixelClass`. Not modified.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        3 clear, 2 low rank, 0 masked or unobserved.
    """
    return np.where(classes >= PixelClass.LOW_RANK, classes, 0).astype(np.uint8)


def backstop_rank(present: BoolRaster) -> UInt8Raster:
    """Rank the cells of a backstop.

    Parameters
    ----------
    present : ndarray of bool, shape (y, x)
        True where the scene holds reflectance. Not modified.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        1 where ``present``, else 0.
    """
    return np.where(present, BACKSTOP_RANK, 0).astype(np.uint8)


def mosaic_state(rank: UInt8Raster, times_observed: Raster) -> UInt8Raster:
    """Derive the state of each cell of a mosaic.

    Parameters
    ----------
    rank : ndarray of uint8, shape (y, x)
        Rank of the winning scene. Not modified.
    times_observed : ndarray of int, shape (y, x)
        Number of acquisitions that observed the cell. Not modified.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        Codes of `CellState`.
    """
    state = np.where(times_observed > 0, CellState.NEVER_CLEAR, CellState.NEVER_OBSERVED)
    state[rank == BACKSTOP_RANK] = CellState.BACKSTOP
    state[rank > BACKSTOP_RANK] = CellState.CLEAR
    return state.astype(np.uint8)


class ObservationCounter:
    """Counts the acquisitions that observed each cell of a block, and those that saw it clear.

    An acquisition may be offered several times, as a cloud-free scene and as a backstop; it counts
    once.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the block.
    offers : mapping of str to int
        Number of times that each acquisition will be offered, by its id.
    """

    def __init__(self, shape: tuple[int, int], offers: dict[str, int]) -> None:
        """Start with all counts at 0."""
        self.times_observed = np.zeros(shape, dtype=np.uint16)
        """Number of acquisitions that observed the cell, uint16, shape (y, x)."""
        self.times_clear = np.zeros(shape, dtype=np.uint16)
        """Number of acquisitions that saw it clear or of low rank, uint16, shape (y, x)."""
        self._left = dict(offers)
        self._pending: dict[str, UInt8Raster] = {}

    def feed(self, acquisition: str, classes: Raster, *, counts_clear: bool) -> None:
        """Count one offer of an acquisition.

        Parameters
        ----------
        acquisition : str
            Id of the acquisition.
        classes : ndarray of int, shape (y, x)
            Codes of `PixelClass`. Not modified.
        counts_clear : bool
            Whether clear cells count as seen clear. Those of a backstop do not.
        """
        usable = classes if counts_clear else np.minimum(classes, PixelClass.MASKED)
        best = usable.astype(np.uint8)
        if acquisition in self._pending:
            best = np.maximum(best, self._pending.pop(acquisition))
        self._left[acquisition] -= 1
        if self._left[acquisition]:
            self._pending[acquisition] = best
            return
        self.times_observed += best != PixelClass.UNOBSERVED
        self.times_clear += best >= PixelClass.LOW_RANK
