import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kdbench.testing.benchmarks import ReplayTimer, call_times, enter

AT = {"provider": "cpu", "threads": 1, "batch": 1}
BOUNDS = """
    import pytest

    def test_latency(kdbench):
        model = kdbench.model("student.onnx", data="digits")
        model.top1.at_least(0.9)
        model.latency_p50_ns.at_most("5 ms")

    def test_accuracy(kdbench):
        kdbench.model("student.onnx", data="digits").top1.at_least(0.9)

    @pytest.mark.benchmark(group="pairs")
    def test_ratio(kdbench):
        kdbench.ratio(teacher="teacher.onnx", student="student.onnx", metric="latency_ratio").at_least(3)

    def test_beside(kdbench, benchmark):
        benchmark.pedantic(sum, ([1, 2],), rounds=7)
        kdbench.model("student.onnx", data="digits").latency_p50_ns.at_most("5 ms")

    def test_that_asks_late(kdbench, request):
        request.getfixturevalue("benchmark").pedantic(sum, ([1, 2],), rounds=9)
        kdbench.model("student.onnx", data="digits").latency_p50_ns.at_most("5 ms")

    def test_failing(kdbench):
        kdbench.model("student.onnx", data="digits").latency_p50_ns.at_most("5 ns")
"""

# The action is no npm package: a checkout of benchmark-action/github-action-benchmark, its branch v1.
ACTION_BENCHMARK = os.environ.get("KDBENCH_ACTION_BENCHMARK", "")
EXTRACT = """
const { extractResult } = require(process.argv[1]);
const config = { tool: "pytest", outputFilePath: process.argv[2] };
extractResult(config).then((result) => console.log(JSON.stringify(result.benches)));
"""


@pytest.fixture
def entries(pytester, run, measurements):
    """Run the tests and return the JSON's entries by the test's name, and the session's result."""
    result = run(BOUNDS, "--benchmark", "--benchmark-json=out.json")
    result.assert_outcomes(passed=5, failed=1)
    report = json.loads((pytester.path / "out.json").read_text())
    return {entry["name"]: entry for entry in report["benchmarks"]}, result


def test_the_call_times_are_entered_as_rounds(entries):
    stats = entries[0]["test_latency"]["stats"]
    assert stats["data"] == [470e-6, 480e-6, 490e-6, 500e-6]
    assert (stats["min"], stats["max"], stats["rounds"], stats["iterations"]) == (470e-6, 500e-6, 4, 1)
    assert stats["mean"] == pytest.approx(485e-6)
    assert stats["ops"] == pytest.approx(1 / 485e-6)
    assert stats["stddev"] == pytest.approx(np.std([470e-6, 480e-6, 490e-6, 500e-6], ddof=1))


def test_each_parameter_has_an_entry_with_the_times_of_its_model(pytester, run, measurements):
    tests = """
        import pytest

        @pytest.mark.parametrize("file", ["student.onnx", "teacher.onnx"])
        def test_latency(kdbench, file):
            kdbench.model(file, data="digits").latency_p50_ns.at_most("5 ms")

        @pytest.mark.parametrize("size", [1, 2])
        def test_beside(kdbench, benchmark, size):
            benchmark.pedantic(sum, ([1, 2],), rounds=7)
    """
    run(tests, "--benchmark", "--benchmark-json=out.json", "-W", "error").assert_outcomes(passed=4)
    entries = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    rounds = {entry["name"]: entry["stats"]["rounds"] for entry in entries}
    assert rounds == {
        "test_latency[student.onnx]": 4,
        "test_latency[teacher.onnx]": 4,
        "test_beside[1]": 7,
        "test_beside[2]": 7,
    }
    assert [
        entry["extra_info"]["kdbench"]["bounds"][0]["subject"] for entry in entries if "kdbench" in entry["extra_info"]
    ] == ["student.onnx", "teacher.onnx"]


def test_they_are_what_github_action_benchmark_reads(entries):
    # extractPytestResult of github-action-benchmark v1: fullname, stats.ops, stats.stddev, stats.mean, stats.rounds.
    for entry in entries[0].values():
        assert entry["fullname"].startswith("test_it.py::")
        assert all(entry["stats"][key] > 0 for key in ("ops", "mean", "rounds"))
        assert 0 <= entry["stats"]["stddev"] <= entry["stats"]["max"] - entry["stats"]["min"]


