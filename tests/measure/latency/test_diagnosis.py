"""Samples of known shape in, warnings out; no model is run."""

import numpy as np
import pytest

from kdbench.measure.latency import diagnosis
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.latency.diagnosis import latency_warnings, two_states, unevenness
from kdbench.measure.latency.sessions import SessionSamples
from kdbench.recipe.tables.measure import Measure
from kdbench.statistics import Clustered
from kdbench.worker import timing
from kdbench.worker.timing import clock_step_ns

CONFIG = Measure(batch=(8,), mode=("stream", "server"), rate_per_s=100)
BATCH_1, BATCH_8, SERVER = range(3)


def blocks(medians):
    """Return samples of one call a block from times (sessions, blocks)."""
    medians = np.asarray(medians, float)
    session, block = np.indices(medians.shape)
    return Clustered(medians.ravel(), session.ravel(), block.ravel())


def steady(median_ns=1e6):
    return blocks(median_ns * (1 + 0.01 * np.random.default_rng(0).standard_normal((5, 20))))


def restless():
    return blocks(1e6 * (1 + 0.2 * np.random.default_rng(0).standard_normal((5, 20))))


@pytest.fixture
def diagnosed(tiny, bench_model, monkeypatch):
    """Return the warnings of these samples of model m, by configuration."""
    monkeypatch.setattr(diagnosis, "clock_step_ns", lambda: 40.0)

    def warn(by_configuration, config=CONFIG, floor_ns=5_000.0, **values):
        bench_models = [bench_model(tiny("m"))]
        result = SessionSamples(
            configurations=configurations(bench_models, config),
            samples={("m", number): data for number, data in by_configuration.items()},
            floor_ns=np.full(5, floor_ns),
            **values,
        )
        return list(latency_warnings(result, config))

    return warn


def test_configurations_are_as_these_tests_name_them(tiny, bench_model):
    findings = configurations([bench_model(tiny("m"))], CONFIG)
    assert [(c.batch, c.mode) for c in findings] == [(1, "stream"), (8, "stream"), (1, "server")]


def test_steady_samples_of_a_quiet_machine_give_no_warning(diagnosed):
    assert diagnosed({BATCH_1: steady(), BATCH_8: steady(8e6), SERVER: steady()}) == []


def test_uneven_blocks_are_unstable(diagnosed):
    (findings,) = diagnosed({BATCH_1: steady(), BATCH_8: restless()})
    assert (findings.code, findings.model) == ("unstable", "m")
    assert findings.message.startswith("latency at batch 8, 1 thread: the standard deviation of the blocks is")
    assert "--budget" in findings.remedy


def test_sessions_that_differ_are_said_before_their_blocks(diagnosed):
    sessions = blocks(np.array([1.0, 1.3, 0.8, 1.2, 1.0])[:, None] * np.full((5, 20), 1e6))
    (findings,) = diagnosed({BATCH_1: sessions})
    assert "sessions differ by 18 %" in findings.message


def test_one_warning_of_a_model_for_all_the_ways_of_calling_it(diagnosed):
    (findings,) = diagnosed({BATCH_1: restless(), BATCH_8: restless()})
    assert findings.message.endswith("(and in 1 other configuration)")


def test_arrivals_wait_for_chance(diagnosed):
    assert diagnosed({SERVER: restless()}) == []


def test_sessions_of_two_kinds(diagnosed):
    sessions = blocks(np.array([500, 560, 501, 502, 561])[:, None] * np.full((5, 3), 1e3))
    (findings,) = diagnosed({BATCH_1: sessions})
    assert findings.code == "two_states"
    assert "--cores" in findings.remedy


@pytest.mark.parametrize(
    ("number", "median_ns", "codes"),
    [
        (BATCH_1, 99_000, ["near_floor"]),
        (BATCH_1, 101_000, []),
        (BATCH_8, 99_000, []),  # a batch shares the call's cost
        (SERVER, 99_000, []),  # the floor is of calls back to back
    ],
)
def test_a_call_near_the_floor(diagnosed, number, median_ns, codes):
    findings = diagnosed({number: blocks(np.full((5, 4), median_ns))})
    assert [w.code for w in findings] == codes
    assert all(
        w.message.endswith("at batch 1, 1 thread: an empty call costs 5.0 µs of its median of 99.0 µs")
        for w in findings
    )


