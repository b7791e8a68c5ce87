"""A whole sweep in this process, scores alone: against a plain run, resumed, extended, and with a point that fails."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch
from short_runs import shorten
from torch.nn.modules.module import register_module_forward_pre_hook

from kdbench.distill.training import fit
from kdbench.errors import DivergedError, InputError, KdbenchError
from kdbench.export.onnx import Parity
from kdbench.files import storage
from kdbench.recipe.loading import load_sweep, recipe_from
from kdbench.results.records import Environment, RunRecord, measured
from kdbench.workflows.run import run_recipe
from kdbench.workflows.stages import export, results
from kdbench.workflows.stages.export import WrittenModel
from kdbench.workflows.study.run_data import load_run_data
from kdbench.workflows.sweep import outline_sweep, sweep_recipe
from kdbench.workflows.sweeping import estimate, tasks

RATES = {"student.kd.training.optimizer.lr": [0.01, 0.03]}
NEVER_EQUAL = {"training_s"}  # wall times


@pytest.fixture(scope="module")
def content(few_digits):
    small = "64-8-10"
    return {
        "name": "small",
        "data": {"name": few_digits, "validation": 0.2},
        "training": {"epochs": 1, "batch": 32, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.01}},
        "teacher": [{"name": "teacher", "model": "64-16-10"}],
        "student": [{"name": "alone", "model": small}, {"name": "kd", "model": small, "terms": [{"method": "kd"}]}],
        "measure": {"times": False, "energy": "off"},
        "analysis": {"train_samples": 0},
    }


class Counted:
    """The work that was done: trainings, exports and measurements, which are made up, as are reports."""

    def __init__(self, monkeypatch):
        self.trained, self.exported, self.measured, self.failing = [], [], [], ()
        self._fit = fit.fit
        monkeypatch.setattr(fit, "fit", self.fit)
        monkeypatch.setattr(tasks, "write_file", self.write_file)
        monkeypatch.setattr(tasks, "measure_all", self.measure_all)
        monkeypatch.setattr(results, "report", SimpleNamespace(write=lambda *_: [], Content=lambda *_: None))

    def fit(self, *args, **options):
        name = options["folder"].name
        self.trained.append(name)
        if name.startswith(self.failing):
            raise DivergedError("the loss is not finite", "lower the rate")
        return self._fit(*args, **options)

    def write_file(self, job, form, run_data, folder):
        """Write a file of its own for each job, as an export would, which takes seconds."""
        self.exported.append(job.id)
        model = onnx.load(next(folder.path.glob("models/alone*.onnx")))
        model.doc_string = job.id
        onnx.save(model, folder.model(job.id))
        return WrittenModel(Parity(max_abs=0.0, tolerance=1.0, samples=1), 10)

    def measure_all(self, recipe, exports, run_data, folder, progress, command, **_):
        self.measured.append([export.card.id for export in exports])
        cards = tuple(export.card for export in exports)
        numbers = tuple(measured(card.id, "top1", 0.5, n=100) for card in cards)
        environment = Environment(host={}, libraries={})
        known = {"kind": "run", "name": "x", "created": "now", "command": command, "environment": environment}
        return RunRecord(**known, models=cards, measurements=numbers), {}

    @property
    def work(self):
        return len(self.trained), len(self.exported), len(self.measured)


def sweep(recipe, out, *, axes, seeds=None, **options):
    return sweep_recipe(load_sweep(recipe, axes, seeds), out, **options)


@pytest.fixture
def counted(monkeypatch):
    return Counted(monkeypatch)


@pytest.fixture(scope="module")
def done(content, tmp_path_factory):
    """A finished sweep of two points and one seed."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return sweep(content, out, axes=RATES, on="inline")


def weights(folder):
    return {path.parent.name: storage.sha256(path) for path in Path(folder).glob("checkpoints/*/weights.safetensors")}


def numbers(record):
    values = {}
    for m in record.measurements:
        if m.metric not in NEVER_EQUAL:
            values[m.model, m.metric, tuple(sorted(m.axes.items()))] = (m.value, m.interval, m.status)
    for pair in record.pairs:
        values[pair.student, pair.metric, tuple(sorted(pair.axes.items())), pair.teacher] = (pair.value, pair.interval)
    return values


