import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.measure import runner
from kdbench.measure.passes import memory
from kdbench.measure.passes.memory import PROCESSES, MemoryPass, spread
from kdbench.recipe.tables.measure import Measure
from kdbench.worker.process import WorkerError

MB = 1_000_000


@pytest.fixture(autouse=True)
def _all_processes(monkeypatch):
    monkeypatch.setattr(memory, "PROCESSES", PROCESSES)


@pytest.fixture
def peaks(run_pass):
    def run(*models, batch=(8,), **config):
        config = Measure(**config).model_copy(update={"batch": batch})
        return run_pass(MemoryPass(), models, config=config)

    return run


@pytest.fixture
def processes(monkeypatch):
    """Let the processes return what `answer(model, batch)` returns."""

    def replace(answer):
        def run_job(job, *_, **__):
            return {
                "since": "counting began",
                "errors": {},
                "device_bytes": None,
                "device_source": None,
                "device_error": None,
                **answer(job.model.id, job.batch),
            }

        monkeypatch.setattr(runner, "run_job", run_job)

    return replace


def at(findings, model, metric):
    return {m.axes["batch"]: m for m in findings.measurements if m.model == model and m.metric == metric}


@pytest.mark.skipif(sys.platform != "linux", reason="the bounds are those of Linux's accounting")
def test_a_real_models_weights_and_activations_are_in_its_peak_and_the_parents_memory_is_not(
    tmp_path, bench_model, peaks, monkeypatch
):
    hidden, features = 250_000, 24  # 24 MB of weights; activations of 1 MB a sample
    weights = numpy_helper.from_array(np.ones((features, hidden), np.float32), "w")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", features])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceMax", ["h"], ["y"], axes=[1], keepdims=1),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "wide", [value], [result], [weights]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "wide.onnx")
    monkeypatch.setattr(memory, "PROCESSES", 1)
    ours = np.ones(300 * MB // 8)  # of the process that measures
    results = peaks(bench_model(tmp_path / "wide.onnx", data=False, classes=1), batch=(32,))
    assert len(ours)
    increase, peak = at(results, "wide", "model_memory_bytes"), at(results, "wide", "peak_memory_bytes")
    assert 24 * MB < increase[1].value < 120 * MB
    assert 24 * MB < increase[32].value - increase[1].value < 120 * MB
    assert increase[1].value < peak[1].value < 300 * MB
    assert 10 * MB < results.protocol["memory_before_the_model_bytes"] < 300 * MB


def test_whole_process_and_the_models_part_are_medians_over_processes(tiny, bench_model, peaks, processes):
    peak = iter([100, 104, 102] * 2)
    processes(lambda _id, batch: {"baseline_bytes": 60, "peak_bytes": next(peak)})
    results = peaks(bench_model(tiny(), data=False))
    whole, increase = at(results, "tiny", "peak_memory_bytes"), at(results, "tiny", "model_memory_bytes")
    assert set(whole) == {1, 8}
    assert (whole[1].value, increase[1].value, increase[1].n, increase[1].status) == (102, 42, 3, "ok")
    assert "counting began" in whole[1].source
    assert results.protocol == {"memory_processes": 3, "memory_before_the_model_bytes": 60}


def test_processes_that_disagree_make_it_unstable_and_what_is_made_of_it(tiny, bench_model, peaks, processes):
    peak = {"t": iter([100, 140, 102] * 2), "s": iter([100, 105, 102] * 2)}
    processes(lambda id_, batch: {"baseline_bytes": 60 * MB, "peak_bytes": next(peak[id_]) * MB})
    results = peaks(bench_model(tiny("t", softmax=True), data=False), bench_model(tiny("s"), teacher="t", data=False))
    whole = at(results, "t", "peak_memory_bytes")[1]
    assert (whole.status, whole.reason) == ("unstable", "processes differ by 29 %")
    assert at(results, "s", "peak_memory_bytes")[1].status == "ok"
    assert at(results, "s", "model_memory_bytes")[1].status == "unstable"  # 5 of 42
    assert (results.pairs[0].value, results.pairs[0].status) == (1, "unstable")


def test_a_few_pages_more_are_no_instability(tiny, bench_model, peaks, processes):
    peak = iter([64.0, 64.6, 64.1] * 2)
    processes(lambda _id, batch: {"baseline_bytes": 60 * MB, "peak_bytes": next(peak) * MB})
    increase = at(peaks(bench_model(tiny(), data=False)), "tiny", "model_memory_bytes")[1]
    assert increase.status == "ok"  # 15 % of what the model takes, 0.6 MB


def test_a_model_that_takes_nothing_is_no_fault(tiny, bench_model, peaks, processes):
    processes(lambda _id, batch: {"baseline_bytes": 60, "peak_bytes": 60})
    increase = at(peaks(bench_model(tiny(), data=False)), "tiny", "model_memory_bytes")[1]
    assert (increase.value, increase.status) == (0, "ok")


def test_the_ratio_is_of_whole_processes_at_the_students_smallest_batch(tiny, bench_model, peaks, processes):
    processes(lambda id_, batch: {"baseline_bytes": 60, "peak_bytes": {"t": 300, "s": 100}[id_] * batch})
    results = peaks(bench_model(tiny("t", softmax=True), data=False), bench_model(tiny("s"), teacher="t", data=False))
    (pair,) = results.pairs
    assert (pair.metric, pair.value, pair.axes["batch"]) == ("memory_ratio", 3, 1)


def test_models_that_differ_in_their_weights_alone_share_the_processes(tiny, bench_model, peaks, processes):
    started = []

    def answer(id_, batch):
        started.append((id_, batch))
        return {"baseline_bytes": 60, "peak_bytes": 100 * batch + len(started)}

    processes(answer)
    twins = [bench_model(tiny(f"s{seed}", seed=seed), data=False) for seed in (1, 2, 3)]
    results = peaks(bench_model(tiny("t", softmax=True), data=False), *twins)
    alone, first, second = (at(results, id_, "peak_memory_bytes") for id_ in ("t", "s1", "s2"))
    assert started.count(("t", 1)) == 3
    assert all(started.count((f"s{seed}", batch)) == 1 for seed in (1, 2, 3) for batch in (1, 8))
    above_floor = [100 + number for number, key in enumerate(started, 1) if key[0] != "t" and key[1] == 1]
    assert first[1].value == second[1].value == np.median(above_floor)
    assert (first[1].n, alone[1].n) == (3, 3)
    assert first[1].source.endswith("shared with s2, s3 of the same graph")
    assert "shared" not in alone[1].source


def test_a_fixed_batch_is_taken_alone_and_compares_with_none_but_its_own(tiny, bench_model, peaks, processes):
    processes(lambda _id, batch: {"baseline_bytes": 60, "peak_bytes": 100})
    results = peaks(bench_model(tiny("t", batch=4), data=False), bench_model(tiny("s"), teacher="t", data=False))
    assert set(at(results, "t", "peak_memory_bytes")) == {4}
    assert (results.pairs[0].value, results.pairs[0].reason) == (None, "t: not measured at batch 1")


def test_what_dies_at_the_large_batch_keeps_the_small_one(tiny, bench_model, peaks, processes):
    def answer(_id, batch):
        if batch == 8:
            raise WorkerError("the memory process was ended by signal 9", "", "tiny")
        return {"baseline_bytes": 60, "peak_bytes": 100}

    processes(answer)
    whole = at(peaks(bench_model(tiny(), data=False)), "tiny", "peak_memory_bytes")
    assert whole[1].value == 100
    assert (whole[8].status, whole[8].reason) == ("error", "the memory process was ended by signal 9")


def test_a_model_that_cannot_be_loaded_has_neither_memory_nor_ratio(tiny, bench_model, peaks, monkeypatch):
    monkeypatch.setattr(memory, "PROCESSES", 1)
    broken = bench_model(tiny("s", op="Unheard"), teacher="t", data=False)
    results = peaks(bench_model(tiny("t"), data=False), broken, batch=(1,))
    assert "Unheard" in at(results, "s", "model_memory_bytes")[1].reason
    assert results.pairs[0].reason.startswith("s failed: ")
    assert at(results, "t", "peak_memory_bytes")[1].value > 10 * MB


def test_a_gpus_memory_is_a_number_of_its_own(tiny, bench_model, peaks, processes):
    on_board = {"device_bytes": 400 * MB, "device_source": "NVML, of this process"}
    processes(lambda _id, batch: {"baseline_bytes": 60, "peak_bytes": 100, **on_board})
    results = peaks(bench_model(tiny(), data=False), batch=(1,), provider="cuda")
    (device,) = at(results, "tiny", "device_memory_bytes").values()
    assert (device.value, device.n) == (400 * MB, 3)
    assert device.source.startswith("NVML, of this process, after 3 calls")


def test_a_driver_that_does_not_tell_leaves_a_reason(tiny, bench_model, peaks, processes):
    processes(lambda _id, batch: {"baseline_bytes": 60, "peak_bytes": 100, "device_error": "NVML: not supported"})
    results = peaks(bench_model(tiny(), data=False), batch=(1,), provider="cuda")
    (device,) = at(results, "tiny", "device_memory_bytes").values()
    assert (device.status, device.reason) == ("unavailable", "NVML: not supported")
    assert at(results, "tiny", "peak_memory_bytes")[1].value == 100


def test_spread():
    assert spread(np.array([9.0, 10.0, 12.0])) == 0.25
    assert spread(np.zeros(3)) == 0
