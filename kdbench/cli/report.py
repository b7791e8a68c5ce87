"""`kdbench report`: render a record again."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli import console
from kdbench.cli.options import Json, names
from kdbench.cli.targets import Targets, load_targets, with_verdicts
from kdbench.errors import InputError

if TYPE_CHECKING:
    from kdbench.report import Content


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its record.json.")],
    formats: Annotated[
        list[str] | None, typer.Option("--format", metavar="NAME", help="Format to write; repeatable (default: md).")
    ] = None,
    styles: Annotated[
        list[str] | None,
        typer.Option(
            "--style",
            metavar="NAME",
            help="Write the tables as a study's report has them (kdbench list styles), and only those; repeatable.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write to (default: the run's).")] = None,
    targets: Targets = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the Markdown, for pasting; write no file.")] = False,
    json: Json = False,
) -> None:
    """Write the reports of a run again from its record.

    Neither the models nor torch are needed for it. Verdicts that `kdbench ready` kept are shown; with --target the run
    is judged anew, for this report alone. A style is a layout of its own, written to report-STYLE.md beside
    the whole report, which is left as it is.

    Example: kdbench report runs/first --format md --format csv

    Example: kdbench report runs/first --style summary --stdout
    """
    from kdbench.report import Content, write

    chosen = tuple(name for text in formats or ["md"] for name in names(text))
    if stdout:
        _refuse(formats, out, json)
    wanted = [name for text in styles or [] for name in names(text)]
    if wanted and targets:
        raise InputError("a style has no verdict: --target is of the whole report", "leave out --style or --target")
    contents = _in_styles(with_verdicts(Content.read(run), load_targets(targets)), wanted)
    if stdout:
        console.result(_markdown(contents))
        return
    folder = out or (run if run.is_dir() else run.parent)
    files = list(dict.fromkeys(file for content in contents for file in write(content, folder, chosen)))
    if json:
        console.result_json({"files": [str(file) for file in files]})
    else:
        console.result("\n".join(str(file) for file in files))


def _in_styles(content: "Content", styles: list[str]) -> "list[Content]":
    """Return the content in each style, or as it is; raises InputError where one does not apply, before any writing."""
    styled = [replace(content, style=name) for name in dict.fromkeys(styles)]
    for each in styled:
        _ = each.layout
    return styled or [content]


def _refuse(formats: list[str] | None, out: Path | None, json: bool) -> None:
    """Raise InputError for what `--stdout` cannot go with."""
    others = {"--format": formats not in (None, ["md"]), "--out": out is not None, "--json": json}
    if clash := [option for option, given in others.items() if given]:
        raise InputError(
            f"--stdout prints Markdown and does not go with {clash[0]}", f"leave out --stdout or {clash[0]}"
        )


def _markdown(contents: "list[Content]") -> str:
    """Return the Markdown of all contents; figures are not drawn, for nothing would hold them."""
    from kdbench.report.formats.md import render

    return "\n".join(render(content, figures=False) for content in contents).rstrip()
