"""`kdbench history`: one metric over a folder of records, and where it changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli import console
from kdbench.cli.options import Json, Texts, assignments, option, output_file, several_names

_NEWEST = 50  # points of a series on the terminal

if TYPE_CHECKING:
    from kdbench.report.figures.drawing import Drawing
    from kdbench.results.histories import History


def history(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Folders of runs, searched to any depth.")],
    metrics: Annotated[
        Texts, option("--metric", "ID", "Metric to follow; repeatable (default: the main ones).")
    ] = None,
    models: Annotated[Texts, option("--model", "NAME", "Model to follow; repeatable (default: all).")] = None,
    axes: Annotated[
        str | None, option("--axes", "KEY=VALUE,...", "Axes of the measurement, such as threads=1,batch=128.")
    ] = None,
    out: Annotated[Path | None, option("--out", "DIR", "Folder for history.md and its figures.")] = None,
    markdown: Annotated[
        Path | None, option("--markdown", "FILE", "Write the Markdown to this file, without figures.")
    ] = None,
    json: Json = False,
) -> None:
    """Show metrics over the records of many runs, with intervals, and find changes.

    Records are all record.json files below the folders, sorted by time. A change is a step that is too large to be
    scatter. The exit code is 0 even if something changed; use kdbench compare as a gate.

    Example: kdbench history runs --metric latency_p50_ns --model student-kd --out history
    """
    from kdbench.judge.excerpts import MAIN
    from kdbench.judge.history import history as over_records
    from kdbench.judge.located_records import locate_records
    from kdbench.results.run_folder import folder_of
    from kdbench.user_input.options import names

    markdown = output_file(markdown, "--markdown")
    chosen = {"metrics": several_names("--metric", metrics), "models": several_names("--model", models)}
    records, notes = locate_records(folders, chosen["metrics"] or MAIN)
    chosen_axes = assignments(names(axes), "--axes", "threads=1,batch=128") if axes else None
    followed = over_records(records, **chosen, axes=chosen_axes, notes=notes)
    files = _write(followed, folder_of(out), markdown)
    if json:
        console.result_json({**followed.to_json(), "files": [str(file) for file in files]})
        return
    from kdbench.report.render.terminal import one_table
    from kdbench.report.text.history import sentence, series_table

    for series in followed.series:
        table = series_table(series, _NEWEST)
        console.result_drawn(one_table(table))
        if hidden := len(series.points) - len(table.rows):
            console.result(f"{hidden} older points are in --json, and in the file of --out or --markdown.")
        console.result(f"{sentence(series)}\n")
    for note in followed.notes:
        console.say(f"note: {note}")
    for file in files:
        console.result(str(file))


def _write(history: "History", out: Path | None, markdown: Path | None) -> list[Path]:
    """Write the files that the options name and return their paths."""
    from kdbench.files import storage
    from kdbench.report.text.history import render

    files: dict[Path, str] = {}
    if markdown is not None:
        files[markdown] = render(history, [])
    if out is not None:
        drawings = _draw(history)
        figures = storage.make_folder(out / "figures")
        files[out / "history.md"] = render(history, drawings)
        files |= {figures / f"{drawing.name}.svg": drawing.svg for drawing in drawings}
    for file, text in files.items():
        storage.write_text(file, text)
    return list(files)


def _draw(history: "History") -> "list[Drawing]":
    from kdbench.report.figures.history import draw_series
    from kdbench.report.text.history import short_commit, size_text, title

    drawings = []
    for place, series in enumerate(history.series, 1):
        points = [short_commit(point) or point.run for point in series.points]
        changes = [size_text(series, change) for change in series.changes]
        drawings.append(draw_series(series, place, title(series), points, changes))
    return drawings
