"""The whole pass on tiny models, through real measuring processes where they are the point."""

import os

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.machine.cores import available_cores, rotate_cores
from kdbench.machine.system_monitor import Conditions, SystemMonitor
from kdbench.measure import admission, runner
from kdbench.measure.harness import check_config, measure
from kdbench.recipe.tables.measure import Measure
from kdbench.results.metrics import METRICS, metrics_in
from kdbench.results.preprocessing import Preprocessing
from kdbench.statistics import Clustered, undisturbed
from kdbench.worker.process import WorkerError

QUICK = Measure(budget_s=0.2, sessions=2, batch=(4,))
NOT_MEASURED_HERE = {"parity_max_abs", "training_s", "max_throughput_per_s", "device_memory_bytes"}
NOT_MEASURED_HERE |= {"training_j", "training_co2_g", "co2_g"}
NOT_MEASURED_HERE |= set(metrics_in("label noise", "mismatches", "gain", "device", "relative"))
NOT_MEASURED_HERE |= set(metrics_in("errors", "target errors", "teacher errors", "closed form"))  # of regressions
NOT_MEASURED_HERE |= {*metrics_in("kernels", "device", "runtimes"), "compressed_bytes"}  # of variants and elsewhere
NOT_MEASURED_HERE |= {"deployed_bytes", "arena_bytes"}  # of .tflite files
MIN_NS = 500  # no call through a runtime costs less


def measurements_of(findings, model):
    return {(m.metric, m.axes.get("batch")): m for m in findings.measurements if m.model == model}


def assert_latencies_of_samples(findings, model):
    """Assert that the latencies at batch 1 summarize the undisturbed ones of the raw samples kept beside them."""
    arrays = (findings.samples[f"{model}/cpu-t1-b1/{name}"] for name in ("ns", "session", "block", "preempted"))
    samples, measured = undisturbed(Clustered(*arrays)).values, measurements_of(findings, model)
    assert samples.min() >= MIN_NS
    assert samples.min() <= measured["latency_p50_ns", 1].value <= samples.max()
    assert measured["latency_p50_ns", 1].n == len(samples)
    assert measured["latency_mean_ns", 1].value == pytest.approx(samples.mean())
    assert measured["throughput_per_s", 1].value == pytest.approx(1e9 / samples.mean())


def test_a_teacher_and_its_student(tiny, bench_model, test_set, tmp_path, watcher):
    bench_models = [bench_model(tiny("t")), bench_model(tiny("s", seed=1), teacher="t")]
    findings = measure(bench_models, test_set, QUICK, tmp_path / "work", watcher)
    student = measurements_of(findings, "s")
    assert {metric for metric, _ in student} == METRICS.keys() - NOT_MEASURED_HERE
    ok = {metric for (metric, _), m in student.items() if m.status in {"ok", "unstable"}}
    assert ok >= {"top1", "top5", "loss", "agreement", "predictive_kl", "latency_p50_ns", "throughput_per_s"}
    assert ok >= {"load_ns", "first_run_ns", "size_bytes", "weight_bytes", "parameters", "macs"}
    assert measurements_of(findings, "t")["top1", None].value == 0.8
    assert measurements_of(findings, "t")["macs", None].value == 24 * 6
    ratios = {(p.metric, p.axes.get("batch")): p for p in findings.pairs}
    assert ratios["size_ratio", None].value == pytest.approx(1, rel=0.01)
    assert ratios["macs_ratio", None].value == 1
    assert {ratios["latency_ratio", batch].status for batch in (1, 4)} <= {"ok", "unstable"}
    assert ratios["top1_drop", None].value == 100 * (0.8 - student["top1", None].value)
    assert_latencies_of_samples(findings, "t")
    assert_latencies_of_samples(findings, "s")
    assert np.unique(findings.samples["t/cpu-t1-b1/session"]).tolist() == [0, 1]
    assert not (tmp_path / "work").exists()
    # A first call that another process holds up spends the share of a short budget: its session warms up with one.
    assert 1 <= findings.protocol["warm_up_calls"]["least"] <= findings.protocol["warm_up_calls"]["most"]
    assert findings.protocol["warm_up_calls"]["most"] >= 2
    assert findings.protocol["floor_ns"] >= MIN_NS
    done = [done for done, _, _ in watcher.steps]
    assert done == sorted(done)
    assert 0 <= done[0] < 0.1
    assert 0.9 < done[-1] <= 1


