"""The record that a workflow assembles from findings."""

import re
import shlex
from pathlib import Path

import pytest

from kdbench.cli.main import main
from kdbench.errors import StorageError
from kdbench.judge.target import load_target, target_from
from kdbench.recipe import Measure
from kdbench.recipe.loading import load_recipe
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Findings
from kdbench.results.records import Diagnostic, Environment, RunRecord, measured, missing
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.results import assemble_record, write_results

CARD = ModelCard(
    id="m", name="m", role="student", file="m.onnx", sha256="0" * 64, input_shape=(1, 8, 8), classes=10, parameters=1
)
FINDINGS = Findings(
    measurements=(
        missing("m", "latency_p99_ns", "too few samples", hint="give it a longer --budget"),
        missing("m", "energy_j", "no meter"),
    ),
    warnings=(Diagnostic(code="shared_core", message="it is shared", remedy="name others with --cores"),),
)


@pytest.mark.parametrize(
    ("recipe", "hint", "remedy"),
    [
        (None, "give it a longer --budget", "name others with --cores"),
        ("digits", "give it a longer measure.budget_s", "name others with measure.cores"),
    ],
)
def test_hints_name_what_the_command_accepts(recipe, hint, remedy):
    record = _assembled(None if recipe is None else load_recipe(recipe))
    assert [m.hint for m in record.measurements] == [hint, None]
    assert [w.remedy for w in record.warnings] == [remedy]


def test_a_report_that_cannot_be_written_is_written_from_the_record(tmp_path):
    record, folder = _assembled(), RunFolder(tmp_path / "a run")
    (folder.path / "report.md").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be written") as caught:
        write_results(record, {}, folder)
    assert f"kdbench report '{folder.path}' --format md,html writes the reports" in caught.value.hint
    assert RunRecord.read(folder.record) == record


@pytest.mark.parametrize(("name", "named"), [("server-cpu", "server-cpu"), ("mine", "mine.toml")])
def test_verdicts_that_cannot_be_written_are_stored_by_the_commands_of_the_hint(tmp_path, monkeypatch, name, named):
    record, folder = _assembled(), RunFolder(tmp_path)
    record = record.model_copy(update={"measurements": (measured("m", "size_bytes", 10.0),)})
    folder.verdicts.touch()  # no folder can be made there
    target = target_from({"name": name, "criterion": [{"metric": "size_bytes", "max": 20}]})
    with pytest.raises(StorageError) as caught:
        write_results(record, {}, folder, [target])
    folder.verdicts.unlink()
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('[[criterion]]\nmetric = "size_bytes"\nmax = 20\n')
    ready, report = re.findall(r"kdbench (ready .*?) stores .* kdbench (report .*?) writes", caught.value.hint)[0]
    assert main(shlex.split(ready)) in {0, 1, 2}
    assert f"--target {named}" in ready
    assert main(shlex.split(report)) == 0
    assert folder.verdict(name).is_file()
    assert f"Readiness for {load_target(named).description}" in (tmp_path / "report.md").read_text()


def _assembled(recipe=None):
    texts = {"kind": "run", "name": "n", "title": "", "command": ""}
    environment = Environment(host={}, libraries={})
    return assemble_record(FINDINGS, Measure(times=False), environment, [CARD], recipe=recipe, **texts)
