from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kdbench.results.records import Environment, Interval, RunRecord, measured, missing


@pytest.fixture
def runs(tmp_path, record) -> Path:
    """Return a folder of ten runs: slower and less accurate from the seventh on, and a file that is no record."""
    for day in range(10):
        time = (1.3 if day >= 6 else 1.0) * (1e6 + 1e3 * (day % 3))
        latency = measured(
            "teacher",
            "latency_p50_ns",
            time,
            axes={"provider": "cpu", "threads": 1, "batch": 1},
            interval=Interval(low=0.99 * time, high=1.01 * time),
        )
        if day == 2:
            latency = missing("teacher", "latency_p50_ns", "the process died", axes=latency.axes)
        update = {
            "created": (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day)).isoformat(),
            "environment": Environment(
                host={"cpu": "EPYC"}, libraries={}, git_commit=f"{day}" * 40, git_dirty=day == 1
            ),
            "measurements": (latency, measured("teacher", "size_bytes", 900 if day < 6 else 800)),
        }
        folder = tmp_path / "runs" / f"night-{day}"
        folder.mkdir(parents=True)
        record.model_copy(update=update).write(folder / "record.json")
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "record.json").write_text("[]")
    return tmp_path / "runs"


def test_the_table_marks_the_change_and_a_sentence_tells_it(run_cli, runs):
    ended = run_cli("history", runs, "--metric", "latency_p50_ns")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split(";")[0] == "Latency p50 of teacher, batch 1, 1 thread, cpu provider"
    (marked,) = [line for line in lines if line.startswith(" 2026-03-07")]
    assert "666666666" in marked
    assert "night-6" in marked
    assert "1.30 ms [1.29, 1.31]" in marked
    assert "worse" in marked
    assert any("111111111 (changed)" in line for line in lines)
    assert any("n/a (the process died)" in line for line in lines)
    (sentence,) = [line for line in lines if line.startswith("1 change in 9 points: ")]
    assert sentence.startswith("1 change in 9 points: 2026-03-07 at 666666666: +")
    assert "other is left out" in ended.err


def test_studies_and_test_sets_are_told_apart(run_cli, tmp_path, record):
    of_one = record.model_copy(update={"name": "one", "measurements": (measured("teacher", "top1", 0.9),)})
    again = of_one.model_copy(update={"protocol": {"test_set_sha256": "abcdef0123456789"}})
    for name, variant in {"a": of_one, "b": again, "c": of_one.model_copy(update={"name": "two"})}.items():
        (tmp_path / name).mkdir()
        variant.write(tmp_path / name / "record.json")
    lines = run_cli("history", tmp_path, "--metric", "top1").out.splitlines()
    assert [line for line in lines if line.startswith("Top-1 of")] == [
        "Top-1 of teacher in one, test set unknown",
        "Top-1 of teacher in one, test set abcdef01",
        "Top-1 of teacher in two",
    ]


def test_without_a_metric_the_main_ones_are_told(run_cli, runs):
    out = run_cli("history", runs).out
    assert "Latency p50 of teacher" in out
    assert "1 change in 10 points: 2026-03-07 at 666666666: -11.1 %, better." in out


def test_json_holds_the_series(run_cli, runs):
    output = run_cli("history", runs, "--metric", "latency_p50_ns", "--model", "teacher", "--json").json
    (series,) = output["series"]
    assert [change["at"] for change in series["changes"]] == [6]
    assert series["points"][2]["reason"] == "the process died"
    assert output["records"] == 10
    assert output["files"] == []
    assert len(output["notes"]) == 1


def test_out_holds_markdown_and_a_figure_a_series(run_cli, runs, tmp_path):
    ended = run_cli("history", runs, "--out", tmp_path / "told")
    folder = tmp_path / "told"
    text = (folder / "history.md").read_text()
    figures = sorted(path.name for path in (folder / "figures").iterdir())
    assert figures == ["history-1-latency_p50_ns-teacher.svg", "history-2-size_bytes-teacher.svg"]
    assert all(f"figures/{name}" in text for name in figures)
    assert "## Not included\n\n- other is left out" in text
    assert str(tmp_path) not in text
    svg = (folder / "figures" / figures[0]).read_text()
    assert "worse" in svg
    assert "666666666" in svg
    assert str(folder / "history.md") in ended.out.splitlines()


def test_markdown_alone_goes_to_a_file(run_cli, runs, tmp_path):
    run_cli("history", runs, "--metric", "size_bytes", "--markdown", tmp_path / "new" / "size.md")
    text = (tmp_path / "new" / "size.md").read_text()
    assert text.startswith("# History\n\n10 records, 1 series.")
    assert "| 2026-03-07 00:00 | 666666666 | night-6 | 800 B | -11.1 %, better |" in text
    assert "figures/" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "latency_p50"], "did you mean 'latency_p50_ns'?"),
        (["--metric", "latency_p50_ns", "--axes", "batch=2"], "no record has latency_p50_ns at batch=2"),
        (["--metric", "latency_p50_ns", "--axes", "batch"], "is not of the form key=value"),
        (["--model", "student"], "no record has a model 'student'"),
    ],
)
def test_what_there_is_not_is_refused(run_cli, runs, arguments, message):
    ended = run_cli("history", runs, *arguments)
    assert ended.code == 3
    assert message in ended.err


def test_an_empty_folder_is_refused(run_cli, tmp_path):
    ended = run_cli("history", tmp_path)
    assert ended.code == 3
    assert "no record below" in ended.err


def test_one_record_is_a_history_too(run_cli, tmp_path, record: RunRecord):
    record.write(tmp_path / "record.json")
    out = run_cli("history", tmp_path / "record.json").out
    assert "50.00 %" in out
    assert "Changes were not analysed" in out


def test_of_a_long_series_the_terminal_shows_the_newest_points_and_the_changes(run_cli, runs, monkeypatch):
    monkeypatch.setattr("kdbench.cli.commands.history._NEWEST", 2)
    out = run_cli("history", runs, "--metric", "latency_p50_ns").out
    assert [line.split()[0] for line in out.splitlines() if line.startswith(" 2026-")] == [
        "2026-03-07",
        "2026-03-09",
        "2026-03-10",
    ]
    assert "7 older points are in --json" in out
    assert "1 change in 9 points" in out
