import errno
import json
import shutil

import numpy as np
import pytest

from kdbench import data
from kdbench.api.study import run
from kdbench.distill.training import fit
from kdbench.errors import DivergedError, InputError, StorageError
from kdbench.export.onnx import Parity
from kdbench.measure.bench_model import network_of
from kdbench.meters.choice import choose
from kdbench.meters.meter import Unavailable
from kdbench.progress import Silent
from kdbench.recipe.loading import recipe_from
from kdbench.results.records import RunRecord
from kdbench.worker.jobs import Network
from kdbench.workflows.stages import export
from kdbench.workflows.train import train


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A quarter of the embedded digits as the user's archive."""
    digits = data.load("digits")
    path = tmp_path_factory.mktemp("data") / "some-digits.npz"
    np.savez(
        path,
        x_train=digits.train.inputs[::4],
        y_train=digits.train.labels[::4],
        x_test=digits.test.inputs,
        y_test=digits.test.labels,
    )
    return path


def content(archive, **keys):
    small = {"name": "convnet", "widths": [4, 8]}
    return {
        "name": "small",
        "data": {"name": f"npz:{archive}", "validation": 0.2},
        "training": {"epochs": 2, "batch": 32, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.01}},
        "teacher": [{"name": "teacher", "model": {"name": "convnet", "widths": [16, 32]}, "training": {"epochs": 3}}],
        "student": [
            {"name": "alone", "model": small},
            {"name": "kd", "model": small, "terms": [{"method": "kd"}]},
            {"name": "hint", "model": small, "terms": [{"method": "hint"}]},
        ],
        "measure": {"budget_s": 0.2, "sessions": 2, "batch": 16},
        **keys,
    }


def measured_content(archive, **keys):
    """As `content`, without the distilled student of the same network."""
    settings = content(archive, **keys)
    return {**settings, "student": [student for student in settings["student"] if student["name"] != "kd"]}


class RecordedProgress(Silent):
    def __init__(self):
        self.stages, self.notes = [], []

    def stage(self, title, number, total):
        self.stages.append((title, number, total))

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def finished(archive, tmp_path_factory):
    """A complete run: record, folder, and the reported progress."""
    progress = RecordedProgress()
    out = tmp_path_factory.mktemp("run") / "out"
    record, folder = run(
        recipe_from(measured_content(archive)), out, progress=progress, command="kdbench run small.toml"
    )
    return record, folder, progress


