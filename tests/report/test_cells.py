import pytest

from kdbench import units
from kdbench.report.cells import Number, Text, bracketed, portable, sentence, shortened
from kdbench.report.table import Column, Row, Table, finished
from kdbench.results.records import Interval

SHARE = Column("Top-1", higher_is_better=True)
TIME = Column("Latency", higher_is_better=False)


def shares(*values: float | None, **last: object) -> list[Number]:
    """Return cells of shares; the keywords are those of the last cell."""
    cells = [Number(units.share, value, reason="" if value is not None else "not measured") for value in values]
    return [*cells[:-1], Number(units.share, values[-1], **last)] if last else cells


def one_column(column: Column, cells: list[Number], groups: list[str | None] | None = None) -> Table:
    groups = groups or ["students"] * len(cells)
    return finished("T", [column], [Row((cell,), group) for cell, group in zip(cells, groups, strict=True)])


def best(table: Table) -> list[bool]:
    return [cell.best for row in table.rows for cell in row.cells if isinstance(cell, Number)]


def test_the_best_is_the_highest_or_the_lowest_as_the_column_says() -> None:
    assert best(one_column(SHARE, shares(0.9, 0.95, 0.8))) == [False, True, False]
    cells = [Number(units.time, value) for value in (3e6, 1e6, 2e6)]
    assert best(one_column(TIME, cells)) == [False, True, False]
    assert best(one_column(Column("Seeds"), cells)) == [False, False, False]


def test_numbers_that_print_the_same_tie() -> None:
    assert best(one_column(SHARE, shares(0.97502, 0.97498, 0.97))) == [True, True, False]


@pytest.mark.parametrize("out_of_contest", [{"evidence": "estimated"}, {"comparable": False, "aside": "batch 8"}])
def test_estimates_and_numbers_of_other_settings_never_win(out_of_contest: dict[str, object]) -> None:
    assert best(one_column(SHARE, shares(0.9, 0.8, 0.99, **out_of_contest))) == [True, False, False]


def test_an_unstable_number_shows_its_interval_and_a_mark_and_may_win() -> None:
    shaky = Number(
        units.time, 76.9e3, Interval(low=60e3, high=95e3), "unstable", reason="sessions differ by 24 %", aside="batch 8"
    )
    assert shaky.text == "76.9 µs [60.0, 95.0] (batch 8) (unstable)"
    assert shaky.interval_text == ""
    assert shaky.with_interval == shaky.text
    assert Number(units.time, 76.9e3, status="unstable").text == "76.9 µs (unstable)"
    assert best(one_column(SHARE, shares(0.9, 0.8, 0.99, status="unstable", reason="?"))) == [False, False, True]


def test_modelled_numbers_are_not_ranked_against_measured_ones() -> None:
    modelled = {"evidence": "modelled"}
    assert best(one_column(SHARE, shares(0.9, 0.8, 0.99, **modelled))) == [True, False, False]
    cells = [Number(units.share, value, evidence="modelled") for value in (0.9, 0.8)]
    assert best(one_column(SHARE, cells)) == [True, False]


def test_the_best_of_one_is_not_flagged_and_groups_do_not_mix() -> None:
    assert best(one_column(SHARE, shares(0.9, None))) == [False, False]
    assert best(one_column(SHARE, shares(0.99, 0.9, 0.8), [None, "students", "students"])) == [False, True, False]
    assert best(one_column(SHARE, shares(0.9, 0.8, 0.7, 0.6), ["a", "a", "b", "b"])) == [True, False, True, False]


def test_zero_can_be_the_best() -> None:
    cells = [Number(units.points, value) for value in (0.5, 0.0, 0.7)]
    assert best(one_column(TIME, cells)) == [False, True, False]


def test_a_missing_number_says_why_and_a_short_reason_needs_no_footnote() -> None:
    cell = Number(units.energy, reason="no counter")
    assert (cell.text, cell.footnote) == ("n/a (no counter)", "")


def test_a_long_reason_or_a_hint_becomes_a_footnote_shared_by_equal_cells() -> None:
    long = Number(units.energy, reason="no energy counter: /sys/class/powercap is empty", hint="run as root")
    short = Number(units.energy, reason="no counter", hint="buy one.")
    table = one_column(Column("Energy"), [long, short, long])
    assert [cell.superscript for row in table.rows for cell in row.cells if isinstance(cell, Number)] == ["¹", "²", "¹"]
    assert table.footnotes == (
        "No energy counter: /sys/class/powercap is empty. Run as root.",
        "Buy one.",  # the cell says why
    )
    assert long.text == "n/a (no energy counter)"


def test_estimates_and_unstable_numbers_are_marked_in_the_text() -> None:
    assert Number(units.energy, 0.012, evidence="estimated").text == "~12 mJ (est.)"
    assert Number(units.time, 1e6, status="unstable", reason="drift").text == "1.00 ms (unstable)"
    assert Number(units.time, 1e6, aside="batch 8").text == "1.00 ms (batch 8)"


@pytest.mark.parametrize(
    ("value", "write", "text"),
    [
        (0.01234, units.energy, "~12 mJ (est.)"),
        (0.996, units.energy, "~1.0 J (est.)"),
        (3.149, units.ratio, "~3.1× (est.)"),
        (1249, units.ratio, "~1,200× (est.)"),
    ],
)
def test_an_estimate_has_two_digits_and_no_interval(value, write, text) -> None:
    cell = Number(write, value, Interval(low=0.9 * value, high=1.1 * value), evidence="estimated")
    assert (cell.text, cell.interval_text) == (text, "")