def test_github_action_benchmark_itself_reads_them(pytester, run, measurements):
    reader = Path(ACTION_BENCHMARK) / "dist/src/extract.js"
    if not ACTION_BENCHMARK or not reader.exists():
        pytest.skip("KDBENCH_ACTION_BENCHMARK names no checkout of github-action-benchmark with dist/src/extract.js")
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    run(BOUNDS, "--benchmark", "--benchmark-json=out.json")
    (pytester.path / "event.json").write_text('{"head_commit": {"id": "c0ffee"}}')
    environment = {**os.environ, "GITHUB_EVENT_PATH": str(pytester.path / "event.json")}
    command = ["node", "-e", EXTRACT, str(reader), str(pytester.path / "out.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    benches = {bench["name"].partition("::")[2]: bench for bench in json.loads(done.stdout)}
    assert benches["test_latency"]["value"] == pytest.approx(1 / 485e-6)
    mean, rounds = benches["test_latency"]["extra"].splitlines()
    assert float(mean.split()[1]) == pytest.approx(485.0)
    assert (mean.split()[2], rounds) == ("usec", "rounds: 4")


def test_a_pair_enters_the_student_in_the_group_of_its_mark(entries):
    assert entries[0]["test_ratio"]["group"] == "pairs"
    assert entries[0]["test_ratio"]["stats"]["rounds"] == 4


def test_a_test_without_times_has_no_entry_and_no_warning(entries):
    assert "test_accuracy" not in entries[0]
    entries[1].stdout.no_fnmatch_line("*not used at all*")


def test_a_failed_bound_has_its_entry(entries):
    (bound,) = entries[0]["test_failing"]["extra_info"]["kdbench"]["bounds"]
    assert (bound["outcome"], bound["passed"], bound["limit"]) == ("FAIL", False, 5)


def test_numbers_intervals_and_limits_are_in_extra_info(entries):
    info = entries[0]["test_latency"]["extra_info"]["kdbench"]
    top1, p50 = info["bounds"]
    assert (top1["metric"], top1["value"], top1["n"], top1["side"]) == ("top1", 0.9173, 10_000, "min")
    assert top1["interval"] == {"low": 0.9118, "high": 0.9225, "level": 0.95}
    assert (p50["axes"], p50["limit"], p50["outcome"]) == (AT, 5e6, "PASS")
    assert (p50["found"].partition(" [")[0], p50["asked"]) == ("481 µs", "at most 5 ms")
    assert any(name.startswith("student-") for name in info["records"])


@pytest.mark.parametrize(("name", "rounds"), [("test_beside", 7), ("test_that_asks_late", 9)])
def test_a_test_that_times_something_itself_keeps_that(entries, name, rounds):
    entry = entries[0][name]
    assert entry["stats"]["rounds"] == rounds
    assert entry["stats"]["max"] < 480e-6
    assert entry["extra_info"]["kdbench"]["bounds"][0]["metric"] == "latency_p50_ns"


def test_runs_are_saved_and_compared(pytester, run, measurements):
    for _ in range(2):
        result = run(BOUNDS, "--benchmark", "--benchmark-autosave", "--benchmark-compare")
    result.stdout.fnmatch_lines(["*test_latency*(0001_*"])
    assert len(list(pytester.path.glob(".benchmarks/*/000?_*.json"))) == 2


def test_a_smoke_run_has_no_entries(pytester, run):
    tests = 'def test_it(kdbench):\n    kdbench.model("student.onnx").latency_p50_ns.at_most("5 ns")'
    result = run(tests, "--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*not used at all*")
    out = pytester.path / "out.json"
    assert not out.exists() or not out.read_text()  # pytest-benchmark 5.1 opens it when it reads its options


def test_many_calls_are_thinned_by_rank():
    rng = np.random.default_rng(0)
    calls = (1e5 * rng.lognormal(0, 0.3, 40_000)).astype(np.int64)
    times = call_times({"m/cpu-t1-b1/ns": calls}, "m", AT)
    assert len(times) == 1000
    assert set(times) <= set(calls / 1e9)
    assert np.mean(times) == pytest.approx(calls.mean() / 1e9, rel=1e-3)
    assert np.std(times) == pytest.approx(calls.std() / 1e9, rel=0.02)


def test_one_slow_call_of_many_does_not_weigh_more_than_it_did():
    calls = np.full(100_000, 1000)
    calls[5] = 10_000_000
    assert np.mean(call_times({"m/cpu-t1-b1/ns": calls}, "m", AT)) == pytest.approx(1e-6)


def test_without_samples_there_are_no_times():
    assert call_times({}, "m", AT) == []
    assert call_times({"m/cpu-t1-b1/ns": np.ones(3, np.int64)}, "m", {}) == []


def test_an_unloaded_timer_is_the_clock():
    timer = ReplayTimer()
    assert 0 < timer() <= timer()
    timer.load([0.25, 0.5])
    assert [timer() for _ in range(4)] == [0.0, 0.25, 0.0, 0.5]
    assert timer() > 0


def test_what_is_measured_by_the_test_is_not_replaced():
    class Used:
        stats = object()
        extra_info = {}  # noqa: RUF012 - as pytest-benchmark's

        def pedantic(self, *_, **__):
            raise AssertionError

    enter(Used(), ReplayTimer(), [1.0], {"bounds": []})
    assert Used.extra_info == {"kdbench": {"bounds": []}}
