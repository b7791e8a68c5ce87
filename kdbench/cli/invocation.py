"""One invocation of the command line: its arguments, and its end as a message, a hint and an exit code."""

import errno
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kdbench.cli.console import result_json, say
from kdbench.cli.interrupt import Interrupts
from kdbench.errors import EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED, KdbenchError, first_line, is_out_of_memory

if TYPE_CHECKING:
    import typer

_DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EFBIG, errno.EMFILE, errno.ENFILE),
}
_SHOWN_CHARACTERS = 60  # of a path that is too long
_AGAIN = "run the same command again"


class Invocation:
    """The invocation of a command.

    `arguments` are those after the program's name; `folder` is the folder of the work, once it is known; `resumable` is
    set by commands that have `--resume`, `measures` by others that measure into a new folder. `after_interruption` says
    what to do after an interruption of all others.
    """

    # Not a dataclass: these load `inspect`, a fifth of the time that `kdbench --help` takes.
    def __init__(self, arguments: tuple[str, ...] = (), folder: Path | None = None, *, resumable: bool = False) -> None:
        self.arguments = arguments
        self.folder = folder
        self.resumable = resumable
        self.measures = False
        self.after_interruption = _AGAIN

    @classmethod
    def of(cls, context: "typer.Context") -> Self:
        """Return the invocation that a command runs in."""
        assert isinstance(context.obj, cls)
        return context.obj

    @property
    def json(self) -> bool:
        """Whether the user wants machine-readable output; also known for command lines that do not parse."""
        return "--json" in self.arguments

    @property
    def command(self) -> str:
        """The command line as typed, without `--resume`: it repeats the work from the start."""
        return shlex.join(("kdbench", *(word for word in self.arguments if word != "--resume")))

    def how_to_resume(self) -> str:
        """Return how to continue after an interruption, in one sentence."""
        if self.measures:
            return self._how_to_measure_again()
        if not self.resumable:
            return self.after_interruption
        arguments = list(self.arguments)
        if not self._has_out and self.folder is not None:
            arguments += ["--out", str(self.folder)]
        if "--resume" not in arguments:
            if not self._has_out and self.folder is None:
                return f"nothing was written; {_AGAIN}"  # without a folder, --resume continues an earlier run
            arguments.append("--resume")
        return f"to continue, run: {shlex.join(('kdbench', *arguments))}"

    @property
    def _has_out(self) -> bool:
        return any(word == "--out" or word.startswith("--out=") for word in self.arguments)

    def _how_to_measure_again(self) -> str:
        if self.folder is not None:
            from kdbench.results.run_folder import RunFolder  # loaded already: there is a folder

            if (run := RunFolder(self.folder)).record.exists():
                again = "the same command with another --out" if self._has_out else "the same command"
                return f"the numbers are kept: {run.report_command} writes their reports; {again} measures again"
        return f"an interrupted measurement keeps nothing; {_AGAIN}"


def conclude(work: Callable[[], int | None], invocation: Invocation) -> int:
    """Do the work and return the exit code; turn an exception into a message on standard error.

    With `--json` an error is also written to standard output, as `{"error": {...}}`.
    """
    interrupts = Interrupts(invocation.how_to_resume)
    try:
        with interrupts.watched():
            code = work() or 0
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_INTERNAL
    except Exception as error:  # noqa: BLE001 - the outermost frame: no bare traceback leaves it
        if interrupts.fired is None:
            return _report(error, invocation)
        code = EXIT_INTERRUPTED
    if interrupts.fired is not None or code == EXIT_INTERRUPTED:
        interrupts.clean_up()
        return interrupts.exit_code
    return code


def _report(error: Exception, invocation: Invocation) -> int:
    message, hint, code = _explained(error)
    if os.environ.get("KDBENCH_DEBUG"):
        import traceback

        say("".join(traceback.format_exception(error)))
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")
    if invocation.json:
        result_json({"error": {"message": message, "hint": hint, "exit_code": code}})
    return code


def _explained(error: Exception) -> tuple[str, str, int]:
    """Return the message, hint and exit code for `error`."""
    if isinstance(error, KdbenchError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        from kdbench.files.storage import storage_error

        return _explained(storage_error(error, Path(error.filename or "a file")))
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        start = f"{str(error.filename or '')[:_SHOWN_CHARACTERS]}…"
        return f"a path is too long for the file system: {start}", "use a shorter one", EXIT_BAD_INPUT
    if is_out_of_memory(error):
        hint = "close other programs, choose smaller models or batches, or raise the limit (ulimit -v)"
        return f"there is not enough memory: {first_line(error)}", hint, EXIT_BAD_INPUT
    from kdbench.extras import missing_extra_error

    if (absent := missing_extra_error(error, "this command")) is not None:
        return _explained(absent)
    where = _keep_traceback(error)
    return (
        f"internal error in kdbench: {type(error).__name__}: {error}".rstrip(": "),
        f"this is a bug in kdbench; the details are in {where} (or set KDBENCH_DEBUG=1 to see them here)",
        EXIT_INTERNAL,
    )


def _keep_traceback(error: Exception) -> str:
    """Write the traceback to a file that outlives the process and return its path."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="kdbench-", suffix=".log", delete=False) as stream:
            stream.write(text)
    except OSError:
        say(text)
        return "the lines above"
    return stream.name
