"""How an invocation ends: the one place that turns exceptions into a message, a hint and an exit code."""

import errno
import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import typer

from kdbench.cli.console import result_json, say
from kdbench.cli.interrupt import Interrupts
from kdbench.cli.session import Session
from kdbench.errors import EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED, KdbenchError

# typer's own usage errors have no public name; its public BadParameter derives from them.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_THE_USERS_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_ENOUGH = 60  # characters of an over-long path: enough to know which one it is


def conclude(work: Callable[[], int | None], session: Session) -> int:
    """Do the work and return the exit code; whatever it raises becomes a message on standard error.

    With `--json` an error is also written to standard output, as `{"error": {...}}`.
    """
    interrupts = Interrupts(session.how_to_resume)
    try:
        with interrupts.watched():
            code = work() or 0
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_INTERNAL
    except Exception as error:  # noqa: BLE001 - the outermost frame: nothing may leave as a bare traceback
        if not interrupts.fired:
            return _report(error, session)
        code = EXIT_INTERRUPTED
    if interrupts.fired or code == EXIT_INTERRUPTED:
        interrupts.say_farewell()
        return EXIT_INTERRUPTED
    return code


def _report(error: Exception, session: Session) -> int:
    message, hint, code = _explained(error)
    if os.environ.get("KDBENCH_DEBUG"):
        say("".join(traceback.format_exception(error)))
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")
    if session.json:
        result_json({"error": {"message": message, "hint": hint, "exit_code": code}})
    return code


def _explained(error: Exception) -> tuple[str, str, int]:
    """Return what to tell the user about `error`: message, hint, exit code."""
    if isinstance(error, KdbenchError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, UsageError):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "kdbench"
        message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
        return message, f"see {path} --help", EXIT_BAD_INPUT
    if isinstance(error, OSError) and error.errno in _THE_USERS_DISK:
        from kdbench.storage import storage_error

        return _explained(storage_error(error, Path(error.filename or "a file")))
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        begun = f"{str(error.filename or '')[:_ENOUGH]}…"
        return f"a path is too long for the file system: {begun}", "give a shorter one", EXIT_BAD_INPUT
    where = _keep_traceback(error)
    return (
        f"kdbench has a fault: {type(error).__name__}: {error}".rstrip(": "),
        f"this is not your doing; the details are in {where} (or set KDBENCH_DEBUG=1 to see them here)",
        EXIT_INTERNAL,
    )


def _keep_traceback(error: Exception) -> str:
    """Write the traceback to a file that outlives the process and return its path."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="kdbench-", suffix=".log", delete=False) as stream:
            stream.write(text)
    except OSError:
        say(text)
        return "the lines above"
    return stream.name