@pytest.mark.slow
class TestRun:
    def test_every_model_has_the_numbers_a_person_decides_by(self, finished):
        record, _, _ = finished
        assert [card.role for card in record.models] == ["teacher", "student", "student"]
        for card in record.models:
            for metric in (
                "top1",
                "top5",
                "loss",
                "latency_p50_ns",
                "macs",
                "size_bytes",
                "training_s",
                "parity_max_abs",
            ):
                measurement = record.find(card.id, metric)
                assert measurement is not None, (card.id, metric)
                assert measurement.status in {"ok", "unstable"}, measurement
                assert measurement.value > 0, measurement

    def test_students_are_compared_with_their_teacher(self, finished):
        record, _, _ = finished
        for student in ("alone", "hint"):
            for metric in ("latency_ratio", "size_ratio", "macs_ratio", "top1_drop"):
                pair = record.find_pair(student, metric)
                assert pair is not None, metric
                assert pair.teacher == "teacher"
            assert record.find_pair(student, "macs_ratio").value > 5
            drop = record.find("teacher", "top1").value - record.find(student, "top1").value
            assert record.find_pair(student, "top1_drop").value == pytest.approx(100 * drop)
            # Where two models differ in accuracy they disagree at least that often.
            assert 0.1 < record.find(student, "agreement").value <= 1 - abs(drop)

    def test_there_is_energy_or_the_reason_why_not(self, finished):
        record, _, _ = finished
        measurement = record.find("hint", "energy_j")
        leading = choose("cpu", estimate=False).leading
        if isinstance(leading, Unavailable):
            assert (measurement.status, measurement.reason) == ("unavailable", leading.reason)
        else:
            assert 1e-9 < measurement.value < 1  # nanojoules to a joule: a call of microseconds at up to some 100 W

    def test_the_folder_contains_the_result_of_every_stage(self, finished):
        record, folder, _ = finished
        assert RunRecord.read(folder) == record
        for card in record.models:
            assert (folder / card.file).exists()
            assert json.loads((folder / "models" / f"{card.id}.card.json").read_text())["sha256"] == card.sha256
            assert (folder / "checkpoints" / card.id / fit.WEIGHTS).exists()
            assert isinstance(network_of(card, folder / card.file), Network)
        text = (folder / "report.md").read_text()
        assert "kdbench run small.toml" in text
        assert "kdbench run small.toml" in (folder / "report.html").read_text()
        with np.load(folder / "samples.npz", allow_pickle=False) as samples:
            assert {f"{card.id}/correct" for card in record.models} <= set(samples.files)
            assert {f"{card.id}/cpu-t1-b{batch}/ns" for card in record.models for batch in (1, 16)} <= set(
                samples.files
            )

    def test_hint_regressors_do_not_ship(self, finished):
        record, _, _ = finished
        assert record.find("hint", "macs").value == record.find("alone", "macs").value
        assert record.find("hint", "parameters").value == record.find("alone", "parameters").value

    def test_stages_are_announced_in_order_and_numbered(self, finished):
        _, _, progress = finished
        assert [number for _, number, _ in progress.stages] == list(range(1, 7))
        assert {total for *_, total in progress.stages} == {6}
        assert progress.stages[-1][0] == "report"

    def test_resume_keeps_what_was_trained_and_trains_what_changed(self, finished, archive, tmp_path):
        _, finished_folder, _ = finished
        folder = tmp_path / "unfinished"
        shutil.copytree(finished_folder, folder)
        (folder / "record.json").unlink()
        before = {path: path.stat().st_mtime_ns for path in folder.glob("checkpoints/*/weights.safetensors")}
        progress = RecordedProgress()
        recipe = recipe_from(measured_content(archive))
        alone, hint = recipe.student
        edited = recipe.model_copy(update={"student": (alone, hint.model_copy(update={"ce_weight": 0.5}))})
        train(edited, folder, resume=True, progress=progress)
        after = {path: path.stat().st_mtime_ns for path in before}
        assert {path.parent.name for path in before if before[path] != after[path]} == {"hint"}
        assert len(progress.notes) == 2

    def test_a_finished_run_is_not_lost_to_other_settings_or_another_recipe(self, finished, archive):
        _, folder, _ = finished
        before = (folder / "recipe.json").read_bytes()
        with pytest.raises(InputError, match="with other settings"):
            run(recipe_from(measured_content(archive, seeds=[5])), folder, resume=True)
        with pytest.raises(InputError, match="holds a run of the recipe 'small'"):
            train(recipe_from(measured_content(archive, name="other")), folder, resume=True)
        assert (folder / "recipe.json").read_bytes() == before

    def test_a_finished_run_of_a_recipe_that_is_refused_by_now_is_not_lost_either(self, finished, archive, tmp_path):
        _, finished_folder, _ = finished
        folder = tmp_path / "earlier"
        shutil.copytree(finished_folder, folder)
        earlier = json.loads((folder / "recipe.json").read_text())
        earlier["student"][0]["training"]["stop_at"] = 1000
        (folder / "recipe.json").write_text(json.dumps(earlier))
        with pytest.raises(InputError, match="with other settings") as caught:
            run(recipe_from(measured_content(archive)), folder, resume=True)
        assert caught.value.hint == "choose another folder with --out"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": [{"name": "t", "model": "resnet21"}]}, "not 21"),
        ({"teacher": [{"name": "t", "model": {"name": "convnet", "width": 3}}]}, "unknown option 'width'"),
        ({"student": [{"name": "s", "model": "convnet", "terms": [{"method": "kdd"}]}]}, "unknown method 'kdd'"),
        (
            {"student": [{"name": "s", "model": "convnet", "terms": [{"method": "hint", "student_layer": "x"}]}]},
            "has no layer 'x'",
        ),
        ({"data": {"name": "mnits"}}, "unknown data set 'mnits'"),
    ],
)
def test_what_is_misspelt_is_refused_before_anything_is_trained(archive, tmp_path, change, message):
    recipe = recipe_from({**content(archive), **change})
    with pytest.raises(InputError, match=message):
        train(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_reported_and_finished_trainings_stay(archive, tmp_path, monkeypatch):
    recipe = recipe_from(content(archive))
    real = fit.save_file

    def full(tensors, path):
        if "kd" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(fit, "save_file", full)
    with pytest.raises(StorageError, match="disk is full") as caught:
        train(recipe, tmp_path / "out")
    assert "--resume" in caught.value.hint
    assert {path.parent.name for path in tmp_path.glob("out/checkpoints/*/training.json")} == {"teacher", "alone"}
    monkeypatch.undo()
    progress = RecordedProgress()
    train(recipe, tmp_path / "out", resume=True, progress=progress)
    assert progress.notes == ["teacher: already trained", "alone: already trained"]


@pytest.mark.slow
@pytest.mark.usefixtures("short_run")
def test_models_that_fail_parity_are_not_measured_and_the_record_says_so(archive, tmp_path, monkeypatch):
    """Neither one whose file differs, nor one whose logits are no numbers, which is an error after all is written."""
    differences = {"kd": Parity(9.0, 1e-3, 5), "lost": Parity(float("nan"), 1.0, 5)}
    real = export.check_parity
    monkeypatch.setattr(
        export,
        "check_parity",
        lambda network, path, images, **how: differences.get(path.stem) or real(network, path, images, **how),
    )
    settings, small = content(archive), "64-16-10"  # exported in half the time of a convnet
    alone, kd = ({**student, "model": small} for student in settings["student"][:2])
    settings["teacher"] = [{"name": name, "model": small, "training": {"epochs": 1}} for name in ("teacher", "lost")]
    settings["student"] = [alone, {**kd, "teacher": "teacher"}, {**alone, "name": "student", "teacher": "lost"}]
    with pytest.raises(DivergedError, match="lost: no accuracy"):
        run(recipe_from(settings), tmp_path / "out")
    assert (tmp_path / "out" / "report.md").exists()
    record = RunRecord.read(tmp_path / "out")

    assert record.find("kd", "parity_max_abs").status == "invalid"
    measured = {m.metric for m in record.measurements if m.model == "alone"}
    for metric in measured - {"parity_max_abs", "training_s", "training_j"}:
        assert record.find("kd", metric).status == "unavailable", metric
        assert "differs from the network by 9" in record.find("kd", metric).reason
        assert {tuple(m.axes.items()) for m in record.measurements if m.metric == metric and m.model == "kd"} <= {
            (), *(tuple(m.axes.items()) for m in record.measurements if m.metric == metric and m.model == "alone")
        }  # fmt: skip
    assert (
        record.find_pair("kd", "latency_ratio", batch=1).reason
        == f"kd was not measured: {record.find('kd', 'top1').reason}"
    )

    assert "NaN or infinite" in record.find("lost", "top1").reason
    ratio = record.find_pair("student", "latency_ratio", batch=1)
    assert (ratio.value, ratio.reason) == (None, f"lost was not measured: {record.find('lost', 'top1').reason}")
    assert record.find("student", "agreement").reason == ratio.reason
    assert record.find("alone", "top1").status == record.find("student", "top1").status == "ok"
    failed = [warning.model for warning in record.warnings if warning.code == "parity_failed"]
    assert sorted(failed) == ["kd", "lost"]
