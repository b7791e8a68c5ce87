"""Quantities that people write, read in the unit in which they are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench import units


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("50 ms", "ns", 50e6),
        ("1.1ms", "ns", 1_100_000),
        ("50 µs", "ns", 50e3),
        ("50 \N{GREEK SMALL LETTER MU}s", "ns", 50e3),
        (" .5 s ", "ns", 5e8),
        ("2 min", "s", 120),
        ("20 MB", "bytes", 20e6),
        ("1 MiB", "bytes", 1_048_576),
        ("85 %", "share", 0.85),
        ("0.85", "share", 0.85),
        ("12 mJ", "J", 0.012),
        ("1.5e-3", "J", 0.0015),
        ("1.5E-3 J", "J", 0.0015),
        ("300 M", "MACs", 300e6),
        ("300 MMACs", "MACs", 300e6),
        ("12,300 /s", "1/s", 12_300),
        ("12 1/s", "1/s", 12),
        ("3×", "1", 3),
        ("1.5 M", "1", 1.5e6),
        ("0.5 points", "points", 0.5),
        ("0.1", "nats", 0.1),
        ("-1", "points", -1),
        ("1e-999999 s", "ns", 0),
    ],
)
def test_quantities_are_read_in_the_unit_they_are_kept_in(text, unit, value):
    assert units.parse(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "says"),
    [
        ("50 ms", "bytes", "use one of bytes, GB, MB"),
        ("1 %", "points", "use one of points, point, pp"),
        ("5 furlongs", "nats", "use one of nats"),
        ("0,5 s", "ns", "not a quantity"),
        ("1 000 s", "s", "not a quantity"),
        ("1-2", "ns", "not a quantity"),
        ("nan", "ns", "not a quantity"),
        ("", "ns", "not a quantity"),
        ("1e999999 h", "ns", "too large"),
        ("1e99999999999999999999 s", "ns", "not a quantity"),
        ("1e-99999999999999999999", "ns", "not a quantity"),
        ("ms", "ns", "not a quantity"),
    ],
)
def test_what_is_no_quantity_of_that_unit_is_refused_with_those_that_fit(text, unit, says):
    with pytest.raises(ValueError, match=says):
        units.parse(text, unit)


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_what_is_written_can_be_read_again(value):
    for write, unit in ((units.time, "ns"), (units.size, "bytes"), (units.energy, "J"), (units.rate, "1/s")):
        assert units.parse(write(value), unit) == pytest.approx(value, rel=0.0051, abs=1e-12)
