import errno
import re
from pathlib import Path

import pytest

from kdbench.cli.invocation import Invocation, conclude
from kdbench.errors import DataMissingError, KdbenchError


def raising(error: BaseException):
    def work():
        raise error

    return work


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (2, 2)])
def test_the_works_own_code_is_kept(returned, code):
    assert conclude(lambda: returned, Invocation()) == code


def test_a_users_error_is_a_message_and_a_hint(capsys):
    assert conclude(raising(DataMissingError("no MNIST", "download it")), Invocation()) == 3
    written = capsys.readouterr()
    assert written.err == "error: no MNIST\nhint: download it\n"
    assert written.out == ""


def test_an_error_without_a_hint_has_no_hint_line(capsys):
    conclude(raising(KdbenchError("broken")), Invocation())
    assert capsys.readouterr().err == "error: broken\n"


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "cannot be written"), (errno.EROFS, "--out")]
)
def test_what_the_disk_refuses_is_the_users_to_mend(capsys, number, words):
    assert conclude(raising(OSError(number, "text", "out/x.onnx")), Invocation()) == 3
    message = capsys.readouterr().err
    assert words in message
    assert "out/x.onnx" in message


@pytest.mark.parametrize("command", [["report"], ["run"], ["run", "digits", "--out"], ["macs"]])
def test_a_path_too_long_for_the_file_system_is_the_users_to_mend(run_cli, command):
    ended = run_cli(*command, "x" * 300 + ".onnx" * (command == ["macs"]))
    assert ended.code == 3
    assert "too long" in ended.err


def test_of_a_path_too_long_its_beginning_is_shown(capsys):
    assert conclude(raising(OSError(errno.ENAMETOOLONG, "text", "ab" * 200)), Invocation()) == 3
    assert capsys.readouterr().err == (
        f"error: a path is too long for the file system: {'ab' * 30}…\nhint: use a shorter one\n"
    )


def test_a_fault_of_ours_keeps_the_traceback_in_a_file(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert conclude(raising(ZeroDivisionError("by zero")), Invocation()) == 4
    message = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in message
    assert "Traceback" not in message
    named = re.search(r"\S+\.log", message)
    assert named is not None
    assert "Traceback (most recent call last)" in Path(named[0]).read_text(encoding="utf-8")


def test_a_fault_of_ours_is_shown_at_once_when_debugging(capsys, monkeypatch):
    monkeypatch.setenv("KDBENCH_DEBUG", "1")
    conclude(raising(ZeroDivisionError("by zero")), Invocation())
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_traceback_that_cannot_be_kept_is_printed(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert conclude(raising(ZeroDivisionError), Invocation()) == 4
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interruption_ends_the_children_and_says_how_to_go_on(capfd, monkeypatch):
    ended = []
    # The real one would end the children of all tests in this process, such as multiprocessing's server.
    monkeypatch.setattr("kdbench.cli.interrupt._end_children", lambda: ended.append(True))
    session = Invocation(("run", "digits"), folder=Path("runs/digits"), resumable=True)
    assert conclude(raising(KeyboardInterrupt()), session) == 130
    assert "hint: to continue, run: kdbench run digits --out runs/digits --resume\n" in capfd.readouterr().err
    assert ended == [True]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_memory_that_is_refused_is_no_bug(error, capsys):
    assert conclude(raising(error), Invocation()) == 3
    assert "memory" in capsys.readouterr().err
