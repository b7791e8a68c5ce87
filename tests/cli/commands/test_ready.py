"""`kdbench ready`: exit codes, what is printed and kept, and how the report shows it."""

import json
from pathlib import Path

import pytest

from kdbench.cli.verdicts import exit_code, load_targets, show_results
from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, Interval, RunRecord, measured
from kdbench.results.run_folder import RunFolder
from kdbench.results.verdicts import Verdict
from kdbench.workflows.stages.results import RunResults, write_results

ANY_MACHINE = '[[criterion]]\nmetric = "top1"\nmin = "{limit}"\n'


@pytest.fixture
def record() -> RunRecord:
    cards = tuple(
        ModelCard(id=id_, name=id_, role=role, parents=parents, file=f"{id_}.onnx", sha256="0" * 64,
                  input_shape=(1, 8, 8), classes=10, parameters=1000)
        for id_, role, parents in (
            ("big", "teacher", ()),
            ("small", "student", ("big",)),
            ("tiny", "student", ("big",)),
        )
    )  # fmt: skip
    top1 = {"big": 0.95, "small": 0.90, "tiny": 0.60}
    return RunRecord(
        kind="bench",
        name="bench",
        created="2025-01-01T00:00:00Z",
        command="kdbench bench",
        protocol={"provider": "cpu"},
        environment=Environment(host={"cpu": "Some laptop"}, libraries={}),
        models=cards,
        measurements=tuple(
            measurement
            for id_, share in top1.items()
            for measurement in (
                measured(id_, "top1", share, interval=Interval(low=share - 0.01, high=share + 0.01), n=3000),
                measured(id_, "size_bytes", 5e6),
            )
        ),
    )


@pytest.fixture
def run(tmp_path, record) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    record.write(folder / "record.json")
    return folder


@pytest.fixture
def target(tmp_path):
    """Return the maker of a target's file that asks for a top-1 accuracy on any machine."""

    def write(limit: str, name: str = "mine") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(ANY_MACHINE.format(limit=limit))
        return path

    return write


@pytest.mark.parametrize(
    ("limit", "code", "overall"), [("85 %", 0, "READY"), ("90 %", 2, "INCONCLUSIVE"), ("99 %", 1, "NOT READY")]
)
def test_the_exit_code_is_the_verdict(run_cli, run, target, limit, code, overall):
    ended = run_cli("ready", run, "--target", target(limit))
    assert ended.code == code
    assert ended.out.startswith(f"{overall} for mine: ")
    assert Verdict.read(run / "verdicts" / "mine.json").overall == overall


def test_every_criterion_of_every_candidate_is_shown_in_words(run_cli, run, target):
    out = run_cli("ready", run, "--target", target("90 %")).out
    lines = [line.split() for line in out.splitlines()]
    (small,) = (line for line in lines if line[:1] == ["small"])
    assert " ".join(small).startswith("small Top-1 ≥ 90 % 90.00 % [89.00, 91.00] MARGINAL")
    (tiny,) = (line for line in lines if line[:1] == ["tiny"])
    assert " ".join(tiny) == "tiny Top-1 ≥ 90 % 60.00 % [59.00, 61.00] FAIL 30.00 points short."
    assert not any(line[:1] == ["big"] for line in lines)


def test_the_models_to_judge_can_be_named(run_cli, run, target):
    ended = run_cli("ready", run, "--target", target("85 %"), "--model", "tiny", "--model", "big", "--json")
    assert [model["model"] for model in ended.json["verdicts"][0]["models"]] == ["tiny", "big"]
    assert ended.json["verdicts"][0]["best"] == "big"
    assert not (run / "verdicts").exists()


def test_a_model_that_is_not_the_one_that_was_measured_is_refused(run_cli, run, target):
    (run / "small.onnx").write_bytes(b"another")
    ended = run_cli("ready", run, "--target", target("85 %"))
    assert ended.code == 3
    assert "small.onnx is not the file that the record describes" in ended.err
    assert not (run / "verdicts").exists()


def test_json_is_the_verdict_as_it_is_kept(run_cli, run, target):
    ended = run_cli("ready", run, "--target", target("99 %"), "--json")
    assert ended.code == 1
    assert ended.json.keys() == {"exit_code", "verdicts", "files"}
    assert ended.json["exit_code"] == 1
    (kept,) = ended.json["files"]
    assert ended.json["verdicts"] == [json.loads(Path(kept).read_text())]
    assert Verdict.model_validate(ended.json["verdicts"][0]).overall == "NOT READY"


@pytest.mark.parametrize(
    ("limits", "code"),
    [(("85 %", "85 %"), 0), (("85 %", "90 %"), 2), (("90 %", "85 %"), 2), (("90 %", "99 %"), 1), (("99 %", "85 %"), 1)],
)
def test_of_several_targets_a_no_counts_most_and_then_an_open_question(run_cli, run, target, limits, code):
    paths = [target(limit, name) for limit, name in zip(limits, "ab", strict=True)]
    ended = run_cli("ready", run, "--target", paths[0], "--target", paths[1])
    assert ended.code == code
    assert sorted(path.name for path in (run / "verdicts").iterdir()) == ["a.json", "b.json"]
    assert ended.out.index("for a:") < ended.out.index("for b:")


