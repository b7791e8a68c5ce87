import pytest


def one(line, model='kdbench.model("student.onnx", data="digits")'):
    """Return a test of one line about a model."""
    return f"""
        def test_it(kdbench):
            model = {model}
            {line}
    """


@pytest.mark.parametrize(
    "bound",
    [
        "top1.at_least(0.9)",
        'top1.at_least("90 %")',
        "top1.at_least(0.9).at_most(1)",
        'latency_p50_ns.at_most("5 ms")',
        "latency_p50_ns.at_most(500_000)",
        'size_bytes.at_most("2 MB")',
        'metric("latency_p50_ns", threads=1, batch=1).at_most("1 ms")',
        'energy_j.at_most("20 mJ")',
    ],
)
def test_a_bound_is_met_by_the_whole_interval(run, passes, bound):
    run(one(f"model.{bound}"), "--benchmark").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (
            'top1.at_least("95 %")',
            ["student.onnx: top1 is 91.73 % ?91.18, 92.25? (n = 10,000); at least 95 % is asked for: FAIL"],
        ),
        (
            "top1.at_least(0.92)",
            [
                "student.onnx: top1 is 91.73 % ?91.18, 92.25? (n = 10,000); at least 92 % is asked for: MARGINAL",
                "the interval * straddles *",
                "hint: *samples*",
            ],
        ),
        (
            "latency_p99_ns.at_most(1e9)",
            ["*latency_p99_ns * is n/a (needs 662 samples); * UNKNOWN", "hint: give it a longer --kdbench-budget"],
        ),
        ("latency_mean_ns.at_most(1e9)", ["*(unstable)*UNKNOWN", "unstable: the sessions disagree by 31 %"]),
        (
            'metric("latency_p50_ns", threads=2).at_most("1 s")',
            ["*latency_p50_ns at 2 threads is n/a (not measured)*UNKNOWN", "hint: measured at batch 1, 1 th*"],
        ),
        ("throughput_per_s.at_least(1)", ["*n/a (not measured)*UNKNOWN"]),
    ],
)
def test_every_other_outcome_fails_and_says_why(run, passes, bound, message):
    result = run(one(f"model.{bound}"), "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(message)
    result.stdout.no_fnmatch_line("*kdbench/testing*")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.top1.at_least(90)", ["top1 is a share of one, and 90 is none", "hint: did you mean '90 %'?"]),
        ('model.top1.at_least("5 ms")', ["*'ms' does not fit here*"]),
        ('model.top1.at_least(float("nan"))', ["a limit of nan for top1"]),
        ('model.latency_p50_ns.at_least("-5 ms")', ["a limit of '-5 ms' for latency_p50_ns"]),
        ("model.top1.at_least(0.9, marginal='maybe')", ["marginal='maybe' is none of *"]),
        ('model.metric("latency_p50")', ["unknown metric 'latency_p50'", "hint: did you mean 'latency_p50_ns'?"]),
        ("model.latency_p50", ["*no metric 'latency_p50' of a model: did you mean 'latency_p50_ns'?"]),
        ('kdbench.model("studnt.onnx")', ["there is no model studnt.onnx in *", "hint: check the path 'studnt.onnx'"]),
        ('kdbench.model("student.onnx", thread=2)', ["unknown option 'thread'", "hint: did you mean 'threads'?"]),
        ('kdbench.model("student.onnx", threads=0)', ["threads*greater than or equal to 1", "hint: *"]),
        ('kdbench.ratio(teacher="teacher.onnx", student="student.onnx", metric="speed")', ["unknown metric 'speed'*"]),
        ('kdbench.model("student.onnx", data="npz:no.npz")', ["there is no data set no.npz in *"]),
    ],
)
@pytest.mark.parametrize("flag", [["--benchmark"], []])
def test_what_is_written_wrong_is_told_without_our_traceback(run, passes, line, message, flag):
    result = run(one(line, model='kdbench.model("student.onnx")'), *flag)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{message[0]}", *message[1:]])
    result.stdout.no_fnmatch_line("*kdbench/testing*")
    assert not passes


@pytest.mark.parametrize(
    ("argument", "options", "outcome"),
    [
        ("", ["--kdbench-marginal=pass"], "passed"),
        ("", ["-o", "kdbench_marginal=pass"], "passed"),
        ("", ["-o", "kdbench_marginal=pass", "--kdbench-marginal=fail"], "failed"),
        (", marginal='pass'", [], "passed"),
        (", marginal='fail'", ["--kdbench-marginal=pass"], "failed"),
    ],
)
def test_a_marginal_number_may_be_let_pass(run, passes, argument, options, outcome):
    result = run(one(f"model.top1.at_least(0.92{argument})"), "--benchmark", *options)
    result.assert_outcomes(**{outcome: 1})


def test_what_is_missing_never_passes(run, passes):
    result = run(one("model.latency_p99_ns.at_most(1e12, marginal='pass')"), "--benchmark", "--kdbench-marginal=pass")
    result.assert_outcomes(failed=1)


