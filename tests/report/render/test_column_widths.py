import pytest

from kdbench.report.render.column_widths import shared_out


@pytest.mark.parametrize(
    ("least", "wished", "total", "expected"),
    [
        ([4, 4], [10, 10], 7, None),
        ([4, 4], [10, 10], 8, [4, 4]),
        ([4, 4], [10, 10], 100, [10, 10]),
        ([4, 4, 4], [5, 20, 20], 21, [5, 8, 8]),
        ([6, 2], [3, 9], 12, [6, 6]),  # a head that is longer than what is wished for
    ],
)
def test_space_goes_first_to_what_must_not_be_broken(least, wished, total, expected):
    assert shared_out(least, wished, total) == expected
