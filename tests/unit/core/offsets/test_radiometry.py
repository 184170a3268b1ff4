"""The radiometric decision on arrays: evidence of pixels and metadata, and which one decides."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.offsets.offset_metadata import OffsetMetadata, Treatment, provider_treatment
from cloudbuster.core.offsets.offset_neighbours import (
    NO_COMPARISON,
    SceneThumbnail,
    ShiftEstimate,
    choose_references,
    shift_against,
)
from cloudbuster.core.offsets.offset_pixels import (
    PixelEvidence,
    pixel_evidence,
    without_undershoots,
)
from cloudbuster.core.offsets.radiometry import decide_offset, settle_by_neighbours
from cloudbuster.core.scenes.digital_numbers import harmonise

NAMES = ("B12", "B04", "B02")
# Reflectance times 10 000 in B12, B04, B02: dark and bright ground.
FOREST, SAND, CLOUD, SNOW = (
    (600, 250, 300),
    (5500, 3500, 1100),
    (3000, 7000, 7200),
    (1300, 9000, 9100),
)


def scene(*parts: tuple[tuple[int, ...], int], shift: int = 0, seed: int = 1) -> np.ndarray:
    """Return a thumbnail of 40 x 40 cells: rows of each ground with 3 % of noise, plus a shift."""
    rows = np.concatenate([np.repeat([ground], count * 40, axis=0) for ground, count in parts])
    noise = np.random.default_rng(seed).normal(1, 0.03, rows.shape)
    dn = np.rint(rows * noise).astype(np.int64) + shift
    return dn.T.reshape(len(NAMES), 40, 40).astype(np.uint16)


def grid(*, west: float = 0.0, crs: str = "EPSG:32633") -> Grid:
    return Grid(crs, west, 4000.0, 100.0, 100.0, 40, 40)


def thumbnail(dn: np.ndarray, where: Grid | None = None) -> SceneThumbnail:
    return SceneThumbnail(where or grid(), NAMES, dn, np.ones(dn.shape[1:], dtype=bool))


TREATMENTS: tuple[Treatment | None, ...] = ("kept", "mixed", None)
ALL_METADATA = [
    OffsetMetadata(baseline, flag, declared, treatment)
    for baseline, flag, declared in itertools.product(
        ("03.01", "05.09", None), (True, False, None), (-0.1, 0.0, None)
    )
    for treatment in TREATMENTS
]


@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("clouds", [0, 20, 36])
def test_clear_ground_decides_whatever_the_metadata_say(shift: int, clouds: int) -> None:
    pixels = pixel_evidence(scene((FOREST, 40 - clouds), (CLOUD, clouds), shift=shift), NAMES)
    for metadata in ALL_METADATA:
        decision = decide_offset(metadata, pixels=pixels)
        assert decision.offset_dn == -shift
        assert decision.confident


@pytest.mark.parametrize("ground", [SAND, CLOUD, SNOW])
@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("made", ["03.01", "05.09"])
def test_bright_ground_flips_nothing(ground: tuple[int, ...], shift: int, made: str) -> None:
    pixels = pixel_evidence(scene((ground, 40), shift=shift), NAMES)
    decision = decide_offset(OffsetMetadata(made, treatment="kept"), pixels=pixels)
    assert decision.offset_dn == (-1000 if made == "05.09" else 0)
    assert not decision.confident
    assert not decision.conflict


def test_the_cirrus_band_decides_a_scene_that_is_all_cloud() -> None:
    dn = scene((CLOUD, 40))
    for shift in (0, 1000):
        with_cirrus = np.concatenate([dn, np.full((1, 40, 40), 40, np.uint16)]) + np.uint16(shift)
        pixels = pixel_evidence(with_cirrus, (*NAMES, "B10"))
        assert pixels.is_decisive
        assert pixels.offset_in_pixels is (shift == 1000)


def test_negative_reflectances_of_a_sea_do_not_take_its_offset_away() -> None:
    # Without the offset, short wave infrared scatters about 0. Of a normal distribution, 1.5 % are
    # below -2.2 standard deviations.
    values = np.random.default_rng(3).normal(1000, 46, (3, 100, 100))
    values[1:] += 200
    pixels = pixel_evidence(values.astype(np.uint16), NAMES)
    assert pixels.dark_share > 0.005
    assert pixels.offset_in_pixels is True


def test_a_cloudy_scene_whose_shadows_end_near_the_offset_is_not_flipped() -> None:
    ramp = np.linspace(840, 4000, 1600)
    dn = np.stack([ramp, ramp, ramp]).reshape(3, 40, 40).astype(np.uint16)
    pixels = pixel_evidence(dn, NAMES)
    decision = decide_offset(OffsetMetadata("03.01", treatment="kept"), pixels=pixels)
    assert decision.offset_dn == 0


def test_zeros_that_resampling_mixed_into_a_swath_edge_do_not_count() -> None:
    dn = scene((FOREST, 40), shift=1000)
    dn[:, :, :20] = 0
    dn[:, :, 20] = 400
    dn[:, :, 21] = 800
    pixels = pixel_evidence(dn, NAMES)
    assert pixels.dark_share == 0
    assert pixels.valid_count == 40 * 18


def test_a_thumbnail_without_valid_pixels_decides_nothing() -> None:
    pixels = pixel_evidence(np.zeros((3, 40, 40), np.uint16), NAMES)
    assert pixels == PixelEvidence(0.0, 0.0, 0.0, 0.0, 0)
    assert pixels.offset_in_pixels is None
    decision = decide_offset(OffsetMetadata(), pixels=pixels)
    assert (decision.verdict, decision.confident) == ("none", False)


@pytest.mark.parametrize(
    ("metadata", "in_pixels", "verdict", "conflict"),
    [
        (OffsetMetadata("03.01", False, 0.0, "mixed"), False, "none", False),
        (OffsetMetadata("03.01", False, -0.1, "kept"), False, "none", True),
        (OffsetMetadata("05.09", True, -0.1, "mixed"), False, "removed", False),
        (OffsetMetadata("05.09", True, -0.1, "mixed"), True, "present", True),
        (OffsetMetadata("05.09", False, -0.1, "mixed"), True, "present", False),
        (OffsetMetadata("05.09", False, -0.1, "mixed"), False, "removed", True),
        (OffsetMetadata("05.09", None, -0.1, "kept"), True, "present", False),
        (OffsetMetadata("05.09", None, -0.1, "kept"), False, "removed", True),
        (OffsetMetadata("05.09", None, 0.0, "kept"), True, "present", True),
        (OffsetMetadata("05.09", True, -0.1, "kept"), False, "removed", True),
        (OffsetMetadata("03.01", None, None, "kept"), True, "present", True),
        (OffsetMetadata("05.09", None, None, None), True, "present", False),
        (OffsetMetadata(None, None, -0.1, None), True, "present", False),
        (OffsetMetadata(None, None, None, None), False, "none", False),
    ],
)
def test_the_verdict_and_whether_the_sources_agree(
    metadata: OffsetMetadata, *, in_pixels: bool, verdict: str, conflict: bool
) -> None:
    dn = scene((FOREST, 40), shift=1000 if in_pixels else 0)
    decision = decide_offset(metadata, pixels=pixel_evidence(dn, NAMES))
    assert (decision.verdict, decision.conflict) == (verdict, conflict)
    assert decision.confident
    assert len(decision.evidence) == 5


@pytest.mark.parametrize(
    ("metadata", "verdict"),
    [
        (OffsetMetadata("03.01", None, None, "kept"), "none"),
        (OffsetMetadata("05.09", None, 0.0, "kept"), "present"),
        (OffsetMetadata("05.09", True, -0.1, "mixed"), "removed"),
        (OffsetMetadata("05.09", False, -0.1, "mixed"), "present"),
        (OffsetMetadata("05.09", None, 0.0, None), "removed"),
        (OffsetMetadata(None, None, -0.1, None), "present"),
        (OffsetMetadata(None, True, None, "mixed"), "removed"),
    ],
)
def test_without_pixels_the_best_source_decides(metadata: OffsetMetadata, verdict: str) -> None:
    decision = decide_offset(metadata)
    assert decision.verdict == verdict
    assert not decision.confident


@pytest.mark.parametrize(
    ("collection", "href", "flag", "treatment"),
    [
        (
            "sentinel-2-l2a",
            "https://sentinel-cogs.s3.x/sentinel-s2-l2a-cogs/1/B.tif",
            None,
            "mixed",
        ),
        ("sentinel-2-l2a", "s3://eodata/Sentinel-2/MSI/B.jp2", None, "kept"),
        ("sentinel-2-l2a", "https://sentinel2l2a01.blob.core.windows.net/x/B.tif", None, "kept"),
        ("sentinel-2-l2a", "s3://sentinel-s2-l2a/tiles/1/B.jp2", None, "kept"),
        ("sentinel-2-c1-l2a", "/archive/B.tif", None, "kept"),
        ("sentinel-2-l1c", "/archive/B.jp2", None, "kept"),
        ("sentinel-2-l2a", "/archive/B.tif", False, "mixed"),
        ("sentinel-2-l2a", "/geodata/B.tif", None, None),
        (None, "", None, None),
    ],
)
def test_the_provider_is_recognised_by_place_flag_and_collection(
    collection: str | None, href: str, flag: bool | None, treatment: Treatment | None
) -> None:
    assert provider_treatment(collection, href, flag) == treatment


@pytest.mark.parametrize("scene_shift", [0, 1000])
@pytest.mark.parametrize("reference_shift", [0, 1000])
def test_a_shift_is_found_against_a_scene_of_known_offset(
    scene_shift: int, reference_shift: int
) -> None:
    known = thumbnail(scene((FOREST, 20), (SAND, 20), shift=reference_shift, seed=1))
    doubtful = thumbnail(scene((FOREST, 20), (SAND, 20), shift=scene_shift, seed=2))
    estimate = shift_against(known, doubtful, reference_offset_dn=-reference_shift)
    assert estimate.common_count == 1600
    assert estimate.shift_dn == pytest.approx(scene_shift, abs=60)
    assert estimate.offset_in_pixels is (scene_shift == 1000)


def test_clouds_without_a_mask_do_not_hide_the_shift_of_the_ground_between_them() -> None:
    known = thumbnail(scene((FOREST, 40), seed=1))
    doubtful = thumbnail(scene((FOREST, 10), (CLOUD, 30), shift=1000, seed=2))
    assert shift_against(known, doubtful, reference_offset_dn=0).offset_in_pixels is True


def test_scenes_of_other_ground_are_not_compared() -> None:
    here = thumbnail(scene((FOREST, 40)))
    for other in (grid(west=9000.0), grid(crs="EPSG:32634")):
        there = thumbnail(scene((FOREST, 40)), other)
        assert shift_against(there, here, reference_offset_dn=0) == NO_COMPARISON
    assert NO_COMPARISON.offset_in_pixels is None
    infrared = SceneThumbnail(here.grid, ("B8A",), here.dn[:1], here.clear)
    assert shift_against(infrared, here, reference_offset_dn=0) == NO_COMPARISON


def test_only_what_both_call_clear_is_compared() -> None:
    known, doubtful = thumbnail(scene((FOREST, 40), seed=1)), thumbnail(scene((FOREST, 40), seed=2))
    clear = np.zeros((40, 40), dtype=bool)
    clear[:5] = True
    part = SceneThumbnail(known.grid, known.names, known.dn, clear)
    assert shift_against(part, doubtful, reference_offset_dn=0).common_count == 200


def test_an_ambiguous_comparison_is_undecided() -> None:
    assert ShiftEstimate(99, 99, 0, 0.0).offset_in_pixels is None
    assert ShiftEstimate(1000, 90, 0, 0.0).offset_in_pixels is None
    assert ShiftEstimate(1000, 300, 100, 0.0).offset_in_pixels is None
    assert ShiftEstimate(1000, 300, 50, 0.0).offset_in_pixels is False


@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("flag", [True, False])
def test_neighbours_settle_a_bright_scene_in_doubt(shift: int, flag: bool) -> None:
    doubtful = thumbnail(scene((SAND, 40), shift=shift, seed=2))
    metadata = OffsetMetadata("05.09", flag, -0.1, "mixed")
    pixels = pixel_evidence(doubtful.dn, NAMES)
    assert not decide_offset(metadata, pixels=pixels).confident
    references = [(thumbnail(scene((SAND, 40), shift=1000, seed=1)), -1000)]
    decision = settle_by_neighbours(metadata, pixels, doubtful, references)
    assert decision.offset_dn == -shift
    assert decision.confident
    assert decision.conflict is (flag is (shift == 1000))
    assert "overlapping" in decision.evidence[-1]


def test_without_neighbours_the_scene_decides_alone() -> None:
    doubtful = thumbnail(scene((SAND, 40)))
    metadata = OffsetMetadata("05.09", True, -0.1, "mixed")
    pixels = pixel_evidence(doubtful.dn, NAMES)
    elsewhere = thumbnail(doubtful.dn, grid(west=9000.0))
    decision = settle_by_neighbours(metadata, pixels, doubtful, [(elsewhere, 0)])
    assert decision == decide_offset(metadata, pixels=pixels)


@given(st.permutations(["a", "b", "c", "d", "e", "f"]))
def test_references_do_not_depend_on_the_order_they_are_given_in(order: list[str]) -> None:
    place_of = {
        "doubtful": ("33TWL", 100.0),
        **{"a": ("33TWM", 100.0), "b": ("33TWL", 900.0), "c": ("33TWL", 90.0)},
        **{"d": ("33TWL", 110.0), "e": (None, 100.0), "f": ("33TWM", 0.0)},
    }
    assert choose_references(place_of, "doubtful", order) == ("c", "d", "b", "a")


DN = arrays(
    np.uint16,
    (3, 7),
    elements=st.sampled_from([0, 1, 999, 1000, 1001, 32_767, 32_768, 64_500, 65535]),
)


@given(DN, st.sampled_from([0, -1000]))
def test_harmonising_invents_and_loses_no_pixel(dn: np.ndarray, offset_dn: int) -> None:
    before = dn.copy()
    result = harmonise(dn, offset_dn)
    np.testing.assert_array_equal(dn, before)
    # The files of the products have 15 bits.
    np.testing.assert_array_equal(result == 0, (dn == 0) | (dn > 32_767))
    valid = (dn != 0) & (dn <= 32_767)
    expected = np.maximum(dn[valid].astype(int) + offset_dn, 1)
    np.testing.assert_array_equal(result[valid], expected)


@given(arrays(np.uint16, (4, 4), elements=st.integers(1, 31_767)))
def test_harmonising_undoes_the_offset(dn: np.ndarray) -> None:
    np.testing.assert_array_equal(harmonise(dn + np.uint16(1000), -1000), harmonise(dn, 0))


def test_the_documented_dark_values() -> None:
    dn = np.array([0, 600, 1000, 1001, 3000, 65535], np.uint16)
    np.testing.assert_array_equal(harmonise(dn, -1000), [0, 1, 1, 1, 2000, 0])


def test_dark_pixels_beside_bright_ones_of_a_jpeg_2000_overview_are_no_dark_ground():
    dn = np.full((9, 9), 1200, np.uint16)
    dn[3, 4], dn[3, 5], dn[6, 2] = 150, 220, 700  # one and two pixels wide
    dn[:, 7:] = 9000
    dn[0] = 0

    mended = without_undershoots(dn)

    assert mended[1:, :7].min() == mended[1:, :7].max() == 1200
    assert (mended[0] == 0).all()
    assert (mended[1:, 7:] == 9000).all()


def test_dark_ground_of_three_pixels_is_kept():
    dn = np.full((9, 9), 1200, np.uint16)
    dn[3:6, 3:6] = 250

    np.testing.assert_array_equal(without_undershoots(dn), dn)