def test_other_things_in_the_workspace_are_left_alone(tiny, bench_model, tmp_path, watcher):
    work = tmp_path / "work"
    work.mkdir()
    (work / "job.json").write_text("not ours")
    measure([bench_model(tiny(), data=False, timed=False)], None, QUICK, work, watcher)
    assert [(path.name, path.read_text()) for path in work.iterdir()] == [("job.json", "not ours")]


def test_nothing_stays_of_a_pass_that_failed_or_was_killed(tiny, bench_model, test_set, tmp_path, watcher, monkeypatch):
    def interrupted(*_, **__):
        assert list((tmp_path / "work" / "pass").iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_job", interrupted)
    one = bench_model(tiny())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            measure([one], test_set, QUICK, tmp_path / "work", watcher)
        assert not (tmp_path / "work").exists()
        (tmp_path / "work" / "pass").mkdir(parents=True)  # as a killed process leaves it
        (tmp_path / "work" / "pass" / "images.npy").write_bytes(b"large")


@pytest.mark.usefixtures("short_run")
def test_without_data_inputs_are_noise_and_accuracy_says_so(tiny, bench_model, tmp_path, watcher):
    shapes = {"channels-last": (3, 4, 2), "flat": (24,), "open": ("c", "h", "w")}
    bench_models = [bench_model(tiny(name, shape=shape), data=False) for name, shape in shapes.items()]
    findings = measure(bench_models, None, QUICK, tmp_path, watcher)
    for name in shapes:
        assert_latencies_of_samples(findings, name)
        assert measurements_of(findings, name)["top1", None].reason == "no test data was named"


@pytest.mark.usefixtures("short_run")
def test_a_model_the_runtime_refuses_has_reasons_and_the_others_numbers(tiny, bench_model, test_set, tmp_path, watcher):
    bench_models = [bench_model(tiny("sound")), bench_model(tiny("broken", op="Unheard"), teacher="sound")]
    findings = measure(bench_models, test_set, QUICK, tmp_path, watcher)
    broken = measurements_of(findings, "broken")
    for key in [("top1", None), ("load_ns", 1), ("latency_p50_ns", 1), ("latency_p50_ns", 4)]:
        assert broken[key].status == "error"
        assert "Unheard" in broken[key].reason
    assert "Unheard" in broken["macs", None].reason
    assert broken["size_bytes", None].status == "ok"
    assert_latencies_of_samples(findings, "sound")
    assert measurements_of(findings, "sound")["top1", None].value == 0.8


@pytest.mark.usefixtures("short_run")
def test_an_untimed_model_is_weighed_but_not_timed(tiny, bench_model, test_set, tmp_path, watcher):
    bench_models = [bench_model(tiny("a")), bench_model(tiny("b"), timed=False)]
    metrics = {metric for metric, _ in measurements_of(measure(bench_models, test_set, QUICK, tmp_path, watcher), "b")}
    scores = {"top1", "top5", "loss", "ece", "balanced_accuracy", "class_top1"}
    assert metrics == {*scores, "size_bytes", "weight_bytes", "parameters", "macs"}


@pytest.mark.usefixtures("short_run")
def test_several_threads_are_axes(tiny, bench_model, tmp_path, watcher):
    config = QUICK.model_copy(update={"threads": (1, 2)})
    findings = measure([bench_model(tiny(), data=False)], None, config, tmp_path, watcher)
    axes = {(m.axes["threads"], m.axes["batch"]) for m in findings.measurements if m.metric == "latency_p50_ns"}
    assert axes == {(1, 1), (1, 4), (2, 1)}


@pytest.mark.usefixtures("short_run")
def test_throughput_alone_needs_no_latencies_and_names_disturbances(tiny, bench_model, tmp_path, watcher, monkeypatch):
    busy = Conditions(1.0, cores=4, others_cores=2.5)
    monkeypatch.setattr(SystemMonitor, "between", lambda *_: busy)
    config = QUICK.model_copy(update={"mode": ("offline",), "energy": "off"})
    findings = measure([bench_model(tiny(), data=False)], None, config, tmp_path, watcher)
    known = {m.metric for m in findings.measurements if m.value is not None}
    assert "max_throughput_per_s" in known
    assert not {metric for metric in known if metric.startswith("latency_")}
    (load,) = [w for w in findings.warnings if w.code == "load"]
    assert "2.5 of 4 cores busy" in load.message
    assert findings.protocol["meanwhile"] == {"others_cores": 2.5}


@pytest.mark.usefixtures("short_run")
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")
@pytest.mark.parametrize("mode", ["stream", "offline"])
def test_sessions_take_turns_on_the_cores(tiny, bench_model, tmp_path, watcher, monkeypatch, mode):
    real, kept = runner.run_job, []

    def noting(job, *rest, **options):
        kept.extend([job.cores] if job.probe == "latency" else [])
        return real(job, *rest, **options)

    monkeypatch.setattr(runner, "run_job", noting)
    monkeypatch.setattr(runner, "quiet_cores", lambda cores, _: cores)  # regardless of other work
    cores = available_cores()
    config = QUICK.model_copy(update={"mode": (mode,), "cores": cores, "energy": "off"})
    findings = measure([bench_model(tiny(), data=False)], None, config, tmp_path, watcher)
    assert kept == [rotate_cores(cores, 1, turn) for turn in range(len(kept))]
    assert len(kept) >= 2
    if mode == "stream":
        assert findings.protocol["cores_used"] == list(cores)


@pytest.mark.usefixtures("short_run")
def test_a_runtime_that_runs_no_model_leaves_the_reason(tiny, bench_model, tmp_path, watcher, monkeypatch):
    monkeypatch.setattr(admission, "unavailable", lambda *_: {})  # test_admission asks a real process
    config = QUICK.model_copy(update={"runtime": ("torch",), "energy": "off"})
    findings = measure([bench_model(tiny(), data=False)], None, config, tmp_path, watcher)
    latencies = [m for m in findings.measurements if m.metric.startswith("latency_")]
    assert latencies
    assert {m.reason for m in latencies} == {"the network that the file was exported from is not known"}


@pytest.mark.usefixtures("short_run")
def test_a_model_that_kills_a_session_is_left_out_of_the_rest(tiny, bench_model, tmp_path, watcher, monkeypatch):
    real = runner.run_job

    def dies_of_b(job, *rest, **options):
        if job.probe == "latency" and any(1 in c.models for c in job.configurations):
            raise WorkerError("killed by b", "", "b")
        return real(job, *rest, **options)

    monkeypatch.setattr(runner, "run_job", dies_of_b)
    bench_models = [bench_model(tiny(name), data=False) for name in "abc"]
    findings = measure(bench_models, None, QUICK, tmp_path, watcher)
    p50 = measurements_of(findings, "b")["latency_p50_ns", 1]
    assert (p50.status, p50.reason) == ("error", "killed by b")
    assert_latencies_of_samples(findings, "a")
    assert_latencies_of_samples(findings, "c")


@pytest.mark.usefixtures("short_run")
def test_sessions_that_die_of_nothing_in_particular(tiny, bench_model, tmp_path, watcher, monkeypatch):
    real = runner.run_job

    def dies(job, *rest, **options):
        if job.probe == "latency":
            raise WorkerError("no more memory", "", None)
        return real(job, *rest, **options)

    monkeypatch.setattr(runner, "run_job", dies)
    findings = measure([bench_model(tiny(), data=False)], None, QUICK, tmp_path, watcher)
    assert measurements_of(findings, "tiny")["latency_p50_ns", 1].reason == "no more memory"
    assert measurements_of(findings, "tiny")["load_ns", 1].status == "ok"


def test_preprocessing_must_fit_the_channels(tiny, bench_model, test_set, tmp_path, watcher):
    three = Preprocessing(mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    with pytest.raises(InputError, match="3 means and standard deviations for 2 channels"):
        measure([bench_model(tiny(), preprocessing=three)], test_set, QUICK, tmp_path, watcher)
    normalised = Preprocessing(mean=(0.1,), std=(1,))
    with pytest.raises(InputError, match="uint8"):
        measure([bench_model(tiny(dtype="uint8"), preprocessing=normalised)], test_set, QUICK, tmp_path, watcher)


def test_a_provider_that_is_not_installed_is_no_silent_fallback(tiny, bench_model, tmp_path, watcher, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="no CUDAExecutionProvider"):
        measure([bench_model(tiny())], None, QUICK.model_copy(update={"provider": "cuda"}), tmp_path, watcher)


def test_a_runtime_that_would_not_be_used_is_refused(watcher):
    with pytest.raises(InputError, match="nothing would be measured in openvino"):
        check_config(Measure(times=False, runtime=["onnxruntime", "openvino"]), watcher)
    check_config(Measure(times=False), watcher)