def test_numbers_can_be_read(run, passes):
    tests = """
        def test_it(kdbench):
            top1 = kdbench.model("student.onnx", data="digits").top1
            assert (top1.value, top1.interval.low, top1.n) == (0.9173, 0.9118, 10_000)
    """
    run(tests, "--benchmark").assert_outcomes(passed=1)
    run(tests.replace('"digits"', "None")).assert_outcomes(skipped=1)


def test_a_student_beside_its_teacher(run, passes):
    tests = """
        def test_it(kdbench):
            pair = {"teacher": "teacher.onnx", "student": "student.onnx"}
            kdbench.ratio(**pair).at_least(3)
            kdbench.ratio(**pair, metric="size_ratio").at_least("4 ×")
            kdbench.ratio(**pair).at_least(5)
    """
    result = run(tests, "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["student.onnx beside teacher.onnx: latency_ratio at batch 1, 1 thread is 3.40× *; at least 5× is asked for*"]
    )
    assert [each["paths"] for each in passes] == [["teacher.onnx", "student.onnx"]]


def test_files_are_measured_once_a_session_and_as_deep_as_is_asked(run, passes):
    tests = """
        import pytest

        @pytest.mark.parametrize("again", range(2))
        def test_accuracy(kdbench, again):
            kdbench.model("student.onnx", data="digits").top1.at_least(0.9)

        @pytest.mark.parametrize("again", range(2))
        def test_latency(kdbench, again):
            model = kdbench.model("student.onnx", data="digits")
            model.latency_p50_ns.at_most("5 ms")
            model.top1.at_least(0.9)

        def test_energy(kdbench):
            model = kdbench.model("student.onnx", data="digits")
            model.energy_j.at_most("20 mJ")
            model.latency_p50_ns.at_most("5 ms")

        def test_other_options(kdbench):
            kdbench.model("student.onnx", data="digits", threads=2).latency_p50_ns.at_most("5 ms")
    """
    run(tests, "--benchmark", "--kdbench-budget=2s", "--kdbench-sessions=3").assert_outcomes(passed=6)
    told = [(each["timed"], each["options"].energy, each["options"].threads) for each in passes]
    assert told == [(False, "off", (1,)), (True, "off", (1,)), (True, "quick", (1,)), (True, "off", (2,))]
    assert {(each["options"].budget_s, each["options"].sessions) for each in passes} == {(2.0, 3)}


def test_what_cannot_be_measured_is_tried_once(run, monkeypatch):
    from kdbench.errors import InputError

    tried = []

    def bench(paths, **rest):
        tried.append(paths)
        raise InputError("no such data", "look elsewhere")

    monkeypatch.setattr("kdbench.workflows.bench.bench_models", bench)
    tests = """
        import pytest

        @pytest.mark.parametrize("again", range(2))
        def test_it(kdbench, again):
            kdbench.model("student.onnx", data="digits").top1.at_least(0.9)
    """
    result = run(tests, "--benchmark")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["no such data", "hint: look elsewhere"])
    assert len(tried) == 1


def test_data_that_has_changed_is_measured_again(run, passes):
    tests = """
        import numpy as np
        from pathlib import Path

        def test_it(kdbench):
            for count in (1, 1, 2):
                Path("test.npz").exists() and count == 1 or np.savez("test.npz", images=np.zeros(count))
                kdbench.model("student.onnx", data="npz:test.npz").top1.at_least(0.9)
    """
    run(tests, "--benchmark").assert_outcomes(passed=1)
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("give it a longer --budget", "give it a longer --kdbench-budget"),
        ("--energy full would settle it", 'energy="full" would settle it'),
        ("a smaller --precision", "a smaller precision="),
        ("--estimate-energy gives an estimate", "estimate_energy=True gives an estimate"),
        ("measure with --remeasure", "measure with remeasure=True"),
        ("allow it more with --threshold", "allow it more with thresholds="),
        ("sudo nvidia-smi --gpu-reset", "sudo nvidia-smi --gpu-reset"),
        ("kdbench run … --resume", "kdbench run … --resume"),
    ],
)
def test_hints_name_the_options_that_a_test_has(said, told):
    from kdbench.testing.failing import in_tests

    assert in_tests(said) == told


def test_files_are_found_beside_the_test_first(pytester, run, passes):
    tests = pytester.mkdir("tests")
    (tests / "student.onnx").write_bytes(b"another")
    (tests / "test_beside.py").write_text(
        "def test_it(kdbench):\n"
        "    kdbench.model('student.onnx').size_bytes.at_most('2 MB')\n"
        "    kdbench.model('teacher.onnx').size_bytes.at_most('2 MB')\n"
    )
    run("", "--benchmark").assert_outcomes(passed=1)
    assert len(passes) == 2
    (record,) = pytester.path.glob(".benchmarks/kdbench/*/student-*/record.json")
    from kdbench import storage
    from kdbench.results.records import RunRecord

    assert RunRecord.read(record).models[0].sha256 == storage.sha256(tests / "student.onnx")


def test_records_go_where_they_are_told_to(pytester, run, passes):
    run(one("model.top1.at_least(0.9)"), "--benchmark", "--kdbench-out=kept").assert_outcomes(passed=1)
    assert list(pytester.path.glob("kept/*/student-*/record.json"))
    assert not (pytester.path / ".benchmarks" / "kdbench").exists()
