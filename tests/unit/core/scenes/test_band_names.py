"""Which band a name, a description or a wavelength means; a mere position means none."""

import pytest

from cloudbuster.core.scenes.band_names import BandText, are_positions, band_in_file_name, bands_of

COMMON = ("blue", "green", "red", "nir")
WANTED = ("B02", "B03", "B04", "B08")


def texts(**fields: tuple[object, ...]) -> list[BandText]:
    """Descriptions of several bands, one for each place in the fields."""
    rows = zip(*fields.values(), strict=True)
    return [BandText(**dict(zip(fields, row, strict=True))) for row in rows]


POSITIONS = ("b1", "b2", "b3", "b4")


@pytest.mark.parametrize(
    "told",
    [
        texts(name=WANTED),
        texts(name=("B2", "B3", "B4", "B8")),
        texts(name=("b02", "b03", "b04", "b08")),
        texts(name=COMMON),
        texts(name=POSITIONS, common_name=COMMON),
        texts(name=("B1", "B2", "B3", "B4"), common_name=COMMON),
        texts(name=("1", "2", "3", "4"), common_name=COMMON),
        texts(name=("Band 1", "Band 2", "Band 3", "Band 4"), description=WANTED),
        texts(name=POSITIONS, description=("Band 2 - Blue", "Band 3 - Green", "Band 4", "B8")),
        texts(name=POSITIONS, description=("Blue", "Green", "Red", "NIR 1")),
        texts(name=POSITIONS, description=("B02, central wavelength 490 nm", *WANTED[1:])),
        texts(name=POSITIONS, wavelength=(0.4924, 0.5598, 0.6646, 0.8328)),
        texts(name=POSITIONS, wavelength=(492.1, 559.0, 664.9, 832.9)),
        texts(name=POSITIONS, wavelength=(0.49, 0.56, 0.665, 0.842)),
        texts(description=("490 nm", "560 nm", "665 nm", "842 nm")),
    ],
)
def test_the_bands_are_those_that_are_described(told: list[BandText]) -> None:
    assert bands_of(told) == WANTED


@pytest.mark.parametrize(
    "told",
    [
        texts(name=POSITIONS),
        texts(name=("B1", "B2", "B3", "B4")),
        texts(name=("1", "2", "3", "4")),
        texts(name=("band_1", "band_2", "band_3", "band_4")),
        texts(name=("",) * 4),
        texts(name=("Gray", "Undefined", "Undefined", "Undefined")),
        texts(description=("Band 1", "Band 2", "Band 3", "Band 4")),
        texts(name=POSITIONS, common_name=("rededge",) * 4),
        texts(name=POSITIONS, wavelength=(10.9, 12.0, 1.24, 2.13)),
        # The statements contradict each other.
        texts(name=POSITIONS, common_name=COMMON, wavelength=(0.665, 0.49, 0.56, 0.49)),
    ],
)
def test_what_only_counts_bands_names_none(told: list[BandText]) -> None:
    assert bands_of(told) == (None,) * 4


def test_positions_that_skip_are_names() -> None:
    """``B2, B3, B4, B8`` are those of a file of four bands, and ``B01`` is no position."""
    assert bands_of(texts(name=("B2", "B3"))) == ("B02", "B03")
    assert bands_of(texts(name=("B01", "B02"))) == ("B01", "B02")


def test_a_band_that_two_claim_to_be_is_neither() -> None:
    assert bands_of(texts(name=("red", "B04", "B03"))) == (None, None, "B03")


@pytest.mark.parametrize(
    ("wavelength", "band"),
    [
        (0.443, "B01"), (0.704, "B05"), (0.740, "B06"), (0.783, "B07"), (0.865, "B8A"),
        (0.945, "B09"), (1.375, "B10"), (1.61, "B11"), (2.19, "B12"), (2202.4, "B12"),
        (864.7, "B8A"),
    ],
)  # fmt: skip
def test_wavelengths_of_either_satellite_are_known(wavelength: float, band: str) -> None:
    assert bands_of([BandText(wavelength=wavelength)]) == (band,)


@pytest.mark.parametrize(
    ("names", "positions"),
    [
        (("b1",), True), (("B1", "B2", "B3"), True), (("b3", "b1", "b2"), True),
        (("B01", "B02"), False), (("B2", "B3"), False), (("red",), False), ((), False),
    ],
)  # fmt: skip
def test_names_from_one_on_are_positions(names: tuple[str, ...], *, positions: bool) -> None:
    assert are_positions(names) is positions


@pytest.mark.parametrize(
    ("href", "band"),
    [
        ("s3://b/T33TWL_20230818T100031_B02_10m.jp2", "B02"),
        ("https://a.b/c/B8A.tif?sig=B04", "B8A"),
        ("/x/S2A_B04.B08.tif", None),
        ("/x/B01_stack/all.tif", None),
        ("/x/AB04.tif", None),
    ],
)
def test_a_file_name_may_hold_one_band(href: str, band: str | None) -> None:
    assert band_in_file_name(href) == band
