from pathlib import Path

import pytest

from kdbench.errors import InputError
from kdbench.results.run_folder import RunFolder, choose_folder


def make_run(path):
    path.mkdir(parents=True)
    RunFolder(path).marker.write_text("{}")
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", [".", "record.json", "report.md", "report.html", "report-summary.md"])
def test_a_run_is_named_by_its_folder_record_or_report(tmp_path, name):
    RunFolder(tmp_path).record.write_text("{}")
    assert RunFolder.of(tmp_path / name) == RunFolder(tmp_path)


def test_a_record_may_have_another_name(tmp_path):
    (tmp_path / "baseline.json").write_text("{}")
    assert RunFolder.of(tmp_path / "baseline.json").record == tmp_path / "baseline.json"


@pytest.mark.parametrize("name", [".", "nowhere", "nowhere.json", "report.md"])
def test_a_path_without_a_record_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="no record at"):
        RunFolder.of(tmp_path / name)


@pytest.mark.parametrize("typed", ["runs/frist", "run/first", "RUNS/First", "first", "frist", "runs/first.d"])
def test_the_run_that_was_meant_is_named(typed):
    for name in ("first", "other"):
        RunFolder(make_run(Path("runs", name))).record.write_text("{}")
    with pytest.raises(InputError) as caught:
        RunFolder.of(typed)
    assert caught.value.hint.endswith("did you mean 'runs/first'?")


def test_without_a_similar_name_the_runs_below_runs_are_listed():
    with pytest.raises(InputError) as caught:
        RunFolder.of("a")
    assert caught.value.hint == "name a run's folder or its record.json"
    for number in range(7):
        RunFolder(make_run(Path("runs", f"run-{number}"))).record.write_text("{}")
    with pytest.raises(InputError) as caught:
        RunFolder.of("a")
    assert caught.value.hint.endswith("; there are: " + ", ".join(f"runs/run-{number}" for number in range(2, 7)))


def test_a_model_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match="is a model, not a record"):
        RunFolder.of(tmp_path / "student.onnx")


def test_the_runs_in_a_folder_of_runs_are_named(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        RunFolder(tmp_path / name).record.write_text("{}")
    with pytest.raises(InputError, match="a folder of runs") as caught:
        RunFolder.of(tmp_path)
    assert caught.value.hint == "name one of them: first, second"


def test_a_named_folder_is_used_whether_it_exists_or_not(tmp_path):
    assert choose_folder("digits", tmp_path / "new") == tmp_path / "new"
    (tmp_path / "other").mkdir()
    assert choose_folder("digits", tmp_path / "other") == tmp_path / "other"


def test_without_a_name_the_recipe_and_the_time_make_one():
    chosen = choose_folder("digits", None)
    assert chosen.parent.name == "runs"
    assert chosen.name.startswith("digits-2")


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    earlier = make_run(tmp_path / "earlier")
    with pytest.raises(InputError, match="already holds a run") as caught:
        choose_folder("digits", earlier)
    assert "--resume" in caught.value.hint
    assert choose_folder("digits", earlier, resume=True) == earlier


@pytest.mark.parametrize("resume", [False, True])
def test_a_bench_is_neither_overwritten_nor_resumed(tmp_path, resume):
    RunFolder(tmp_path).record.write_text("{}")
    with pytest.raises(InputError, match="already holds a record"):
        choose_folder("bench", tmp_path, resume=resume)


def test_resume_without_a_folder_takes_the_newest_of_that_name(tmp_path):
    make_run(tmp_path / "runs" / "digits-20260101-000000")
    newest = make_run(tmp_path / "runs" / "digits-20260201-000000")
    make_run(tmp_path / "runs" / "mnist_dense-20260301-000000")
    assert choose_folder("digits", None, resume=True).resolve() == newest


def test_nothing_to_resume_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no run of 'digits'"):
        choose_folder("digits", None, resume=True)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        choose_folder("digits", tmp_path / "file")
