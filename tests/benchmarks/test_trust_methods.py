"""Every method of the experiments on a pair of tiny models, for real."""

import json
import sys

import pytest

from kdbench.errors import MeasurementError
from kdbench.statistics.clustered import MIN_SESSIONS

pytest.importorskip("mlperf_loadgen", reason="pip install -e .[bench] brings MLPerf LoadGen")

from benchmarks.trust import coverage, peer
from benchmarks.trust.methods import rivals
from benchmarks.trust.methods.loadgen import reported
from benchmarks.trust.models import Net, Pair
from kdbench.machine.cores import available_cores

IMAGE = (1, 8, 8)


def log(**entries: object) -> str:
    lines = [f":::MLLOG {json.dumps({'key': key, 'value': value})}" for key, value in entries.items()]
    return "\n".join(["something else", *lines])


def test_loadgen_is_taken_at_its_word():
    entries = {"result_validity": "VALID", "result_50.00_percentile_latency_ns": 31390}
    assert reported(log(**entries)) == 31390


def test_an_invalid_run_of_loadgen_is_no_result():
    entries = {
        "result_validity": "INVALID",
        "result_invalid_reason": "too few",
        "result_50.00_percentile_latency_ns": 1,
    }
    with pytest.raises(MeasurementError, match="too few"):
        reported(log(**entries))


@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the experiments pin processes to a core")
def test_a_pair_is_compared_by_every_method(tmp_path, monkeypatch):
    monkeypatch.setattr(rivals, "SECONDS", 0.5)
    pair = Pair(Net("64-256-10", IMAGE), Net("64-16-10", IMAGE), 0.05)
    comparison = coverage.measure("tiny-003", pair, 1.0, available_cores(), tmp_path)
    methods = comparison["methods"]
    assert comparison["pair"] == "tiny"
    assert sorted(methods) == sorted(comparison["order"]) == ["LoadGen", "kdbench", "naive", "pytest-benchmark"]
    ours = methods["kdbench"]
    assert ours["low"] < ours["ratio"] < ours["high"]
    assert len(ours["sessions"]) >= MIN_SESSIONS  # those that other work disturbed do not count
    again = coverage.published(comparison, available_cores())["methods"]["kdbench"]
    for key in ("low", "ratio", "high"):
        assert again[key] == pytest.approx(ours[key], rel=1e-5)
    assert set(ours["sessions"][0]["p50_ns"]) == {"64-256-10", "64-16-10"}
    assert all(method["ratio"] > 0 for method in methods.values())


@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the experiments pin processes to a core")
def test_a_call_that_computes_nothing_is_measured_by_both(tmp_path):
    result = peer.measure("null-001", available_cores(), tmp_path)
    assert result["order"] == ["kdbench", "LoadGen"]
    assert all(100 < ns < 1e6 for ns in result["p50_ns"].values())
