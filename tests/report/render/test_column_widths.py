import pytest

from kdbench.report.render.column_widths import distributed


@pytest.mark.parametrize(
    ("least", "preferred", "total", "expected"),
    [
        ([4, 4], [10, 10], 7, None),
        ([4, 4], [10, 10], 8, [4, 4]),
        ([4, 4], [10, 10], 100, [10, 10]),
        ([4, 4, 4], [5, 20, 20], 21, [5, 8, 8]),
        ([6, 2], [3, 9], 12, [6, 6]),  # a head that is longer than what is preferred for
    ],
)
def test_space_goes_first_to_what_must_not_be_broken(least, preferred, total, expected):
    assert distributed(least, preferred, total) == expected
