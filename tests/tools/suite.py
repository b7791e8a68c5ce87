"""Run the whole suite: on all cores what may run side by side, then the timed tests alone.

    python tests/tools/suite.py [arguments of pytest]

The last line is `N passed, N failed, N skipped` of both runs together; errors count as failures. The exit code is 0
when every test passed, otherwise that of the first run that failed.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

# A file's tests stay together: they share fixtures and heavy imports. Files come in the order of tests/conftest.py:
# xdist would begin with those of the most tests, and the longest tests lie in files of few. There is one worker more
# than cores, because tests wait for processes that they start, and for locks.
WORKERS = (os.cpu_count() or 1) + 1
RUNS = (("-m", "not serial", "-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder"), ("-m", "serial"))
TESTS = Path(__file__).parents[1]
_NO_TESTS = 5  # pytest's exit code where nothing was collected: the arguments named tests of the other run


def counts(line: str) -> Counter[str]:
    """Return the numbers in pytest's closing line: `== 1 failed, 20 passed, 3 skipped in 4.56s ==`."""
    results = re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", line)
    return Counter({outcome.removesuffix("s"): int(number) for number, outcome in results})


def summary(total: Counter[str]) -> str:
    """Return the closing line of the suite."""
    return f"{total['passed']} passed, {total['failed'] + total['error']} failed, {total['skipped']} skipped"


def run(arguments: list[str]) -> tuple[int, str]:
    """Run pytest and pass its output on; return its exit code and its closing line."""
    # Hundreds of processes import torch, numpy or onnxruntime: without their bytecode the suite takes twice as long.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    closing = ""
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        closing = line if re.search(r" in \d+\.\d+s", line) else closing
    return process.wait(), closing


def timed_files(arguments: list[str]) -> list[str]:
    """Return the files with timed tests, so that no others are imported; none where the arguments name files."""
    if any(Path(argument.partition("::")[0]).exists() for argument in arguments):
        return []
    return [str(path) for path in sorted(TESTS.rglob("test_*.py")) if "pytest.mark.serial" in path.read_text("utf-8")]


def main(arguments: list[str]) -> int:
    """Run both halves, print the closing line and return the exit code."""
    total: Counter[str] = Counter()
    codes = []
    for options in RUNS:
        code, closing = run([*options, *arguments, *(timed_files(arguments) if options == RUNS[1] else [])])
        codes.append(0 if code == _NO_TESTS else code)
        total += counts(closing)
    print(summary(total))
    return next((code for code in codes if code), 0 if total else _NO_TESTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
