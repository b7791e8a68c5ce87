from dataclasses import dataclass

import pytest

from kdbench.measure import runner
from kdbench.measure.runner import Runner
from kdbench.recipe.tables.measure import Measure
from kdbench.worker.jobs import BatchesJob, ColdStartJob, Cores, Job, JobModel, LatencyJob, TimedConfiguration
from kdbench.worker.process import WorkerError


@dataclass(frozen=True)
class NamedJob(Job, probe="named"):
    """A job that is known by its name."""

    name: str
    cores: Cores = None


@pytest.fixture
def turns(monkeypatch, tmp_path, watcher):
    """Run jobs with the results given, by name; `turns.log` holds the order."""

    def run(processes, **jobs):
        def answer(job, folder, progress, **options):
            run.log.append(job.name)
            run.threads, run.cores = options["threads"], [*run.cores, job.cores]
            result = jobs[job.name](run.log.count(job.name))
            if isinstance(result, WorkerError):
                raise result
            return result

        run.log, run.cores = [], []
        monkeypatch.setattr(runner, "run_job", answer)
        monkeypatch.setattr(Runner, "cores", (0, 1, 2, 3))
        named = {name: NamedJob(name=name, provider="cpu", threads=2) for name in jobs}
        return Runner(Measure(), tmp_path).run_in_turns(named, processes, watcher)

    return run


def ok(turn):
    return {"ns": 10 * turn, "errors": {}}


def test_jobs_take_turns_each_in_processes_of_its_own(turns, watcher):
    results = turns(3, a=ok, b=ok)
    assert turns.log == ["a", "b", "a", "b", "a", "b"]
    assert (turns.threads, turns.cores) == (2, [(2, 3)] * 2 + [(1, 2)] * 2 + [(0, 1)] * 2)
    assert results.values("a", "ns").tolist() == [10, 20, 30]
    assert not results.failed
    assert [done for done, _, _ in watcher.steps] == list(range(6))


def test_the_progress_of_a_process_is_within_its_turn(monkeypatch, tmp_path, watcher):
    def half(job, folder, progress, **options):
        progress.step(50, 100)
        return ok(1)

    monkeypatch.setattr(runner, "run_job", half)
    job = ColdStartJob(model=model("m"), provider="cpu", threads=1)
    Runner(Measure(), tmp_path).run_in_turns({"a": job, "b": job}, 1, watcher)
    assert [done / total for done, total, _ in watcher.steps] == [0, 0.25, 0.5, 0.75]


def test_a_job_may_need_fewer_processes_than_another(turns):
    results = turns({"a": 1, "b": 3}, a=ok, b=ok)
    assert turns.log == ["a", "b", "b", "b"]
    assert [len(results.results[key]) for key in "ab"] == [1, 3]


@pytest.mark.parametrize("failure", [WorkerError("killed", "", "b"), {"errors": {"b": "killed"}}])
def test_what_fails_once_is_left_alone_and_has_no_numbers(turns, failure):
    results = turns(3, a=ok, b=lambda turn: failure if turn == 2 else ok(turn))
    assert turns.log == ["a", "b", "a", "b", "a"]
    assert results.failed == {"b": "killed"}
    assert set(results.results) == {"a"}


def model(id_):
    return JobModel(id_, "m.onnx", "x", "y", "float32", "NCHW", (1, 8, 8), fixed_batch=None)


@pytest.fixture
def survivors(monkeypatch, tmp_path, watcher):
    """Run a job of models a, b and c, of which some end the process; return the result, what failed, and the runs."""

    def run(*deadly, blamed=None):
        runs, failed = [], {}

        def die(job, *_, **__):
            runs.append("".join(model.id for model in job.models))
            dead = next((id_ for id_ in deadly if id_ in runs[-1]), None)
            if dead:
                raise WorkerError(f"killed by {dead}", "", blamed or dead)
            return "done"

        monkeypatch.setattr(runner, "run_job", die)
        job = BatchesJob(models=tuple(map(model, "abc")), batches=(1,), samples=1, provider="cpu", threads=1)
        result = Runner(Measure(), tmp_path).run_remaining(job, failed, watcher)
        return result, failed, runs

    return run


def test_models_that_end_the_process_are_named_and_the_others_go_on(survivors):
    assert survivors("b") == ("done", {"b": "killed by b"}, ["abc", "ac"])
    result, failed, _ = survivors("a", "b", "c")
    assert (result, set(failed)) == (None, set("abc"))


def test_a_process_that_dies_without_one_of_its_models_to_blame(survivors):
    with pytest.raises(WorkerError, match="killed by a"):
        survivors("a", blamed="(null graph)")


def test_a_session_of_latency_goes_on_without_a_model_that_does_not_answer(monkeypatch, tmp_path, watcher):
    """The job still lists the model, because the others keep their positions."""
    sessions, failed = [], {}

    def hang_in_b(job, *_, **__):
        sessions.append([configuration.models for configuration in job.configurations])
        if any(1 in models for models in sessions[-1]):
            raise WorkerError("silent", "", "b", silent=True)
        return "done"

    monkeypatch.setattr(runner, "run_job", hang_in_b)
    both, alone = (TimedConfiguration(threads=1, batch=n, models=m) for n, m in ((1, (0, 1)), (8, (1,))))
    options = {"seed": 0, "session": 0, "floor": None, "samples": "", "provider": "cpu", "threads": 1}
    models = (model("a"), model("b"))
    job = LatencyJob(runtime="onnxruntime", models=models, configurations=(both, alone), **options)
    assert Runner(Measure(), tmp_path).run_remaining(job, failed, watcher) == "done"
    assert (failed, sessions) == ({"b": "silent"}, [[(0, 1), (1,)], [(0,)]])


def test_nothing_waits_again_for_a_model_whose_process_did_not_answer(monkeypatch, tmp_path, watcher):
    requests = []

    def silent(job, folder, progress, **options):
        requests.append(job)
        raise WorkerError("silent", "", "m", silent=True)

    monkeypatch.setattr(runner, "run_job", silent)
    job = ColdStartJob(model=model("m"), provider="cpu", threads=1)
    one = Runner(Measure(), tmp_path)
    results = one.run_in_turns({"first": job, "second": job}, 2, watcher)
    assert results.failed == {"first": "silent", "second": "silent"}
    assert len(requests) == 1
    with pytest.raises(WorkerError, match="silent"):
        Runner(Measure(), tmp_path, silent=one.silent).run(job, watcher)
    assert len(requests) == 1
