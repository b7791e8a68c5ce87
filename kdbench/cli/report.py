"""`kdbench report`: render a record again."""

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli import console
from kdbench.cli.options import Json


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its record.json.")],
    formats: Annotated[
        list[str] | None, typer.Option("--format", metavar="NAME", help="Format to write; repeatable (default: md).")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write to (default: the run's).")] = None,
    json: Json = False,
) -> None:
    """Write the reports of a run again from its record.

    Neither the models nor torch are needed for it.

    Example: kdbench report runs/first --format md --format csv
    """
    from kdbench.report import Content, write

    content = Content.read(run)
    folder = out or (run if run.is_dir() else run.parent)
    names = tuple(name for text in formats or ["md"] for name in text.split(","))
    files = write(content, folder, names)
    if json:
        console.result_json({"files": [str(file) for file in files]})
    else:
        console.result("\n".join(str(file) for file in files))
