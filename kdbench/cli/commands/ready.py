"""`kdbench ready`: whether one of a run's models is ready for a device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kdbench.cli import console
from kdbench.cli.options import Json, RunPath, Texts, option
from kdbench.cli.verdicts import Targets, exit_code, load_targets, show_verdicts
from kdbench.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdbench.results.run_folder import RunFolder
    from kdbench.results.verdicts import Verdict


def ready(
    run: RunPath,
    targets: Targets = None,
    models: Annotated[
        Texts, option("--model", "NAME", "Judge this model; repeatable (default: all but the teachers).")
    ] = None,
    json: Json = False,
) -> int:
    """Judge a run's models against a device's requirements: PASS, FAIL, MARGINAL or UNKNOWN, and why.

    Exit code 0: a model is READY; 1: all are NOT READY; 2: not known. With several targets, the worst exit code counts:
    1 before 2 before 0. The verdict is stored in the run's folder, and `kdbench report` shows it; a verdict on selected
    models (--model) is not stored. With --json the result is {"exit_code": …, "verdicts": […], "files": […]}.

    Example: kdbench ready runs/first --target raspberry-pi-5
    """
    from kdbench.judge.readiness import judge
    from kdbench.modelfile.identity import require_recorded
    from kdbench.results.records import RunRecord
    from kdbench.results.run_folder import RunFolder

    folder = RunFolder.of(run)
    if not targets:
        from kdbench.judge.target import shipped_targets

        shipped = ", ".join(shipped_targets())
        raise InputError("no target is named", f"add --target T: one of {shipped}, or your own .toml file")
    loaded = load_targets(targets)
    record = RunRecord.read(folder.record)
    for card in record.models:
        file = folder.path / card.file
        if file.is_file():  # the model that would ship
            require_recorded(card, file, "measure it with kdbench bench, or restore the measured file")
    verdicts = tuple(judge(record, target, models) for target in loaded)
    files = [] if models else _store(verdicts, folder)
    if json:
        judged = [verdict.to_json() for verdict in verdicts]
        console.result_json({"exit_code": exit_code(verdicts), "verdicts": judged, "files": [*map(str, files)]})
    else:
        show_verdicts(verdicts)
        for path in files:
            console.say(f"stored for the run's reports: {path}")
    return exit_code(verdicts)


def _store(verdicts: "Sequence[Verdict]", folder: "RunFolder") -> list[Path]:
    """Write the verdicts to the run's folder and return the files; only note it if the folder is not writable."""
    from kdbench.results.run_folder import RECORD
    from kdbench.results.verdicts import write_verdicts

    if folder.record_name != RECORD:
        return []  # a copy of a record, outside a run's folder
    try:
        return write_verdicts(verdicts, folder)
    except StorageError as error:
        console.say(f"note: the verdict is shown but not stored: {error.message}")
        return []
