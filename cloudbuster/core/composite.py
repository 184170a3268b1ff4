"""Composites: which scene gives which pixel of a mosaic.

A composite is fed the ranks of one block, scene by scene, and says which scene wins each cell; only
then is reflectance read, and only of the scenes that won something. All bands of a pixel come from
one scene. (The shape of the interface, `feed` and `is_done`, is rio-tiler's.)
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, Raster, UInt8Raster
from cloudbuster.core.masks import PixelClass

# What a backstop's pixel is worth: less than any pixel that a composite takes, more than nothing.
BACKSTOP_RANK = 1


class State(IntEnum):
    """What a mosaic knows of one cell; the codes of the band ``state`` of its quality raster."""

    NEVER_OBSERVED = 0
    """No scene saw it."""
    NEVER_CLEAR = 1
    """Seen, but never clear, and no backstop fills it."""
    BACKSTOP = 2
    """Never clear; filled from the unmasked backstop."""
    CLEAR = 3
    """Seen clear."""


class BlockComposite(Protocol):
    """Decides which scene gives each cell of one block."""

    def feed(self, position: int, rank: UInt8Raster) -> None:
        """Offer a scene.

        Parameters
        ----------
        position : int
            Of the scene in the order of preference, from 0; each at most once, ascending.
        rank : ndarray of uint8, shape (y, x)
            What its cells are worth (`class_rank`, `backstop_rank`); 0 is nothing.
        """

    @property
    def is_done(self) -> bool:
        """Whether no further scene can win a cell."""

    @property
    def winner(self) -> npt.NDArray[np.intp]:
        """Position of the scene that gives each cell, shape (y, x); -1 for none."""

    @property
    def rank(self) -> UInt8Raster:
        """Rank of the winner in each cell, uint8, shape (y, x); 0 for none."""


class FirstComposite:
    """Each cell from the first scene of the highest rank: clear, else low rank, else backstop.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the block.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._winner = np.full(shape, -1, dtype=np.intp)
        self._rank = np.zeros(shape, dtype=np.uint8)
        self._last = -1

    def feed(self, position: int, rank: UInt8Raster) -> None:
        """Offer a scene; see `BlockComposite.feed`.

        Raises
        ------
        ValueError
            Where the shape is not the block's, or a later scene was offered before.
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
        """Position of the scene that gives each cell, shape (y, x); -1 for none."""
        return self._winner

    @property
    def rank(self) -> UInt8Raster:
        """Rank of the winner in each cell, uint8, shape (y, x); 0 for none."""
        return self._rank


COMPOSITES: dict[str, Callable[[tuple[int, int]], BlockComposite]] = {"first": FirstComposite}


def class_rank(classes: Raster) -> UInt8Raster:
    """Rank of the cells of a cloud-free scene: the class of each where it is usable, else 0.

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
    """Rank of the cells of a backstop: 1 where it holds reflectance, else 0.

    Parameters
    ----------
    present : ndarray of bool, shape (y, x)
        Where the scene holds reflectance. Not modified.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        Ranks.
    """
    return np.where(present, BACKSTOP_RANK, 0).astype(np.uint8)


def mosaic_state(rank: UInt8Raster, times_observed: Raster) -> UInt8Raster:
    """Say what a mosaic knows of each cell.

    Parameters
    ----------
    rank : ndarray of uint8, shape (y, x)
        Rank of the winning scene. Not modified.
    times_observed : ndarray of int, shape (y, x)
        How many acquisitions saw the cell. Not modified.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        Codes of `State`.
    """
    state = np.where(times_observed > 0, State.NEVER_CLEAR, State.NEVER_OBSERVED)
    state[rank == BACKSTOP_RANK] = State.BACKSTOP
    state[rank > BACKSTOP_RANK] = State.CLEAR
    return state.astype(np.uint8)


class ObservationCounter:
    """Counts how many acquisitions saw each cell of a block, and how many saw it clear.

    An acquisition may be offered several times (as a cloud-free scene and as a backstop); it counts
    once.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the block.
    offers : mapping of str to int
        How often each acquisition will be offered, by its id.
    """

    def __init__(self, shape: tuple[int, int], offers: dict[str, int]) -> None:
        self.times_observed = np.zeros(shape, dtype=np.uint16)
        """Acquisitions that saw the cell, uint16, shape (y, x)."""
        self.times_clear = np.zeros(shape, dtype=np.uint16)
        """Acquisitions that saw it clear (low rank included), uint16, shape (y, x)."""
        self._left = dict(offers)
        self._pending: dict[str, UInt8Raster] = {}

    def feed(self, acquisition: str, classes: Raster, *, counts_clear: bool) -> None:
        """Count one offer of an acquisition.

        Parameters
        ----------
        acquisition : str
            Its id.
        classes : ndarray of int, shape (y, x)
            Codes of `PixelClass`. Not modified.
        counts_clear : bool
            Whether its clear cells count as seen clear; a backstop's do not.
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
