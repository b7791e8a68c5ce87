import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from kdbench import units
from kdbench.characters import one_line
from kdbench.report import Content
from kdbench.report.cells import Number, Text
from kdbench.report.render.markdown import render
from kdbench.report.table import Column, Row, Table, finished
from kdbench.report.text import markdown
from kdbench.results.records import Interval

GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = st.text(st.one_of(st.sampled_from("`*_~<>[]()!#@&;:/\\|$-+=.1ax \n"), st.characters(exclude_categories=())))
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


def test_a_backtick_in_a_name_is_part_of_the_name() -> None:
    assert "<code>a`b.onnx</code> and <code>x</code>." in GFM.render(markdown.prose("`a`b.onnx` and `x`."))


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
    assert markdown.cell(marked, intervals=True) == "5.30× [5.10, 5.50] (unstable)²"


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


def inline(text: str) -> list[Token]:
    """Return the parts of the one paragraph that `text` is."""
    tokens = GFM.parse(text)
    kinds = [token.type for token in tokens]
    assert kinds == ["paragraph_open", "inline", "paragraph_close"], kinds
    return tokens[1].children or []


def words(parts: list[Token]) -> str:
    """Return the text that a reader sees; spaces without width, which end links, are not seen."""
    assert {part.type for part in parts} <= {"text", "text_special", "code_inline"}
    return "".join(part.content for part in parts).replace("\u200b", "")


@given(HOSTILE)
@example("``<img src=x>`")
@example("`a`` <b>` ``c`")
@example("[a]: https://a.example")
@example("1. ```x")
@example("- [ ] # > x")
def test_foreign_text_is_text(text: str) -> None:
    seen = " ".join(one_line(text).split())
    if shown_text := markdown.prose(text):
        parts = inline(shown_text)
        # Backticks of code spans are not seen, and a span of blanks is kept.
        assert words(parts).replace("`", "").replace(" ", "") == seen.replace("`", "").replace(" ", "")
        plain = "".join(part.content for part in parts if part.type != "code_inline")
        assert not re.search(r"@\w|://|www\.|#\d", plain)
    else:
        assert not seen


@given(HOSTILE)
def test_a_name_is_one_code_span_that_shows_it(text: str) -> None:
    if name := one_line(text):
        parts = inline(markdown.code(text)) if name.strip() else []
        assert [part.content for part in parts if part.content] == ([name] if name.strip() else [])


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_a_table_has_a_row_for_each_whatever_they_are(texts: list[str]) -> None:
    rows = [Row((Text(f"name{text}", code=True), Text(f"x{text}"), Number(units.share, 0.5))) for text in texts]
    tokens = GFM.parse(markdown.table(finished("T", [Column("a", numeric=False), Column("b"), Column("c")], rows)))
    kinds = [token.type for token in tokens]
    assert (kinds.count("tr_open"), kinds.count("td_open")) == (len(texts) + 1, 3 * len(texts))
    assert "html_block" not in kinds
    cells = [token.children or [] for token in tokens if token.type == "inline"][3:]
    assert all(part.type in {"text", "text_special", "code_inline"} for cell in cells for part in cell)
    assert [cells[3 * place][0].content for place in range(len(texts))] == [one_line(f"name{text}") for text in texts]


@given(HOSTILE)
def test_a_block_of_code_ends_where_it_should(text: str) -> None:
    block, after = (token for token in GFM.parse(f"{markdown.code_block(text, 'sh')}\n\nafter") if token.content)
    assert (block.type, after.content) == ("fence", "after")


@given(HOSTILE)
def test_an_image_is_the_one_that_is_meant(text: str) -> None:
    (image,) = inline(markdown.image(text, "figures/a.svg"))
    assert (image.type, image.attrs["src"]) == ("image", "figures/a.svg")


@pytest.mark.parametrize(
    "text",
    ["@octocat", "a@b.example", "https://a.example", "www.a.example", "#12", "GH-1", ":tada:", "$x$", "mailto:a"],
)
def test_what_github_makes_active_has_a_break(text: str) -> None:
    assert "&#8203;" in markdown.prose(text) or "&#36;" in markdown.prose(text)
    assert shown(markdown.prose(text)).replace("\u200b", "") == text
