"""The page of the campaign: rows are sorted and replaced, and what follows the table stays."""

from benchmarks.faults.page import Row, with_row


def test_a_row_takes_its_place_and_the_rest_of_the_page_stays(tmp_path):
    page = tmp_path / "README.md"
    with_row(page, Row("names", 2, 80, {"hangs": 1}, 60.0))
    page.write_text(page.read_text() + "\nWhat was fixed.\n")
    with_row(page, Row("doors", 11, 40, {}, 90.0))
    with_row(page, Row("names", 2, 80, {}, 120.0))
    lines = page.read_text().splitlines()
    assert lines[-4:] == [
        "| doors | 11 | 40 | 0 | 0 | 0 | 0 | 0 | 0 | 2 |",
        "| names | 2 | 80 | 0 | 0 | 0 | 0 | 0 | 0 | 2 |",
        "",
        "What was fixed.",
    ]
