import pytest

READY = """
    def test_it(kdbench):
        verdict = kdbench.ready({run}, target={target!r})
        assert verdict.best == "student"
"""
TARGET = """
[[criterion]]
metric = "size_bytes"
max = "{size}"
"""


@pytest.fixture
def target(pytester, store):
    store("first", models=("teacher", "student"))

    def write(size):
        (pytester.path / "ours.toml").write_text(TARGET.format(size=size))
        return "ours.toml"

    return write


@pytest.mark.parametrize("where", ['"first"', '"first/record.json"'])
def test_a_run_that_is_ready_passes(run, target, where):
    result = run(READY.format(run=where, target=target("2 MB")), "--benchmark")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["READY  test_it.py::test_it  first: readiness for * READY (student); READY"])


def test_a_record_can_be_given_itself(run, target):
    record = '__import__("kdbench").RunRecord.read(__import__("pathlib").Path("first"))'
    run(READY.format(run=record, target=target("2 MB")), "--benchmark").assert_outcomes(passed=1)


def test_a_target_can_be_a_path(run, target):
    test = READY.format(run='"first"', target="-").replace("'-'", f'__import__("pathlib").Path("{target("2 MB")}")')
    run(test, "--benchmark").assert_outcomes(passed=1)


def test_a_run_that_is_not_fails_with_what_is_missing(run, target):
    result = run(READY.format(run='"first"', target=target("1 MB")), "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["first: readiness for * is NOT READY; required: READY", "student: size_bytes FAIL: 1.50 MB misses *"]
    )


def test_a_run_from_elsewhere_certifies_no_device(run, target):
    result = run(READY.format(run='"first"', target="raspberry-pi-5"), "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["first: readiness for * is *INCONCLUSIVE; required: READY"])


def test_a_smoke_run_returns_the_verdict_and_judges_nothing(run, target):
    tests = READY.format(run='"first"', target=target("1 MB")).replace('best == "student"', 'overall == "NOT READY"')
    result = run(tests)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["kdbench: 1 bound not judged; *"])


@pytest.mark.parametrize(
    ("where", "named", "message"),
    [
        ('"first"', "raspberry-pi", "*raspberry-pi*"),
        ('"first"', "none.toml", "there is no target none.toml in *"),
        ('"none"', "raspberry-pi-5", "there is no run none in *"),
    ],
)
def test_missing_files_are_reported(run, target, where, named, message):
    target("1 MB")
    result = run(READY.format(run=where, target=named), "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])
