import re

import pytest

MIXED = """
    def test_plain():
        pass

    def test_bounds(kdbench):
        kdbench.model("student.onnx", data="digits").size_bytes.at_most("2 MB")

    def test_timed(benchmark):
        benchmark(sum, [1, 2])
"""


def test_the_flag_runs_benchmarks_only(run, measurements):
    result = run(MIXED, "--benchmark", "--benchmark-max-time=0.01")
    result.assert_outcomes(passed=2, deselected=1)
    assert len(measurements) == 1


def test_without_it_all_run_and_nothing_is_measured_or_judged(run, measurements):
    result = run(MIXED.replace("2 MB", "2 B").replace('"digits"', "None"), "--benchmark-max-time=0.01")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["kdbench: 1 bound not judged; pytest --benchmark judges them"])
    assert not measurements


@pytest.mark.parametrize(
    ("option", "outcomes", "measured"),
    [
        ("--benchmark-skip", {"skipped": 2, "passed": 1}, 0),
        ("--benchmark-only", {"skipped": 1, "passed": 2}, 0),
        ("--benchmark-disable", {"passed": 3}, 0),
    ],
)
def test_the_switches_of_pytest_benchmark_are_for_these_tests_too(run, measurements, option, outcomes, measured):
    result = run(MIXED.replace('"digits"', "None"), option, "--benchmark-max-time=0.01")
    result.assert_outcomes(**outcomes)
    assert len(measurements) == measured


@pytest.mark.parametrize(("option", "outcome"), [("--benchmark-skip", "skipped"), ("--benchmark-disable", "passed")])
def test_they_hold_beside_the_flag(run, measurements, option, outcome):
    result = run(MIXED.replace('"digits"', "None"), "--benchmark", option)
    result.assert_outcomes(**{outcome: 2, "deselected": 1})
    assert not measurements


def test_enabling_undoes_disabling(run, measurements):
    run(MIXED, "--benchmark", "--benchmark-disable", "--benchmark-enable", "--benchmark-max-time=0.01")
    assert len(measurements) == 1


def test_models_are_timed_unless_an_option_says_otherwise(run, measurements):
    run(MIXED, "--benchmark", "--benchmark-max-time=0.01")
    run(MIXED, "--benchmark", "--benchmark-max-time=0.01", "--kdbench-no-times")
    assert [call["options"].times for call in measurements] == [True, False]


def test_pytest_benchmark_may_be_absent(run, measurements):
    bounds = MIXED[: MIXED.index("    def test_timed")]
    run(bounds, "--benchmark", "-p", "no:benchmark").assert_outcomes(passed=1, deselected=1)
    assert len(measurements) == 1


def test_a_project_without_these_tests_sees_no_change(pytester, run):
    tests = """
        import itertools
        import pytest

        clock = itertools.count()

        def test_plain():
            pass

        def test_failing():
            assert False

        @pytest.mark.benchmark(group="sums", timer=lambda: float(next(clock)))
        def test_timed(benchmark):
            benchmark.pedantic(sum, ([1, 2],), rounds=3)
    """
    both = [run(tests, "--benchmark-json=out.json", without=without) for without in (True, False)]
    plain, ours = ([re.sub(r"=+.* in [\d.]+s =+", "ended", line) for line in result.outlines] for result in both)
    plain, ours = ([line for line in lines if not line.startswith("plugins: ")] for lines in (plain, ours))
    assert ours == plain
    assert "ended" in plain
    assert [line for line in plain if line.startswith("test_timed")]
    assert not (pytester.path / ".benchmarks" / "kdbench").exists()


def test_other_names_of_the_fixture_count(run, measurements):
    tests = """
        import pytest

        @pytest.fixture
        def student(kdbench):
            return kdbench.model("student.onnx")

        def test_it(student):
            student.size_bytes.at_most("2 MB")

        def test_plain():
            pass
    """
    run(tests, "--benchmark").assert_outcomes(passed=1, deselected=1)


def test_the_options_are_shown(run):
    result = run("", "--help")
    result.stdout.fnmatch_lines(["kdbench: *", "  --benchmark *", "  --kdbench-out=DIR *"])


def test_the_fixture_is_explained(run):
    run("", "--fixtures").stdout.fnmatch_lines(["kdbench -- *", "    Measure ONNX models and check limits*"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kdbench-precision=200%"], "*--kdbench-precision*'200%' is not a share*"),
        (["--kdbench-budget=soon"], "*--kdbench-budget*'soon' is not a quantity*"),
        (["--kdbench-sessions=many"], "*--kdbench-sessions*"),
        (["-o", "kdbench_marginal=maybe"], "*kdbench_marginal): 'maybe' is not one of fail, pass*"),
    ],
)
def test_an_option_that_cannot_be_read_is_a_usage_error(run, options, message):
    result = run(MIXED, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
