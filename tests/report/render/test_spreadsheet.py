import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.characters import is_plain
from kdbench.report.render.spreadsheet import field


@given(st.text(st.characters(exclude_categories=())))
def test_a_field_is_one_line_of_text_and_no_formula(text: str) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(["first", field(text), "last"])
    assert stream.getvalue().count("\n") == 1
    ((first, read, last),) = csv.reader(io.StringIO(stream.getvalue()))
    assert (first, last) == ("first", "last")
    assert is_plain(read)
    if read.lstrip(" \t'\"")[:1] in {*"=+-@"} - {""} and read != "-" and not read.startswith("'"):
        float(read)  # a number, not a formula


@pytest.mark.parametrize(
    "text", ["=1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "'=1", "-x"]
)
def test_a_formula_has_an_apostrophe_before_it(text: str) -> None:
    assert str(field(text)).startswith("'")


@pytest.mark.parametrize("value", ["student-kd", "-0.5", "+1e-3", "-", "–", "n/a", "", 1.5, None])
def test_other_fields_are_as_they_were(value: object) -> None:
    assert field(value) == value
