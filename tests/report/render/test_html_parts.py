"""The cells, heads, anchors and prose of `report.html`."""

from kdbench import units
from kdbench.report.cells import Number, Text
from kdbench.report.render import html
from kdbench.report.table import Column, Row, finished
from kdbench.results.records import Interval


def test_a_column_of_several_units_tells_texts_alone():
    rows = [
        Row((Text("a"), Number(units.time, 5.0))),
        Row((Text("b"), Number(units.size, 7.0, Interval(low=6, high=8)))),
    ]
    table = finished("T", [Column("Model", numeric=False), Column("Measured")], rows)
    assert html.unit(table, 1) == ""
    assert not any("data-" in cell for row in html.rows(table, "t") for cell in row)


def test_a_footnote_leads_to_its_number_and_back():
    lost = Number(units.time, reason="a reason that is too long to stand in the cell itself", hint="try again")
    rows = [Row((Text("a"), lost)), Row((Text("b"), lost))]
    first, second = html.rows(finished("T", [Column("Model", numeric=False), Column("X")], rows), "t")
    assert 'id="t-ref-1" href="#t-note-1"' in first[1]
    assert "id=" not in second[1]
    assert 'href="#t-note-1"' in second[1]


def test_a_long_name_may_be_broken_and_a_short_one_not():
    rows = [Row((Text(name, code=True),)) for name in ("student", "s" * 40)]
    (brief,), (lengthy,) = html.rows(finished("T", [Column("Model", numeric=False)], rows), "t")
    assert 'class="long"' in lengthy
    assert "class" not in brief


def test_a_head_is_not_broken_at_its_hyphens():
    assert html.unbroken("Top-1 drop <b>") == '<span class="word">Top-1</span> drop &lt;b&gt;'


def test_anchors_are_legible_and_unique():
    assert html.anchors(["Student against teacher", "KL, Test!", "Warnings", "¿?"], ["warnings"]) == {
        "Student against teacher": "student-against-teacher",
        "KL, Test!": "kl-test",
        "Warnings": "warnings-2",
        "¿?": "table",
    }


def test_backticks_become_code_and_other_text_is_escaped():
    assert html.prose("run `a<b` & see /home/me/x.toml") == "run <code>a&lt;b</code> &amp; see x.toml"


def test_a_backtick_in_a_name_is_part_of_the_name():
    assert html.prose("`a`b.onnx`: a`b.onnx has `x`.") == "<code>a`b.onnx</code>: a`b.onnx has <code>x</code>."


def test_an_outcome_has_a_word_and_a_class_for_its_symbol():
    table = finished(
        "T", [Column("Model", numeric=False), Column("Outcome", numeric=False)], [Row((Text("a"), Text("FAIL")))]
    )
    assert '<span class="outcome bad">FAIL</span>' in html.rows(table, "t")[0][1]
    assert [html.outcome(text) for text in ("READY for a board", "NOT READY", "INCONCLUSIVE", "other")] == [
        "good",
        "bad",
        "open",
        "",
    ]


def test_heads_keep_hyphenated_words_together_and_words_of_any_length():
    assert html.unbroken("Speed-up of x") == '<span class="word">Speed-up</span> of x'
    assert html.unbroken("x" * 300_000) == "x" * 300_000
