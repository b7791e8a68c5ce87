"""Child processes: they end with their parent, share its locks, and import nothing from the current folder."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kdbench.processes import children, locks

PARENT = """
import sys, tempfile
from kdbench.processes import children
import os
code = "import time; from kdbench.processes.parent import *; end_with_parent(); print(1, flush=True); time.sleep(600)"
child = children.start([sys.executable, "-P", "-c", code], os.environ, tempfile.TemporaryFile())
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stopped process ends when it goes on")
@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(end, stopped):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    if stopped:
        child.suspend()
    parent.send_signal(end)
    parent.communicate()
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert (gone, alive) == ([child], [])


def test_a_child_whose_parent_was_gone_before_it_began_ends_at_once():
    code = "from kdbench.processes.parent import end_with_parent; end_with_parent(); print('still here')"
    child = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (child.returncode, child.stdout) == (1, b"")


def test_where_the_kernel_does_not_kill_it_a_child_watches_its_parent():
    code = (
        "from kdbench.processes import parent; parent._killed_with_parent = lambda: False; parent.end_with_parent(); "
        "print(1, flush=True); import time; time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"1\n"
    child.communicate()
    assert child.returncode == 1


def test_a_child_keeps_its_parents_lock_to_itself(tmp_path):
    """Its own children, which may outlive it, do not inherit the lock."""
    lock = locks.acquire(tmp_path / "lock", share=True)
    code = f"""
import os
from kdbench.processes.parent import end_with_parent
end_with_parent()
os.fstat({lock})
print(os.get_inheritable({lock}), flush=True)
"""
    with Path(os.devnull).open("w+b") as errors:
        child = children.start([sys.executable, "-c", code], os.environ, errors)
        assert child.stdout.readline() == b"False\n"
        children.end(child)
    locks.release(lock)


@pytest.mark.parametrize("path", [None, "", os.pathsep, f"/nowhere{os.pathsep}"])
def test_no_python_process_imports_from_the_current_folder(tmp_path, monkeypatch, path):
    """Neither ours, nor one that a library starts in its way, with an empty entry in PYTHONPATH."""
    (tmp_path / "json.py").write_text("print('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    before = dict(os.environ)
    with children.safe_path():
        theirs = subprocess.run([sys.executable, "-c", "import json"], capture_output=True, check=True)
    assert dict(os.environ) == before
    with Path(os.devnull).open("w+b") as errors:
        ours = children.start([sys.executable, "-c", "import json"], os.environ, errors)
        assert (ours.stdout.read(), theirs.stdout) == (b"", b"")
        children.end(ours)


def test_a_stopped_child_can_be_ended():
    with Path(os.devnull).open("w+b") as errors:
        child = children.start([sys.executable, "-c", "import time; time.sleep(600)"], os.environ, errors)
        child.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        children.end(child)
    assert child.returncode == -signal.SIGKILL
    assert time.monotonic() - began_s < 30


def test_lines_come_until_the_output_ends():
    reader, writer = os.pipe()
    os.write(writer, b"one\ntwo\nthr")
    with os.fdopen(reader, "rb") as stream:
        lines = children.lines_within(stream, lambda: 60)
        assert [next(lines), next(lines)] == [b"one", b"two"]
        os.write(writer, b"ee")
        os.close(writer)
        assert list(lines) == [b"three"]


def test_lines_come_also_where_more_than_a_thousand_files_are_open():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    reader, writer = os.pipe()
    high = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, 1024)
    os.close(reader)
    os.write(writer, b"one\n")
    os.close(writer)
    try:
        with os.fdopen(high, "rb") as stream:
            assert list(children.lines_within(stream, lambda: 60)) == [b"one", b""]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_child_that_falls_silent_is_told():
    reader, writer = os.pipe()
    os.write(writer, b"one\n")
    with os.fdopen(reader, "rb") as stream:
        assert list(children.lines_within(stream, lambda: 0.01)) == [b"one", None]
    os.close(writer)
