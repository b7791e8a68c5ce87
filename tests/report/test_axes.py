"""Sweeps of threads, ways of calling and runtimes in the report."""

import pytest

from kdbench.report import tables
from kdbench.report.axes import batched_axes, configurations, format_axes, format_calls, headline
from kdbench.report.tables.latency import speedups
from kdbench.report.text import method
from kdbench.results.records import Interval, Pair, measured, missing

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}
PACED = {**SINGLE, "mode": "paced", "gap_ms": 5}
SERVED = {**SINGLE, "mode": "server", "rate_per_s": 80}
TORCH = {**SINGLE, "runtime": "torch"}
TIMES = tuple(f"latency_{which}_ns" for which in ("p50", "p90", "p95", "p99", "mean"))


def at(axes, value):
    return [
        measured(name, metric, factor * value, axes=axes, interval=Interval(low=1.0, high=1e9), n=50)
        for name, factor in (("teacher", 5), ("student-kd", 1))
        for metric in ("latency_p50_ns", "latency_mean_ns")
    ]


@pytest.fixture
def swept(sample):
    """The sample's configurations and three more, which come first in the record."""
    more = [m for axes, value in ((SERVED, 4e5), (PACED, 3e5), (TORCH, 2e5)) for m in at(axes, value)]
    pairs = [
        Pair(metric="latency_ratio", teacher="teacher", student="student-kd", axes=axes, value=value, n=5)
        for axes, value in ((PACED, 4.5), (TORCH, 3.5))
    ]
    return sample.model_copy(update={"measurements": (*more, *sample.measurements), "pairs": (*pairs, *sample.pairs)})


def test_back_to_back_calls_are_the_headline(swept):
    assert headline(swept) == SINGLE
    assert configurations(swept)[2:] == [PACED, SERVED, TORCH]
    assert batched_axes(swept) == {**SINGLE, "batch": 128}


def test_latency_table_has_a_calls_column(swept):
    table = tables.latency(swept)
    assert [c.head for c in table.columns[1:5]] == ["Threads", "Batch", "Runtime", "Calls"]
    calls = {tuple(cell.text for cell in row.cells[3:5]) for row in table.rows}
    assert calls == {
        ("onnxruntime", "back to back"),
        ("onnxruntime", "5 ms idle before each"),
        ("onnxruntime", "80 /s at random"),
        ("torch", "back to back"),
    }


def test_speed_ups_of_every_configuration_have_a_table_if_there_are_more_than_the_headline(swept, sample):
    assert speedups(sample).rows == ()
    table = speedups(swept)
    of_kd = {tuple(c.text for c in row.cells[1:]) for row in table.rows if row.cells[0].text == "student-kd"}
    assert of_kd == {
        ("1", "1", "onnxruntime", "back to back", "5.35×"),
        ("1", "128", "onnxruntime", "back to back", "7.90×"),
        ("1", "1", "onnxruntime", "5 ms idle before each", "4.50×"),
        ("1", "1", "torch", "back to back", "3.50×"),
    }
    assert table in tables.build_tables(swept)


def test_a_time_under_arrivals_holds_the_wait_and_there_is_throughput_only_back_to_back(swept, sample):
    assert "including the wait" in tables.latency(swept).notes[0]
    assert "wait" not in tables.latency(sample).notes[0]
    rates = {
        row.cells[4].text: row.cells[-1].text for row in tables.latency(swept).rows if row.cells[3].text != "torch"
    }
    assert rates["80 /s at random"] == rates["5 ms idle before each"] == "–"
    assert " /s" in rates["back to back"]


def test_waits_have_no_ratio(sample):
    served = [m.model_copy(update={"axes": SERVED}) for m in sample.measurements if m.axes == SINGLE]
    others = [m for m in sample.measurements if m.axes.get("threads") is None]
    pairs = [pair for pair in sample.pairs if pair.metric != "latency_ratio"]
    table = tables.ratios(sample.model_copy(update={"measurements": (*served, *others), "pairs": tuple(pairs)}))
    assert {row.cells[2].text for row in table.rows} == {"n/a (no ratio of waiting times)"}


def test_axes_in_words():
    assert format_axes(SERVED) == "batch 1, 1 thread, cpu provider, 80 calls per second at random"
    assert format_axes(PACED) == "batch 1, 1 thread, cpu provider, 5 ms idle before each call"
    assert format_axes(TORCH) == "batch 1, 1 thread, cpu provider, runtime torch"
    assert format_calls({"mode": "offline"}) == "offline"


@pytest.mark.parametrize(
    ("stopped", "why"), [("budget", "the budget was spent"), ("precise", "the precision was reached")]
)
def test_note_gives_the_reason_why_sampling_stopped(sample, stopped, why):
    settings = {"sessions": 5, "sessions_taken": 7, "stopped": stopped, "widest_interval": 0.0321, "precision": 0.05}
    record = sample.model_copy(update={"protocol": {**sample.protocol, **settings}})
    (sampling,) = [note for note in method.notes(record) if "sessions until" in note]
    assert f"7 sessions until {why}; the widest headline interval is 3.2 % of its value" in sampling
    assert "requested precision 5 %" in sampling


def test_note_gives_the_run_to_run_variation(sample):
    assert "run-to-run" not in method.notes(sample)[0]
    record = sample.model_copy(update={"protocol": {**sample.protocol, "resolution": 0.005}})
    assert (
        "choice of sessions and blocks, and a standard error of 0.5 % for run-to-run variation"
        in method.notes(record)[0]
    )


def test_a_runtime_that_cannot_run_a_model_has_a_note_instead_of_rows(swept):
    refused = [
        missing(name, metric, "weights unknown", axes={**TORCH, "batch": batch}, hint="measure the run's own file")
        for name in ("teacher", "student-alone")
        for batch in (1, 8)
        for metric in (*TIMES, "throughput_per_s")
    ]
    kept = [m for m in swept.measurements if m.axes.get("runtime") is None]
    table = tables.latency(swept.model_copy(update={"measurements": (*kept, *refused)}))
    assert {row.cells[3].text for row in table.rows} == {"onnxruntime"}
    why = "weights unknown; measure the run's own file"
    assert f"Not measured with torch: `teacher`, `student-alone` ({why})." in table.notes


def test_runtime_that_fails_in_one_mode_keeps_its_rows(swept):
    served = {**TORCH, "mode": "server", "rate_per_s": 9}
    late = [missing("teacher", metric, "busy 120 % of the time", axes=served) for metric in TIMES]
    table = tables.latency(swept.model_copy(update={"measurements": (*swept.measurements, *late)}))
    assert ("teacher", "torch", "9 /s at random") in {tuple(row.cells[i].text for i in (0, 3, 4)) for row in table.rows}
    assert not [note for note in table.notes if note.startswith("Not measured")]


def test_a_runtime_that_is_alone_has_rows_of_reasons(sample):
    refused = [missing("teacher", metric, "weights unknown", axes=TORCH) for metric in TIMES]
    others = [m for m in sample.measurements if not m.metric.startswith("latency_") and m.metric != "throughput_per_s"]
    table = tables.latency(sample.model_copy(update={"measurements": (*others, *refused)}))
    assert [row.cells[0].text for row in table.rows] == ["teacher"]


def test_note_omits_axes_that_have_a_column(swept):
    kept = [m for m in swept.measurements if m.axes.get("mode") in {"paced", "server"}]
    others = [m for m in swept.measurements if m.axes.get("threads") is None]
    note = tables.latency(swept.model_copy(update={"measurements": (*kept, *others)})).notes[0]
    assert note.endswith("All at cpu provider.")
