import json
from pathlib import Path

import pytest

from kdbench.results.records import RunRecord


@pytest.fixture
def run(tmp_path, record) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    record.write(folder / "record.json")
    return folder


def test_the_report_is_written_beside_the_record(run_cli, run):
    ended = run_cli("report", run)
    assert ended.code == 0
    assert ended.out.splitlines()[0] == str(run / "report.md")
    assert (run / "report.md").read_text().startswith("#")


def test_several_formats_go_where_they_are_wanted(run_cli, run, tmp_path):
    ended = run_cli("report", run / "record.json", "--format", "csv,json", "--format", "md", "--out", tmp_path / "x")
    assert ended.code == 0
    assert {"report.csv", "report.json", "report.md"} <= {path.name for path in (tmp_path / "x").iterdir()}
    assert not (run / "report.md").exists()


def test_a_home_folder_that_the_shell_left_in_an_option_is_found(run, run_cli, tmp_path, monkeypatch):
    """`--out=~/x`, of which bash expands nothing."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert run_cli("report", run, "--format=csv", "--out=~/reports").code == 0
    assert run_cli("history", run, "--markdown=~/h.md", "--out=~/history").code == 0
    assert run_cli("compare", run, run, "--junit=~/c.xml", "--markdown=~/c.md").code == 0
    written = {path.name for path in (tmp_path / "home").iterdir()}
    assert written == {"reports", "h.md", "history", "c.xml", "c.md"}
    assert not (tmp_path / "~").exists()


def test_json_names_the_files(run_cli, run):
    files = run_cli("report", run, "--format", "csv", "--json").json["files"]
    assert files == [str(run / "report.csv")]


def test_an_unknown_format_writes_nothing(run_cli, run):
    ended = run_cli("report", run, "--format", "md", "--format", "cvs")
    assert ended.code == 3
    assert "did you mean 'csv'?" in ended.err
    assert [path.name for path in run.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a readable record"),
        ('{"schema": 1, "kind"', "is not a readable record"),
        ('{"schema": 99}', "record schema 99"),
        ('{"schema": 1, "kind": "run"}', "is not a valid record"),
        ("[]", "record schema None"),
    ],
)
def test_what_is_no_record(run_cli, run, content, message):
    (run / "record.json").write_text(content)
    ended = run_cli("report", run)
    assert ended.code == 3
    assert message in ended.err


def test_a_folder_without_a_record(run_cli, tmp_path):
    ended = run_cli("report", tmp_path)
    assert ended.code == 3
    assert "no record at" in ended.err


def test_a_folder_that_cannot_be_written(run_cli, run, tmp_path):
    (tmp_path / "file").touch()
    ended = run_cli("report", run, "--out", tmp_path / "file" / "below")
    assert ended.code == 3
    assert "cannot be written" in ended.err


def test_the_record_is_left_as_it_was(run_cli, run, record):
    before = (run / "record.json").read_bytes()
    run_cli("report", run, "--format", "json")
    assert (run / "record.json").read_bytes() == before
    assert RunRecord.model_validate(json.loads(before)) == record


def test_a_style_is_written_beside_the_report(run_cli, run):
    run_cli("report", run)
    ended = run_cli("report", run, "--style", "summary", "--format", "md,csv")
    assert ended.out.split() == [str(run / "report-summary.md"), str(run / "report-summary.csv")]
    assert (run / "report.md").exists()
    assert "Top-1 Accuracy" in (run / "report-summary.md").read_text()


def test_a_style_has_no_verdict(run_cli, run):
    ended = run_cli("report", run, "--style", "summary", "--target", "server-cpu")
    assert ended.code == 3
    assert "a style shows no verdict" in ended.err


def test_a_style_that_does_not_apply_writes_nothing_of_the_others_either(run_cli, run):
    ended = run_cli("report", run, "--style", "summary", "--style", "sweep")
    assert ended.code == 3
    assert "style sweep does not apply: tiny has no sweep" in ended.err
    assert "summary" in ended.err.partition("hint: ")[2]
    assert [path.name for path in run.iterdir()] == ["record.json"]


def test_markdown_for_pasting_writes_no_file(run_cli, run):
    ended = run_cli("report", run, "--style", "summary", "--stdout")
    assert ended.out.startswith("# tiny\n\n## Quantitative Analysis Summary\n\n| Model | Top-1 Accuracy |")
    assert run_cli("report", run, "--stdout").out.startswith("# tiny\n")
    assert [path.name for path in run.iterdir()] == ["record.json"]


@pytest.mark.parametrize("other", [["--out", "x"], ["--format", "csv"], ["--json"]])
def test_what_is_printed_for_pasting_is_markdown_and_nothing_else(run_cli, run, other):
    ended = run_cli("report", run, "--stdout", *other)
    assert ended.code == 3
    assert f"cannot be combined with {other[0]}" in ended.err
