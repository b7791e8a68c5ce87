import pytest

from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target
from kdbench.results.run_folder import RunFolder
from kdbench.results.verdicts import write_verdicts


@pytest.fixture
def run(tmp_path, record):
    folder = tmp_path / "run"
    folder.mkdir()
    record.write(folder / "record.json")
    return folder


def test_the_tables_of_a_record_are_printed_and_nothing_is_written(run_cli, run):
    ended = run_cli("show", run)
    assert ended.code == 0
    assert "50.00 %" in ended.out
    assert "report:" not in ended.out
    assert [path.name for path in run.iterdir()] == ["record.json"]
    (run / "report.html").touch()
    assert f"report: {run / 'report.html'}\n" in run_cli("show", run / "record.json").out


def test_json_is_the_record_with_its_folder_and_the_verdicts_on_it(run_cli, run, record):
    assert run_cli("show", run, "--json").json == {**record.to_json(), "folder": str(run)}
    verdict = judge(record, load_target("server-cpu"))
    write_verdicts([verdict], RunFolder(run))
    assert run_cli("show", run, "--json").json["verdicts"] == [verdict.to_json()]
    shown = run_cli("show", run)
    assert shown.code == 0
    assert f"verdict: {verdict.overall} for {verdict.title}" in shown.out


def test_styles_are_tables_too(run_cli, run):
    ended = run_cli("show", run, "--style", "summary")
    assert ended.code == 0
    assert "Top-1 Accuracy" in ended.out
    assert "50.00 %" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style", "summary,sweep"], "style sweep does not apply"),
        (["--style", "sumary"], "did you mean 'summary'?"),
        (["--style", "summary", "--json"], "cannot be combined with --json"),
    ],
)
def test_what_cannot_be_shown_prints_no_table(run_cli, run, arguments, message):
    ended = run_cli("show", run, *arguments)
    assert ended.code == 3
    assert message in ended.err
    assert "50.00" not in ended.out
