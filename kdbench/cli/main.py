"""The `kdbench` command: its environment, its exit, and the options that need no sub-command."""

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence

from kdbench.cli.console import open_closed_streams, result
from kdbench.cli.invocation import Invocation, conclude
from kdbench.errors import EXIT_SIGNAL
from kdbench.installation import __version__
from kdbench.processes import children


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    # NVML numbers boards by bus position, CUDA by speed: training, measuring and metering must use the same board. CUDA
    # reads this when it starts.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if arguments is None:
        open_closed_streams()
        os.environ.update(children.safe_environment())  # also for processes that libraries start
    invocation = Invocation(tuple(sys.argv[1:] if arguments is None else arguments))
    with warnings.catch_warnings():
        if not sys.warnoptions:  # -W and PYTHONWARNINGS enable warnings
            warnings.simplefilter("ignore")  # libraries warn about themselves, which helps no user
        code = conclude(lambda: _work(invocation), invocation)
    if code >= EXIT_SIGNAL and arguments is None:
        # All results are on disk, and an orderly exit with torch loaded takes more than a second.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    return code


def _work(invocation: Invocation) -> int | None:
    """Show help or the version of `kdbench` itself, or run the command."""
    first = invocation.arguments[0] if invocation.arguments else "--help"
    if "_KDBENCH_COMPLETE" not in os.environ:
        if first in {"-h", "--help"}:
            from kdbench.cli.overview import overview

            result(overview())
            return 0
        if first == "--version":
            result(f"kdbench {__version__}")
            return 0
    from kdbench.cli.application import run_command  # loads typer, which takes most of the start-up time

    return run_command(invocation)
