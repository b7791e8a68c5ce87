"""A child process whose output reaches a queue, and the messages on its lines."""

import os
import sys
from queue import SimpleQueue

import pytest

from kdbench.processes import messages
from kdbench.processes.child import ChildProcess

ECHO = """
import sys
print("a library's line", flush=True)
for line in iter(sys.stdin.readline, ""):
    print(line, end="", flush=True)
    if "end" in line:
        print("the reason", file=sys.stderr)
        sys.exit(9)
"""


@pytest.fixture
def start():
    started, lines = [], SimpleQueue()

    def one(code=ECHO):
        started.append(ChildProcess([sys.executable, "-c", code], os.environ, lines))
        return started[-1], lines

    yield one
    for process in started:
        process.end()


def test_lines_of_several_processes_reach_one_queue(start):
    first, lines = start()
    second, _ = start()
    first.send({"a": 1})
    second.send({"b": [2]})
    received = {}
    for _ in range(4):
        process, line = lines.get(timeout=60)
        received.setdefault(process, []).append(messages.read(line))
    assert received == {first: [None, {"a": 1}], second: [None, {"b": [2]}]}


def test_an_end_has_its_code_and_its_errors(start):
    process, lines = start()
    process.send({"end": True})
    read = [lines.get(timeout=60) for _ in range(3)]
    assert read[-1] == (process, None)
    assert (process.wait(), process.errors()) == (9, "the reason")
    process.send({"too": "late"})  # the end of the output has reported that


def test_a_process_in_any_state_ends(start):
    process, lines = start("import time; print(1, flush=True); time.sleep(600)")
    assert lines.get(timeout=60) == (process, b"1\n")
    process.end()
    assert process.wait() == -9


@pytest.mark.parametrize("line", [b"", b"{", b"3\n", b"[1]\n", b"null\n", b"\xff\n"])
def test_only_objects_are_messages(line):
    assert messages.read(line) is None
