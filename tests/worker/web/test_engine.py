"""Models in Node.js and in headless Chromium: the answers, what is asserted of them, and that they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from small_graphs import model_of

from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes import ProviderError
from kdbench.worker.web import models as web
from kdbench.worker.web.engine import EngineError

RNG = np.random.default_rng(0)
PROGRAMS = ["node", "chromium"]


def job(path, input_="x", output="y", **more):
    settings = {"dtype": "float32", "layout": "NCHW", "shape": (2, 3, 4), "fixed_batch": None} | more
    return JobModel(id="m", path=str(path), input=input_, output=output, **settings)


@pytest.fixture(params=PROGRAMS)
def engine(request, started):
    return started(request.param)


@pytest.fixture
def load(engine, monkeypatch):
    monkeypatch.setattr(web, "engine", lambda program, threads: engine)

    def make(model, **settings):
        return web.LoadedModel(model, **{"program": "?", "name": "web", "provider": "cpu", "threads": 1} | settings)

    return make


def involuntary(engine):
    """Return how often the system took its core from the main thread of what runs models, as psutil counts it."""
    return psutil.Process(engine._running()).num_ctx_switches().involuntary


def expected(path, **inputs):
    return onnxruntime.InferenceSession(str(path)).run(["y"], inputs)[0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8", "int32", "int64", "float64"])
def test_answers_are_onnxruntimes_for_every_type_of_input(load, tiny, dtype):
    path = tiny(dtype=dtype)
    for batch in (1, 5):
        x = (RNG.standard_normal((batch, 2, 3, 4)) * 20).astype(dtype)
        assert load(job(path, dtype=dtype))(x) == pytest.approx(expected(path, x=x), rel=1e-4, abs=1e-4)


def test_a_second_output_a_placeholder_and_data_beside_the_file_are_handled(load, tmp_path):
    nodes = [("MatMul", ["x", "w"], ["y"], {}), ("Add", ["y", "p"], ["z"], {})]
    weights = {"w": RNG.standard_normal((24, 400)).astype(np.float32)}
    graph = model_of(nodes, weights, {"x": ["n", 24], "p": ["n", 400]}, ("y", "z"))
    onnx.save(graph, tmp_path / "m[1].onnx", save_as_external_data=True, location="m[1].onnx.data", size_threshold=0)
    x = RNG.standard_normal((3, 24)).astype(np.float32)
    answer = load(job(tmp_path / "m[1].onnx", output="z", shape=(24,)))(x)
    assert answer == pytest.approx(x @ weights["w"], rel=1e-4, abs=1e-4)


def test_a_file_that_it_cannot_load_or_call_is_the_models_fault(load, tiny):
    with pytest.raises(EngineError, match="nobody"):
        load(job(tiny(op="Unknown")))
    with pytest.raises(EngineError):
        load(job(tiny()))(np.zeros((1, 9, 9, 9), np.float32))
    with pytest.raises(ProviderError, match="not on cuda"):
        load(job(tiny()), provider="cuda")


def test_calls_are_timed_where_they_run(load, engine, tiny):
    run, arguments = load(job(tiny())).bind([RNG.standard_normal((1, 2, 3, 4)).astype(np.float32)] * 3)
    assert arguments == [()]
    out = np.zeros(7, np.int64)
    run.time(out)
    assert (out > 0).all()
    # a step of the clock is at most a hundredth of what is read off it, with any clock of the program
    assert run.calls_per_step >= min(engine.clock_step_ns, 1e6) / (0.01 * out.max()) * 0.5
    run.time(out[:2], gap_ms=1)
    before, counted, after = involuntary(engine), run.preemptions(), involuntary(engine)
    assert before <= counted <= after


def test_the_facts_say_what_runs_them(engine):
    facts = engine.facts
    assert facts["simd"] is True
    assert facts["isolated"] is True
    assert facts["threads"] == 1
    assert len(facts["binary"]["sha256"]) == 64
    assert ("Node.js" if engine._program == "node" else "HeadlessChrome") in facts["engine"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_threads_are_those_that_were_asked_for(started, program, tiny, monkeypatch):
    two = started(program, 2)
    two.load(tiny(), "y")
    monkeypatch.setattr(two, "_threads", 3)
    with pytest.raises(ProviderError, match="threads beside its own"):
        two.load(tiny(), "y")


def test_without_the_headers_the_clock_is_coarse_and_calls_are_timed_together(started, tiny, monkeypatch):
    page = started("chromium", isolated=False)
    assert page.facts["isolated"] is False
    assert page.clock_step_ns == pytest.approx(1e5, rel=0.2)
    monkeypatch.setattr(web, "engine", lambda program, threads: page)
    loaded = web.LoadedModel(job(tiny()), program="?", name="web", provider="cpu", threads=1)
    run, _ = loaded.bind([np.zeros((1, 2, 3, 4), np.float32)])
    run.time(out := np.zeros(3, np.int64))
    run.time(out)
    assert run.calls_per_step > 1
    assert page.calls_per_step(1e6) == 10
    assert page.calls_per_step(1e9) == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_ends_with_the_process_that_started_it(program, started, web_package, tmp_path):
    started(program)  # skips where it is not installed
    code = (
        f"from kdbench.worker.web.engine import Engine; e = Engine({program!r}, 1); "
        "print(e._process.pid, e._server.url, flush=True); import time; time.sleep(600)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    pid, url = process.stdout.readline().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 60
    while any(url in _command(path) for path in Path("/proc").glob("[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [path.name for path in Path("/proc").glob("[0-9]*") if url in _command(path)], pid


def _command(path):
    try:
        return (path / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
