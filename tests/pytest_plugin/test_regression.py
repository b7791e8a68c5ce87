import pytest

from kdbench.recipe import InputOptions
from kdbench.results.comparisons import ComparedMetric, Comparison

TEST = 'def test_it(kdbench):\n    kdbench.model("student.onnx", data="digits").no_regression({arguments})'
BOTH = "def test_it(kdbench):\n    kdbench.compare({names}).no_regression({arguments})"
SIZE = 'metrics=("size_bytes",)'


def test_two_stored_runs_are_compared(run, store):
    store("base")
    store("same")
    store("slow", slower=1.5)
    run(BOTH.format(names='"base", "same"', arguments=""), "--benchmark").assert_outcomes(passed=1)
    result = run(BOTH.format(names='"base", "slow"', arguments=""), "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*latency_p50_ns at batch 1, 1 thread is 481 µs → 722 µs, +50* at most 5 % higher*"])
    result.stdout.fnmatch_lines(["same *slow after base: no change exceeds its threshold in * numbers; *"])


def test_a_threshold_can_be_set(run, store):
    store("base")
    store("slow", slower=1.5)
    names = '"base", "slow", metrics=("latency_p50_ns",), thresholds={"latency_p50_ns": "90 %"}'
    run(BOTH.format(names=names, arguments=""), "--benchmark").assert_outcomes(passed=1)


def test_a_model_is_held_against_its_stored_state(run, measurements, store):
    store("faster", slower=0.5)
    run(TEST.format(arguments=SIZE), "--benchmark", "--kdbench-baseline=faster").assert_outcomes(passed=1)
    assert [measurement["timed"] for measurement in measurements] == [False]
    result = run(TEST.format(arguments='"faster"'), "--benchmark")
    result.assert_outcomes(failed=1)
    assert [measurement["timed"] for measurement in measurements] == [False, True]


def test_a_baseline_may_be_in_the_home_folder(pytester, run, measurements, store, monkeypatch):
    store("faster", slower=0.5)
    monkeypatch.setenv("HOME", str(pytester.path))
    run(TEST.format(arguments=SIZE), "--benchmark", "--kdbench-baseline=~/faster").assert_outcomes(passed=1)
    run(TEST.format(arguments=SIZE), "--benchmark", "-o", "kdbench_baseline=~/faster").assert_outcomes(passed=1)


