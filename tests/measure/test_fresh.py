import numpy as np
import pytest

from kdbench.worker import fresh
from kdbench.worker.fresh import in_turns, spread
from kdbench.worker.process import WorkerError


@pytest.fixture
def turns(monkeypatch, tmp_path, watcher):
    """Run jobs of the processes given, by name; `turns.log` tells the order."""

    def run(processes, **jobs):
        def answer(job, folder, progress, **options):
            run.log.append(job["name"])
            run.threads, run.cores = options["threads"], [*run.cores, options["cores"]]
            told = job["told"](run.log.count(job["name"]))
            if isinstance(told, WorkerError):
                raise told
            return told

        run.log, run.cores = [], []
        monkeypatch.setattr(fresh, "run_job", answer)
        named = {name: {"name": name, "told": told} for name, told in jobs.items()}
        return in_turns(named, processes, tmp_path, watcher, threads=2, cores=(0, 1, 2, 3))

    return run


def ok(turn):
    return {"ns": 10 * turn, "errors": {}}


def test_jobs_take_turns_each_in_processes_of_its_own(turns, watcher):
    told = turns(3, a=ok, b=ok)
    assert turns.log == ["a", "b", "a", "b", "a", "b"]
    assert (turns.threads, turns.cores) == (2, [(2, 3)] * 2 + [(1, 2)] * 2 + [(0, 1)] * 2)
    assert told.values("a", "ns").tolist() == [10, 20, 30]
    assert not told.failed
    assert [done for done, _, _ in watcher.steps] == list(range(6))


@pytest.mark.parametrize("failure", [WorkerError("killed", "", "b"), {"errors": {"b": "killed"}}])
def test_what_fails_once_is_left_alone_and_has_no_numbers(turns, failure):
    told = turns(3, a=ok, b=lambda turn: failure if turn == 2 else ok(turn))
    assert turns.log == ["a", "b", "a", "b", "a"]
    assert told.failed == {"b": "killed"}
    assert set(told.results) == {"a"}


def test_spread():
    assert spread(np.array([9.0, 10.0, 12.0])) == 0.25
    assert spread(np.zeros(3)) == 0
