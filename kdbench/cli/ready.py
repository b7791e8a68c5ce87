"""`kdbench ready`: whether one of a run's models is ready for a device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli import console
from kdbench.cli.options import Json
from kdbench.cli.targets import Targets, as_json, exit_code, judge_all, load_targets, show_verdicts
from kdbench.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdbench.results.records import RunRecord
    from kdbench.results.verdicts import Verdict


def ready(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its record.json.")],
    targets: Targets = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Judge this model; repeatable (default: all but the teachers)."),
    ] = None,
    json: Json = False,
) -> int:
    """Judge a run's models against what a device asks for: PASS, FAIL, MARGINAL or UNKNOWN, and why.

    Exits with 0 where a model is READY, 1 where all are NOT READY, 2 where that is not known. Of several targets the
    worst counts: 1 before 2 before 0. The verdict is kept in the run's folder, and `kdbench report` shows it; one on
    some models only (--model) is not. With --json the result is {"exit_code": …, "verdicts": […], "files": […]}.

    Example: kdbench ready runs/first --target raspberry-pi-5
    """
    from kdbench.results.records import RunRecord

    if not targets:
        from kdbench.judge.target import shipped_targets

        shipped = ", ".join(shipped_targets())
        raise InputError("no target is named", f"add --target T, with one of {shipped}, or a .toml file of your own")
    loaded = load_targets(targets)
    record = RunRecord.read(run)
    _refuse_changed(record, run)
    verdicts = judge_all(record, loaded, models)
    files = [] if models else _keep(verdicts, run)
    if json:
        found = {"exit_code": exit_code(verdicts), "verdicts": as_json(verdicts)}
        console.result_json({**found, "files": [str(file) for file in files]})
    else:
        show_verdicts(verdicts)
        for file in files:
            console.say(f"kept for the run's reports: {file}")
    return exit_code(verdicts)


def _refuse_changed(record: "RunRecord", run: Path) -> None:
    """Raise InputError where a model beside the record is not the file that was measured: it is what would ship."""
    from kdbench.results.run_folder import refuse_changed

    folder = run if run.is_dir() else run.parent
    for card in record.models:
        if (folder / card.file).is_file():
            refuse_changed(folder / card.file, card, "measure it, with kdbench bench, or restore what was measured")


def _keep(verdicts: "Sequence[Verdict]", run: Path) -> list[Path]:
    """Write the verdicts to the run's folder; say so where that cannot be, which makes them no less true."""
    from kdbench.results.run_folder import RunFolder

    folder = RunFolder(run if run.is_dir() else run.parent)
    if not run.is_dir() and run != folder.record:
        return []  # a record on its own, among who knows what
    try:
        return [folder.write_verdict(verdict) for verdict in verdicts]
    except StorageError as error:
        console.say(f"note: the verdict is shown and not kept: {error.message}")
        return []
