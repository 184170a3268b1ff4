"""Hashed lattice noise: smooth random fields that are functions of absolute coordinates.

There is no random generator and no state. A window of a field equals the same window cut from a
larger one, bit for bit, because each value is computed from the same lattice nodes in the same way.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Axis = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Hash = npt.NDArray[np.uint32]

# Multipliers of the integer hash "lowbias32" (C. Wellons, "Prospecting for hash functions", 2018).
MIX_1 = np.uint32(0x7FEB352D)
MIX_2 = np.uint32(0x846CA68B)
# Odd constants that spread the lattice indices over 32 bits (golden ratio and a prime of xxHash32).
SPREAD_I = np.uint32(0x9E3779B1)
SPREAD_J = np.uint32(0x85EBCA77)
# Standard deviation of uniform values smoothed by a cubic B-spline in both directions. The sum of
# squared weights is 151/315, averaged over the phase, hence sqrt((1 / 12) * (151 / 315) ** 2).
SPLINE_STD = 0.13838


def mix(value: Hash) -> Hash:
    """Mix the bits of 32-bit integers; the mapping is a bijection.

    Parameters
    ----------
    value : ndarray of uint32, any shape
        Not modified.

    Returns
    -------
    ndarray of uint32, same shape
        Mixed integers.
    """
    h = value ^ (value >> np.uint32(16))
    h = h * MIX_1
    h ^= h >> np.uint32(15)
    h = h * MIX_2
    h ^= h >> np.uint32(16)
    return h


def hash_lattice(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], key: int) -> Hash:
    """Hash lattice nodes.

    Parameters
    ----------
    i, j : ndarray of int64, broadcastable
        Columns and rows of the nodes; they may be negative.
    key : int
        Key of the noise field; fields of different keys are independent.

    Returns
    -------
    ndarray of uint32, broadcast shape
        Hash of each node.
    """
    salt = np.atleast_1d(np.asarray(key & 0xFFFFFFFF, dtype=np.uint32))
    column = i.astype(np.uint32) * SPREAD_I
    row = mix(j.astype(np.uint32) * SPREAD_J + mix(salt))
    return mix(column ^ row)


def hash_unit(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], key: int) -> Field:
    """Hash lattice nodes to [0, 1); see `hash_lattice`."""
    return (hash_lattice(i, j, key) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _taps(axis: Axis, cell_m: float) -> tuple[npt.NDArray[np.int64], Field]:
    """First of the four lattice nodes of each coordinate, and B-spline weights, shape (4, n)."""
    position = axis / cell_m
    first = np.floor(position).astype(np.int64) - 1
    t = position - (first + 1)
    weights = np.stack(
        [
            (1 - t) ** 3 / 6,
            (3 * t * t * t - 6 * t * t + 4) / 6,
            (-3 * t * t * t + 3 * t * t + 3 * t + 1) / 6,
            t * t * t / 6,
        ]
    )
    return first, weights.astype(np.float32)


def _node_values(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], key: int) -> Field:
    """Random values of lattice nodes, scaled for a standard deviation of 1 after smoothing."""
    nodes = hash_unit(i[np.newaxis, :], j[:, np.newaxis], key) - np.float32(0.5)
    return nodes * np.float32(1 / SPLINE_STD)


def spline_noise(x: Axis, y: Axis, *, cell_m: tuple[float, float], key: int) -> Field:
    """Smooth noise of one scale: random values at lattice nodes under a cubic B-spline.

    Parameters
    ----------
    x, y : ndarray of float64, shapes (x,) and (y,)
        Eastings and northings, metres.
    cell_m : tuple of float
        Lattice spacing in x and y, metres.
    key : int
        Key of the noise field; see `stable_key`.

    Returns
    -------
    ndarray of float32, shape (y, x)
        Mean about 0, standard deviation about 1.
    """
    first_x, weight_x = _taps(x, cell_m[0])
    first_y, weight_y = _taps(y, cell_m[1])
    nodes_x = np.arange(first_x.min(), first_x.max() + 4)
    nodes_y = np.arange(first_y.min(), first_y.max() + 4)
    nodes = _node_values(nodes_x, nodes_y, key)
    at_x, at_y = first_x - nodes_x[0], first_y - nodes_y[0]
    rows = nodes[at_y] * weight_y[0][:, np.newaxis]
    for tap in range(1, 4):
        rows += nodes[at_y + tap] * weight_y[tap][:, np.newaxis]
    field: Field = rows[:, at_x] * weight_x[0]
    for tap in range(1, 4):
        field += rows[:, at_x + tap] * weight_x[tap]
    return field


def fractal_noise(
    x: Axis, y: Axis, *, cell_m: tuple[float, float], octaves: int, gain: float, key: int
) -> Field:
    """Sum of `spline_noise` over octaves with ever smaller cells.

    Parameters
    ----------
    x, y, key
        See `spline_noise`.
    cell_m : tuple of float
        Lattice spacing of the coarsest octave, metres; it is halved with each octave.
    octaves, gain : int, float
        Number of octaves, at least 1, and ratio of the weights of consecutive octaves.

    Returns
    -------
    ndarray of float32, shape (y, x)
        Noise with mean 0 and standard deviation 1, approximately.
    """
    total = np.zeros((len(y), len(x)), np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = gain**octave
        cell = (cell_m[0] / 2**octave, cell_m[1] / 2**octave)
        # The lattice of each octave is shifted, so that the nodes of the octaves do not coincide.
        moved = (x + 0.37 * cell[0] * octave, y + 0.61 * cell[1] * octave)
        noise = spline_noise(*moved, cell_m=cell, key=key + 101 * octave)
        total += np.float32(weight) * noise
        power += weight * weight
    return total * np.float32(power**-0.5)


def stable_key(seed: int, names: Sequence[int]) -> int:
    """Derive the key of a noise field from the seed and the numbers that identify the field.

    Parameters
    ----------
    seed : int
        Seed of the sample.
    names : sequence of int
        Small integers that identify the field.

    Returns
    -------
    int
        Key in [0, 2**31).
    """
    key = seed
    for name in names:
        key = (key * 1_000_003 + name * 7_919 + 12_345) & 0x7FFFFFFF
    return key
