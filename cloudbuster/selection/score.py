"""Scores: what makes one scene better than another that shows as much."""

import math
from datetime import UTC, datetime

import numpy as np

from cloudbuster.catalogs.item_properties import first_number
from cloudbuster.core.arrays import BoolRaster
from cloudbuster.models import FilterOptions, Item
from cloudbuster.selection.clear_candidates import ClearCandidates

# How much a factor may lower the gains of a scene: less than the next scene usually shows, so that
# factors decide between scenes that show about as much. `target_date` is the user's wish and may
# halve them: at 90 days for crops and forests, whose looks change within a season.
SUN_WEIGHT, ORBIT_WEIGHT, NODATA_WEIGHT = 0.05, 0.02, 0.02
DATE_SCALE_DAYS = 90.0


def score_factors(
    candidates: ClearCandidates, area: BoolRaster, options: FilterOptions
) -> list[float]:
    """Return the factor of each candidate's gains, above 0 and at most 1.

    Parameters
    ----------
    candidates : ClearCandidates
        Candidates.
    area : ndarray of bool, shape (y, x)
        Cells of the area.
    options : FilterOptions
        ``score`` names the factors that count:

        - ``date``: scenes near ``target_date`` come first, because fields and forests look alike
          on near dates; half weight at `DATE_SCALE_DAYS`.
        - ``sun``: a high sun casts short shadows.
        - ``orbit``: the relative orbit that shows most of the area gives fewest seams of viewing
          angle.
        - ``nodata``: a whole tile gives fewer seams than a part of one.

    Returns
    -------
    list of float
    """
    factors = np.ones(len(candidates.items))
    if "date" in options.score and options.target_date is not None:
        target = datetime(
            options.target_date.year, options.target_date.month, options.target_date.day, tzinfo=UTC
        )
        days = np.array([_days_from(item, target) for item in candidates.items])
        factors /= 1 + days / DATE_SCALE_DAYS
    if "sun" in options.score:
        elevation = [_number(item, "view:sun_elevation", 90.0) for item in candidates.items]
        factors *= 1 - SUN_WEIGHT * (1 - np.sin(np.radians(np.clip(elevation, 0, 90))))
    if "orbit" in options.score:
        factors *= _orbit_factors(candidates, area)
    if "nodata" in options.score:
        shown = np.array(
            [np.mean(units.seen) if units.seen.size else 0.0 for units in candidates.units]
        )
        factors *= 1 - NODATA_WEIGHT * (1 - shown)
    return [float(factor) for factor in factors]


def _orbit_factors(candidates: ClearCandidates, area: BoolRaster) -> np.ndarray:
    """Return 1 for scenes of the orbit that shows most of the area, less for the others."""
    shown: dict[float, BoolRaster] = {}
    orbits = [_number(item, "sat:relative_orbit", math.nan) for item in candidates.items]
    for orbit, units in zip(orbits, candidates.units, strict=True):
        if not math.isnan(orbit):
            cells = shown.setdefault(orbit, np.zeros_like(area))
            cells[units.window.slices] |= units.seen
    if len(shown) < 2:
        return np.ones(len(orbits))
    best = max(shown, key=lambda orbit: (np.count_nonzero(shown[orbit] & area), -orbit))
    return np.array([1.0 if orbit == best else 1 - ORBIT_WEIGHT for orbit in orbits])


def _number(item: Item, name: str, default: float) -> float:
    """Return a number of an item's properties; ``default`` if it has none."""
    properties = item.get("properties")
    value = first_number(properties, (name,)) if isinstance(properties, dict) else None
    return default if value is None or not math.isfinite(value) else value


def _days_from(item: Item, target: datetime) -> float:
    """Return how many days an item was acquired from a time; a year if that is unknown."""
    acquired = item_time(item)
    return 365.0 if acquired is None else abs((acquired - target).total_seconds()) / 86400


def item_time(item: Item) -> datetime | None:
    """Return the acquisition time of an item, UTC; None if it has none that can be read."""
    properties = item.get("properties")
    text = properties.get("datetime") if isinstance(properties, dict) else None
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