def energy(value: float, half: float, **more: object) -> Number:
    interval = Interval(low=value - half, high=value + half)
    return Number(units.energy, value, interval, plus_minus=units.energy_plus_minus, **more)


def test_where_the_uncertainty_is_in_the_text_there_are_no_brackets() -> None:
    cell = energy(0.0123, 0.0004)
    assert (cell.text, cell.interval_text) == ("12.3 ± 0.4 mJ", "")
    shaky = energy(0.0123, 0.0004, status="unstable", reason="idle power changed by 8 %", aside="batch 8")
    assert shaky.text == "12.3 ± 0.4 mJ (batch 8) (unstable)"


def test_an_interval_that_is_not_symmetric_is_bracketed() -> None:
    cell = Number(units.energy, 0.0123, Interval(low=0.012, high=0.014), plus_minus=units.energy_plus_minus)
    assert (cell.text, cell.interval_text) == ("12.3 mJ", "[12.0, 14.0]")
    bare = Number(units.energy, 0.0123, plus_minus=units.energy_plus_minus)
    assert (bare.text, bare.interval_text) == ("12.3 mJ", "")


def test_energies_that_print_the_same_tie_whatever_their_uncertainties_but_not_in_other_units() -> None:
    column = Column("Energy", higher_is_better=False)
    assert best(one_column(column, [energy(0.0121, 0.003), energy(0.0119, 0.004), energy(0.012e-3, 4e-6)])) == [
        False,
        False,
        True,
    ]
    tied = [energy(0.0121, 0.003), energy(0.0119, 0.004), energy(0.0221, 0.004)]
    assert best(one_column(column, tied)) == [True, True, False]


def test_none_is_the_best_where_all_are_equal() -> None:
    assert best(one_column(SHARE, shares(0.9, 0.9, 0.9))) == [False, False, False]


def test_words_alone_are_shown_and_a_table_without_rows_is_not() -> None:
    assert Table("T", (), (), ("why there is nothing",)).shown
    assert not Table("T", (), ()).shown
    assert not Table("T", (SHARE,), (), ("a note",)).shown


def test_footnote_marks_beyond_nine() -> None:
    assert Number(str, mark=12).superscript == "¹²"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("needs 662 samples, has 410", "needs 662 samples, has 410"),
        ("no counter; the driver is not loaded on this machine", "no counter"),
        ("the quick brown fox jumps over the lazy dog and on", "the quick brown fox jumps over…"),
        ("RAPL: permission denied", "RAPL: permission denied"),
        ("RAPL: no counters under /sys/class/powercap", "RAPL: no counters under…"),
        ("two\n  lines", "two lines"),
    ],
)
def test_reasons_are_shortened_at_their_first_clause_or_word(reason: str, shown: str) -> None:
    assert shortened(reason) == shown
    assert len(shortened(reason)) <= 32


def test_sentences() -> None:
    assert sentence("run it  again") == "Run it again."
    assert sentence("student-kd is unstable") == "student-kd is unstable."
    assert sentence("teacher: not run at batch 8") == "teacher: not run at batch 8."
    assert sentence("`kdbench run` does it!") == "`kdbench run` does it!"
    assert not sentence("")


@pytest.mark.parametrize(
    ("value", "low", "high", "write", "text"),
    [
        (5.3, 5.1, 5.5, units.ratio, "[5.10, 5.50]"),
        (0.978, 0.96, 0.99, units.share, "[96.00, 99.00]"),
        (0.5, -0.6, 1.7, units.points, "[-0.60, +1.70]"),
        (990e3, 980e3, 1.02e6, units.time, "[980 µs, 1.02 ms]"),
        (2e-5, 1e-5, 3e-5, units.number, "[1.0e-05, 3.0e-05]"),
        (1250, 1200, 1300, units.ratio, "[1,200, 1,300]"),
    ],
)
def test_intervals_leave_out_the_unit_they_share_with_the_value(value, low, high, write, text) -> None:
    assert bracketed(value, Interval(low=low, high=high), write) == text


def test_a_row_that_does_not_fit_its_columns_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Table("T", (SHARE,), (Row((Text("a"), Text("b"))),))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("kdbench bench /home/a/models/x.onnx --out /tmp/r-1", "kdbench bench x.onnx --out r-1"),
        ("cannot read '/home/a b'", "cannot read 'a b'"),
        (r"kdbench bench C:\Users\a\x.onnx", "kdbench bench x.onnx"),
        ("pets on folder:/home/a/pets", "pets on folder:pets"),
        ("--out=/root/runs/", "--out=runs"),
        ("/sys/class/powercap is empty", "/sys/class/powercap is empty"),
        ("see https://github.com/a/b/c", "see https://github.com/a/b/c"),
        ("runs/digits at 12 images/s, ~/data/x", "runs/digits at 12 images/s, ~/data/x"),
        ("teacher / student", "teacher / student"),
    ],
)
def test_absolute_paths_are_shortened_and_nothing_else(text: str, shown: str) -> None:
    assert portable(text) == shown


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(6.3e-23, 2.3e25, "[0, ∞]"), (0.04, 3e7, "[0.0400, 30,000,000]"), (0.0, 40.0, "[0, 40.0]")],
)
def test_ends_of_an_interval_that_say_nothing_have_no_digits(low: float, high: float, text: str) -> None:
    assert bracketed(38.2, Interval(low=low, high=high), units.significant) == text
