import multiprocessing
import os
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from kdbench.machine.lock import FOLDER_VARIABLE
from kdbench.testing.benchmarks import LOCK

HELD = f"""
    import os
    import pytest
    from filelock import FileLock, Timeout

    def held():
        lock = FileLock(os.path.join(os.environ["{FOLDER_VARIABLE}"], "{LOCK}"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    @pytest.fixture
    def made(kdbench):
        assert held()
        yield
        assert held()

    def test_ours(made):
        assert held()

    def test_theirs(benchmark):
        benchmark.pedantic(held, rounds=1)
        assert held()

    def test_plain():
        assert not held()
"""


def test_a_timed_test_has_the_machine_from_its_fixtures_on(run):
    run(HELD, "--benchmark").assert_outcomes(passed=2, deselected=1)


def test_tests_that_are_not_timed_hold_no_lock(run):
    run(HELD, "-k", "plain").assert_outcomes(passed=1)
    run(HELD, "-k", "theirs").assert_outcomes(failed=1)


def lock_file():
    return Path(os.environ[FOLDER_VARIABLE]) / LOCK


def _hold(path, begun, end):
    with FileLock(path):
        begun.set()
        end.wait(30)


def test_a_test_waits_for_another_process_and_says_so(run, monkeypatch):
    """The other process releases the lock when the test has noted that it waits."""
    fork = multiprocessing.get_context("fork")
    begun, end = fork.Event(), fork.Event()
    other = fork.Process(target=_hold, args=(lock_file(), begun, end))
    other.start()
    assert begun.wait(30)
    from kdbench.testing.benchmarks import TerminalNotes

    notes = []
    monkeypatch.setattr(TerminalNotes, "note", lambda _, text: (notes.append(text), end.set()))
    run("def test_it(benchmark):\n    benchmark.pedantic(sum, ([1],))", "--benchmark").assert_outcomes(passed=1)
    other.join()
    assert len(notes) == 1
    assert "waiting" in notes[0]


def test_notes_during_a_test_are_shown(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makepyfile("""
        def test_it(request):
            from kdbench.testing.benchmarks import TerminalNotes
            TerminalNotes(request.config).note("waiting")
    """)
    pytester.runpytest_subprocess().stdout.fnmatch_lines(["kdbench: waiting"])


def test_without_a_lock_the_session_ends(run, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    result = run("def test_it(benchmark):\n    benchmark.pedantic(sum, ([1],))", "--benchmark")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*kdbench: cannot hold the measuring lock at *"])


def test_tests_and_measurements_have_separate_locks(tmp_path):
    from kdbench.machine.lock import machine_lock
    from kdbench.progress import Silent

    with machine_lock(Silent(), LOCK), machine_lock(Silent()), pytest.raises(Timeout):
        FileLock(lock_file()).acquire(timeout=0)
