"""Long tables keep the rows that a reader looks for, and say what they leave out; files for programs keep all."""

import csv
import io

import pytest
from rich.console import Console

from benchmarks.growth.records import Parts, synthetic_record
from kdbench import report
from kdbench.report.cells import Number
from kdbench.report.figures.selection import FEW_CURVES, drawn_order
from kdbench.report.render import terminal
from kdbench.report.shortening import shortened
from kdbench.report.tables.accuracy import calibration
from kdbench.report.tables.summary import summary
from kdbench.results.records import Diagnostic

PARTS = Parts(classes=0, energy=False, offline=False, layers=False, seeds=False)
MODELS = 60


@pytest.fixture(scope="module")
def many():
    """A record of 60 models, some of whose numbers are missing."""
    return synthetic_record(MODELS, parts=PARTS)


@pytest.fixture
def no_figures(monkeypatch):
    """Draw nothing: other tests draw."""
    monkeypatch.setattr(report, "draw", lambda *_: [])


def texts(table):
    return [tuple(cell.text for cell in row.cells) for row in table.rows]


def test_a_table_that_fits_is_the_same(many):
    table = summary(many)
    assert len(table.rows) == MODELS
    assert shortened(table, many) is table
    assert shortened(table, many, most=MODELS, few=5) is table


def test_of_a_long_one_the_best_and_the_models_of_figures_stay_in_order(many):
    whole = summary(many)
    table = shortened(whole, many, most=MODELS - 1, few=30)
    assert len(table.rows) == 30
    assert table.left_out == MODELS - 30
    assert f"30 of {MODELS} rows" in table.notes[0]
    assert table.notes[1:] == whole.notes
    kept = [row[0] for row in texts(table)]
    assert kept == [label for label in (row[0] for row in texts(whole)) if label in kept]
    assert {group.label for group in drawn_order(many)[:FEW_CURVES]} <= {*kept}
    score = next(place for place, column in enumerate(whole.columns) if column.head == "Top-1")
    best = [row.cells[0].text for row in whole.rows if row.cells[score].best]
    assert {*best} <= {*kept}


def test_footnotes_are_those_of_the_rows_that_stay(many):
    table = shortened(calibration(many), many, most=10, few=5)
    marks = [cell.mark for row in table.rows for cell in row.cells if isinstance(cell, Number) and cell.mark]
    assert len(calibration(many).footnotes) > 0
    assert [*dict.fromkeys(marks)] == [*range(1, len(table.footnotes) + 1)]


@pytest.mark.usefixtures("no_figures")
def test_reports_of_many_models_are_short_and_files_for_programs_are_not(many, tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.report.shortening.shortened.__defaults__", (20, 10))
    warnings = [Diagnostic(code="unstable", message=f"blocks {n} differ", remedy="again") for n in range(300)]
    record = many.model_copy(update={"warnings": tuple(warnings)})
    report.write(record, tmp_path, ("md", "html", "csv", "json"))
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert text.count(f"of {MODELS} rows") >= 3
        assert "280 more such warnings" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert {row["model"] for row in rows} == {card.id for card in record.models}
    assert len(rows) == len(record.measurements) + len(record.pairs)


def test_the_terminal_says_how_many_rows_it_leaves_out(many, monkeypatch):
    monkeypatch.setattr(terminal, "_MAX_ROWS", 20)
    monkeypatch.setattr(terminal, "_FEW_ROWS", 10)
    stream = io.StringIO()
    Console(file=stream, width=160).print(terminal.summary(many))
    assert f"{MODELS - 10} more rows are not shown" in stream.getvalue()


@pytest.mark.usefixtures("no_figures")
def test_the_recipe_of_a_large_sweep_is_left_to_the_record(many, tmp_path, monkeypatch):
    assert "[data]\n" in report.write(many, tmp_path)[0].read_text()
    monkeypatch.setattr("kdbench.report.render.MAX_ROWS", MODELS - 1)
    text = report.write(many, tmp_path)[0].read_text()
    assert "[data]\n" not in text
    assert "under `recipe`" in text
