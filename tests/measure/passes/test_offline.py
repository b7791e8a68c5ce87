import numpy as np
import pytest

from kdbench.measure import runner
from kdbench.measure.passes import offline
from kdbench.measure.passes.offline import OfflinePass, OfflineSamples, plan
from kdbench.statistics import Clustered
from kdbench.worker.batch_sweep import Step, Sweep
from kdbench.worker.process import WorkerError

pytestmark = pytest.mark.serial

AT = {"provider": "cpu", "threads": 1, "mode": "offline"}


@pytest.fixture
def findings(run_pass):
    def run(*models, sessions=2, budget_s=2.0, mode=("stream", "offline"), **config):
        return run_pass(OfflinePass(), models, sessions=sessions, budget_s=budget_s, mode=mode, **config)

    return run


@pytest.fixture
def sampled(monkeypatch):
    """Let the sessions return these values."""

    def replace(sweeps, samples=None, failed=None):
        value = OfflineSamples(1, sweeps, samples or {}, failed or {})
        monkeypatch.setattr(offline, "sample_offline", lambda *_: [value])

    return replace


def steps(*times):
    return [Step(2**power, ns) for power, ns in enumerate(times)]


def calls(*sessions_ns):
    """Three calls in each of two blocks of each session, all of one time."""
    return Clustered(
        values=np.repeat(np.array(sessions_ns, dtype=np.float64), 6),
        session=np.repeat(np.arange(len(sessions_ns)), 6),
        block=np.tile(np.repeat([0, 1], 3), len(sessions_ns)),
    )


def by_axes(results, model, metric):
    return {m.axes.get("batch"): m for m in results.measurements if m.model == model and m.metric == metric}


def throughput(results, model, batch):
    """Compute samples per second from the raw samples."""
    return batch * 1e9 / results.samples[f"{model}/cpu-t1-b{batch}-offline/ns"].mean()


def session_rates(results, model, batch):
    """Compute samples per second of each session from the raw samples."""
    key = f"{model}/cpu-t1-b{batch}-offline"
    ns, session = (results.samples[f"{key}/{name}"] for name in ("ns", "session"))
    return np.array([batch * 1e9 / ns[session == number].mean() for number in np.unique(session)])


def assert_best_of_samples(results, model):
    rates = by_axes(results, model, "throughput_per_s")
    best = by_axes(results, model, "max_throughput_per_s")[None]
    assert best.value == pytest.approx(max(throughput(results, model, batch) for batch in rates))


def test_nothing_is_measured_unless_configured(tiny, bench_model, findings):
    assert findings(bench_model(tiny(), data=False), mode=("stream",)).measurements == ()


def test_real_processes_sweep_and_measure(tiny, bench_model, findings, monkeypatch):
    results = findings(bench_model(tiny("t"), data=False), bench_model(tiny("s", batch=4), teacher="t", data=False))
    rates = by_axes(results, "t", "throughput_per_s")
    assert list(rates) == [2**doublings for doublings in range(len(rates))]  # how many is up to the machine
    assert all(rate.axes == {**AT, "batch": batch} for batch, rate in rates.items())
    best = by_axes(results, "t", "max_throughput_per_s")[None]
    best_batch = max(rates, key=lambda batch: rates[batch].value)
    assert best.value == rates[best_batch].value
    assert set(by_axes(results, "s", "throughput_per_s")) == {4}
    assert "fixed" in by_axes(results, "s", "max_throughput_per_s")[None].source
    (ratio,) = results.pairs
    of_sessions = session_rates(results, "s", 4) / session_rates(results, "t", best_batch)
    assert (ratio.metric, ratio.n) == ("throughput_ratio", 2)
    assert ratio.value == pytest.approx(np.exp(np.mean(np.log(of_sessions))))
    assert np.unique(results.samples["s/cpu-t1-b4-offline/session"]).tolist() == [0, 1]
    for batch, rate in rates.items():
        assert rate.value == pytest.approx(throughput(results, "t", batch))
    assert results.protocol["offline_sessions"] == 2


def test_the_largest_is_the_best_batchs_with_its_interval(tiny, bench_model, findings, sampled):
    sweep = Sweep(16, steps(1000.0, 1100.0, 2300.0, 4600.0), "saturated")
    samples = {("tiny", 1): calls(1000, 1010), ("tiny", 2): calls(1100, 1090), ("tiny", 4): calls(2300, 2290)}
    sampled({"tiny": sweep}, samples)
    results = findings(bench_model(tiny(), data=False))
    best, at_two = (
        by_axes(results, "tiny", "max_throughput_per_s")[None],
        by_axes(results, "tiny", "throughput_per_s")[2],
    )
    assert best.value == at_two.value == pytest.approx(2e9 / 1095)
    assert best.axes == AT
    assert best.interval == at_two.interval
    assert best.source.endswith("batch 2 of 1 to 4; larger batches gave no higher throughput")
    assert not results.warnings


