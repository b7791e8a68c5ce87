"""The process that waits: a worker of our own says and does what a real one might."""

import errno
import json
import os
import subprocess
import sys
import textwrap

import pytest

from kdbench.errors import StorageError
from kdbench.progress import Silent
from kdbench.worker import process
from kdbench.worker.jobs import LogitsJob
from kdbench.worker.process import WorkerError, run_job

JOB = LogitsJob(models=(), files=("f",), provider="cpu", threads=1)
FORBIDDEN = ("torch", "onnx", "pydantic", "scipy", "matplotlib", "sklearn", "kdbench.results.records")


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """Replace the measuring process by a script, which finds its job in `job`."""

    def replace(script):
        head = "import json, os, signal, sys, time\njob, result = json.load(open(sys.argv[1])), sys.argv[2]\n"
        code = head + textwrap.dedent(script)
        monkeypatch.setattr(process, "WORKER", (sys.executable, "-c", code))
        return lambda progress=None: run_job(JOB, tmp_path, progress or Silent())

    return replace


def test_result_and_progress_come_back(worker, watcher):
    run = worker("""
        print(json.dumps({"model": "m"}))
        print("a library says hello")
        print(json.dumps({"step": [1, 2]}))
        json.dump({"files": job["files"]}, open(result, "w"))
    """)
    assert run(watcher) == {"files": ["f"]}
    assert watcher.steps == [(1, 2, "")]


def test_a_failure_names_the_model_and_the_last_words(worker):
    run = worker("""
        print(json.dumps({"model": "m"}), flush=True)
        sys.exit("cannot allocate")
    """)
    with pytest.raises(WorkerError, match="the logits process of m failed with exit code 1: cannot allocate") as caught:
        run()
    assert caught.value.model == "m"


def test_a_killed_process_is_told_by_its_signal(worker):
    run = worker("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(WorkerError, match="signal 9") as caught:
        run()
    assert "memory" in caught.value.hint
    assert caught.value.model is None


def test_a_full_disk_there_is_not_the_models_fault(worker):
    run = worker("""
        print(json.dumps({"model": "m"}))
        print(json.dumps({"disk": [28, "No space left on device", "logits.npy"]}), flush=True)
        sys.exit(1)
    """)
    with pytest.raises(StorageError, match=r"the disk is full: logits\.npy"):
        run()


def test_a_process_says_that_it_cannot_write(tmp_path):
    """No file may grow there: the job's result is not written."""
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1, -1)); sys.argv = sys.argv[1:]"
    code = f"{limit}; runpy.run_module('kdbench.worker.__main__', run_name='__main__')"
    (tmp_path / "job.json").write_text(json.dumps(LogitsJob(models=(), files=(), provider="cpu", threads=1).to_json()))
    stdin, kept_open = os.pipe()  # as its parent does
    done = subprocess.run(
        [sys.executable, "-c", code, "w", str(tmp_path / "job.json"), str(tmp_path / "result.json")],
        stdin=stdin, capture_output=True, check=False,
    )  # fmt: skip
    os.close(stdin)
    os.close(kept_open)
    assert done.returncode == 1
    assert json.loads(done.stdout)["disk"][0] == errno.EFBIG


def test_the_result_of_an_earlier_job_is_never_taken_for_this_ones(worker):
    worker('json.dump(1, open(result, "w"))')()
    with pytest.raises(WorkerError):
        worker("sys.exit(1)")()


def test_an_interrupt_ends_the_process(worker):
    class Interrupting(Silent):
        pid = 0

        def step(self, done, total, detail=""):
            self.pid = int(done)
            raise KeyboardInterrupt

    progress = Interrupting()
    run = worker("""
        print(json.dumps({"step": [os.getpid(), 0]}), flush=True)
        time.sleep(600)
    """)
    with pytest.raises(KeyboardInterrupt):
        run(progress)
    with pytest.raises(ProcessLookupError):
        os.kill(progress.pid, 0)


def test_threads_of_numpy_are_set_and_the_users_are_not(worker, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("KMP_AFFINITY", "compact")
    run = worker('json.dump(dict(os.environ), open(result, "w"))')
    environment = run()
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert "KMP_AFFINITY" not in environment


def test_the_current_folder_cannot_shadow_a_library(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    job = LogitsJob(models=(), files=(), provider="cpu", threads=1)
    assert run_job(job, tmp_path, Silent()) == {"batches": {}, "errors": {}}


@pytest.mark.parametrize("probe", ["logits", "latency", "coldstart", "memory", "offline", "energy"])
def test_a_measuring_process_imports_numpy_and_onnxruntime_only(probe):
    code = f"""
        import sys, json, importlib
        import kdbench.worker.__main__
        importlib.import_module("kdbench.worker.probes.{probe}")
        import kdbench.worker.runtimes.onnxruntime  # some probes import it only when they run
        if "{probe}" == "energy":
            from kdbench.meters.meter import METERS
            METERS.names()
        print(json.dumps(sorted(sys.modules)))
    """
    output = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=True, text=True)
    modules = json.loads(output.stdout)
    assert "onnxruntime" in modules
    assert not set(FORBIDDEN) & set(modules)


def test_a_process_that_hangs_is_ended(worker, monkeypatch):
    monkeypatch.setattr(process, "silence_limit_s", lambda job, batch: {None: 60, 8: 0.1}[batch])
    run = worker("""
        print(json.dumps({"model": "m"}))
        print(json.dumps({"batch": 8}), flush=True)
        time.sleep(600)
    """)
    with pytest.raises(WorkerError, match=r"the logits process of m did not answer for 0 s") as caught:
        run()
    assert (caught.value.model, caught.value.silent) == ("m", True)