@pytest.mark.parametrize(("median_ns", "codes"), [(3_990, ["coarse_clock"]), (4_010, [])])
def test_a_call_of_few_clock_steps(diagnosed, median_ns, codes):
    findings = diagnosed({BATCH_8: blocks(np.full((5, 4), median_ns))})
    assert [w.code for w in findings] == codes
    assert all("the clock's step is 40 ns of its median of 3990 ns" in w.message for w in findings)


def test_the_clocks_step_is_that_of_its_readings(monkeypatch):
    coarse = iter(np.repeat(np.arange(100) * 700, 5).tolist())
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: next(coarse))
    assert clock_step_ns(500) == 700


def test_this_clock_has_a_step():
    assert 0 < clock_step_ns() < 1e6


def test_an_overrun_is_of_the_whole_run(diagnosed):
    assert [(w.code, w.model) for w in diagnosed({}, Measure(budget_s=10), seconds=16.0)] == [("over_budget", None)]


def test_nothing_is_said_of_a_server_that_cannot_keep_up(diagnosed):
    apart = blocks([[1e6], [2e6], [3e6], [4e6], [5e6]])
    assert [w.code for w in diagnosed({SERVER: apart}, call_ns={("m", SERVER): [1e6] * 5})] == ["unstable"]
    assert diagnosed({SERVER: apart}, call_ns={("m", SERVER): [1e7] * 5}) == []  # 100 calls of 10 ms in a second


def calls(block_medians):
    """Return samples of 5 calls a block, the last of each an outlier, from medians (sessions, blocks)."""
    medians = np.asarray(block_medians, float)
    session, block, call = np.indices((*medians.shape, 5))
    values = medians[:, :, None] * np.array([0.98, 1.0, 1.0, 1.02, 40.0])
    assert values.shape == call.shape
    return Clustered(values.ravel(), session.ravel(), block.ravel())


def uneven(deviation, shape=(5, 40)):
    """Return block medians of exactly this relative standard deviation."""
    drawn = np.random.default_rng(0).uniform(-1, 1, shape)
    return 1e6 * (1 + deviation * (drawn - drawn.mean()) / drawn.std(ddof=1))


@pytest.mark.parametrize(
    ("deviation", "output"), [(0.099, None), (0.101, "the standard deviation of the blocks is 10 % of their mean")]
)
def test_blocks_that_deviate(deviation, output):
    assert unevenness(calls(uneven(deviation))) == output


def test_single_calls_that_are_interrupted_are_what_percentiles_are_for():
    steady = calls(uneven(0.01))
    assert np.std(steady.values) > np.mean(steady.values)
    assert unevenness(steady) is None


@pytest.mark.parametrize(("slow", "output"), [(1.4, None), (1.6, "the longest blocks are 58 % off the mean")])
def test_extreme_blocks(slow, output):
    medians = np.full((5, 12), 1e6)
    medians[2, 3] = slow * 1e6
    assert unevenness(calls(medians)) == output


def test_in_a_longer_look_extremes_are_as_rare_as_pyperfs():
    medians = np.full((5, 24), 1e6)  # 120 blocks: the second longest counts
    medians[2, 3] = 1.6e6
    assert unevenness(calls(medians)) is None
    medians[4, 0] = 1.6e6
    assert unevenness(calls(medians)) == "the longest blocks are 58 % off the mean"


def test_one_block_alone_is_even():
    assert unevenness(calls([[1e6]])) is None


def sessions(*medians):
    return calls(np.repeat(np.array(medians)[:, None], 3, axis=1))


@pytest.mark.parametrize(
    ("medians", "output"),
    [
        ((500e3, 560e3, 501e3, 502e3, 562e3), "sessions fall into two groups: medians of 501 µs in 3 and 561 µs in 2"),
        ((500e3, 560e3, 501e3, 502e3, 503e3), None),  # one odd session is no kind
        ((500e3, 560e3, 501e3, 562e3), None),  # too few to tell
        ((500e3, 515e3, 501e3, 502e3, 516e3), None),  # 3 % apart
        ((500e3, 510e3, 520e3, 530e3, 600e3, 610e3), None),  # not far apart for their width
    ],
)
def test_two_states_of_sessions(medians, output):
    result = two_states(sessions(*medians))
    assert (result and result.replace("\u202f", " ").replace("\xa0", " ")) == output


def test_sessions_of_one_kind_seldom_look_like_two():
    rng = np.random.default_rng(0)
    drawn = 1e6 * (1 + 0.05 * rng.standard_normal((2000, 5)))
    session, block = np.arange(5), np.zeros(5, int)
    seen = sum(two_states(Clustered(medians, session, block)) is not None for medians in drawn)
    assert seen <= 30  # 20 expected of 2000, see the module
