"""The suite's two runs make one result."""

from collections import Counter
from pathlib import Path

import pytest
from tools import suite


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("===== 1 failed, 20 passed, 3 skipped, 2 warnings in 4.56s =====", {"failed": 1, "passed": 20, "skipped": 3}),
        ("12 passed, 1 error in 0.10s", {"passed": 12, "error": 1}),
        ("== 2 errors, 1 deselected in 75.00s (0:01:15) ==", {"error": 2}),
        ("no tests ran in 0.01s", {}),
    ],
)
def test_the_closing_line_is_read(line, expected):
    assert suite.counts(line) == Counter(expected)


@pytest.mark.parametrize(
    ("runs", "code", "closing"),
    [
        ([(0, "= 3 passed, 1 skipped in 1.00s ="), (0, "= 2 passed in 1.00s =")], 0, "5 passed, 0 failed, 1 skipped"),
        ([(1, "= 1 failed, 1 error in 1.00s ="), (0, "= 2 passed in 1.00s =")], 1, "2 passed, 2 failed, 0 skipped"),
        ([(0, "= 3 passed in 1.00s ="), (2, "")], 2, "3 passed, 0 failed, 0 skipped"),
        ([(0, "= 3 passed in 1.00s ="), (5, "= no tests ran in 1.00s =")], 0, "3 passed, 0 failed, 0 skipped"),
        ([(5, "= no tests ran in 1.00s =")] * 2, 5, "0 passed, 0 failed, 0 skipped"),
    ],
)
def test_both_runs_count(monkeypatch, capsys, runs, code, closing):
    called = []
    ended = iter(runs)
    monkeypatch.setattr(suite, "run", lambda arguments: called.append(arguments) or next(ended))
    assert suite.main(["-k", "some"]) == code
    assert capsys.readouterr().out.splitlines()[-1] == closing
    assert [arguments[1] for arguments in called] == ["not serial", "serial"]
    assert all("-k some" in " ".join(arguments) for arguments in called)


def test_the_timed_run_imports_the_files_with_timed_tests_alone():
    files = {Path(path).name for path in suite.timed_files(["-k", "some"])}
    assert {"test_offline.py", "test_end_to_end.py"} <= files
    assert "test_units.py" not in files
    assert suite.timed_files(["-x", f"{__file__}::test_both_runs_count"]) == []
