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
def test_a_bound_is_met_by_the_whole_interval(run, measurements, bound):
    run(one(f"model.{bound}"), "--benchmark").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (
            'top1.at_least("95 %")',
            ["student.onnx: top1 is 91.73 % ?91.18, 92.25? (n = 10,000); required: at least 95 %: FAIL"],
        ),
        (
            "top1.at_least(0.92)",
            [
                "student.onnx: top1 is 91.73 % ?91.18, 92.25? (n = 10,000); required: at least 92 %: MARGINAL",
                "the interval * straddles *",
                "hint: *samples*",
            ],
        ),
        (
            "latency_p99_ns.at_most(1e9)",
            ["*latency_p99_ns * is n/a (needs 662 samples); * UNKNOWN", "hint: give it a longer --kdbench-budget"],
        ),
        ("latency_mean_ns.at_most(1e9)", ["*(unstable)*UNKNOWN", "a number without an interval decides nothing"]),
        (
            'metric("latency_p50_ns", threads=2).at_most("1 s")',
            ["*latency_p50_ns at 2 threads is n/a (not measured)*UNKNOWN", "hint: measured at batch 1, 1 th*"],
        ),
        ("throughput_per_s.at_least(1)", ["*n/a (not measured)*UNKNOWN"]),
    ],
)
def test_every_other_outcome_fails_with_a_reason(run, measurements, bound, message):
    result = run(one(f"model.{bound}"), "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(message)
    result.stdout.no_fnmatch_line("*kdbench/testing*")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.top1.at_least(90)", ["top1 is a share between 0 and 1, not 90", "hint: did you mean '90 %'?"]),
        ('model.top1.at_least("120 %")', ["top1 is a share*, not '120 %'", "hint: a share from 0 to 1, or text *"]),
        ("model.top1.at_least(-0.1)", ["top1 is a share between 0 and 1, not -0.1", "hint: a share from 0 to 1, *"]),
        ('model.top1.at_least("5 ms")', ["*'ms' does not fit here*"]),
        ('model.top1.at_least(float("nan"))', ["a limit of nan is not possible for top1"]),
        ('model.latency_p50_ns.at_least("-5 ms")', ["a limit of '-5 ms' is not possible for latency_p50_ns"]),
        ("model.top1.at_least(0.9, marginal='maybe')", ["marginal='maybe' is not one of *"]),
        ('model.metric("latency_p50")', ["unknown metric 'latency_p50'", "hint: did you mean 'latency_p50_ns'?"]),
        ("model.latency_p50", ["*no metric 'latency_p50' of a model: did you mean 'latency_p50_ns'?"]),
        ('kdbench.model("studnt.onnx")', ["there is no model studnt.onnx in *", "hint: *student.onnx'[?]"]),
        ('kdbench.model("student.onnx", thread=2)', ["unknown option 'thread'", "hint: did you mean 'threads'?"]),
        ('kdbench.model("student.onnx", threads=0)', ["threads*greater than or equal to 1", "hint: *"]),
        ('kdbench.ratio(teacher="teacher.onnx", student="student.onnx", metric="speed")', ["unknown metric 'speed'*"]),
        ('kdbench.model("student.onnx", data="npz:no.npz")', ["there is no data set no.npz in *"]),
    ],
)
@pytest.mark.parametrize("flag", [["--benchmark"], []])
def test_mistakes_are_reported_without_a_traceback_of_kdbench(run, measurements, line, message, flag):
    result = run(one(line, model='kdbench.model("student.onnx")'), *flag)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{message[0]}", *message[1:]])
    result.stdout.no_fnmatch_line("*kdbench/testing*")
    assert not measurements


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
def test_a_marginal_number_may_be_let_pass(run, measurements, argument, options, outcome):
    result = run(one(f"model.top1.at_least(0.92{argument})"), "--benchmark", *options)
    result.assert_outcomes(**{outcome: 1})