def test_no_target_is_no_gate():
    assert exit_code([]) == 0


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((), "no target is named", "raspberry-pi-5"),
        (("--target", "server-cup"), "unknown target", "did you mean 'server-cpu'?"),
        (("--target", "server-cpu", "--model", "smal"), "the record has no model 'smal'", "did you mean 'small'?"),
    ],
)
def test_wrong_input_is_explained_and_keeps_nothing(run_cli, run, arguments, message, hint):
    ended = run_cli("ready", run, *arguments)
    assert ended.code == 3
    assert message in ended.err
    assert hint in ended.err
    assert [path.name for path in run.iterdir()] == ["record.json"]


def test_two_targets_of_one_name_would_overwrite_each_other(run_cli, run, target, tmp_path):
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "mine.toml"
    path.write_text(ANY_MACHINE.format(limit="1 %"))
    ended = run_cli("ready", run, "--target", target("85 %"), "--target", path)
    assert ended.code == 3
    assert "two targets are called 'mine'" in ended.err


def test_a_run_that_is_not_there(run_cli, tmp_path):
    ended = run_cli("ready", tmp_path / "nowhere", "--target", "server-cpu")
    assert ended.code == 3
    assert "no record at" in ended.err


def test_a_verdict_that_cannot_be_stored_is_shown(run_cli, run, target):
    (run / "verdicts").write_text("a file, where the folder should be")
    ended = run_cli("ready", run, "--target", target("85 %"), "--json")
    assert ended.code == 0
    assert "note: the verdict is shown but not stored" in ended.err
    assert ended.json["files"] == []


def test_the_folder_of_a_record_gets_the_verdict_and_that_of_any_other_file_does_not(run_cli, run, target, record):
    record.write(run / "copy.json")
    assert run_cli("ready", run / "copy.json", "--target", target("85 %"), "--json").json["files"] == []
    assert not (run / "verdicts").exists()
    assert run_cli("ready", run / "record.json", "--target", target("85 %"), "--json").json["files"]
    assert (run / "verdicts" / "mine.json").exists()


def test_the_report_begins_with_the_verdict(run_cli, run, target):
    run_cli("report", run)
    assert "Readiness" not in (run / "report.md").read_text()
    run_cli("ready", run, "--target", target("85 %"))
    run_cli("report", run)
    report = (run / "report.md").read_text()
    assert report.index("## Readiness for mine") < report.index("## The run") < report.index("## Summary")
    assert "READY for mine: `small` " in report
    assert "| `tiny` | Top-1 | ≥ 85 % | 60.00 % [59.00, 61.00] | FAIL | 25.00 points short. |" in report


def test_a_verdict_on_an_older_state_of_the_record_is_not_shown(run_cli, run, target, record):
    run_cli("ready", run, "--target", target("85 %"))
    record.model_copy(update={"title": "measured again"}).write(run / "record.json")
    run_cli("report", run)
    assert "Readiness" not in (run / "report.md").read_text()


def test_a_report_can_be_judged_for_itself(run_cli, run, target):
    run_cli("ready", run, "--target", target("85 %", "kept"), "--target", target("85 %", "both"))
    ended = run_cli("report", run, "--target", target("99 %", "new"), "--target", target("99 %", "both"))
    assert ended.code == 0
    report = (run / "report.md").read_text()
    assert "NOT READY for new" in report
    assert "NOT READY for both" in report
    assert "\nREADY for kept" in report
    assert "\nREADY for both" not in report
    assert not (run / "verdicts" / "new.json").exists()


@pytest.mark.parametrize("command", ["run", "bench", "report"])
def test_a_misspelt_target_is_told_before_any_work(run_cli, run, command, tmp_path):
    work = {"run": "digits", "bench": tmp_path / "none.onnx", "report": run}[command]
    ended = run_cli(command, work, "--target", "server-cup", *(["--no-accuracy"] if command == "bench" else []))
    assert ended.code == 3
    assert "did you mean 'server-cpu'?" in ended.err
    assert not (run / "report.md").exists()


@pytest.mark.parametrize(("limit", "code"), [("85 %", 0), ("90 %", 2), ("99 %", 1)])
def test_a_run_with_a_target_keeps_shows_and_ends_with_its_verdict(capsys, record, run, target, limit, code):
    targets = load_targets([str(target(limit))])
    results = write_results(record, {}, RunFolder(run), targets)
    assert "Readiness for mine" in (run / "report.md").read_text()
    assert show_results(results, json=True) == code
    shown = json.loads(capsys.readouterr().out)
    assert shown["verdicts"] == [json.loads((run / "verdicts" / "mine.json").read_text())]
    assert show_results(results, json=False) == code
    out = capsys.readouterr().out
    assert out.index("report: ") < out.index(" for mine: ") < out.index("PASS" if code == 0 else "FAIL")


def test_a_run_without_a_target_ends_well_whatever_it_found(capsys, record, tmp_path):
    assert show_results(RunResults(RunFolder(tmp_path), record, {}), json=True) == 0
    assert "verdicts" not in json.loads(capsys.readouterr().out)


def test_targets_may_be_separated_by_commas(run_cli, run):
    ended = run_cli("ready", run, "--target", "server-cpu,raspberry-pi-5", "--json")
    assert [verdict["target"] for verdict in ended.json["verdicts"]] == ["server-cpu", "raspberry-pi-5"]
