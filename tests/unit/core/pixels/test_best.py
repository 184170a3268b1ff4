"""Composite best: which observation of a place is taken, and which are rejected."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.best import (
    BestSettings,
    Observations,
    accepted_observations,
    choose_best,
    haze_background,
)

SHAPE = (12, 12)
SETTINGS = BestSettings(haze_background_dn=150, haze_limit_dn=250, surroundings_cells=3)
# DN of B02, B03, B04 and B08; the haze index of grass is 150.
GRASS = (300, 500, 300, 3000)
WATER = (350, 300, 200, 100)
SAND = (1900, 2500, 3000, 3600)
SNOW = (8400, 8400, 8400, 7800)
# Haze adds to each band, least to the near infrared.
HAZY_GRASS = (900, 1000, 750, 3200)
SHADED_GRASS = (200, 250, 150, 1000)
HARVESTED = (900, 1200, 1500, 2000)


def observed(*scenes: tuple[int, ...], **changes: Any) -> Observations:
    """Observations of an area where each scene shows the same DN everywhere, all clear."""
    shape = (len(scenes), *SHAPE)
    bands = {
        name: np.stack([np.full(SHAPE, scene[place], np.float32) for scene in scenes])
        for place, name in enumerate(("B02", "B03", "B04", "B08", "B11")[: len(scenes[0])])
    }
    values: dict[str, Any] = {
        "usable": np.ones(shape, bool),
        "low_rank": np.zeros(shape, bool),
        "distance_m": np.full(shape, 3000, np.uint16),
        "bands": bands,
        "pass_numbers": range(len(scenes)),
        "cloudiness": [0.0] * len(scenes),
    }
    return Observations(**values | changes)


def winner(seen: Observations, settings: BestSettings = SETTINGS) -> int:
    """Number of the scene that wins everywhere."""
    (number,) = np.unique(choose_best(seen, settings).winner)
    return int(number)


def with_patch(seen: Observations, scene: int, dn: tuple[int, ...]) -> Observations:
    """Show other DN in four cells of one scene."""
    for place, name in enumerate(("B02", "B03", "B04", "B08")):
        seen.bands[name][scene, 5:7, 5:7] = dn[place]
    return seen


@pytest.mark.parametrize(
    ("scenes", "expected"),
    [
        pytest.param((HAZY_GRASS, GRASS), 1, id="less haze"),
        pytest.param((SHADED_GRASS, GRASS), 1, id="no shadow"),
        pytest.param((GRASS, GRASS), 0, id="the order decides between equals"),
        pytest.param((GRASS, HARVESTED), 0, id="the darker of two kinds of ground"),
        pytest.param((HAZY_GRASS, (*HAZY_GRASS[:3], 1000)), -1, id="haze alone is not clear"),
        pytest.param((WATER, (*WATER[:3], 40)), 0, id="darker water is no shadow"),
        pytest.param((SNOW,), -1, id="white once may be cloud"),
        pytest.param((SNOW, SNOW), -1, id="white twice may be cloud"),
        pytest.param((SNOW, SNOW, SNOW), 0, id="white three times is ground"),
        pytest.param(((*SNOW, 400),), 0, id="white and dark in the infrared is snow"),
        pytest.param(((*SNOW, 3000),), -1, id="white and bright in the infrared is cloud"),
    ],
)
def test_the_cleanest_observation_wins(scenes: tuple[tuple[int, ...], ...], expected: int) -> None:
    assert winner(observed(*scenes)) == expected


def test_another_pass_confirms_bright_ground() -> None:
    assert not accepted_observations(observed(SAND, GRASS), SETTINGS)[0].any()
    assert accepted_observations(observed(SAND, GRASS, SAND), SETTINGS).all()


def test_scenes_of_one_pass_do_not_confirm_each_other() -> None:
    scenes = (SNOW, SNOW, SNOW)
    assert winner(observed(*scenes, pass_numbers=[7, 7, 7])) == -1
    assert winner(observed(HAZY_GRASS, HAZY_GRASS, pass_numbers=[7, 7])) == -1


def test_masked_observations_confirm_bright_ground() -> None:
    seen = observed(SAND)
    masked = observed(SAND, GRASS, pass_numbers=[1, 2])
    assert choose_best(seen, SETTINGS).winner.max() == -1
    assert choose_best(seen, SETTINGS, witnesses=lambda: masked).winner.min() == 0
    own = replace(masked, pass_numbers=[0, 0])
    assert choose_best(seen, SETTINGS, witnesses=lambda: own).winner.max() == -1


def test_a_rejected_observation_is_the_substitute_where_nothing_else_is_clear() -> None:
    hazier = tuple(dn + 600 for dn in HAZY_GRASS)
    choice = choose_best(observed(hazier, HAZY_GRASS), SETTINGS)
    assert (choice.winner == -1).all()
    assert (choice.substitute == 1).all()
    assert not choice.accepted.any()
    assert (choose_best(observed(hazier, GRASS), SETTINGS).substitute == -1).all()


def test_a_dark_patch_near_cloud_is_shadow_unless_another_pass_confirms_it() -> None:
    near = np.full((1, *SHAPE), 200, np.uint16)
    shaded = with_patch(observed(GRASS, distance_m=near), 0, SHADED_GRASS)
    assert (choose_best(shaded, SETTINGS).winner[5:7, 5:7] == -1).all()
    assert np.count_nonzero(choose_best(shaded, SETTINGS).winner == -1) == 4
    far = with_patch(observed(GRASS), 0, SHADED_GRASS)
    assert (choose_best(far, SETTINGS).winner == 0).all()
    both = observed(GRASS, GRASS, distance_m=np.concatenate([near, near]))
    confirmed = with_patch(with_patch(both, 0, SHADED_GRASS), 1, SHADED_GRASS)
    assert (choose_best(confirmed, SETTINGS).winner >= 0).all()


def test_no_limit_rejects_nothing() -> None:
    settings = replace(SETTINGS, haze_limit_dn=None)
    assert winner(observed(HAZY_GRASS), settings) == 0
    unknown = replace(SETTINGS, haze_background_dn=None)
    assert winner(observed(HAZY_GRASS), unknown) == 0


def test_a_mosaic_without_the_deciding_bands_takes_the_scene_with_less_cloud() -> None:
    seen = replace(observed(HAZY_GRASS, GRASS), bands={}, cloudiness=[0.4, 0.1])
    assert winner(seen) == 1


def test_a_single_cell_does_not_leave_its_neighbours_for_a_small_gain() -> None:
    seen = observed(GRASS, tuple(dn + 30 for dn in GRASS))
    seen.bands["B02"][0, 5, 5] += 60
    assert (choose_best(seen, SETTINGS).winner == 0).all()
    seen.bands["B02"][0, 5, 5] += 240
    assert choose_best(seen, SETTINGS).winner[5, 5] == 1


def test_a_window_with_the_reach_around_it_decides_as_the_whole() -> None:
    random = np.random.default_rng(5)
    shape = (3, 40, 40)
    seen = Observations(
        usable=random.random(shape) < 0.7,
        low_rank=random.random(shape) < 0.1,
        distance_m=random.integers(0, 1500, shape).astype(np.uint16),
        bands={
            name: random.integers(low, high, shape).astype(np.float32)
            for name, low, high in (
                ("B02", 200, 900),
                ("B03", 300, 900),
                ("B04", 200, 900),
                ("B08", 500, 4000),
            )
        },
        pass_numbers=[0, 1, 1],
        cloudiness=[0.1, 0.2, 0.3],
    )
    whole = choose_best(seen, SETTINGS).winner
    reach = SETTINGS.reach_cells
    cut = np.s_[:, 12 - reach : 30 + reach, 10 - reach : 31 + reach]
    part = replace(
        seen,
        usable=seen.usable[cut],
        low_rank=seen.low_rank[cut],
        distance_m=seen.distance_m[cut],
        bands={name: band[cut] for name, band in seen.bands.items()},
    )
    inner = choose_best(part, SETTINGS).winner[reach:-reach, reach:-reach]
    np.testing.assert_array_equal(inner, whole[12:30, 10:31])


def test_the_background_is_that_of_the_least_hazy_scenes_that_fill_the_mosaic() -> None:
    assert haze_background([]) is None
    assert haze_background([(200.0, 0.5)]) == 200.0
    assert haze_background([(900.0, 1.0), (100.0, 0.5), (200.0, 0.5)]) == 150.0
    assert haze_background([(300.0, 1.0), (100.0, 0.75)]) == 150.0


def test_the_surroundings_are_300_m_in_cells() -> None:
    fine = Grid("EPSG:32633", 500_000, 5_000_000, 10, 10, 50, 50)
    coarse = Grid("EPSG:32633", 500_000, 5_000_000, 320, 320, 50, 50)
    assert BestSettings.of(fine, None, None).surroundings_cells == 30
    assert BestSettings.of(coarse, None, None).surroundings_cells == 1
