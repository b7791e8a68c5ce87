"""`kdbench merge`: a device's result as part of a run's record."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli import console
from kdbench.cli.options import Json, RunPath, option
from kdbench.errors import InputError


def merge(
    run: RunPath,
    result: Annotated[
        Path | None, typer.Argument(metavar="RESULT", help="The result.zip that run.py wrote on the device.")
    ] = None,
    name: Annotated[
        str | None, option("--name", "NAME", "The device's name in the record (default: its target's, or its board's).")
    ] = None,
    remove: Annotated[str | None, option("--remove", "NAME", "Remove a device from the record.")] = None,
    json: Json = False,
) -> int:
    """Add a device's measurements to a run's record, with the axis `device`, and write the reports again.

    kdbench refuses a result that was changed, that comes from other models, or that was merged before under another
    name. Merged under the same name again, it only writes the reports. Afterwards `kdbench ready` judges the device's
    numbers. With --json the result is {"device": …, "folder": …, "devices": […], "differences": […]}.

    Example: kdbench merge runs/first result.zip && kdbench ready runs/first --target raspberry-pi-5
    """
    from kdbench.files import storage
    from kdbench.workflows import merge as workflow

    if (result is None) == (remove is None):
        raise InputError(
            "name either a RESULT to merge or a device to --remove", f"kdbench merge {shlex.quote(str(run))} result.zip"
        )
    with storage.advising("and copy the run there"):
        if remove is not None:
            merged = workflow.remove(run, remove)
        else:
            assert result is not None
            merged = workflow.merge(run, result, name=name)
    if json:
        devices = [device.name for device in merged.record.devices]
        values = {"device": merged.name, "folder": str(merged.folder.path), "devices": devices}
        console.result_json({**values, "differences": list(merged.differences)})
        return 0
    if remove is not None:
        console.result(f"removed: {merged.name}")
        return 0
    from kdbench.report.render.terminal import one_table
    from kdbench.report.tables.devices import latency_by_device

    if merged.differences:
        console.say(f"note: this is not the device for which the bundle was made: {'; '.join(merged.differences)}")
    if merged.repeated:
        console.say("note: this result was merged already; only the reports are written again")
    console.result_drawn(one_table(latency_by_device(merged.record)))
    console.result(f"merged: {merged.name}; report: {merged.folder.path / 'report.md'}")
    return 0