@pytest.mark.slow
class TestSweep:
    @pytest.mark.usefixtures("short_run")
    def test_it_ends_with_the_weights_and_numbers_of_a_plain_run(self, content, done, tmp_path, monkeypatch):
        """The plain run takes the sweep's files, and compares their answers with those of its own networks."""
        monkeypatch.setattr(
            export, "export_onnx", lambda _, __, path, *___: shutil.copyfile(done.folder.model(path.stem), path)
        )
        plain = run_recipe(recipe_from({**content, "sweep": {"axes": RATES}}), tmp_path / "plain")
        assert weights(done.folder.path) == weights(tmp_path / "plain")
        assert numbers(done.record) == numbers(plain.record)
        assert [card.id for card in done.record.models] == [card.id for card in plain.record.models]
        same = {"training", "sha256"}
        for ours, theirs in zip(done.record.models, plain.record.models, strict=True):
            assert ours.model_dump(exclude=same) == theirs.model_dump(exclude=same)
        assert done.record.recipe_hash == plain.record.recipe_hash
        assert {*done.samples} == {*plain.samples}

    def test_every_point_landed_and_the_report_is_there(self, done):
        assert (done.points, done.completed, done.failed, done.exit_code) == (2, 2, {}, 0)
        assert RunRecord.read(done.folder.path) == done.record
        assert "kd-lr0_03" in (done.folder.path / "report.md").read_text()

    def test_done_again_nothing_is_done(self, content, done, counted):
        again = sweep(content, done.folder.path, axes=RATES, on="inline", resume=True)
        assert counted.work == (0, 0, 0)
        assert numbers(again.record) == numbers(done.record)

    def test_a_value_and_a_seed_extend_it(self, content, done, counted, tmp_path):
        folder = shutil.copytree(done.folder.path, tmp_path / "out")
        more = {"student.kd.training.optimizer.lr": [0.01, 0.03, 0.1]}
        outline = outline_sweep(load_sweep(content, more, 2), folder, on="inline", resume=True)
        assert (outline.trainings, outline.trained) == (2 * 5, 4)
        longer = sweep(content, folder, axes=more, seeds=2, on="inline", resume=True)
        assert sorted(counted.trained) == [
            "alone-seed1", "kd-lr0_01-seed1", "kd-lr0_03-seed1", "kd-lr0_1-seed0", "kd-lr0_1-seed1", "teacher-seed1",
        ]  # fmt: skip
        assert sorted(counted.exported) == sorted(counted.trained)
        focus = {models[-1] for models in counted.measured}
        assert not focus & {"alone-seed0", "kd-lr0_01-seed0", "kd-lr0_03-seed0"}, "what was measured keeps its numbers"
        before, after = numbers(done.record), numbers(longer.record)
        for (model, *rest), value in before.items():
            names = [f"{part}-seed0" if part in done.record.cards else part for part in rest]
            names = [_with_seed(part) for part in names]
            assert after[(f"{model}-seed0", *names)] == value
        assert len(longer.record.models) == 10
        card = longer.record.cards["kd-lr0_01-seed0"]
        assert (folder / card.file).exists()
        assert (folder / card.weights).exists()
        assert card.parents == ("teacher-seed0",)

    def test_the_estimate_of_an_interrupted_training_is_that_of_its_remaining_epochs(
        self, content, done, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(estimate, "_timed_step", lambda *_: 1.0)  # seconds a sample
        folder = shutil.copytree(done.folder.path, tmp_path / "out")
        (folder / "models" / "kd-lr0_03.onnx").unlink()
        checkpoint = folder / "checkpoints" / "kd-lr0_03"

        def training_s():
            return outline_sweep(load_sweep(content, RATES), folder, on="inline", resume=True).training_s

        assert training_s() == 0
        curve = (checkpoint / fit.CURVE).read_text().splitlines()
        key = json.loads((checkpoint / fit.SUMMARY).read_text())["key"]
        (checkpoint / fit.WEIGHTS).unlink()
        whole_s = training_s()
        unfinished = storage.make_folder(checkpoint / "unfinished")
        storage.write_json(unfinished / "key.json", {"key": key})
        (unfinished / "latest.ckpt").write_bytes(b"")
        (checkpoint / fit.CURVE).write_text("\n".join(curve[:-1]) + "\n")
        epochs = len(curve) - 1
        assert training_s() == pytest.approx(whole_s / epochs)
        assert whole_s > 100

    def test_results_are_not_left_out_by_a_shorter_sweep(self, content, done):
        fewer = {"student.kd.training.optimizer.lr": [0.01]}
        with pytest.raises(InputError, match=r"has results of kd-lr0_03, which this sweep does not include"):
            sweep(content, done.folder.path, axes=fewer, on="inline", resume=True)
        with pytest.raises(InputError, match=r"has results of kd-lr0_03, which this sweep does not include"):
            outline_sweep(load_sweep(content, fewer), done.folder.path, on="inline", resume=True)

    def test_results_are_not_lost_by_other_settings(self, content, done):
        longer = {**content, "training": {**content.get("training", {}), "epochs": 9}}
        with pytest.raises(InputError, match=r"has results of \S+ and \d more with other settings") as error:
            outline_sweep(load_sweep(longer, RATES), done.folder.path, on="inline", resume=True)
        assert error.value.hint == "choose another folder with --out"

    def test_a_point_that_fails_ends_no_other_and_is_tried_again(self, content, done, counted, tmp_path):
        folder = shutil.copytree(done.folder.path, tmp_path / "out")
        counted.failing = ("kd-lr0_1",)
        axes = {"student.kd.training.optimizer.lr": [0.01, 0.03, 0.1]}
        missing = sweep(content, folder, axes=axes, on="inline", resume=True)
        assert (missing.points, missing.completed, missing.exit_code) == (3, 2, 3)
        assert [*missing.failed] == ["kd-lr0_1"]
        assert "not finite" in missing.failed["kd-lr0_1"].message
        assert "kd-lr0_1" not in missing.record.cards
        assert any("kd-lr0_1 is missing" in warning.message for warning in missing.record.warnings)
        assert counted.work == (1, 0, 0)
        sweep(content, folder, axes=RATES, on="inline", resume=True)  # without it: nothing is lost
        counted.failing = ()
        completed = sweep(content, folder, axes=axes, on="inline", resume=True)
        assert (completed.completed, completed.exit_code, counted.work) == (3, 0, (2, 1, 1))

    def test_a_damaged_file_is_made_again_and_so_is_what_was_measured_of_it(self, content, done, counted, tmp_path):
        folder = shutil.copytree(done.folder.path, tmp_path / "out")
        (folder / "models" / "kd-lr0_03.onnx").write_bytes(b"cut short")
        sweep(content, folder, axes=RATES, on="inline", resume=True)
        assert (counted.trained, counted.exported) == ([], ["kd-lr0_03"])
        assert counted.measured == [["teacher", "alone", "kd-lr0_03"]]

    def test_nothing_to_report_is_an_error(self, content, counted, tmp_path):
        counted.failing = ("teacher",)
        with pytest.raises(KdbenchError, match="no model of the sweep has results: teacher: the loss is not finite"):
            sweep(content, tmp_path / "out", axes=RATES, on="inline")


def test_a_dry_run_writes_nothing_and_says_what_there_is_to_do(content, tmp_path, monkeypatch):
    step_s = 1e-2
    monkeypatch.setattr(estimate, "_timed_step", lambda *_: step_s)  # seconds a sample
    outline = outline_sweep(load_sweep(content, RATES, 3), tmp_path / "out", on="inline")
    assert not (tmp_path / "out").exists()
    outlined = outline.to_json()
    assert (outlined["points"], outlined["trainings"], outlined["models"], outlined["shared"]) == (
        2,
        12,
        12,
        ["teacher", "alone"],
    )
    assert (outlined["logit_tables"], outlined["distilled"], outlined["scored"], outlined["timed"]) == (3, 6, 9, 0)
    samples = load_run_data(recipe_from(content))
    # One epoch and a second for the rest; a forward pass for validation is a third of a step.
    each_s = 1 + step_s * (len(samples.train) + len(samples.validation) / 3)
    assert outline.training_s == pytest.approx(12 * each_s)
    assert json.loads(json.dumps(outlined)) == outlined
    assert "2 points" in next(iter(outline.lines()))


def test_a_dry_run_counts_a_table_of_logits_for_each_way_to_show_the_images(content, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_timed_step", lambda *_: 1e-2)
    shown = [{"views": 1}, {"views": 1, "mixup": 1.0}, {"views": 1, "mixup": 0.5}, {"views": 1, "cutmix": 2.0}, {}]
    student = {**content["student"][1], "sweep": {"data.augment": shown}}
    outline = outline_sweep(load_sweep({**content, "student": [student]}, {}), tmp_path / "out", on="inline")
    assert (outline.distilled, outline.logit_tables) == (5, 4), "one view of each image is all of {}"


def test_a_dry_run_times_steps_in_the_precision_of_the_training(content, tmp_path):
    types = set()

    def record(*_):
        types.add(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)

    training = content["training"] | {"precision": "bf16"}
    sweep = load_sweep(content | {"training": training}, RATES, 3)
    with register_module_forward_pre_hook(record):
        outline_sweep(sweep, tmp_path / "out", on="inline")
    assert torch.bfloat16 in types


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"axes": {"student.kd.terms.0.temperature": [1, -1]}}, "temperature"),
        ({"axes": {"termz": [1]}}, "termz"),
        ({"axes": RATES, "on": "moon"}, "no engine 'moon'"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(content, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        sweep(content, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def _with_seed(part):
    """Return axes with the id of another model as it is among several seeds."""
    if not isinstance(part, tuple):
        return part
    return tuple((axis, f"{value}-seed0" if axis == "beside" else value) for axis, value in part)
