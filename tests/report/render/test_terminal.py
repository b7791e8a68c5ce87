import io
import re

import pytest
from rich.console import Console

from kdbench.report.render.terminal import summary


def printed(record, width: int, **options: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(summary(record))
    return stream.getvalue()


def test_at_100_columns_no_energy_of_the_summary_is_broken(metered) -> None:
    text = printed(metered, 100)
    assert "Summary, latency at batch 1, 1 thread, cpu provider; energy at batch 128" in text
    assert "4.42 ± 0.13 J" in text
    assert "579 ± 17 mJ" in text
    assert "[4.97, 5.26]" in text


@pytest.mark.parametrize("width", [30, 40, 50, 60, 72, 80, 100, 160])
def test_the_tables_fit_the_terminal_and_break_no_number_or_name(sample, width: int) -> None:
    text = printed(sample, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    numbers = ("97.78 %", "226 µs", "381 kB", "4.9296 G", "5.35×", "+0.55", "399.44 M")
    for shown in ("teacher", "student-alone", "n/a¹", "latency", *numbers):
        assert shown in text


def test_at_100_columns_no_number_of_the_tables_is_broken(sample) -> None:
    text = printed(sample, 100)
    for shown in ("[5.15, 5.54]", "[-0.60, +1.70]", "100.00 %", "399.44 M", "Avg. latency", "Training time"):
        assert shown in text


def test_the_best_is_bold_or_starred_where_nothing_can_be_bold(sample) -> None:
    assert "97.78 %*" in printed(sample, 100)
    assert "* best of the students" in printed(sample, 100)
    coloured = printed(sample, 100, force_terminal=True, color_system="standard")
    assert "*" not in coloured
    assert re.search(r"\x1b\[1m *97\.78 %\x1b\[0m", coloured)


def test_reasons_and_remedies_are_printed(sample) -> None:
    text = " ".join(printed(sample, 100).split())
    assert "¹ No energy counter could be read: /sys/class/powercap is empty" in text
    assert "warning: student-hint: the sessions" in text
    assert "close other programs and run again with a larger --budget" in text


def test_text_that_looks_like_markup_is_printed_as_it_is(make_record, make_card) -> None:
    card = make_card("teacher", id="x", name="[bold]x[/bold]")
    record = make_record(models=[card], measurements=(), pairs=(), warnings=())
    assert "[bold]x[/bold]" in printed(record, 100)


def test_several_teachers_are_named_in_the_rows(make_record, make_card, sample) -> None:
    second = make_card("teacher", id="second", name="second")
    pair = sample.pairs[0].model_copy(update={"teacher": "second", "student": "student-kd"})
    others = [pair for pair in sample.pairs if pair.student != "student-kd"]
    text = printed(make_record(models=(*sample.models, second), pairs=(*others, pair)), 160)
    assert "Student against teacher" in text
    assert "second" in text


def test_summary_states_the_axes_of_latency_and_offline_has_a_table(swept) -> None:
    text = printed(swept, 160)
    assert "Summary, latency at batch 1, 1 thread, cpu provider" in text
    assert "Throughput (offline)" in text
    assert "14,000 /s" in text
