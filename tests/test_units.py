"""Numbers as text for people."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench import units

FACTORS = {"ns": 1.0, "µs": 1e3, "ms": 1e6, "s": 1e9}


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (0.0421, "0.0421 ns"),
        (1, "1.00 ns"),
        (481_200, "481 µs"),
        (999_400, "999 µs"),
        (999_499, "999 µs"),
        (999_500, "1.00 ms"),
        (999_960, "1.00 ms"),
        (1_000_000, "1.00 ms"),
        (9.06e6, "9.06 ms"),
        (9.996e9, "10.0 s"),
        (1.2e9, "1.20 s"),
        (3.6e12, "3,600 s"),
        (-481_200, "-481 µs"),
        (-999_960, "-1.00 ms"),
    ],
)
def test_time(nanoseconds: float, text: str) -> None:
    assert units.time(nanoseconds) == text


@given(st.floats(min_value=1, max_value=1e15))
def test_time_is_never_off_by_more_than_half_of_its_last_digit_nor_in_the_wrong_unit(nanoseconds: float) -> None:
    number, unit = units.time(nanoseconds).split(" ")
    shown = float(number.replace(",", ""))
    assert shown * FACTORS[unit] == pytest.approx(nanoseconds, rel=0.0051)
    assert shown >= 1
    assert shown < 1000 or unit == "s"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_number_is_written_with_an_exponent_or_a_lost_sign(value: float) -> None:
    text = units.significant(value)
    assert re.fullmatch(r"-?[\d,]+(\.\d+)?", text)
    assert text.startswith("-") == (value < 0)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"),
        (0.09999, 3, "0.100"),
        (0.9996, 3, "1.00"),
        (9.996, 3, "10.0"),
        (1234.5, 3, "1,230"),
        (1e-20, 2, "0.000000000000000000010"),
        (315.332, 3, "315"),
    ],
)
def test_significant(value: float, digits: int, text: str) -> None:
    assert units.significant(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (42.13, "42.1 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 00 s"),
        (60, "1 min 00 s"),
        (187, "3 min 07 s"),
        (3599.4, "59 min 59 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.052, "+5.2 %"),
        (0.52, "-48.0 %"),
        (1.0003, "+0.03 %"),
        (0.9997, "-0.03 %"),
        (45_000_018 / 45_000_000, "+0.00004 %"),  # of a file's size, in bytes
        (1 + 1e-12, "0.0 %"),
    ],
)
def test_change_has_no_exponent(ratio: float, text: str) -> None:
    assert units.change(ratio) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (512, "512 B"), (999, "999 B"), (999_999, "1.00 MB"), (37_440_000, "37.4 MB"), (2.5e9, "2.50 GB")],
)
def test_size_has_decimal_prefixes(n_bytes: float, text: str) -> None:
    assert units.size(n_bytes) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0000 k"),
        (20_490, "20.490 k"),
        (153_339_904, "153.34 M"),
        (153_339_904 * 128, "19.628 G"),
        (999_999.9, "1.0000 M"),
    ],
)
def test_count(count: float, text: str) -> None:
    assert units.count(count) == text


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (0, "0 nJ"),
        (0.5975, "598 mJ"),
        (12.3e-3, "12.3 mJ"),
        (0.99996, "1.00 J"),
        (4e-10, "0.400 nJ"),
        (-2e-3, "-2.00 mJ"),
        (999.6, "1.00 kJ"),
        (2150, "2.15 kJ"),
        (4.2e7, "42.0 MJ"),
        (3.6e9, "3,600 MJ"),
    ],
)
def test_energy(joules: float, text: str) -> None:
    assert units.energy(joules) == text


@pytest.mark.parametrize(("watts", "text"), [(0, "0 mW"), (0.85, "850 mW"), (61.4, "61.4 W"), (1450, "1,450 W")])
def test_power(watts: float, text: str) -> None:
    assert units.power(watts) == text


@pytest.mark.parametrize(
    ("grams", "text"), [(0, "0 ng"), (4.7e-7, "470 ng"), (1.23e-6, "1.23 µg"), (0.2271, "227 mg"), (4500, "4.50 kg")]
)
def test_mass(grams: float, text: str) -> None:
    assert units.mass(grams) == text


@pytest.mark.parametrize(
    ("joules", "uncertainty", "text"),
    [
        (12.345e-3, 0.42e-3, "12.3 ± 0.4 mJ"),
        (0.5975, 0.0131, "598 ± 13 mJ"),  # a first digit of 1 has a second beside it
        (1234, 96, "1.23 ± 0.10 kJ"),  # 96 is rounded as 9 is, to its first digit's place
        (0.9994, 0.02, "1.00 ± 0.02 J"),  # not 1,000 ± 20 mJ
        (0.6, 0.5, "600 ± 500 mJ"),
        (3e-7, 1.2e-3, "0.0 ± 1.2 mJ"),  # the larger of the two chooses the unit
        (-1e-5, 1e-3, "0.0 ± 1.0 mJ"),
        (-2e-3, 4e-4, "-2.0 ± 0.4 mJ"),
        (0.0123, 0, "12.3 ± 0.0 mJ"),
        (0, 0, "0.00 ± 0.00 nJ"),
        (3.6e9, 2e6, "3,600 ± 2 MJ"),
    ],
)
def test_an_energy_ends_where_its_uncertainty_does(joules: float, uncertainty: float, text: str) -> None:
    assert units.energy_plus_minus(joules, uncertainty) == text


JOULES = {"nJ": 1e-9, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3, "MJ": 1e6}


@given(st.floats(min_value=1e-9, max_value=1e8), st.floats(min_value=1e-4, max_value=0.5))
def test_an_energy_is_never_written_off_by_more_than_half_its_uncertainty_and_both_end_alike(
    joules: float, share: float
) -> None:
    uncertainty = share * joules
    value, _, error, unit = units.energy_plus_minus(joules, uncertainty).replace(",", "").split()
    assert float(value) * JOULES[unit] == pytest.approx(joules, abs=0.5001 * uncertainty)
    assert float(error) * JOULES[unit] == pytest.approx(uncertainty, rel=0.34)  # 1.49 is written 1.5, 2.5 is written 2
    assert len(value.partition(".")[2]) == len(error.partition(".")[2])


def test_a_mass_with_its_uncertainty() -> None:
    assert units.mass_plus_minus(1.234e-6, 4.2e-8) == "1.23 ± 0.04 µg"


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.00 %"), (0.9173, "91.73 %"), (1, "100.00 %"), (0.99999, "100.00 %")]
)
def test_share(share: float, text: str) -> None:
    assert units.share(share) == text


@pytest.mark.parametrize(
    ("points", "text"),
    [(0.4, "+0.40"), (-1.234, "-1.23"), (0, "0.00"), (-0.001, "0.00"), (0.004, "0.00"), (12, "+12.00")],
)
def test_points_have_a_sign_unless_they_are_nothing(points: float, text: str) -> None:
    assert units.points(points) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(12.34, "12.3×"), (315.332, "315×"), (0.9996, "1.00×"), (0.05, "0.0500×"), (1, "1.00×")]
)
def test_ratio(ratio: float, text: str) -> None:
    assert units.ratio(ratio) == text


def test_rate_and_number() -> None:
    assert units.rate(12_345) == "12,300 /s"
    assert units.number(0.08123) == "0.0812"
    assert units.number(0) == "0.0000"
    assert units.number(4.7e-6) == "4.7e-06"
    assert units.number(-0.5) == "-0.5000"


@pytest.mark.parametrize(
    ("error", "text"),
    [(0.345, "0.3450"), (20_341.2, "20,340"), (1.07e-15, "1.1e-15"), (0, "0"), (0.00123456, "0.001235")],
)
def test_an_error_has_four_digits_in_any_unit(error, text):
    assert units.error(error) == text


@pytest.mark.parametrize(("things", "text"), [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345")])
def test_things_that_are_counted_keep_every_digit(things: float, text: str) -> None:
    assert units.integer(things) == text


@pytest.mark.parametrize(
    ("value", "text"), [(97.44, "97.44"), (9.8026, "9.80"), (1234.5, "1,234.50"), (0.020490, "0.0205"), (0, "0.00")]
)
def test_numbers_under_a_head_with_their_unit(value, text):
    assert units.two_decimals_or_more(value) == text
    assert units.fixed(value, 2) == f"{value:,.2f}"


@pytest.mark.parametrize(
    ("text", "plain"),
    [("20.0 ms", "20 ms"), ("1.50×", "1.5×"), ("85.00 %", "85 %"), ("500 /s", "500 /s"), ("0.050", "0.05"), ("0", "0")],
)
def test_a_number_that_was_chosen_has_no_zeros_behind_its_point(text, plain):
    assert units.chosen(text) == plain


@pytest.mark.parametrize(("share", "text"), [(0.2234, "22 %"), (0.0041, "0.41 %"), (13.4, "1,300 %"), (1, "100 %")])
def test_a_distance_is_said_roughly(share, text):
    assert units.percent(share) == text


@pytest.mark.parametrize(
    ("points", "apart", "allowed"), [(1, "1.00 points", "1 point"), (0.5, "0.50 points", "0.5 points")]
)
def test_points_as_a_distance_and_as_a_limit(points, apart, allowed):
    assert units.percentage_points(-points) == apart
    assert units.points_allowed(points) == allowed
