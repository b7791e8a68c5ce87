"""The `kdbench` command and its sub-commands.

Start-up costs little more than the import of typer: commands import what they need when they run, typer reads the
options of only the command that is named, and help is plain text because rich's panels would triple its time.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Annotated

import typer

from kdbench import __version__, children
from kdbench.cli.commands.bench import bench
from kdbench.cli.commands.compare import compare
from kdbench.cli.commands.compress import compress
from kdbench.cli.commands.doctor import doctor
from kdbench.cli.commands.history import history
from kdbench.cli.commands.list import list_
from kdbench.cli.commands.macs import macs
from kdbench.cli.commands.ready import ready
from kdbench.cli.commands.report import report
from kdbench.cli.commands.run import run, train
from kdbench.cli.console import open_closed_streams, result
from kdbench.cli.invocation import Invocation, conclude
from kdbench.errors import EXIT_SIGNAL

_COMMANDS: dict[str, Callable[..., int | None]] = {
    command.__name__.rstrip("_"): command
    for command in (run, train, bench, compress, macs, compare, ready, report, history, list_, doctor)
}


def application(named: Collection[str] = tuple(_COMMANDS)) -> typer.Typer:
    """Return the command line; the commands that are not `named` are listed, but have no options."""
    app = typer.Typer(
        name="kdbench",
        help="Is this compressed model ready to replace its teacher? Train, distil, export, measure and report.",
        epilog="Exit codes: 0 done, 1 a gate failed, 2 inconclusive, 3 wrong input, 4 internal error, 130 interrupted.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in _COMMANDS.items():
        app.command(name, help=command.__doc__)(command if name in named else _only_listed)
    app.callback(invoke_without_command=True)(_top)
    return app


def _only_listed() -> None:
    raise AssertionError("a command that runs is named in the arguments")


def _top(
    ctx: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    if version:
        result(f"kdbench {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        result(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    # NVML numbers boards by bus position, CUDA by speed: training, measuring and metering must use the same board. CUDA
    # reads this when it starts.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if arguments is None:
        open_closed_streams()
        os.environ.update(children.safe_environment())  # also for processes that libraries start
    invocation = Invocation(tuple(sys.argv[1:] if arguments is None else arguments))
    completing = "_KDBENCH_COMPLETE" in os.environ  # the words to complete are in the environment, too
    app = application(_COMMANDS) if completing else application(invocation.arguments)
    command = typer.main.get_command(app)

    def work() -> int | None:
        code = command.main(list(invocation.arguments), prog_name="kdbench", standalone_mode=False, obj=invocation)
        return code if isinstance(code, int) else None

    with warnings.catch_warnings():
        if not sys.warnoptions:  # -W and PYTHONWARNINGS ask for warnings
            warnings.simplefilter("ignore")  # libraries warn about themselves, which helps no user
        code = conclude(work, invocation)
    if code >= EXIT_SIGNAL and arguments is None:
        # All results are on disk, and an orderly exit with torch loaded takes more than a second.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    return code
