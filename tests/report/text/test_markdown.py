import re

import pytest
from markdown_it import MarkdownIt

from kdbench import units
from kdbench.report import Content
from kdbench.report.cells import Number, Text
from kdbench.report.render.markdown import render
from kdbench.report.table import Column, Row, Table, finished
from kdbench.report.text import markdown
from kdbench.results.records import Interval

GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NASTY = ["a|b", "a`b", "`x`", "*not bold*", "<script>", "_edge_", "snake_case_name", "~1 and ~~2~~", "&lt;", "a\\b"]


def shown(text: str) -> str:
    """Return the words of rendered Markdown."""
    html = GFM.render(text)
    plain = re.sub(r"<[^>]+>", "", html).strip()
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


@pytest.mark.parametrize("text", [text for text in NASTY if text != "`x`"])
def test_text_is_shown_as_it_was_written(text: str) -> None:
    assert shown(markdown.prose(text)) == text


@pytest.mark.parametrize("text", NASTY)
def test_names_are_shown_as_they_were_written(text: str) -> None:
    assert shown(markdown.code(text)) == text


def test_code_in_a_sentence_stays_code_and_is_not_escaped() -> None:
    assert "<code>a*b_c*d</code>" in GFM.render(markdown.prose("run `a*b_c*d` again"))


def test_an_interval_before_a_parenthesis_is_no_link() -> None:
    assert "<a" not in GFM.render(markdown.prose("[1, 2](3 seeds)"))


def test_a_table_keeps_its_columns_whatever_is_in_its_cells() -> None:
    rows = [Row((Text(text, code=True), Text(text), Number(units.share, 0.5))) for text in NASTY]
    text = markdown.table(finished("T", [Column("a|b", numeric=False), Column("b"), Column("c")], rows))
    cells = GFM.render(text).split("</tr>")
    assert [row.count("</td>") for row in cells[1:-1]] == [3] * len(NASTY)


def test_the_best_is_bold_without_its_interval_and_the_mark_follows_the_number() -> None:
    cell = Number(units.ratio, 5.3, Interval(low=5.1, high=5.5), best=True)
    assert markdown.cell(cell, intervals=True) == "**5.30×** [5.10, 5.50]"
    assert markdown.cell(cell, intervals=False) == "**5.30×**"
    marked = Number(units.ratio, 5.3, Interval(low=5.1, high=5.5), "unstable", reason="drift", mark=2)
    assert markdown.cell(marked, intervals=True) == "5.30× (unstable)² [5.10, 5.50]"


def test_a_section_of_words_has_no_table() -> None:
    assert markdown.table(Table("T", (), (), ("One *reason*.", "Another."))) == "One \\*reason\\*.\n\nAnother."


def test_every_table_of_a_report_renders_as_a_table(sample) -> None:
    text = render(Content(sample))
    html = GFM.render(text)
    assert html.count("<table>") == len(re.findall(r"^\| :?---", text, flags=re.MULTILINE))
    assert "Example CPU | 4 cores" in html
    for table in re.findall(r"<table>.*?</table>", html, flags=re.DOTALL):
        widths = {row.count("</th>") + row.count("</td>") for row in table.split("</tr>")[:-1]}
        assert len(widths) == 1


def test_a_report_names_no_path_of_the_machine(sample) -> None:
    assert "/home" not in render(Content(sample))
