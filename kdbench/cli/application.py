"""The sub-commands of `kdbench` as typer's application.

To start quickly, a command imports what it needs when it runs, and typer reads only the options of that command. Help
is plain text, because rich's panels would take three times as long.
"""

import os
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Annotated, Any

import typer

from kdbench.cli.console import result
from kdbench.cli.invocation import Invocation
from kdbench.cli.overview import COMMANDS, EXIT_CODES, PURPOSE, overview
from kdbench.errors import InputError
from kdbench.installation import __version__
from kdbench.registry import nearest
from kdbench.user_input.options import MEASURE

# typer's usage errors have no public name; its public BadParameter derives from them.
_UsageError: Any = typer.BadParameter.__mro__[1]


def application(named: Collection[str] = tuple(COMMANDS)) -> typer.Typer:
    """Return the command line; the commands that are not `named` are listed, but have no options."""
    app = typer.Typer(
        name="kdbench",
        help=PURPOSE,
        epilog=EXIT_CODES,
        cls=_WithOverview,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, (place, summary) in COMMANDS.items():
        command = _command(place) if name in named else _only_listed
        app.command(name, help=command.__doc__ or summary)(command)
    app.callback(invoke_without_command=True)(_top)
    return app


def run_command(invocation: Invocation) -> int | None:
    """Run the command that the arguments name and return its exit code; raises InputError where they do not parse."""
    completing = "_KDBENCH_COMPLETE" in os.environ  # the words to complete are in the environment, too
    app = application() if completing else application(invocation.arguments)
    command = typer.main.get_command(app)
    try:
        code = command.main(list(invocation.arguments), prog_name="kdbench", standalone_mode=False, obj=invocation)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _UsageError as error:
        raise _explained(error) from None
    return code if isinstance(code, int) else None


def _explained(error: Any) -> InputError:
    """Return an error about the command line; the hint for an unknown option is the one that was most likely meant."""
    hint = f"see {getattr(error.ctx, 'command_path', 'kdbench')} --help"
    if error.ctx is None or not hasattr(error, "possibilities"):  # those of an unknown option
        return InputError(error.format_message(), hint)
    parameters, typed = error.ctx.command.get_params(error.ctx), error.option_name.lstrip("-")
    if any(parameter.name == "recipe" for parameter in parameters):
        for key, option in MEASURE.items():
            if option.name == typed:
                return InputError(error.message, f"it is a key of the recipe: --set measure.{key}=…")
    # Options are so many that two of them share most letters by chance: `--format` does not mean `--rate`.
    options = [name.removeprefix("--") for parameter in parameters for name in parameter.opts]
    meant = nearest(typed, options, similarity=0.7)
    return InputError(error.message, hint if meant is None else f"did you mean --{meant}?")


class _WithOverview(typer.core.TyperGroup):
    def get_help(self, ctx: Any) -> str:  # noqa: ARG002 - typer's interface
        return overview()


def _command(place: str) -> Callable[..., int | None]:
    module, _, function = place.partition(".")
    command: Callable[..., int | None] = getattr(import_module(f"kdbench.cli.commands.{module}"), function)
    return command


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