def test_what_is_missing_never_passes(run, measurements):
    result = run(one("model.latency_p99_ns.at_most(1e12, marginal='pass')"), "--benchmark", "--kdbench-marginal=pass")
    result.assert_outcomes(failed=1)


def test_numbers_can_be_read(run, measurements):
    tests = """
        def test_it(kdbench):
            top1 = kdbench.model("student.onnx", data="digits").top1
            assert (top1.value, top1.interval.low, top1.n) == (0.9173, 0.9118, 10_000)
    """
    run(tests, "--benchmark").assert_outcomes(passed=1)
    run(tests.replace('"digits"', "None")).assert_outcomes(skipped=1)


def test_a_student_beside_its_teacher(run, measurements):
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
        ["student.onnx with teacher.onnx: latency_ratio at batch 1, 1 thread is 3.40× *; required: at least 5×*"]
    )
    assert [measurement["paths"] for measurement in measurements] == [["teacher.onnx", "student.onnx"]]


def test_files_are_measured_once_a_session_as_deep_as_needed(run, measurements):
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
    calls = [
        (measurement["timed"], measurement["options"].energy, measurement["options"].threads)
        for measurement in measurements
    ]
    assert calls == [(False, "off", (1,)), (True, "off", (1,)), (True, "quick", (1,)), (True, "off", (2,))]
    assert {(measurement["options"].budget_s, measurement["options"].sessions) for measurement in measurements} == {
        (2.0, 3)
    }


def test_a_failed_measurement_is_not_repeated(run, monkeypatch):
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


def test_data_that_has_changed_is_measured_again(run, measurements):
    tests = """
        import numpy as np
        from pathlib import Path

        def test_it(kdbench):
            for count in (1, 1, 2):
                Path("test.npz").exists() and count == 1 or np.savez("test.npz", images=np.zeros(count))
                kdbench.model("student.onnx", data="npz:test.npz").top1.at_least(0.9)
    """
    run(tests, "--benchmark").assert_outcomes(passed=1)
    assert len(measurements) == 2


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("give it a longer --budget", "give it a longer --kdbench-budget"),
        ("--energy=full would settle it", "--kdbench-energy=full would settle it"),
        ("measure with --output=logits", "measure with output=logits"),
        ("--estimate-energy gives an estimate", "--kdbench-estimate-energy gives an estimate"),
        ("add --mean, --std", "add mean=, std="),
        ("measure with --remeasure", "measure with remeasure=True"),
        ("allow a larger change with --threshold", "allow a larger change with thresholds="),
        ("sudo nvidia-smi --gpu-reset", "sudo nvidia-smi --gpu-reset"),
        ("kdbench run … --resume", "kdbench run … --resume"),
    ],
)
def test_hints_name_the_options_of_tests(hint, expected):
    from kdbench.testing.context import as_test_options

    assert as_test_options(hint) == expected


def test_paths_start_beside_the_test(pytester, run, measurements):
    tests = pytester.mkdir("tests")
    (tests / "student.onnx").write_bytes(b"another")
    (tests / "test_beside.py").write_text(
        "def test_it(kdbench):\n"
        "    kdbench.model('student.onnx').size_bytes.at_most('2 MB')\n"
        "    kdbench.model('teacher.onnx').size_bytes.at_most('2 MB')\n"
    )
    run("", "--benchmark").assert_outcomes(passed=1)
    assert len(measurements) == 2
    (record,) = pytester.path.glob(".benchmarks/kdbench/*/student-*/record.json")
    from kdbench.files import storage
    from kdbench.results.records import RunRecord

    assert RunRecord.read(record).models[0].sha256 == storage.sha256(tests / "student.onnx")


def test_records_are_written_to_the_out_folder(pytester, run, measurements):
    run(one("model.top1.at_least(0.9)"), "--benchmark", "--kdbench-out=kept").assert_outcomes(passed=1)
    assert list(pytester.path.glob("kept/*/student-*/record.json"))
    assert not (pytester.path / ".benchmarks" / "kdbench").exists()
