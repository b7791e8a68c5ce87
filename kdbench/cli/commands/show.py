"""`kdbench show`: a record's tables on the terminal again."""

import shlex
from dataclasses import replace
from typing import Annotated

from kdbench.cli import console
from kdbench.cli.options import Json, RunPath, Texts, option, several_names
from kdbench.cli.verdicts import show_record
from kdbench.errors import InputError


def show(
    run: RunPath,
    styles: Annotated[
        Texts,
        option("--style", "NAME", "Print the tables of a study's report instead (kdbench list styles); repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Print a run's tables again, from its record.

    The output is that of `kdbench run` or `kdbench bench`, with the verdicts that `kdbench ready` stored later. The
    exit code is always 0; use `kdbench ready` for a verdict's exit code. With --json it is the content of record.json
    with the additional keys "folder" and, if there are verdicts, "verdicts".

    Example: kdbench show runs/first

    Example: kdbench show runs/first --style summary
    """
    from kdbench.report import Content
    from kdbench.report.render.terminal import one_table
    from kdbench.results.run_folder import RunFolder

    names = list(dict.fromkeys(several_names("--style", styles)))
    if names and json:
        hint = f"for numbers in a style: kdbench report {shlex.quote(str(run))} --style {names[0]} --format json"
        raise InputError("--style prints tables and cannot be combined with --json", hint)
    content = Content.read(run)
    if not names:
        show_record(content.record, RunFolder.of(run), content.verdicts, json=json)
        return
    layouts = [replace(content, style=name).tables for name in names]  # all of them, before anything is printed
    for tables in layouts:
        for table in tables:
            console.result_drawn(one_table(table))
