import json
from xml.etree import ElementTree as ET

import pytest

from kdbench.testing.check_results import NOT_JUDGED, CheckResult, append_to_step, not_judged, results_of, table

BOUNDS = """
    def test_good(kdbench):
        model = kdbench.model("student.onnx", data="digits")
        model.top1.at_least(0.9)
        model.size_bytes.at_most("2 MB")

    def test_bad(kdbench):
        kdbench.model("student.onnx", data="digits").top1.at_least(0.95)
"""


@pytest.fixture
def step(tmp_path, monkeypatch, run):  # after `run`, which takes the variable away
    path = tmp_path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_the_terminal_has_a_line_for_every_bound(run, measurements):
    result = run(BOUNDS, "--benchmark")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "=* kdbench =*",
            "PASS  test_it.py::test_good  student.onnx: top1 91.73 % ?91.18, 92.25? (n = 10,000); at least 90 %",
            "PASS  test_it.py::test_good  student.onnx: size_bytes 1.50 MB; at most 2 MB",
            "FAIL  test_it.py::test_bad  student.onnx: top1 91.73 % *; at least 95 %",
            "records and reports: .benchmarks/kdbench/*",
        ]
    )


def test_the_steps_summary_is_appended_to(run, measurements, step):
    step.write_text("before\n")
    run(BOUNDS, "--benchmark")
    text = step.read_text()
    assert text.startswith("before\n### kdbench: 3 bounds, 1 not met\n")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[-1] == (
        "| ❌ | `test_it.py::test_bad` | `student.onnx` | top1 | 91.73 % [91.18, 92.25] (n = 10,000) "
        "| at least 95 % | FAIL |"
    )
    assert len(lines) == 5


def test_a_repeated_test_is_listed_once(pytester, run, measurements, step):
    pytester.makeconftest("""
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item):
            runtestprotocol(item, nextitem=None, log=False)
    """)
    tests = """
        from itertools import count
        again = count()

        def test_it(kdbench):
            kdbench.model("student.onnx").size_bytes.at_most("2 MB" if next(again) else "1 MB")
    """
    run(tests, "--benchmark").assert_outcomes(passed=1)
    assert step.read_text().startswith("### kdbench: 1 bound, all met\n")


def test_a_marginal_bound_that_passes_is_not_met(run, measurements, step):
    tests = """
        def test_it(kdbench):
            model = kdbench.model("student.onnx", data="digits")
            model.top1.at_least(0.92, marginal="pass").at_least(0.9).at_least(0.95)
    """
    result = run(tests, "--benchmark", "--color=yes")
    text = step.read_text()
    assert text.startswith("### kdbench: 3 bounds, 1 not met, 1 allowed to pass\n")
    assert [line[2:4].strip() for line in text.splitlines() if "`" in line] == ["⚠️", "✅", "❌"]
    colours = [line[:5] for line in result.outlines if "student.onnx: top1 91" in line]
    assert colours == ["\x1b[33m", "\x1b[32m", "\x1b[31m"]


def test_a_smoke_run_writes_no_step_summary(run, step):
    run('def test_it(kdbench):\n    kdbench.model("student.onnx").size_bytes.at_most(1)')
    assert not step.exists()


def test_a_step_summary_that_cannot_be_written_is_no_failure(run, measurements, monkeypatch, step):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step.parent))
    result = run(BOUNDS, "--benchmark", "-k", "good")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["warning: the step summary was not written: *"])


def test_junit_has_the_bounds_as_properties_of_the_suite(pytester, run, measurements):
    run(BOUNDS, "--benchmark", "--junitxml=out.xml")
    suite = ET.parse(pytester.path / "out.xml").find("testsuite")
    assert not suite.findall("testcase//property")
    values = [json.loads(it.get("value")) for it in suite.findall("properties/property") if it.get("name") == "kdbench"]
    assert [it["outcome"] for it in values if it["test"].endswith("::test_good")] == ["PASS", "PASS"]
    (bad,) = (it for it in values if it["test"].endswith("::test_bad"))
    assert (bad["outcome"], bad["numbers"]["value"], bad["numbers"]["limit"]) == ("FAIL", 0.9173, 0.95)
    assert (bad["found"].partition(" [")[0], bad["asked"]) == ("91.73 %", "at least 95 %")


def test_words_from_outside_are_escaped(tmp_path, monkeypatch):
    path = tmp_path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    hostile = CheckResult("a|b<img>", "*x*", "/home/me/models/a.onnx [1](2)", "at least 1", "PASS", passed=True)
    assert not append_to_step({"test[a|b]": (hostile,)})
    row = path.read_text().splitlines()[-2]
    assert row.replace("\\|", "").count("|") == 8
    assert "/home/me" not in row
    assert "\\*x\\*" in row
    assert "1\\](2)" in row


def test_a_result_is_a_property_of_the_report():
    result = CheckResult("m", "top1", "90 %", "at least 91 %", "FAIL", False, "short", "train", {"value": 0.9})
    assert results_of([("other", 1), result.to_property()]) == (result,)


def test_results_that_are_not_judged_are_counted_and_not_listed():
    result = CheckResult("m", "top1", "not measured", "at least 91 %", NOT_JUDGED, passed=True)
    assert not_judged({"a": (result,), "b": (result,)}).startswith("kdbench: 2 bounds not judged")
    assert not not_judged({})
    assert not table({"a": (result,)}).rows
