"""Ctrl-C for real: processes that are sent SIGINT while they do what makes it hard to end them.

Each would go on for minutes. One that ends earlier ended because of the signal, however busy the machine is.
"""

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest

from kdbench.cli.interrupt import Interrupts

LIMIT_S = 120.0

PROGRAM = """
import hashlib, os, signal, subprocess, sys, threading, time
from pathlib import Path
from kdbench.cli.invocation import conclude
from kdbench.cli.interrupt import Interrupts
from kdbench.cli.invocation import Invocation

Interrupts.__init__.__defaults__ = ({grace_s},)

# Signals that were ignored when the tests were started, as by nohup, would stay so.
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU"):
    signal.signal(getattr(signal, name), signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

def say(text):
    print(text, flush=True)

{work}

sys.exit(conclude(work, Invocation(("run", "digits"), folder=Path("runs/d"), resumable=True)))
"""

WORK = {
    "orderly": """
def work():
    say("ready")
    time.sleep(600)
""",
    # One call into C of some minutes: Python's own handler cannot run before it returns.
    "in C": """
def work():
    say("ready")
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
""",
    # What Lightning's Trainer does with a KeyboardInterrupt.
    "swallowed": """
def work():
    try:
        say("ready")
        time.sleep(600)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise SystemExit(1)
""",
    "slow to clean up": """
def work():
    try:
        say("ready")
        time.sleep(600)
    finally:
        say("cleaning up")
        time.sleep(600)
""",
    "failing while it cleans up": """
def work():
    try:
        say("ready")
        time.sleep(600)
    finally:
        raise RuntimeError("a library's complaint")
""",
    "with a thread that stays": """
def work():
    threading.Thread(target=time.sleep, args=(600,)).start()
    say("ready")
    time.sleep(600)
""",
    # As a shell script's background jobs are.
    "started with SIGINT ignored": """
signal.signal(signal.SIGINT, signal.SIG_IGN)
def work():
    say("ready")
    time.sleep(600)
""",
    # The child holds our end of standard output open for as long as it lives.
    "with a child that ignores SIGINT": """
def work():
    code = "import signal, time; signal.signal(2, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        child.wait()
    finally:
        child.wait()
""",
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_ctrl_c_ends_in_time_with_130_and_says_how_to_resume(work):
    with _started(work) as process:
        assert _line(process) == "ready"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert errors.count("interrupted\nhint: to continue, run: kdbench run digits --out runs/d --resume\n") == 1
    assert "Traceback" not in errors


ENDS = {"SIGTERM": 143, "SIGHUP": 129, "SIGQUIT": 131, "SIGXCPU": 152, "SIGINT": 130}


@pytest.mark.parametrize("place", ["in Python", "in C"])
@pytest.mark.parametrize("name", ENDS)
def test_every_signal_to_end_undoes_what_is_unfinished_and_ends_stopped_children(name, place, tmp_path):
    """In a call into C the orderly way takes too long: the thread that ends the process undoes it."""
    wait = "time.sleep(60)" if place == "in Python" else 'hashlib.pbkdf2_hmac("sha256", b"", b"", 500_000_000)'
    work = f"""
from kdbench.processes import temporary
from kdbench.files.claim import claimed
def work():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    child.send_signal(signal.SIGSTOP)
    with claimed(Path({str(tmp_path)!r}) / "run"), temporary.folder() as folder:
        with temporary.part_of(Path({str(tmp_path)!r}) / "run" / "samples.npz"):
            say(child.pid)
            {wait}
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with _started(work, env=environment) as process:
        child = psutil.Process(int(_line(process)))
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=30)
        assert process.returncode == ENDS[name]
        assert psutil.wait_procs([child], timeout=10)[1] == [] or child.status() == psutil.STATUS_ZOMBIE
    assert errors.startswith("\ninterrupted\n" if name == "SIGINT" else f"\ninterrupted by {name}\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["run"]


def test_a_run_that_may_outlive_its_terminal_does(tmp_path):
    """As `nohup` starts it."""
    work = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
def work():
    os.kill(os.getpid(), signal.SIGHUP)
    say("ready")
"""
    with _started(work) as process:
        assert _line(process) == "ready"
        assert process.wait(timeout=30) == 0


def test_an_orderly_end_has_half_of_the_two_seconds_that_are_promised():
    assert inspect.signature(Interrupts).parameters["grace_s"].default == 1.0


def test_a_second_ctrl_c_ends_without_waiting_for_the_first():
    with _started(WORK["slow to clean up"], grace_s=600.0) as process:
        assert _line(process) == "ready"
        process.send_signal(signal.SIGINT)
        assert _line(process) == "cleaning up"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130


@contextmanager
def _started(work: str, grace_s: float = 1.0, **options: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work, grace_s=grace_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()  # it would hold the pipes open
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
