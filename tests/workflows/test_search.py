"""A whole search in this process: killed, resumed and extended, with limits, pruned and failed trials."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from kdbench.distill.training import fit
from kdbench.errors import DivergedError, InputError, KdbenchError
from kdbench.export.onnx import Parity
from kdbench.files import storage
from kdbench.recipe.loading import load_sweep
from kdbench.recipe.sweeps.search import Range
from kdbench.results.records import Environment, RunRecord, measured
from kdbench.results.searches import search_of
from kdbench.workflows.search import outline_search, search_recipe
from kdbench.workflows.stages import results
from kdbench.workflows.stages.export import WrittenModel
from kdbench.workflows.sweeping import estimate, tasks

pytest.importorskip("optuna")

AXES = {"terms.0.temperature": Range(low=1.0, high=10.0), "model.hidden": [[4], [8], [16]]}
GOAL = "max top1 where size_bytes <= 10 kB"
TRIALS = 6


@pytest.fixture(scope="module")
def content(few_digits):
    return {
        "name": "small",
        "data": {"name": few_digits, "validation": 0.2},
        "training": {"epochs": 4, "batch": 32, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.02}},
        "teacher": [{"name": "teacher", "model": "64-16-10", "training": {"epochs": 1}}],
        "student": [{"name": "kd", "model": {"name": "dense", "hidden": [8]}, "terms": [{"method": "kd"}]}],
        "measure": {"times": False, "energy": "off"},
        "analysis": {"train_samples": 0},
    }


class Work:
    """Trainings are real; exports and measurements are made up, as are reports: a size follows from the widths."""

    def __init__(self, monkeypatch):
        self.trained, self.measured, self.failing, self.killed_at = [], [], (), None
        self._fit = fit.fit
        monkeypatch.setattr(fit, "fit", self.fit)
        monkeypatch.setattr(tasks, "write_file", self.write_file)
        monkeypatch.setattr(tasks, "measure_all", self.measure_all)
        monkeypatch.setattr(results, "report", SimpleNamespace(write=lambda *_: [], Content=lambda *_: None))
        monkeypatch.setattr(estimate, "_PROBE_S", 0.0)  # the fewest steps

    def fit(self, *args, **options):
        name = options["folder"].name
        self.trained.append(name)
        if len(self.trained) == self.killed_at:
            raise KeyboardInterrupt
        if self.failing and name.startswith("kd") and len(self.trained) in self.failing:
            raise DivergedError("the loss is not finite", "lower the rate")
        return self._fit(*args, **options)

    def write_file(self, job, form, run_data, folder):
        x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 1, 8, 8])
        y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 10])
        weights = onnx.numpy_helper.from_array(np.zeros((64, 10), dtype=np.float32), "w")
        nodes = [onnx.helper.make_node("Flatten", ["x"], ["f"]), onnx.helper.make_node("MatMul", ["f", "w"], ["y"])]
        graph = onnx.helper.make_graph(nodes, job.id, [x], [y], [weights])
        onnx.save(onnx.helper.make_model(graph, doc_string=job.id), folder.model(job.id))
        return WrittenModel(Parity(max_abs=0.0, tolerance=1.0, samples=1), 10)

    def measure_all(self, recipe, exports, run_data, folder, progress, command, **_):
        self.measured.append([export.card.id for export in exports])
        cards = tuple(export.card for export in exports)
        numbers = [measured(card.id, "top1", 0.5, n=100) for card in cards]
        for card in cards:
            hidden = card.options.get("hidden", [16])
            numbers.append(measured(card.id, "size_bytes", 800 * hidden[0]))
        known = {"kind": "run", "name": "x", "created": "now", "command": command}
        environment = Environment(host={}, libraries={})
        return RunRecord(**known, environment=environment, models=cards, measurements=tuple(numbers)), {}


@pytest.fixture
def work(monkeypatch):
    return Work(monkeypatch)


def search(content, out, *, resume=False, trials=TRIALS, goal=GOAL, axes=AXES, **more):
    swept = load_sweep(content, axes, search={"goal": goal, "trials": trials, **more})
    return search_recipe(swept, out, on="inline", resume=resume)


def values(out):
    return [json.loads(path.read_text())["values"] for path in sorted((out / "trials").glob("*.json"))]


def weights(out):
    return {path.parent.name: storage.sha256(path) for path in out.glob("checkpoints/*/weights.safetensors")}


@pytest.mark.slow
def test_a_killed_search_goes_on_as_if_nothing_had_happened(content, work, tmp_path):
    whole = search(content, tmp_path / "whole")
    assert (whole.points, whole.completed) == (len(whole.record.models) - 1,) * 2
    assert work.trained.count("teacher") == 1
    for moment in (1, 4):
        out = tmp_path / f"killed-{moment}"
        work.trained, work.killed_at = [], moment
        with pytest.raises(KeyboardInterrupt):
            search(content, out)
        standing = weights(out)
        work.trained, work.killed_at = [], None
        search(content, out, resume=True)
        assert not standing.keys() & {*work.trained}, "what stood was not trained again"
        assert values(out) == values(tmp_path / "whole")
        assert weights(out) == weights(tmp_path / "whole")
    work.trained, work.measured = [], []
    again = search(content, tmp_path / "whole", resume=True)
    assert (work.trained, work.measured) == ([], [])
    assert again.record.protocol == whole.record.protocol
    longer = search(content, tmp_path / "whole", resume=True, trials=TRIALS + 2)
    assert values(tmp_path / "whole")[:TRIALS] == values(tmp_path / "killed-1")
    assert search_of(longer.record).trials == TRIALS + 2
    assert {name.partition("-")[0] for name in work.trained} == {"kd"}


def test_points_within_the_limits_come_first(content, work, tmp_path):
    done = search(content, tmp_path / "out", prune=False)
    searched = search_of(done.record)
    outcomes = [point.outcome for point in searched.points]
    assert outcomes == sorted(outcomes, reverse=True), "PASS before FAIL"
    for point in searched.points:
        card = done.record.cards[point.model]
        assert card.axes["temperature"] == point.values["terms.0.temperature"]
        assert card.options["hidden"] == point.values["model.hidden"]
        assert point.limits[0].value == 800 * card.options["hidden"][0]
        assert (point.outcome == "PASS") == (point.limits[0].value <= 10_000)
        best = max(row.validation_top1 for row in card.training.curve)
        assert point.score.value == pytest.approx(best)
    assert len(searched.points) == searched.trials == TRIALS
    within = [point.score.value for point in searched.points if point.outcome == "PASS"]
    assert within == sorted(within, reverse=True)


def test_pruned_trials_are_no_points_and_stay_pruned(content, work, tmp_path):
    options = {"goal": "min loss", "min_epochs": 1, "reduction": 2}
    searched = search_of(search(content, tmp_path / "out", **options).record)
    assert len(searched.points) + searched.pruned == searched.trials == TRIALS
    trials = [json.loads(path.read_text()) for path in sorted((tmp_path / "out" / "trials").glob("*.json"))]
    assert searched.pruned == sum(trial["pruned"] is not None for trial in trials) > 0
    for trial in trials:
        if trial["pruned"] is not None:
            curve = (tmp_path / "out" / "checkpoints" / trial["trainings"][0] / "curve.csv").read_text()
            assert len(curve.splitlines()) == 1 + trial["pruned"]
    work.trained = []
    assert search_of(search(content, tmp_path / "out", resume=True, **options).record) == searched
    assert work.trained == []


def test_a_resumed_search_prunes_what_an_uninterrupted_one_prunes(content, work, tmp_path):
    goal = "min loss where size_bytes <= 100 kB"
    options = {"goal": goal, "min_epochs": 1, "reduction": 2}
    search(content, tmp_path / "whole", **options)
    trials = [json.loads(path.read_text()) for path in sorted((tmp_path / "whole" / "trials").glob("*.json"))]
    pruned = next(trial["trainings"][0] for trial in trials if trial["pruned"] is not None)
    work.killed_at, work.trained = work.trained.index(pruned) + 1, []
    with pytest.raises(KeyboardInterrupt):
        search(content, tmp_path / "killed", **options)
    work.killed_at = None
    search(content, tmp_path / "killed", resume=True, **options)
    assert [json.loads(path.read_text()) for path in sorted((tmp_path / "killed" / "trials").glob("*.json"))] == trials


def test_a_trial_that_is_repeated_later_counts_as_failed(content, work, tmp_path, monkeypatch):
    def broken(job, *others):
        assert "epochs1" not in job.id, "a bug"
        return work.write_file(job, *others)

    monkeypatch.setattr(tasks, "write_file", broken)
    axes = {"terms.0.temperature": [1, 2], "training.epochs": [1, 2]}
    searched = search_of(search(content, tmp_path / "out", axes=axes, trials=4, prune=False).record)
    assert (searched.trials, searched.failed, len(searched.points)) == (4, 2, 2)


def test_a_trial_that_fails_ends_no_other_one_and_stays_failed(content, work, tmp_path):
    work.failing = (3,)
    done = search(content, tmp_path / "out", trials=4, prune=False)
    searched = search_of(done.record)
    assert (searched.trials, searched.failed, len(searched.points), done.exit_code) == (4, 1, 3, 0)
    work.trained, work.failing = [], ()
    search(content, tmp_path / "out", trials=4, prune=False, resume=True)
    assert work.trained == []


def test_nothing_landed(content, work, tmp_path):
    work.failing = tuple(range(20))
    with pytest.raises(KdbenchError, match=r"no trial of the search completed: .*not finite"):
        search(content, tmp_path / "out", trials=2)


def test_a_teacher_that_fails_ends_the_search_and_fails_no_trial(content, work, tmp_path, monkeypatch):
    real = work._fit

    def diverging(*args, **options):
        if options["folder"].name == "teacher":
            raise DivergedError("the loss is not finite", "lower the rate")
        return real(*args, **options)

    monkeypatch.setattr(work, "_fit", diverging)
    with pytest.raises(KdbenchError, match="needs teacher, which failed"):
        search(content, tmp_path / "out")
    assert work.trained == ["teacher"]
    monkeypatch.setattr(work, "_fit", real)
    assert search(content, tmp_path / "out", resume=True, trials=2).points == 2


def test_a_small_space_ends_the_search(content, work, tmp_path):
    axes = {"model.hidden": [[4], [8]]}
    assert search(content, tmp_path / "out", axes=axes).points == 2


def test_another_goal_judges_the_same_trials_anew(content, work, tmp_path):
    search(content, tmp_path / "out", trials=3, prune=False)
    trained = [*work.trained]
    again = search(
        content, tmp_path / "out", trials=3, prune=False, goal="min size_bytes where top1 >= 1 %", resume=True
    )
    assert work.trained == trained
    sizes = [point.score.value for point in search_of(again.record).points]
    assert sizes == sorted(sizes)


def test_other_axes_are_refused(content, work, tmp_path):
    search(content, tmp_path / "out", trials=1)
    with pytest.raises(InputError, match="has the axes"):
        search(content, tmp_path / "out", axes={"model.hidden": [[4], [8]]}, resume=True)


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ("max top1 of kdd", "no model 'kdd'"),
        ("max top1 of kd-int8", "has no validation score"),
        ("min rmse of kd", "no trial would have rmse of kd, because the data is for classification"),
    ],
)
def test_a_goal_about_nothing_is_refused_before_anything_starts(content, tmp_path, goal, words):
    content = {**content, "variant": [{"of": "kd", "method": "int8", "calibration_count": 64}]}
    swept = load_sweep(content, AXES, search={"goal": goal})
    with pytest.raises(InputError, match=words):
        search_recipe(swept, tmp_path / "out", on="inline")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_writes_nothing(content, tmp_path):
    outline = outline_search(load_sweep(content, AXES, search={"goal": GOAL}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert json.loads(json.dumps(outline.to_json()))["trials"] == 20
    assert GOAL in list(outline.lines())[1]