def test_the_ratio_is_of_the_same_sessions_each_at_its_own_best_batch(tiny, bench_model, findings, sampled):
    # The machine is twice as slow in the second session: what both models share cancels.
    sweeps = {"t": Sweep(2, steps(1000.0), "saturated"), "s": Sweep(4, steps(500.0, 600.0), "saturated")}
    samples = {("t", 1): calls(1000, 2000), ("s", 1): calls(500, 1000), ("s", 2): calls(600, 1200)}
    sampled(sweeps, samples)
    (ratio,) = findings(bench_model(tiny("t"), data=False), bench_model(tiny("s"), teacher="t", data=False)).pairs
    assert ratio.value == pytest.approx((2 / 600) / (1 / 1000))
    assert ratio.axes == AT
    assert by_axes(findings(bench_model(tiny("t"), data=False)), "t", "max_throughput_per_s")[None].status == "unstable"


@pytest.mark.parametrize(
    ("ended", "says", "remedy"),
    [
        ("memory", "batch 4 might need more memory than is safe", "fewer models at a time"),
        ("budget", "the budget was too short for batch 4", "--budget"),
        ("fault", "batch 4 failed: bad alloc", "if it ran out of memory"),
    ],
)
def test_a_sweep_cut_short_is_warned_of_with_its_remedy(tiny, bench_model, findings, sampled, ended, says, remedy):
    sweep = Sweep(4, steps(1000.0, 1100.0), ended, "bad alloc" if ended == "fault" else "")
    sampled({"tiny": sweep}, {("tiny", 1): calls(1000, 1010), ("tiny", 2): calls(1100, 1090)})
    results = findings(bench_model(tiny(), data=False))
    (warning,) = results.warnings
    assert (warning.code, warning.model) == ("offline_shortened", "tiny")
    assert says in warning.message
    assert remedy in warning.remedy
    refused = by_axes(results, "tiny", "throughput_per_s").get(4)
    assert (refused and refused.reason) == ("bad alloc" if ended == "fault" else None)


def test_a_model_without_samples_has_its_reason_in_value_and_ratio(tiny, bench_model, findings, sampled):
    sampled({"t": Sweep(4, steps(1.0), "saturated")}, {("t", 1): calls(1000, 1010)}, {"s": "killed by signal 9"})
    results = findings(bench_model(tiny("t"), data=False), bench_model(tiny("s"), teacher="t", data=False))
    best = by_axes(results, "s", "max_throughput_per_s")[None]
    assert (best.status, best.reason) == ("error", "killed by signal 9")
    assert (results.pairs[0].value, results.pairs[0].reason) == (None, "s failed: killed by signal 9")


def test_a_model_the_runtime_refuses_has_its_reason_and_the_others_numbers(tiny, bench_model, findings):
    results = findings(
        bench_model(tiny("t"), data=False), bench_model(tiny("s", op="Unheard"), data=False), sessions=2, budget_s=1.2
    )
    assert "Unheard" in by_axes(results, "s", "max_throughput_per_s")[None].reason
    assert_best_of_samples(results, "t")


def test_a_model_that_takes_its_process_down_is_left_out_of_the_rest(tiny, bench_model, findings, monkeypatch):
    real = runner.run_job

    def dies_of_b(job, *rest, **options):
        if job.probe == "latency" and any(job.models[m].id == "b" for c in job.configurations for m in c.models):
            raise WorkerError("killed by b", "", "b")
        return real(job, *rest, **options)

    monkeypatch.setattr(runner, "run_job", dies_of_b)
    results = findings(*(bench_model(tiny(name), data=False) for name in "abc"), sessions=2, budget_s=1.2)
    assert by_axes(results, "b", "max_throughput_per_s")[None].reason == "killed by b"
    assert_best_of_samples(results, "a")
    assert_best_of_samples(results, "c")


def test_processes_that_die_of_nothing_in_particular(tiny, bench_model, findings, monkeypatch):
    def dies(*_, **__):
        raise WorkerError("no more memory", "", None)

    monkeypatch.setattr(runner, "run_job", dies)
    results = findings(bench_model(tiny(), data=False), threads=(1, 2))
    assert [m.reason for m in results.measurements] == ["no more memory"] * 2
    assert [m.axes["threads"] for m in results.measurements] == [1, 2]


def test_a_sessions_plan_gives_every_batch_its_least_and_shares_the_rest():
    both = [Sweep(4, steps(10e6, 20e6)), Sweep(8, steps(10e6, 30e6, 5e6))]
    planned = plan(both, threads=2, session_s=2.0)
    assert [(p.number, p.batch, p.models) for p in planned] == [(1, 1, (0, 1)), (2, 2, (0, 1)), (4, 4, (1,))]
    assert {p.threads for p in planned} == {2}
    assert sum(p.budget_s for p in planned) == pytest.approx(2.0)
    # Five calls of each model at the least; the last would take 25 ms, and two blocks and a window take 40.
    least = [0.100, 0.250, 0.040]
    assert np.ptp([p.budget_s - s for p, s in zip(planned, least, strict=True)]) == pytest.approx(0)


def test_a_session_that_is_too_short_still_gives_every_batch_its_least():
    (planned,) = plan([Sweep(2, steps(1e9))], threads=1, session_s=-1.0)
    assert planned.budget_s == pytest.approx(5.0)
