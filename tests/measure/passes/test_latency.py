"""Samples of known distribution in, measurements out; no model is run."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from kdbench.measure.latency.configurations import configurations
from kdbench.measure.latency.diagnosis import imprecision
from kdbench.measure.latency.ratios import headline_width
from kdbench.measure.latency.sessions import SessionSamples
from kdbench.measure.passes import latency
from kdbench.measure.passes.latency import LatencyPass, latency_findings, protocol_facts
from kdbench.recipe.tables.measure import Measure
from kdbench.statistics import Clustered, Plan

CONFIG = Measure(sessions=5, batch=(8,), budget_s=10)


def samples(median_ns, *, rounds=10, per_block=4, spread=0.01, seed=0):
    rng = np.random.default_rng(seed)
    sessions = np.exp(spread * rng.standard_normal((5, 1, 1)))
    calls = median_ns * sessions * np.exp(0.02 * rng.standard_normal((5, rounds, per_block)))
    session, block, _ = np.indices(calls.shape)
    return Clustered(calls.ravel(), session.ravel(), block.ravel())


@pytest.fixture
def pair(tiny, bench_model):
    return [bench_model(tiny("t")), bench_model(tiny("s"), teacher="t")]


def sampled(bench_models, by_key, failed=None, floor=5_000.0, config=CONFIG, width=0.04):
    return SessionSamples(
        configurations(bench_models, config),
        by_key,
        {(id_, n): reason for id_, reason in (failed or {}).items() for n in range(2)},
        np.full(5, floor),
        warm_up_calls={key: [40, 60, 50, 50, 50] for key in by_key},
        call_ns={key: [float(np.median(data.values))] * 5 for key, data in by_key.items()},
        sessions=5,
        seconds=9.87654,
        width=width,
        cores=(3,),
        plan=Plan(config.sessions),
    )


def by_metric(findings, model, batch=1):
    return {m.metric: m for m in findings.measurements if m.model == model and m.axes["batch"] == batch}


@pytest.fixture
def findings(pair):
    by_key = {("t", 0): samples(3e6), ("s", 0): samples(1e6), ("t", 1): samples(2e7), ("s", 1): samples(1e7)}
    return latency_findings(pair, sampled(pair, by_key), CONFIG)


def test_every_metric_of_every_configuration_is_there(findings):
    for model in "ts":
        for batch in (1, 8):
            results = by_metric(findings, model, batch)
            assert list(results) == [
                "latency_p50_ns",
                "latency_mean_ns",
                "latency_p90_ns",
                "latency_p95_ns",
                "latency_p99_ns",
                "throughput_per_s",
            ]
            assert {tuple(m.axes.items()) for m in results.values()} == {
                (("provider", "cpu"), ("threads", 1), ("batch", batch))
            }


def test_values_and_their_order(findings):
    results = by_metric(findings, "t")
    assert results["latency_p50_ns"].value == pytest.approx(3e6, rel=0.02)
    assert results["latency_p50_ns"].value < results["latency_p90_ns"].value < results["latency_p95_ns"].value
    assert results["latency_mean_ns"].n == 200
    assert "5 sessions, each after 50 calls of warm-up" in results["latency_mean_ns"].source


def test_a_percentile_without_its_samples_is_missing(findings):
    p99 = by_metric(findings, "t")["latency_p99_ns"]
    assert (p99.status, p99.value) == ("unavailable", None)
    assert p99.reason == "needs 662 samples, has 200"


def test_throughput_is_the_batch_over_the_mean(findings):
    results = by_metric(findings, "t", 8)
    mean, rate = results["latency_mean_ns"], results["throughput_per_s"]
    assert rate.value == pytest.approx(8e9 / mean.value)
    assert rate.interval.low == pytest.approx(8e9 / mean.interval.high)


def test_ratio_is_teacher_over_student(findings):
    single, batched = findings.pairs
    assert single.value == pytest.approx(3, rel=0.03)
    assert single.interval.low <= single.value <= single.interval.high
    assert (single.axes["batch"], batched.axes["batch"]) == (1, 8)
    assert batched.value == pytest.approx(2, rel=0.03)
    assert single.n == 50


def test_raw_samples_are_kept_by_model_and_configuration(findings):
    assert findings.samples["t/cpu-t1-b1/ns"].dtype == np.int64
    assert len(findings.samples["s/cpu-t1-b8/block"]) == 200
    assert findings.samples["s/cpu-t1-b8/session"].max() == 4


def test_sessions_that_differ_make_a_value_unstable(pair):
    restless = samples(3e6, spread=0.4)
    result = sampled(pair, {("t", 0): restless, ("s", 0): samples(1e6), ("t", 1): restless, ("s", 1): restless})
    p50 = by_metric(latency_findings(pair, result, CONFIG), "t")["latency_p50_ns"]
    assert p50.status == "unstable"
    assert p50.value == pytest.approx(3e6, rel=0.5)
    assert "sessions differ" in p50.reason


def test_a_model_that_failed_says_why_and_the_other_stays(pair, run_pass, monkeypatch):
    result = sampled(pair, {("t", 0): samples(3e6), ("t", 1): samples(3e6)}, failed={"s": "it crashed"})
    monkeypatch.setattr(latency, "sample", lambda *_: result)
    findings = run_pass(LatencyPass(), pair, config=CONFIG)
    assert {(m.status, m.reason) for m in findings.measurements if m.model == "s"} == {("error", "it crashed")}
    assert by_metric(findings, "t")["latency_p50_ns"].status == "ok"
    assert {p.reason for p in findings.pairs} == {"s failed: it crashed"}


def test_a_fixed_batch_cannot_run_the_other(tiny, bench_model):
    one = [bench_model(tiny("fixed", batch=1)), bench_model(tiny("free"), teacher="fixed")]
    result = sampled(one, {("fixed", 0): samples(1e6), ("free", 0): samples(1e6), ("free", 1): samples(1e7)})
    findings = latency_findings(one, result, CONFIG)
    batched = by_metric(findings, "fixed", 8)["latency_p50_ns"]
    assert (batched.status, batched.reason) == ("unavailable", "the model's batch is fixed at 1")
    assert findings.pairs[1].status == "unavailable"


def test_the_protocol_of_latencies(pair):
    facts = protocol_facts(sampled(pair, {("t", 0): samples(3e6)}), CONFIG)
    assert (facts["floor_ns"], facts["block_ns"], facts["seed"]) == (5_000, 10_000_000, 0)
    assert facts["warm_up_calls"] == {"least": 40, "most": 60}
    assert "within 10%, or 25% of the budget" in facts["warm_up"]
    assert (facts["sessions_taken"], facts["latency_s"], facts["cores_used"]) == (5, 9.88, [3])
    assert (facts["stopped"], facts["widest_interval"]) == ("precise", 0.04)
    assert json.loads(json.dumps(facts)) == facts


def test_a_budget_that_ended_first_is_a_warning(pair):
    facts = protocol_facts(sampled(pair, {("t", 0): samples(3e6)}, width=0.2), CONFIG)
    assert facts["stopped"] == "budget"
    (warning,) = imprecision(0.2, CONFIG, Plan())
    assert (warning.code, warning.remedy.startswith("give it a longer --budget")) == ("precision_missed", True)
    assert "20.0 % wide" in warning.message
    assert "intervals were wider than their means" in imprecision(2e5, CONFIG, Plan())[0].message
    assert imprecision(0.05, CONFIG, Plan()) == ()


def test_what_no_budget_lowers_is_no_warning(pair):
    neighbours = Plan(resolution=0.015)
    assert neighbours.least_width > CONFIG.precision
    assert imprecision(neighbours.least_width, CONFIG, neighbours) == ()
    by_sessions = math.hypot(neighbours.least_width, 1.01 * CONFIG.precision)
    assert len(imprecision(by_sessions, CONFIG, neighbours)) == len(imprecision(math.inf, CONFIG, neighbours)) == 1


def test_sessions_that_never_ran_have_a_fixed_protocol(pair):
    facts = protocol_facts(SessionSamples(configurations(pair, CONFIG)), CONFIG)
    assert not {"floor_ns", "warm_up_calls"} & facts.keys()


SERVED = Measure(sessions=5, mode=("paced", "server"), rate_per_s=400)


@pytest.fixture
def served(pair):
    by_key = {("t", 0): samples(3e6), ("s", 0): samples(1e6), ("t", 1): samples(3e6), ("s", 1): samples(1e6)}
    return latency_findings(pair, sampled(pair, by_key, config=SERVED), SERVED)


def test_calls_that_do_not_follow_each_other_have_no_throughput(served):
    assert {m.metric for m in served.measurements} == set(by_metric(served, "s"))
    assert "throughput_per_s" not in by_metric(served, "s")


def test_under_random_arrivals_there_is_no_ratio(served):
    assert [p.axes["mode"] for p in served.pairs] == ["paced"]


def test_a_server_that_cannot_keep_up_has_no_latency(served):
    under_load = {
        m.model: m for m in served.measurements if m.axes["mode"] == "server" and m.metric == "latency_p50_ns"
    }
    assert (under_load["t"].status, under_load["t"].value) == ("invalid", None)
    assert "busy 120 % of the time" in under_load["t"].reason
    assert under_load["s"].status == "ok"


def test_the_headline_is_the_usual_way_of_calling(pair):
    config = Measure(sessions=5, batch=(8,), threads=(1, 2))
    results = configurations(pair, config)
    shaky = samples(1e6, spread=0.5, seed=1)
    by_key = {("t", n): samples(3e6) for n in range(3)} | {
        ("s", 0): samples(1e6),
        ("s", 1): samples(1e6),
        ("s", 2): shaky,
    }
    assert headline_width(pair, results, by_key, Plan(first=5)) < 0.1
    assert headline_width(pair, results, by_key | {("s", 1): shaky}, Plan(first=5)) > 0.5
    alone = {key: data for key, data in by_key.items() if key[0] == "t"}
    assert 0 < headline_width(pair[:1], results, alone, Plan(first=5)) < 0.1
    alone_of_two = headline_width(pair, results, alone, Plan(first=5))  # the student has failed
    assert alone_of_two == headline_width(pair[:1], results, alone, Plan(first=5))


def test_where_there_is_no_headline_none_was_precise(pair):
    served = Measure(sessions=5, mode=("server",), rate_per_s=100)
    by_key = {("t", 0): samples(3e6), ("s", 0): samples(1e6)}
    width = headline_width(pair, configurations(pair, served), by_key, Plan(first=5))
    assert imprecision(width, served, Plan()) == ()
    facts = protocol_facts(sampled(pair, by_key, config=served, width=width), served)
    assert facts["sessions_taken"] == 5
    assert not {"stopped", "widest_interval"} & facts.keys()


def test_times_of_several_calls_have_no_percentiles_above_the_median(pair):
    by_key = {(id_, n): samples(5e4, rounds=100) for id_ in "ts" for n in (0, 1)}
    of = replace(sampled(pair, by_key), calls_at_once={("t", 0): 10})
    together, single = (by_metric(latency_findings(pair, of, CONFIG), id_) for id_ in "ts")
    assert together["latency_p50_ns"].value == single["latency_p50_ns"].value
    assert "10 calls timed at once" in together["latency_p50_ns"].source
    for metric in ("latency_p90_ns", "latency_p95_ns", "latency_p99_ns"):
        assert single[metric].value
        assert "10 calls are timed at once" in together[metric].reason