def test_without_a_baseline_there_is_no_gate_to_pass(run, measurements):
    result = run(TEST.format(arguments=""), "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["student.onnx has no baseline", "hint: *--kdbench-baseline=PATH*"])


@pytest.mark.parametrize(
    ("baseline", "message"),
    [("nowhere", "there is no baseline at *nowhere"), ("empty", "the baseline *empty has neither a record.json nor*")],
)
def test_a_baseline_that_is_not_there_fails(pytester, run, measurements, baseline, message):
    pytester.mkdir("empty")
    result = run(TEST.format(arguments=""), "--benchmark", f"--kdbench-baseline={baseline}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize("baseline", [".", "student.onnx"])
def test_a_model_that_is_its_own_baseline_fails(run, measurements, baseline):
    result = run(TEST.format(arguments=""), "--benchmark", f"--kdbench-baseline={baseline}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["student.onnx and its baseline are the same file: *", "hint: *--kdbench-baseline=*"])


@pytest.fixture
def gate(monkeypatch):
    """Let a measured comparison end as the test says; returns the calls."""
    calls = []

    def end(outcome):
        if outcome == "identical":
            comparison = Comparison(base="a", new="b", created="2025", overall="same", rows=(), identical=("student",))
            monkeypatch.setattr("kdbench.workflows.remeasure.remeasure", lambda *_, **__: (comparison, None))
            return calls
        row = ComparedMetric(
            base_model="student", new_model="student", metric="size_bytes", unit="bytes", base=1e6, new=1.2e6,
            change=1.2, threshold=0.01, outcome=outcome, reason="made up" if outcome == "inconclusive" else "",
        )  # fmt: skip

        def remeasure(base, new, **options):
            calls.append((base, new, options))
            return Comparison(base=base.name, new=new.name, created="2025", overall=outcome, rows=(row,)), None

        monkeypatch.setattr("kdbench.workflows.remeasure.remeasure", remeasure)
        return calls

    return end


@pytest.mark.parametrize(
    ("outcome", "options", "expected"),
    [
        ("improved", [], "passed"),
        ("same", [], "passed"),
        ("identical", [], "passed"),
        ("regressed", [], "failed"),
        ("regressed", ["--kdbench-inconclusive=pass"], "failed"),
        ("inconclusive", [], "failed"),
        ("inconclusive", ["--kdbench-inconclusive=fail"], "failed"),
        ("inconclusive", ["--kdbench-inconclusive=skip"], "skipped"),
        ("inconclusive", ["-o", "kdbench_inconclusive=pass"], "passed"),
    ],
)
def test_only_same_or_improved_passes(run, gate, outcome, options, expected):
    gate(outcome)
    tests = BOTH.format(names='"teacher.onnx", "student.onnx"', arguments="")
    run(tests, "--benchmark", *options).assert_outcomes(**{expected: 1})


@pytest.mark.parametrize(("policy", "expected"), [("fail", "failed"), ("skip", "skipped"), ("pass", "passed")])
def test_a_test_can_override_what_inconclusive_does(run, gate, policy, expected):
    gate("inconclusive")
    tests = BOTH.format(names='"teacher.onnx", "student.onnx"', arguments=f"inconclusive={policy!r}")
    run(tests, "--benchmark", "--kdbench-inconclusive=pass").assert_outcomes(**{expected: 1})


def test_the_checkout_of_another_branch_is_measured_beside_this_one(pytester, run, gate):
    calls = gate("same")
    base = pytester.mkdir("base")
    (base / "student.onnx").write_bytes((pytester.path / "teacher.onnx").read_bytes())
    options = ("--benchmark", "--kdbench-baseline=base", "--kdbench-budget=2s")
    tests = TEST.format(arguments="")
    result = run(f"{tests}\n{tests.replace('test_it', 'test_again')}", *options)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*; no regression against base/student.onnx"])
    ((before, after, options),) = calls  # made once a session
    assert (before, after) == (base / "student.onnx", pytester.path / "student.onnx")
    assert options["inputs"] == InputOptions(data="digits")
    assert options["options"].budget_s == 2.0


def test_a_comparison_that_cannot_be_made_is_tried_once(run, monkeypatch):
    from kdbench.errors import MeasurementError

    attempts = []

    def remeasure(base, new, *, out, **_):
        attempts.append(out.exists())
        raise MeasurementError("it does not run")

    monkeypatch.setattr("kdbench.workflows.remeasure.remeasure", remeasure)
    tests = BOTH.format(names='"teacher.onnx", "student.onnx"', arguments="")
    result = run(f"{tests}\n{tests.replace('test_it', 'test_again')}", "--benchmark")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["it does not run"])
    assert attempts == [False]


def test_a_killed_workers_folder_is_replaced(pytester, run, gate, monkeypatch):
    gate("same")
    left = pytester.mkdir("kept") / "session" / "compare-student-00000000"
    left.mkdir(parents=True)
    (left / "record.json").write_text("")
    monkeypatch.setattr("kdbench.testing.settings.session_name", lambda _: "session")
    monkeypatch.setattr("kdbench.files.storage.content_hash", lambda _: "0" * 64)
    tests = BOTH.format(names='"teacher.onnx", "student.onnx"', arguments="")
    run(tests, "--benchmark", "--kdbench-out=kept").assert_outcomes(passed=1)
    assert [path.name for path in left.iterdir()] == ["comparison.json"]


def test_stored_runs_may_be_measured_again(run, store, gate):
    calls = gate("same")
    store("base")
    store("new")
    names = '"base", "new", remeasure=True, threads=2'
    run(BOTH.format(names=names, arguments=""), "--benchmark").assert_outcomes(passed=1)
    assert (calls[0][2]["inputs"].accuracy, calls[0][2]["options"].threads) == (True, (2,))


def test_a_smoke_run_judges_nothing_and_reads_what_is_there(run, store, gate):
    calls = gate("regressed")
    store("base")
    store("slow", slower=1.5)
    without_data = TEST.format(arguments="").replace('"digits"', "None")
    for tests in (BOTH.format(names='"base", "slow"', arguments=""), without_data):
        result = run(tests)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["kdbench: 1 bound not judged; *"])
    run(BOTH.format(names='"base", "nowhere"', arguments="")).assert_outcomes(failed=1)
    assert not calls


def test_the_comparison_can_be_read(run, store):
    store("base")
    store("slow", slower=1.5)
    tests = """
        def test_it(kdbench):
            assert kdbench.compare("base", "slow").comparison.overall == "regressed"
    """
    run(tests, "--benchmark").assert_outcomes(passed=1)
    run(tests).assert_outcomes(skipped=1)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ('"base", "base", thresholds={"latency": 0.1}', "unknown metric 'latency'"),
        ('"base", "base", thresholds="a lot"', "thresholds: 'a lot' is not a quantity*"),
        ('"base", "base", thresholds="-5 %"', "thresholds: '-5 %' is not a valid threshold"),
        ('"base", "base", thresholds={"top1": float("nan")}', "top1: nan is not a valid threshold"),
        ('"base", "base", metrics=("size",)', "unknown metric 'size'"),
        ('"base", "none"', "there is no run or model none in *"),
    ],
)
def test_mistakes_are_reported(run, store, names, message):
    store("base")
    result = run(BOTH.format(names=names, arguments=""), "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])
