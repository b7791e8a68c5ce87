"""`kdbench report`: render a record again."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli import console
from kdbench.cli.options import Json, RunPath, Texts, option, several_names
from kdbench.cli.verdicts import Targets, load_targets, with_verdicts
from kdbench.errors import InputError


def report(
    run: RunPath,
    formats: Annotated[Texts, option("--format", "NAME", "Format to write; repeatable (default: md).")] = None,
    styles: Annotated[
        Texts,
        option(
            "--style",
            "NAME",
            "Write only the tables, in the layout of a study's report (kdbench list styles); repeatable.",
        ),
    ] = None,
    out: Annotated[Path | None, option("--out", "DIR", "Folder to write to (default: the run's).")] = None,
    targets: Targets = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the Markdown instead of writing files.")] = False,
    json: Json = False,
) -> None:
    """Write the reports of a run again from its record.

    This needs neither the models nor torch. Verdicts that `kdbench ready` stored are shown; with --target the run is
    judged again, for this report only. A style is a separate layout, written to report-STYLE.md; the full report stays
    as it is.

    Example: kdbench report runs/first --format md --format csv

    Example: kdbench report runs/first --style summary --stdout
    """
    from kdbench.report import Content, write
    from kdbench.results.run_folder import RunFolder, folder_of

    chosen = tuple(several_names("--format", formats or ["md"]))
    others = {"--format": formats not in (None, ["md"]), "--out": out is not None, "--json": json}
    if stdout and (clash := [option for option, present in others.items() if present]):
        message = f"--stdout prints Markdown and cannot be combined with {clash[0]}"
        raise InputError(message, f"leave out --stdout or {clash[0]}")
    chosen_styles = several_names("--style", styles)
    if chosen_styles and targets:
        raise InputError("--target needs the full report: a style shows no verdict", "leave out --style or --target")
    content = with_verdicts(Content.read(run), load_targets(targets))
    contents = [replace(content, style=name) for name in dict.fromkeys(chosen_styles)] or [content]
    for content in contents:
        _ = content.layout  # raises InputError for a style that does not apply, before anything is written
    if stdout:
        from kdbench.report.render.markdown import render

        # Without figures: there is no folder for them.
        console.result("\n".join(render(content, figures=False) for content in contents).rstrip())
        return
    folder = folder_of(out) or RunFolder.of(run).path
    files = list(dict.fromkeys(str(file) for content in contents for file in write(content, folder, chosen)))
    if json:
        console.result_json({"files": files})
    else:
        console.result("\n".join(files))
