"""The `kdbench` command: its sub-commands, one file each.

Starting up costs what importing typer costs: commands import what they need when they run, and help is plain
text because rich's panels would triple the time to see it.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from kdbench import __version__
from kdbench.cli.bench import bench
from kdbench.cli.compare import compare
from kdbench.cli.console import result
from kdbench.cli.doctor import doctor
from kdbench.cli.history import history
from kdbench.cli.list import list_
from kdbench.cli.macs import macs
from kdbench.cli.outcome import conclude
from kdbench.cli.ready import ready
from kdbench.cli.report import report
from kdbench.cli.run import run
from kdbench.cli.session import Session
from kdbench.cli.train import train
from kdbench.errors import EXIT_INTERRUPTED

app = typer.Typer(
    name="kdbench",
    help="Is this compressed model ready to replace its teacher? Train, distil, export, measure and report.",
    epilog="Exit codes: 0 done, 1 a gate said no, 2 inconclusive, 3 wrong input, 4 internal fault, 130 interrupted.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run)
app.command("train")(train)
app.command("bench")(bench)
app.command("macs")(macs)
app.command("compare")(compare)
app.command("ready")(ready)
app.command("report")(report)
app.command("history")(history)
app.command("list")(list_)
app.command("doctor")(doctor)


@app.callback(invoke_without_command=True)
def _top(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        result(f"kdbench {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        result(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    # NVML numbers boards by their place on the bus, CUDA the fastest first: what is trained on, measured on and metered
    # has to be one and the same board. Read when CUDA starts.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    session = Session(tuple(sys.argv[1:] if arguments is None else arguments))
    command = typer.main.get_command(app)

    def work() -> int | None:
        code = command.main(list(session.arguments), prog_name="kdbench", standalone_mode=False, obj=session)
        return code if isinstance(code, int) else None

    with warnings.catch_warnings():
        if not sys.warnoptions:  # somebody who gives -W or PYTHONWARNINGS wants to see them
            warnings.simplefilter("ignore")  # libraries' warnings about themselves help no user
        code = conclude(work, session)
    if code == EXIT_INTERRUPTED and arguments is None:
        # Everything worth keeping is on disk, and with torch loaded an orderly end takes more than a second.
        sys.stdout.flush()
        os._exit(code)
    return code
